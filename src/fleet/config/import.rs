//! Config from other notations: JSON, TOML, `.env`, `.properties`, and YAML.
//!
//! Notations that only know nesting are taken apart into dotted keys. Texts that have no types of
//! their own (`.env`, `.properties`) are read as YAML scalars, as environment variables are; what
//! is none becomes a text.

use std::path::Path;

use serde_yaml::{Mapping, Value};

use super::tree::{self, Leaf, MAX_TREE, Tree, TreeError};
use super::{Scope, flatten};

mod env;
mod properties;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// `.yaml`, `.yml`
    Yaml,
    /// `.json`
    Json,
    /// `.toml`
    Toml,
    /// `.env`
    Env,
    /// `.properties`
    Properties,
}

impl Notation {
    /// Told from the name of a file: `order.yaml`, `.env`, `prod.env`.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        if name == ".env" || name.starts_with(".env.") {
            return Some(Self::Env);
        }
        Self::parse(path.extension()?.to_str()?)
    }

    /// Told from its name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            "toml" => Some(Self::Toml),
            "env" => Some(Self::Env),
            "properties" => Some(Self::Properties),
            _ => None,
        }
    }

    /// Whether it can hold several services at its top.
    #[must_use]
    pub const fn has_scopes(self) -> bool {
        matches!(self, Self::Yaml | Self::Json | Self::Toml)
    }
}

/// Reads the keys of one scope. `known` are the paths the scope has already: variables of `.env`
/// have no case, and a known path says which is meant.
///
/// # Errors
/// [`TreeError`] names the line or key and the cause.
pub fn read_scope<'k>(
    notation: Notation,
    text: &str,
    scope: &Scope,
    known: impl IntoIterator<Item = &'k str>,
) -> Result<Tree, TreeError> {
    let mut tree = Tree::default();
    tree.speak_of(scope);
    match notation {
        Notation::Yaml => return tree::from_yaml_scope(text, scope),
        Notation::Json | Notation::Toml => {
            add_members(&mut tree, scope, nested(notation, text)?)?;
        }
        Notation::Env => {
            let known: Vec<_> = known.into_iter().collect();
            for (name, value) in env::read(bounded(text)?)? {
                let path = env::path_of(scope, &name, &known);
                tree.add(scope, &path, scalar(&value))?;
            }
        }
        Notation::Properties => {
            for (path, value) in properties::read(bounded(text)?)? {
                tree.add(scope, &path, scalar(&value))?;
            }
        }
    }
    Ok(tree)
}

/// Reads scopes with their keys; `None` for a notation that has no scopes.
///
/// # Errors
/// [`TreeError`] names the key and the cause.
pub fn read_tree(notation: Notation, text: &str) -> Option<Result<Tree, TreeError>> {
    match notation {
        Notation::Yaml => Some(tree::from_yaml(text)),
        Notation::Json | Notation::Toml => Some(nested(notation, text).and_then(|scopes| {
            let mut tree = Tree::default();
            for (name, keys) in scopes {
                let scope = Scope::parse(name.as_str().unwrap_or_default())?;
                tree.speak_of(&scope);
                match keys {
                    Value::Mapping(keys) => add_members(&mut tree, &scope, keys)?,
                    other => {
                        return Err(TreeError::Shape {
                            place: scope.to_string(),
                            found: tree::kind(&other),
                            wanted: "keys",
                        });
                    }
                }
            }
            Ok(tree)
        })),
        Notation::Env | Notation::Properties => None,
    }
}

fn bounded(text: &str) -> Result<&str, TreeError> {
    if text.len() > MAX_TREE {
        return Err(TreeError::TooLarge(text.len()));
    }
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn nested(notation: Notation, text: &str) -> Result<Mapping, TreeError> {
    let text = bounded(text)?;
    let read = match notation {
        Notation::Toml => {
            let table: toml::Table = toml::from_str(text)
                .map_err(|error| TreeError::syntax("TOML", &error.message()))?;
            from_toml(toml::Value::Table(table))
        }
        _ => serde_json::from_str::<Value>(text)
            .map_err(|error| TreeError::syntax("JSON", &error))?,
    };
    match read {
        Value::Mapping(members) => Ok(members),
        other => Err(TreeError::Shape {
            place: "the top of the file".into(),
            found: tree::kind(&other),
            wanted: "names and values",
        }),
    }
}

/// TOML's dates become texts: YAML's core has none.
fn from_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Datetime(date) => date.to_string().into(),
        toml::Value::Array(items) => Value::Sequence(items.into_iter().map(from_toml).collect()),
        toml::Value::Table(members) => Value::Mapping(
            members
                .into_iter()
                .map(|(name, member)| (name.into(), from_toml(member)))
                .collect(),
        ),
    }
}

fn add_members(tree: &mut Tree, scope: &Scope, members: Mapping) -> Result<(), TreeError> {
    for (name, member) in members {
        let mut leaves = Vec::new();
        flatten(name.as_str().unwrap_or_default(), &member, &mut leaves);
        for (path, value) in leaves {
            tree.add(scope, &path, Leaf::Meaning(value))?;
        }
    }
    Ok(())
}

/// A text without a type of its own. What YAML would shorten (a comment, line ends) is a text.
fn scalar(text: &str) -> Leaf {
    match super::value::parse(text.as_bytes()) {
        Ok(Value::Null | Value::Tagged(_)) | Err(_) => Leaf::Meaning(text.into()),
        Ok(Value::String(read)) if read != text && !text.starts_with(['"', '\'']) => {
            Leaf::Meaning(text.into())
        }
        Ok(value) => Leaf::Meaning(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn order() -> Scope {
        Scope::parse("order").unwrap()
    }

    fn check(notation: Notation, text: &str, wanted: &[(&str, &str)]) {
        let known = ["page-size", "maxSize"];
        let tree = read_scope(notation, text, &order(), known)
            .unwrap_or_else(|error| panic!("{error}\n{text}"));
        let read: Vec<_> = tree
            .leaves
            .iter()
            .map(|(key, leaf)| match leaf {
                Leaf::Meaning(value) => (key.path(), super::super::value::one_line(value)),
                other => panic!("{other:?}"),
            })
            .collect();
        let read: Vec<_> = read.iter().map(|(path, text)| (*path, &**text)).collect();
        assert_eq!(read, wanted, "{text}");
    }

    #[test]
    fn nested_notations_become_dotted_keys() {
        let wanted = [
            ("a.b", "5s"),
            ("a.c", "[1, 2.5]"),
            ("on", "true"),
            ("x.y", "7"),
        ];
        check(
            Notation::Json,
            r#"{"a": {"b": "5s", "c": [1, 2.5]}, "on": true, "x.y": 7}"#,
            &wanted,
        );
        check(
            Notation::Toml,
            "on = true # why\n\"x.y\" = 7\n[a]\nb = \"5s\"\nc = [1, 2.5]\n",
            &wanted,
        );
        check(Notation::Toml, "day = 2026-11-22", &[("day", "2026-11-22")]);
    }

    #[test]
    fn variables_become_the_paths_they_mean() {
        check(
            Notation::Env,
            "\
# comment
export ORDER__TIMEOUT__WRITE=5s
PAGE_SIZE=50   # a comment
MAXSIZE='10MiB'
BANNER=\"two\\nlines # not a comment\"
LIST=[a, b]
EMPTY=
",
            &[
                ("banner", "\"two\\nlines # not a comment\""),
                ("empty", "''"),
                ("list", "[a, b]"),
                ("maxSize", "10MiB"),
                ("page-size", "50"),
                ("timeout.write", "5s"),
            ],
        );
    }

    #[test]
    fn properties_are_read_as_java_does() {
        check(
            Notation::Properties,
            "! comment\ntimeout.write = 5s\npage.size:50\nflag true\ntext=a\\\n   b\\u00e9\\tc\nempty=\n",
            &[
                ("empty", "''"),
                ("flag", "true"),
                ("page.size", "50"),
                ("text", "\"abé\\tc\""),
                ("timeout.write", "5s"),
            ],
        );
    }

    #[test]
    fn a_fault_is_named_with_its_line() {
        for (notation, text, wanted) in [
            (
                Notation::Json,
                "{\"a\": }",
                "not JSON: expected value at line 1",
            ),
            (Notation::Json, "[1]", "the top of the file is a list"),
            (
                Notation::Json,
                "{\"a b\": 1}",
                "in order: the key after the '/'",
            ),
            (Notation::Toml, "a = ", "not TOML"),
            (Notation::Env, "A=1\nno variable\n", "not .env: line 2"),
            (Notation::Env, "A=\"open", "line 1: the quote is not closed"),
            (
                Notation::Env,
                "A=1\na=2",
                "order/a stands in the tree twice",
            ),
            (Notation::Properties, "a=\\u00zz", "not .properties: line 1"),
            (Notation::Properties, "a=1\na=2", "twice"),
        ] {
            let error = read_scope(notation, text, &order(), [])
                .unwrap_err()
                .to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn several_services_stand_in_one_file_where_the_notation_nests() {
        let tree = read_tree(
            Notation::Json,
            r#"{"order": {"a": {"b": 1}}, "global": {"c": 2}}"#,
        );
        let tree = tree.unwrap().unwrap();
        let keys: Vec<_> = tree.leaves.keys().map(ToString::to_string).collect();
        assert_eq!(keys, ["global/c", "order/a.b"]);
        assert!(read_tree(Notation::Env, "A=1").is_none());
        assert!(read_tree(Notation::Toml, "order = 1").unwrap().is_err());
    }

    #[test]
    fn a_notation_is_told_from_the_name() {
        for (name, wanted) in [
            ("order.yaml", Some(Notation::Yaml)),
            ("a/order.YML", Some(Notation::Yaml)),
            (".env", Some(Notation::Env)),
            (".env.prod", Some(Notation::Env)),
            ("prod.env", Some(Notation::Env)),
            ("a.properties", Some(Notation::Properties)),
            ("README.md", None),
            ("order", None),
        ] {
            assert_eq!(Notation::of(Path::new(name)), wanted, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[ \\na-c=:#\"'\\\\\\[\\]{}u0]{0,60}") {
            for notation in [Notation::Json, Notation::Toml, Notation::Env, Notation::Properties] {
                let _ = read_scope(notation, &text, &order(), []);
                let _ = read_tree(notation, &text);
            }
        }
    }
}
