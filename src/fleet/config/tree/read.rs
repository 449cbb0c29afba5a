//! A YAML tree. One that is not plain is read twice: once by the YAML parser for what it means, once
//! line by line for the text of each value. Where both agree the text counts, else the meaning.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_yaml::{Mapping, Value};

use super::{BINARY, Leaf, MASKED, MAX_TREE, RAW, Tree, TreeError, kind, lines};
use crate::config::value::ValueText;
use crate::config::{Scope, check_path};
use crate::safe::escape;

/// Reads scopes with their keys.
///
/// # Errors
/// [`TreeError`] names the place and the cause.
pub fn from_yaml(text: &str) -> Result<Tree, TreeError> {
    match lines::read(text) {
        Some(tree) => Ok(tree),
        None => parsed(text),
    }
}

/// The same by the parser alone.
pub(super) fn parsed(text: &str) -> Result<Tree, TreeError> {
    let mut tree = Tree::default();
    let slices = slices(text, Top::Scopes);
    for (name, keys) in top(text, "services")? {
        let scope = Scope::parse(&name_of(&name)?)?;
        let keys = members(keys, || scope.to_string(), "keys")?;
        let slices = slices.get(&scope.to_string());
        read_keys(&mut tree, &scope, keys, slices)?;
    }
    Ok(tree)
}

/// Reads the keys of one scope.
///
/// # Errors
/// [`TreeError`] names the place and the cause.
pub fn from_yaml_scope(text: &str, scope: &Scope) -> Result<Tree, TreeError> {
    match lines::read_scope(text, scope) {
        Some(tree) => Ok(tree),
        None => parsed_scope(text, scope),
    }
}

/// The same by the parser alone.
pub(super) fn parsed_scope(text: &str, scope: &Scope) -> Result<Tree, TreeError> {
    let mut tree = Tree::default();
    let keys = top(text, "keys")?;
    read_keys(&mut tree, scope, keys, slices(text, Top::Keys).get(""))?;
    Ok(tree)
}

fn top(text: &str, wanted: &'static str) -> Result<Mapping, TreeError> {
    if text.len() > MAX_TREE {
        return Err(TreeError::TooLarge(text.len()));
    }
    if text.trim().is_empty() {
        return Ok(Mapping::new());
    }
    let value: Value =
        serde_yaml::from_str(text).map_err(|error| TreeError::syntax("YAML", &error))?;
    members(value, || "the top of the tree".into(), wanted)
}

fn members(
    value: Value,
    place: impl Fn() -> String,
    wanted: &'static str,
) -> Result<Mapping, TreeError> {
    match value {
        Value::Mapping(members) => Ok(members),
        Value::Null => Ok(Mapping::new()),
        other => Err(TreeError::Shape {
            place: place(),
            found: kind(&other),
            wanted,
        }),
    }
}

/// Names that look like numbers are names all the same.
fn name_of(name: &Value) -> Result<String, TreeError> {
    match name {
        Value::String(name) => Ok(name.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        other => Err(TreeError::Shape {
            place: "a name in the tree".into(),
            found: kind(other),
            wanted: "names that are texts",
        }),
    }
}

fn read_keys(
    tree: &mut Tree,
    scope: &Scope,
    keys: Mapping,
    slices: Option<&Slices>,
) -> Result<(), TreeError> {
    tree.speak_of(scope);
    for (path, value) in keys {
        let path = name_of(&path)?;
        let leaf = match value {
            Value::Tagged(tagged) if tagged.tag == RAW => match tagged.value {
                Value::String(text) => Leaf::Text(ValueText::new(text)),
                other => return Err(tag_of(scope, &path, RAW, &other)),
            },
            Value::Tagged(tagged) if tagged.tag == BINARY => match &tagged.value {
                Value::String(text) => match BASE64.decode(text) {
                    Ok(bytes) => Leaf::Bytes(bytes),
                    Err(error) => return Err(TreeError::syntax("base64", &error)),
                },
                other => return Err(tag_of(scope, &path, BINARY, other)),
            },
            Value::Tagged(tagged) if tagged.tag == MASKED => Leaf::Masked,
            value => match slices.and_then(|slices| slices.get(&path)) {
                Some(text) => {
                    let text = ValueText::new(text.as_str());
                    if means(&text, &value) {
                        Leaf::Text(text)
                    } else {
                        Leaf::Meaning(value)
                    }
                }
                None => Leaf::Meaning(value),
            },
        };
        tree.add(scope, &path, leaf)?;
    }
    Ok(())
}

/// Whether a text means just this. One that is no value, as an empty one is, may stand for one all
/// the same.
fn means(text: &ValueText, value: &Value) -> bool {
    match text.value() {
        Ok(read) => read == value,
        Err(_) => serde_yaml::from_str::<Value>(text.text()).is_ok_and(|read| read == *value),
    }
}

fn tag_of(scope: &Scope, path: &str, tag: &str, found: &Value) -> TreeError {
    TreeError::Shape {
        place: format!("{scope}/{} under the tag !{tag}", escape(path)),
        found: kind(found),
        wanted: "nothing: the tag stands before a quoted text",
    }
}

/// The texts of a scope's values, by their path.
type Slices = BTreeMap<String, String>;

/// What stands at the top of a text.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Top {
    Scopes,
    Keys,
}

/// The text of each key's value by its scope, as far as it can be told from the lines. Keys at the
/// top stand under the scope "".
fn slices(text: &str, top: Top) -> BTreeMap<String, Slices> {
    let mut found: BTreeMap<String, Slices> = BTreeMap::new();
    // YAML has more line ends than this reading follows.
    if text.contains(['\r', '\u{85}', '\u{2028}', '\u{2029}']) {
        return found;
    }
    let lines: Vec<&str> = text.lines().collect();
    let mut at = 0;
    let mut scope = (top == Top::Keys).then_some("");
    let mut indent = (top == Top::Keys).then_some(0);
    let mut last: Option<&str> = None;
    while let Some(line) = lines.get(at) {
        at += 1;
        let depth = depth_of(line);
        if is_blank(line) || line.trim_start().starts_with('#') {
            continue;
        }
        if depth == 0 && top == Top::Scopes {
            let opens = |rest: &str| rest.is_empty() || rest.starts_with('#');
            scope = head(line)
                .filter(|(_, rest)| opens(rest))
                .map(|(name, _)| name);
            (indent, last) = (None, None);
            continue;
        }
        let Some(scope) = scope else { continue };
        let slices = found.entry(scope.to_owned()).or_default();
        let indent = *indent.get_or_insert(depth);
        let Some((path, rest)) = head(&line[depth..]).filter(|_| depth == indent) else {
            // Something this reading does not follow; the value before it may go on here.
            last.take().map(|path| slices.remove(path));
            continue;
        };
        let start = at;
        while lines
            .get(at)
            .is_some_and(|line| is_blank(line) || depth_of(line) > indent)
        {
            at += 1;
        }
        let mut block = &lines[start..at];
        while block.last().is_some_and(|line| is_blank(line)) {
            block = &block[..block.len() - 1];
        }
        if let Some(text) = value_text(rest, block, indent) {
            slices.insert(path.to_owned(), text);
            last = Some(path);
        }
    }
    found
}

/// The value after a key: what follows on its line, and the lines below it moved to the left.
fn value_text(rest: &str, block: &[&str], indent: usize) -> Option<String> {
    if block.is_empty() {
        return Some(rest.to_owned());
    }
    let left = if rest.is_empty() || rest.starts_with('#') {
        block
            .iter()
            .filter(|line| !is_blank(line))
            .map(|line| depth_of(line))
            .min()?
    } else {
        indent + 2
    };
    let mut text = String::new();
    if !rest.is_empty() {
        text.push_str(rest);
        text.push('\n');
    }
    for line in block {
        match line.get(left..) {
            Some(line_text) if depth_of(line) >= left => text.push_str(line_text),
            _ if is_blank(line) => {}
            _ => return None,
        }
        text.push('\n');
    }
    Some(text)
}

/// `name: rest` of a line without its indentation.
fn head(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.split_once(':')?;
    let spaced = rest.is_empty() || rest.starts_with(' ');
    (spaced && check_path(name).is_ok()).then(|| (name, rest.trim()))
}

fn depth_of(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

fn is_blank(line: &str) -> bool {
    line.trim_matches(' ').is_empty()
}
