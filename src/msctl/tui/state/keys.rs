//! The Keys page: the raw keys below the context's prefixes, as they were when they were listed.

use std::time::Duration;

use fleet::Key;
use fleet::filter::{Field, Row};

use super::list::List;
use super::table::Sort;
use crate::tui::event::KeyFacts;

/// How many columns the keys can be ordered by: key, revision, times written.
pub const COLUMNS: usize = 3;

/// The page.
#[derive(Debug, Default)]
pub struct KeysPage {
    /// The keys that pass the filter.
    pub list: List<Key, KeyFacts>,
    listed: Vec<KeyFacts>,
    /// Whether there are more than were listed.
    pub more: bool,
    /// Whether the list was asked for and has not come.
    pub asked: bool,
    /// Why it could not be listed.
    pub error: Option<String>,
}

impl KeysPage {
    /// Takes in a list.
    pub fn take(&mut self, listed: Result<(Vec<KeyFacts>, bool), String>) {
        self.asked = false;
        match listed {
            Ok((keys, more)) => {
                self.listed = keys;
                self.more = more;
                self.error = None;
            }
            Err(error) => self.error = Some(error),
        }
        self.list.outdate_now();
    }

    /// Makes the rows anew where it is time.
    pub fn rebuild(&mut self, now: Duration) -> bool {
        if !self.list.wants_build(now) {
            return false;
        }
        let filter = self.list.filter();
        let mut rows: Vec<KeyFacts> = self
            .listed
            .iter()
            .filter(|row| filter.matches(*row))
            .cloned()
            .collect();
        // etcd lists them in the order of the keys, and the sorts are stable.
        let Sort { column, descending } = self.list.table.sort;
        match column {
            1 => rows.sort_by_key(|row| row.mod_revision),
            2 => rows.sort_by_key(|row| row.version),
            _ => {}
        }
        if descending {
            rows.reverse();
        }
        self.list
            .fill(now, rows, self.listed.len(), |row| row.key.clone());
        true
    }
}

impl Row for KeyFacts {
    fn contains(&self, word: &str) -> bool {
        self.key.to_string().to_lowercase().contains(word)
    }

    fn field(&self, name: &str) -> Option<Field<'_>> {
        match name {
            "revision" => Some(Field::Number(self.mod_revision.0 as f64)),
            "version" => Some(Field::Number(self.version as f64)),
            _ => None,
        }
    }
}
