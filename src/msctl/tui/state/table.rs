//! A list one moves in: cursor, scroll, sort, marks. The cursor stays on its item when rows come, go
//! or change places, since it is held by identity; the index is only where that item stands now.

use std::collections::HashSet;
use std::hash::Hash;

/// Which column orders the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sort {
    /// Index into the page's columns.
    pub column: usize,
    /// Greatest first.
    pub descending: bool,
}

/// A move of the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    /// One row or several; negative is up.
    Rows(isize),
    /// Half a page down or up.
    Half(isize),
    /// A page down or up.
    Page(isize),
    /// The first row.
    Top,
    /// The last row.
    Bottom,
}

/// Cursor, scroll and sort of one list whose items are known by `K`.
#[derive(Clone, Debug)]
pub struct Table<K> {
    selected: Option<K>,
    /// Whether the user put the cursor where it is. Until then it stays on the first row.
    placed: bool,
    cursor: usize,
    offset: usize,
    height: usize,
    /// The order.
    pub sort: Sort,
    marks: HashSet<K>,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self {
            selected: None,
            placed: false,
            cursor: 0,
            offset: 0,
            height: 1,
            sort: Sort::default(),
            marks: HashSet::new(),
        }
    }
}

impl<K: Clone + Eq + Hash> Table<K> {
    /// Moves, in rows whose identities are `keys(index)`, `len` of them.
    pub fn go(&mut self, motion: Motion, len: usize, keys: impl Fn(usize) -> K) {
        let half = isize::try_from(self.height / 2).unwrap_or(1).max(1);
        let page = isize::try_from(self.height).unwrap_or(1).max(1);
        let by = match motion {
            Motion::Rows(by) => by,
            Motion::Half(sign) => sign * half,
            Motion::Page(sign) => sign * page,
            Motion::Top => isize::MIN,
            Motion::Bottom => isize::MAX,
        };
        self.select(self.cursor.saturating_add_signed(by), len, keys);
        self.placed = true;
    }

    /// Puts the cursor on a row, or the nearest there is.
    pub fn select(&mut self, row: usize, len: usize, keys: impl Fn(usize) -> K) {
        self.cursor = row.min(len.saturating_sub(1));
        self.selected = (len > 0).then(|| keys(self.cursor));
        self.scroll(len);
    }

    /// Puts the cursor on an item that may appear only later.
    pub fn select_key(&mut self, key: K) {
        self.selected = Some(key);
        self.placed = true;
    }

    /// Forgets where the cursor was: another list shows.
    pub fn restart(&mut self) {
        self.selected = None;
        self.placed = false;
        self.cursor = 0;
        self.offset = 0;
        self.marks.clear();
    }

    /// Finds the cursor's item again after the rows changed. An item that is gone leaves the cursor
    /// at its place, on its successor.
    pub fn follow(&mut self, len: usize, keys: impl Fn(usize) -> K) {
        if !self.placed {
            return self.select(0, len, keys);
        }
        if let Some(selected) = &self.selected {
            let here = self.cursor < len && keys(self.cursor) == *selected;
            if !here && let Some(found) = (0..len).find(|row| keys(*row) == *selected) {
                self.cursor = found;
                self.scroll(len);
                return;
            }
            if here {
                self.scroll(len);
                return;
            }
        }
        self.select(self.cursor, len, keys);
    }

    /// Tells how many rows the pane shows.
    pub fn resize(&mut self, height: usize, len: usize) {
        self.height = height;
        self.scroll(len);
    }

    fn scroll(&mut self, len: usize) {
        let height = self.height.max(1);
        if self.cursor < self.offset {
            self.offset = self.cursor;
        } else if self.cursor >= self.offset + height {
            self.offset = self.cursor + 1 - height;
        }
        self.offset = self.offset.min(len.saturating_sub(height));
    }

    /// The row under the cursor.
    pub fn cursor(&self) -> usize {
        self.cursor
    }

    /// The item under the cursor, if it was ever there.
    pub fn selected(&self) -> Option<&K> {
        self.selected.as_ref()
    }

    /// The rows that show, of `len`.
    pub fn visible(&self, len: usize) -> std::ops::Range<usize> {
        self.offset.min(len)..(self.offset + self.height).min(len)
    }

    /// Marks the item, or takes its mark away.
    pub fn toggle_mark(&mut self, key: &K) {
        if !self.marks.remove(key) {
            self.marks.insert(key.clone());
        }
    }

    /// Whether the item is marked.
    pub fn is_marked(&self, key: &K) -> bool {
        !self.marks.is_empty() && self.marks.contains(key)
    }

    /// The marked items.
    pub fn marks(&self) -> &HashSet<K> {
        &self.marks
    }

    /// Takes all marks away.
    pub fn clear_marks(&mut self) {
        self.marks.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_cursor_stays_on_its_item_when_rows_move() {
        let mut table = Table::default();
        let rows = ["a", "b", "c", "d"];
        table.resize(2, rows.len());
        table.go(Motion::Rows(2), rows.len(), |i| rows[i]);
        assert_eq!(table.selected(), Some(&"c"));
        let rows = ["c", "d", "a", "b", "x"];
        table.follow(rows.len(), |i| rows[i]);
        assert_eq!((table.cursor(), table.selected()), (0, Some(&"c")));
        let rows = ["d", "a"];
        table.follow(rows.len(), |i| rows[i]);
        assert_eq!(table.selected(), Some(&"d"));
    }

    proptest! {
        #[test]
        fn the_cursor_is_always_visible(
            len in 0usize..200, height in 1usize..40,
            steps in prop::collection::vec((0u8..6, -50isize..50), 0..30),
        ) {
            let mut table = Table::default();
            table.resize(height, len);
            for (kind, by) in steps {
                let motion = match kind {
                    0 => Motion::Rows(by),
                    1 => Motion::Half(by.signum()),
                    2 => Motion::Page(by.signum()),
                    3 => Motion::Top,
                    4 => Motion::Bottom,
                    _ => { table.resize(by.unsigned_abs().max(1), len); continue }
                };
                table.go(motion, len, |i| i);
                prop_assert!(len == 0 || table.visible(len).contains(&table.cursor()));
            }
        }
    }
}
