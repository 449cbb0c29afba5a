//! A filtered, ordered list of rows with a cursor: the cache between the fleet and the screen. Rows
//! are rebuilt when what they come from, the filter or the order changed, and never while drawing.

use std::hash::Hash;
use std::time::Duration;

use fleet::filter::Filter;

use super::table::{Motion, Table};

/// A large list is rebuilt at most this often per thousand rows, so that a flood of changes leaves
/// time for keys.
const REST_PER_THOUSAND: Duration = Duration::from_millis(2);

/// Rows of type `R`, known by `K`.
#[derive(Clone, Debug)]
pub struct List<K, R> {
    /// Cursor, scroll, sort, marks.
    pub table: Table<K>,
    filter: Filter,
    filter_text: String,
    rows: Vec<R>,
    total: usize,
    outdated: bool,
    narrowed: bool,
    built: Option<Duration>,
}

impl<K, R> Default for List<K, R> {
    fn default() -> Self {
        Self {
            table: Table::default(),
            filter: Filter::default(),
            filter_text: String::new(),
            rows: Vec::new(),
            total: 0,
            outdated: true,
            narrowed: false,
            built: None,
        }
    }
}

impl<K: Clone + Eq + Hash, R> List<K, R> {
    /// The rows that pass, in order.
    pub fn rows(&self) -> &[R] {
        &self.rows
    }

    /// How many there were before the filter.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Says that the rows' sources changed.
    pub fn outdate(&mut self) {
        self.outdated = true;
        self.narrowed = false;
    }

    /// Says that the next [`List::wants_build`] must not wait: the user asked.
    pub fn outdate_now(&mut self) {
        self.outdated = true;
        self.narrowed = false;
        self.built = None;
    }

    /// Whether the rows are old and it is time to make them anew.
    pub fn wants_build(&self, now: Duration) -> bool {
        self.outdated && self.build_due().is_none_or(|due| now >= due)
    }

    /// When an outdated list may be rebuilt; `None` is at once.
    pub fn build_due(&self) -> Option<Duration> {
        let thousands = u32::try_from(self.total / 1_000).unwrap_or(u32::MAX);
        self.built
            .map(|built| built + REST_PER_THOUSAND.saturating_mul(thousands))
    }

    /// Whether the rows are older than what they come from.
    pub fn is_outdated(&self) -> bool {
        self.outdated
    }

    /// Takes new rows, keeping the cursor on its item.
    pub fn fill(&mut self, now: Duration, rows: Vec<R>, total: usize, key: impl Fn(&R) -> K) {
        self.rows = rows;
        self.total = total;
        self.outdated = false;
        self.narrowed = false;
        self.built = Some(now);
        let rows = &self.rows;
        self.table.follow(rows.len(), |row| key(&rows[row]));
    }

    /// Moves the cursor.
    pub fn go(&mut self, motion: Motion, key: impl Fn(&R) -> K) {
        let rows = &self.rows;
        self.table.go(motion, rows.len(), |row| key(&rows[row]));
    }

    /// Puts the cursor on the row that shows at `line` of the pane.
    pub fn click(&mut self, line: usize, key: impl Fn(&R) -> K) {
        let rows = &self.rows;
        let row = self.table.visible(rows.len()).start + line;
        if row < rows.len() {
            self.table.select(row, rows.len(), |row| key(&rows[row]));
            self.table
                .go(Motion::Rows(0), rows.len(), |row| key(&rows[row]));
        }
    }

    /// Tells how many rows show.
    pub fn resize(&mut self, height: u16) {
        self.table.resize(usize::from(height), self.rows.len());
    }

    /// The row under the cursor.
    pub fn current(&self) -> Option<&R> {
        self.rows.get(self.table.cursor())
    }

    /// The rows that show, with their index.
    pub fn visible(&self) -> impl Iterator<Item = (usize, &R)> {
        let range = self.table.visible(self.rows.len());
        range.clone().zip(self.rows.get(range).unwrap_or_default())
    }

    /// Narrows the list.
    pub fn set_filter(&mut self, text: &str) {
        // A longer word of the same kind admits no row that the shorter one did not.
        let narrows = !self.outdated
            && text.len() > self.filter_text.len()
            && text.starts_with(&self.filter_text)
            && !text.contains(['!', '<', '>', '=']);
        self.filter = Filter::parse(text);
        text.clone_into(&mut self.filter_text);
        self.outdate_now();
        self.narrowed = narrows;
    }

    /// Whether the rows to come are among those that are here: only a longer filter was typed.
    pub fn narrows(&self) -> bool {
        self.narrowed
    }

    /// What narrows it.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// What narrows it, as typed.
    pub fn filter_text(&self) -> &str {
        &self.filter_text
    }

    /// Orders by the next of `columns` columns, or turns the order round.
    pub fn sort_next(&mut self, columns: usize) {
        self.table.sort.column = (self.table.sort.column + 1) % columns.max(1);
        self.table.sort.descending = false;
        self.outdate_now();
    }

    /// Orders by a column; the second time downwards.
    pub fn sort_by(&mut self, column: usize) {
        let sort = &mut self.table.sort;
        sort.descending = sort.column == column && !sort.descending;
        sort.column = column;
        self.outdate_now();
    }

    /// Turns the order round.
    pub fn reverse(&mut self) {
        self.table.sort.descending = !self.table.sort.descending;
        self.outdate_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_list_is_not_rebuilt_for_every_change() {
        let mut list: List<usize, usize> = List::default();
        let at = Duration::from_secs(1);
        assert!(list.wants_build(at));
        list.fill(at, (0..100_000).collect(), 100_000, |row| *row);
        list.outdate();
        assert!(!list.wants_build(at + Duration::from_millis(100)));
        assert!(list.wants_build(at + Duration::from_millis(250)));
        list.set_filter("x");
        assert!(list.wants_build(at));
    }

    #[test]
    fn only_a_longer_filter_over_rows_of_today_narrows() {
        let mut list: List<usize, usize> = List::default();
        let at = Duration::from_secs(1);
        for (text, narrows) in [
            ("a", true),
            ("ab", true),
            ("ab c", true),
            ("a", false),
            ("a !b", false),
            ("", false),
            ("", false),
        ] {
            list.fill(at, vec![1, 2], 2, |row| *row);
            list.set_filter(text);
            assert_eq!(list.narrows(), narrows, "{text}");
        }
        list.fill(at, vec![1, 2], 2, |row| *row);
        list.set_filter("x");
        list.outdate();
        assert!(!list.narrows());
    }
}
