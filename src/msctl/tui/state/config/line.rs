//! A line of the list of keys: a key, a folder of the tree, or what stands in etcd below the prefix
//! and is no key. Nothing that is stored is left out of sight.

use std::sync::Arc;

use fleet::Entry;
use fleet::filter::{Field, Row};

use super::KeyRow;
use super::tree::{Folder, Place};

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// A key and where it stands in the tree; a flat list has no places.
    Key(Box<KeyRow>, Place),
    /// Several keys.
    Folder(Folder),
    /// No key.
    Stray(Box<Stray>),
}

/// What stands below the prefix of config and is no config key.
#[derive(Clone, Debug, PartialEq)]
pub struct Stray {
    /// What stands there.
    pub entry: Entry,
    /// What it is called below its service, or below the prefix where it has none.
    pub name: String,
    /// What it is.
    pub kind: StrayKind,
}

/// What a stray is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StrayKind {
    /// The record of a canary, in a few words.
    Canary(String),
    /// It cannot be read, for this reason.
    Unreadable(String),
}

impl Line {
    /// What tells it from the others: a key's path has no `/` and no dot at its end.
    pub fn id(&self) -> Arc<str> {
        match self {
            Self::Key(row, _) => Arc::clone(&row.path),
            Self::Folder(folder) => folder.id(),
            Self::Stray(stray) => format!("/{}", stray.entry.key).into(),
        }
    }

    /// The key, where it is one.
    pub fn key(&self) -> Option<&KeyRow> {
        match self {
            Self::Key(row, _) => Some(row),
            Self::Folder(_) | Self::Stray(_) => None,
        }
    }
}

impl Row for Stray {
    fn contains(&self, word: &str) -> bool {
        let (StrayKind::Canary(why) | StrayKind::Unreadable(why)) = &self.kind;
        self.name.to_lowercase().contains(word) || why.to_lowercase().contains(word)
    }

    fn field(&self, name: &str) -> Option<Field<'_>> {
        match name {
            "key" => Some(Field::Text(&self.name)),
            "revision" | "since" => Some(Field::Number(self.entry.mod_revision.0 as f64)),
            _ => None,
        }
    }
}
