//! Config as one YAML tree: scope → dotted key → value. What `export` writes and `apply` reads.
//!
//! A value's text survives the way out and back byte for byte, comments included: it stands in the
//! tree as it is where YAML allows it, and tagged `!raw` where it does not. The same keys give the
//! same bytes: no time, no revision, no order but that of the names.

use std::collections::BTreeMap;

use serde_yaml::Value;

use super::value::{ValueError, ValueText};
use super::{ConfigKey, ConfigKeyError, Scope};
use crate::safe::escape;
use crate::service::NameError;

mod lines;
mod read;
mod write;

pub use read::{from_yaml, from_yaml_scope};
pub use write::{Export, export};

/// The tag of a value whose text YAML could not hold as it is.
const RAW: &str = "raw";
/// The tag of a value that is no text, in base64.
const BINARY: &str = "binary";
/// The tag of a secret that was not exported; reading it back leaves the key as it is.
const MASKED: &str = "masked";

/// The largest tree that is read.
pub const MAX_TREE: usize = 64 * 1024 * 1024;

/// Keys with what they are to become.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tree {
    /// The scopes it speaks of, also those without a key: pruning is about these alone.
    pub scopes: Vec<Scope>,
    /// What it says of each key.
    pub leaves: BTreeMap<ConfigKey, Leaf>,
}

/// What a tree says of one key.
#[derive(Debug, Clone, PartialEq)]
pub enum Leaf {
    /// Exactly this text, comments and all.
    Text(ValueText),
    /// Any text that means this: the tree's own notation cannot be kept.
    Meaning(Value),
    /// Exactly these bytes, which are no text.
    Bytes(Vec<u8>),
    /// A secret that was not exported: it stays as it is.
    Masked,
}

/// Why a text is no tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// More than is read.
    #[error("the tree has {0} bytes, at most {MAX_TREE} are read; split it by service")]
    TooLarge(usize),
    /// The format says no.
    #[error("not {format}: {cause}")]
    Syntax {
        /// YAML, JSON, TOML, …
        format: &'static str,
        /// Line and reason, safe to show.
        cause: String,
    },
    /// Something else than a mapping.
    #[error("{place} is {found}; wanted is a mapping of {wanted}")]
    Shape {
        /// Where.
        place: String,
        /// What is there.
        found: &'static str,
        /// What should be.
        wanted: &'static str,
    },
    /// The name of a scope.
    #[error("the service at the top of the tree: {0}")]
    Scope(#[from] NameError),
    /// The name of a key.
    #[error("in {scope}: {source}")]
    Key {
        /// The scope it stands in.
        scope: Scope,
        /// What is wrong with it.
        #[source]
        source: ConfigKeyError,
    },
    /// A value.
    #[error("{key}: {source}")]
    Value {
        /// The key.
        key: ConfigKey,
        /// What is wrong with it.
        #[source]
        source: ValueError,
    },
    /// A key twice: once in another notation.
    #[error("{0} stands in the tree twice; keep one")]
    Twice(ConfigKey),
}

impl TreeError {
    pub(crate) fn syntax(format: &'static str, cause: &impl ToString) -> Self {
        Self::Syntax {
            format,
            cause: escape(&cause.to_string()).into_owned(),
        }
    }
}

impl Tree {
    /// Adds a scope, with or without keys.
    pub(crate) fn speak_of(&mut self, scope: &Scope) {
        if !self.scopes.contains(scope) {
            self.scopes.push(scope.clone());
        }
    }

    pub(crate) fn add(&mut self, scope: &Scope, path: &str, leaf: Leaf) -> Result<(), TreeError> {
        let key = ConfigKey::new(scope.clone(), path).map_err(|source| TreeError::Key {
            scope: scope.clone(),
            source,
        })?;
        match self.leaves.insert(key.clone(), leaf) {
            None => Ok(()),
            Some(_) => Err(TreeError::Twice(key)),
        }
    }

    /// Puts several trees together.
    ///
    /// # Errors
    /// [`TreeError::Twice`] when two of them speak of one key.
    pub fn merge(trees: impl IntoIterator<Item = Self>) -> Result<Self, TreeError> {
        let mut whole = Self::default();
        for tree in trees {
            for scope in &tree.scopes {
                whole.speak_of(scope);
            }
            for (key, leaf) in tree.leaves {
                if whole.leaves.insert(key.clone(), leaf).is_some() {
                    return Err(TreeError::Twice(key));
                }
            }
        }
        Ok(whole)
    }
}

/// The text that a value of another notation gets in the store.
#[must_use]
pub fn text_of(value: &Value) -> String {
    let mut text = serde_yaml::to_string(value).unwrap_or_default();
    let one_line = text.trim_end_matches('\n').len();
    if !text[..one_line].contains('\n') {
        text.truncate(one_line);
    }
    text
}

pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Sequence(_) => "a list",
        Value::Mapping(_) => "a mapping",
        Value::Tagged(_) => "a tagged value",
    }
}

#[cfg(test)]
mod tests;
