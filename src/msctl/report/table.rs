//! Aligned columns. Cells are escaped when they are made, widths are those of a terminal, and only
//! the last column gives way when the terminal is too narrow.

use std::io::{self, Write};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::report::style::{Palette, Tone};

/// Rows under headings.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

#[derive(Debug, Clone)]
struct Column {
    title: &'static str,
    align: Align,
}

/// Which side of a column its text stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Align {
    Left,
    Right,
}

/// One cell: spans of safe text, each in its tone.
#[derive(Debug, Clone, Default)]
pub struct Cell(Vec<(String, Tone)>);

impl Cell {
    /// Text in a tone; whatever could move a cursor is escaped.
    #[must_use]
    pub fn new(text: impl AsRef<str>, tone: Tone) -> Self {
        Self::default().with(text, tone)
    }

    /// Its text, without colours.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.iter().map(|(text, _)| text.as_str()).collect()
    }

    /// The cell with more text behind it.
    #[must_use]
    pub fn with(mut self, text: impl AsRef<str>, tone: Tone) -> Self {
        self.0
            .push((fleet::safe::escape(text.as_ref()).into_owned(), tone));
        self
    }

    fn width(&self) -> usize {
        self.0.iter().map(|(text, _)| text.width()).sum()
    }

    fn paint(&self, palette: Palette, room: usize) -> String {
        let mut left = room;
        let mut painted = String::new();
        let fits = self.width() <= room;
        for (text, tone) in &self.0 {
            if fits || text.width() < left {
                left = left.saturating_sub(text.width());
                painted.push_str(&palette.paint(text, *tone));
                continue;
            }
            let mut cut = String::new();
            for character in text.chars() {
                let width = character.width().unwrap_or(0);
                if width >= left {
                    break;
                }
                left -= width;
                cut.push(character);
            }
            cut.push('…');
            painted.push_str(&palette.paint(&cut, *tone));
            break;
        }
        painted
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Tone::Plain)
    }
}

impl Table {
    /// A table with these headings; a heading that starts with `>` is of a column of numbers.
    #[must_use]
    pub fn new(titles: &[&'static str]) -> Self {
        let columns = titles
            .iter()
            .map(|title| match title.strip_prefix('>') {
                Some(title) => Column {
                    title,
                    align: Align::Right,
                },
                None => Column {
                    title,
                    align: Align::Left,
                },
            })
            .collect();
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn push(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes headings and rows; `width` is the terminal's, `None` where there is none.
    ///
    /// # Errors
    /// When the stream cannot be written.
    pub fn write(
        &self,
        out: &mut dyn Write,
        palette: Palette,
        width: Option<usize>,
    ) -> io::Result<()> {
        let mut widths: Vec<usize> = self.columns.iter().map(|c| c.title.width()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        if let (Some(total), Some((last, before))) = (width, widths.split_last_mut()) {
            let taken: usize = before.iter().map(|width| width + 2).sum();
            // Below a dozen columns a cut says nothing any more; let the terminal wrap.
            if taken + *last > total && taken + 12 <= total {
                *last = total - taken;
            }
        }
        let titles: Vec<Cell> = self
            .columns
            .iter()
            .map(|column| Cell::new(column.title, Tone::Dim))
            .collect();
        for row in std::iter::once(&titles).chain(&self.rows) {
            let mut line = String::new();
            for (index, (column, cell)) in self.columns.iter().zip(row).enumerate() {
                let room = widths.get(index).copied().unwrap_or(0);
                let gap = " ".repeat(room.saturating_sub(cell.width()));
                let text = cell.paint(palette, room);
                let is_last = index + 1 == self.columns.len();
                match column.align {
                    Align::Right => line.push_str(&format!("{gap}{text}")),
                    Align::Left if is_last => line.push_str(&text),
                    Align::Left => line.push_str(&format!("{text}{gap}")),
                }
                if !is_last {
                    line.push_str("  ");
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(table: &Table, width: Option<usize>) -> String {
        let mut out = Vec::new();
        table.write(&mut out, Palette::Plain, width).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_line_up_by_what_a_terminal_shows() {
        let mut table = Table::new(&["NAME", ">TTL", "WHY"]);
        table.push(vec!["größe".into(), "6.8s".into(), "ok".into()]);
        table.push(vec![
            "日本".into(),
            "10s".into(),
            Cell::new("no\x1b[2J", Tone::Bad),
        ]);
        assert_eq!(
            drawn(&table, None),
            "NAME    TTL  WHY\ngröße  6.8s  ok\n日本    10s  no\\u{1b}[2J\n"
        );
    }

    #[test]
    fn only_the_last_column_gives_way() {
        let mut table = Table::new(&["K", "VALUE"]);
        table.push(vec!["a".into(), "0123456789abcdefghij".into()]);
        assert_eq!(drawn(&table, Some(16)), "K  VALUE\na  0123456789ab…\n");
    }
}
