//! The trees that people mostly keep, read line by line without a YAML parser: names at the left,
//! below them keys with values of one line, blank lines and comments.
//!
//! Such a tree means exactly what the parser says of it; of any other nothing is said, and the
//! parser is asked.

use super::read::Top;
use super::{Leaf, MAX_TREE, Tree};
use crate::config::value::ValueText;
use crate::config::value::plain::{self, ends, is_name, is_printable};
use crate::config::{ConfigKey, Scope};

/// Reads scopes with their keys; `None` says nothing of the text.
pub(super) fn read(text: &str) -> Option<Tree> {
    let mut tree = Tree::default();
    let mut scope: Option<Scope> = None;
    let mut indent = None;
    for line in lines(text, Top::Scopes)? {
        let (depth, line) = line?;
        if depth == 0 {
            let (name, rest) = line.split_once(':')?;
            (is_name(name) && ends(rest) && is_printable(rest)).then_some(())?;
            let named = Scope::parse(name).ok()?;
            // The parser refuses a name that comes twice.
            (!tree.scopes.contains(&named)).then(|| tree.speak_of(&named))?;
            (scope, indent) = (Some(named), None);
        } else {
            add(&mut tree, scope.as_ref()?, &mut indent, depth, line)?;
        }
    }
    Some(tree)
}

/// Reads the keys of one scope; `None` says nothing of the text.
pub(super) fn read_scope(text: &str, scope: &Scope) -> Option<Tree> {
    let mut tree = Tree::default();
    tree.speak_of(scope);
    let mut indent = Some(0);
    for line in lines(text, Top::Keys)? {
        let (depth, line) = line?;
        add(&mut tree, scope, &mut indent, depth, line)?;
    }
    Some(tree)
}

/// The lines that say something, each with its depth; `None` stands for one that is not followed.
fn lines(text: &str, top: Top) -> Option<impl Iterator<Item = Option<(usize, &str)>>> {
    (text.len() <= MAX_TREE).then_some(())?;
    // How far in a comment may stand.
    let mut deepest = usize::MAX;
    let lines = text.split('\n').filter_map(move |line| {
        let content = line.trim_start_matches(' ');
        let depth = line.len() - content.len();
        if content.is_empty() {
            return None;
        }
        if content.starts_with('#') {
            // Further in than the key above, it belongs to that key's value.
            let apart = depth <= deepest && is_printable(content);
            return (!apart).then_some(None);
        }
        let opens = depth == 0 && top == Top::Scopes;
        deepest = if opens { usize::MAX } else { depth };
        Some(Some((depth, content)))
    });
    Some(lines)
}

fn add(
    tree: &mut Tree,
    scope: &Scope,
    indent: &mut Option<usize>,
    depth: usize,
    line: &str,
) -> Option<()> {
    (depth == *indent.get_or_insert(depth)).then_some(())?;
    let (path, rest) = line.split_once(':')?;
    let value = rest.strip_prefix(' ')?.trim_matches(' ');
    is_name(path).then_some(())?;
    let key = ConfigKey::new(scope.clone(), path).ok()?;
    let leaf = Leaf::Text(ValueText::of(value, plain::read(value)?));
    // The parser refuses a key that comes twice.
    tree.leaves.insert(key, leaf).is_none().then_some(())
}
