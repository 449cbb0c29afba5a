//! The keys of a service as a tree: what the user folds, and where the cursor is after it.

use std::sync::Arc;

use super::tree::{Arrangement, Node, outline};
use super::{ConfigPage, KeyRow, Line};

impl ConfigPage {
    /// Rows in the order of their names as a tree. A filter is to show what it finds: nothing is
    /// folded under it.
    pub(super) fn fold(&self, rows: Vec<KeyRow>) -> Vec<Line> {
        let filtered = !self.keys.filter_text().is_empty();
        let folded = |path: &str| {
            let scope = self.scope.as_ref().filter(|_| !filtered);
            scope.is_some_and(|scope| self.folds.is_folded(scope, path))
        };
        let paths: Vec<&str> = rows.iter().map(|row| &*row.path).collect();
        let nodes = outline(&paths, &folded);
        let mut rows: Vec<Option<KeyRow>> = rows.into_iter().map(Some).collect();
        let lines = nodes.into_iter().filter_map(|node| match node {
            Node::Folder(folder) => Some(Line::Folder(folder)),
            Node::Key(at, place) => {
                let row = rows.get_mut(at)?.take()?;
                Some(Line::Key(Box::new(row), place))
            }
        });
        lines.collect()
    }

    /// Lays the keys out the other way. What is under the cursor stays there; in place of a folder
    /// its first key.
    pub fn toggle_tree(&mut self) {
        let first = match self.keys.current() {
            Some(Line::Folder(folder)) => Some(Arc::clone(&folder.first)),
            _ => None,
        };
        self.arrangement = match self.arrangement {
            Arrangement::Flat => Arrangement::Tree,
            Arrangement::Tree => Arrangement::Flat,
        };
        let here = self.keys.current().map(Line::id);
        if let Some(path) = first.or(here) {
            self.unfold_to(&path);
            self.keys.table.select_key(path);
        }
        self.keys.outdate_now();
    }

    /// Unfolds the folders that a key stands in.
    pub fn unfold_to(&mut self, path: &str) {
        if let Some(scope) = &self.scope {
            self.folds.unfold_to(scope, path);
        }
    }

    /// Folds or unfolds the folder under the cursor, or the one that the key under it stands in.
    /// Returns whether there is one.
    pub fn toggle_fold(&mut self) -> bool {
        let cursor = self.keys.table.cursor();
        let Some(scope) = self.scope.clone() else {
            return false;
        };
        let above = self.keys.rows().iter().take(cursor + 1).rev();
        let mut folders = above.filter_map(|line| match line {
            Line::Folder(folder) => Some(folder),
            Line::Key(..) | Line::Stray(_) => None,
        });
        let folder = match self.keys.current() {
            Some(Line::Folder(_)) => folders.next(),
            Some(Line::Key(row, _)) => folders.find(|folder| folder.holds(&row.path)),
            Some(Line::Stray(_)) | None => None,
        };
        let Some((path, id)) = folder.map(|folder| (folder.path.clone(), folder.id())) else {
            return false;
        };
        self.folds.toggle(&scope, &path);
        self.keys.table.select_key(id);
        self.keys.outdate_now();
        true
    }
}
