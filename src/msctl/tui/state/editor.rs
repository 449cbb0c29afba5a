//! A text being edited: lines, a cursor, undo. Used by the filter, the palette, config values and
//! call requests. Cursor columns count characters, and always stand on the text. Pure; the clipboard
//! and the screen are elsewhere.

use crate::tui::key::{Code, Key};

/// How many steps undo remembers.
const UNDO_STEPS: usize = 200;

/// No text grows beyond this: more than etcd takes in a request.
const MAX_BYTES: usize = 2 << 20;

/// Whether a text may have more than one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// One line: a pasted line end becomes a space.
    #[default]
    Line,
    /// Any number of lines.
    Lines,
}

/// What a key did to the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressed {
    /// The text is another one.
    Changed,
    /// The cursor moved, or nothing could happen.
    Moved,
    /// The key means nothing here.
    Ignored,
}

/// A text and a cursor in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Editor {
    lines: Vec<String>,
    row: usize,
    column: usize,
    shape: Shape,
    undo: Vec<(Vec<String>, usize, usize)>,
}

impl Editor {
    /// An editor of a text, with the cursor at its end.
    pub fn new(shape: Shape, text: &str) -> Self {
        let mut editor = Self {
            lines: vec![String::new()],
            row: 0,
            column: 0,
            shape,
            undo: Vec::new(),
        };
        editor.insert(text);
        editor.undo.clear();
        editor
    }

    /// The whole text, lines joined by `\n`.
    pub fn text(&self) -> String {
        self.lines.join("\n")
    }

    /// The same text with a sign in place of every character, the cursor where it is.
    #[must_use]
    pub fn veiled(&self) -> Self {
        let veil = |line: &String| line.chars().map(|_| '•').collect();
        Self {
            lines: self.lines.iter().map(veil).collect(),
            undo: Vec::new(),
            ..*self
        }
    }

    /// Its lines; at least one.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Cursor as line and character, both from 0.
    pub fn cursor(&self) -> (usize, usize) {
        (self.row, self.column)
    }

    /// Whether there is no character.
    pub fn is_empty(&self) -> bool {
        self.lines.iter().all(String::is_empty)
    }

    /// Places the cursor, as near as the text allows.
    pub fn place(&mut self, row: usize, column: usize) {
        self.row = row.min(self.lines.len() - 1);
        self.column = column.min(self.length(self.row));
    }

    /// Replaces the text; undo brings the old one back.
    pub fn replace(&mut self, text: &str) {
        self.remember();
        self.lines = vec![String::new()];
        self.row = 0;
        self.column = 0;
        self.insert_raw(text);
    }

    /// Inserts text at the cursor, as typing or pasting does.
    pub fn insert(&mut self, text: &str) {
        self.remember();
        self.insert_raw(text);
    }

    /// Takes a key that edits or moves.
    pub fn press(&mut self, key: Key) -> Pressed {
        if let Some(character) = key.typed() {
            self.remember();
            self.insert_raw(character.encode_utf8(&mut [0; 4]));
            return Pressed::Changed;
        }
        let word = key.modifiers.ctrl || key.modifiers.alt;
        match key.code {
            Code::Enter if self.shape == Shape::Lines && !word => {
                self.remember();
                let indent: String = self.lines[self.row]
                    .chars()
                    .take_while(|c| *c == ' ')
                    .collect();
                self.insert_raw("\n");
                self.insert_raw(&indent);
            }
            Code::Backspace if word => return self.erase(Self::word_left),
            Code::Backspace => return self.erase(Self::left),
            Code::Delete => return self.erase(Self::right),
            Code::Tab if self.shape == Shape::Lines => {
                self.remember();
                self.insert_raw("  ");
            }
            Code::Char('w') if key.modifiers.ctrl => return self.erase(Self::word_left),
            Code::Char('d') if key.modifiers.alt => return self.erase(Self::word_right),
            Code::Char('u') if key.modifiers.ctrl => return self.erase(|e| e.column = 0),
            Code::Char('k') if key.modifiers.ctrl => {
                return self.erase(|e| e.column = e.length(e.row));
            }
            Code::Char('z' | '_') if key.modifiers.ctrl => return self.take_back(),
            Code::Left if word => return self.moved(Self::word_left),
            Code::Right if word => return self.moved(Self::word_right),
            Code::Left => return self.moved(Self::left),
            Code::Right => return self.moved(Self::right),
            Code::Home => return self.moved(|e| e.column = 0),
            Code::End => return self.moved(|e| e.column = e.length(e.row)),
            Code::Char('a') if key.modifiers.ctrl => return self.moved(|e| e.column = 0),
            Code::Char('e') if key.modifiers.ctrl => {
                return self.moved(|e| e.column = e.length(e.row));
            }
            Code::Up if self.shape == Shape::Lines => {
                return self.moved(|e| e.place(e.row.saturating_sub(1), e.column));
            }
            Code::Down if self.shape == Shape::Lines => {
                return self.moved(|e| e.place(e.row + 1, e.column));
            }
            _ => return Pressed::Ignored,
        }
        Pressed::Changed
    }

    fn moved(&mut self, step: impl FnOnce(&mut Self)) -> Pressed {
        step(self);
        Pressed::Moved
    }

    /// Erases between the cursor and where `step` takes it.
    fn erase(&mut self, step: impl FnOnce(&mut Self)) -> Pressed {
        let from = (self.row, self.column);
        step(self);
        let to = (self.row, self.column);
        if from == to {
            return Pressed::Moved;
        }
        (self.row, self.column) = from;
        self.remember();
        let (start, end) = if from < to { (from, to) } else { (to, from) };
        let cut = self.offset(end.0, end.1);
        let tail = self.lines[end.0].split_off(cut);
        let head = self.offset(start.0, start.1);
        self.lines[start.0].truncate(head);
        self.lines[start.0].push_str(&tail);
        self.lines.drain(start.0 + 1..=end.0);
        (self.row, self.column) = start;
        Pressed::Changed
    }

    fn take_back(&mut self) -> Pressed {
        let Some((lines, row, column)) = self.undo.pop() else {
            return Pressed::Moved;
        };
        self.lines = lines;
        self.row = row;
        self.column = column;
        Pressed::Changed
    }

    fn remember(&mut self) {
        // A run of typed characters is one step: only a change of another kind or place starts anew.
        if self.undo.len() == UNDO_STEPS {
            self.undo.remove(0);
        }
        self.undo.push((self.lines.clone(), self.row, self.column));
    }

    fn insert_raw(&mut self, text: &str) {
        let held: usize = self.lines.iter().map(|line| line.len() + 1).sum();
        if held + text.len() > MAX_BYTES {
            return;
        }
        let text = text
            .replace("\r\n", "\n")
            .replace('\r', "\n")
            .replace('\t', "  ");
        for (index, part) in text.split('\n').enumerate() {
            let at = self.offset(self.row, self.column);
            if index > 0 && self.shape == Shape::Lines {
                let tail = self.lines[self.row].split_off(at);
                self.row += 1;
                self.lines.insert(self.row, tail);
                self.column = 0;
            } else if index > 0 && !part.is_empty() {
                self.lines[self.row].insert(at, ' ');
                self.column += 1;
            }
            let at = self.offset(self.row, self.column);
            self.lines[self.row].insert_str(at, part);
            self.column += part.chars().count();
        }
    }

    fn length(&self, row: usize) -> usize {
        self.lines[row].chars().count()
    }

    fn offset(&self, row: usize, column: usize) -> usize {
        let line = &self.lines[row];
        line.char_indices()
            .nth(column)
            .map_or(line.len(), |(at, _)| at)
    }

    fn left(&mut self) {
        if self.column > 0 {
            self.column -= 1;
        } else if self.row > 0 {
            self.row -= 1;
            self.column = self.length(self.row);
        }
    }

    fn right(&mut self) {
        if self.column < self.length(self.row) {
            self.column += 1;
        } else if self.row + 1 < self.lines.len() {
            self.row += 1;
            self.column = 0;
        }
    }

    fn word_left(&mut self) {
        if self.column == 0 {
            return self.left();
        }
        let before: Vec<char> = self.lines[self.row].chars().take(self.column).collect();
        let trimmed = before
            .iter()
            .rposition(|c| c.is_alphanumeric())
            .map_or(0, |at| at + 1);
        self.column = before[..trimmed]
            .iter()
            .rposition(|c| !c.is_alphanumeric())
            .map_or(0, |at| at + 1);
    }

    fn word_right(&mut self) {
        let length = self.length(self.row);
        if self.column == length {
            return self.right();
        }
        let after: Vec<char> = self.lines[self.row].chars().skip(self.column).collect();
        let start = after
            .iter()
            .position(|c| c.is_alphanumeric())
            .unwrap_or(after.len());
        let end = after[start..]
            .iter()
            .position(|c| !c.is_alphanumeric())
            .map_or(after.len(), |at| start + at);
        self.column += end;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(shape: Shape, text: &str, keys: &str, expected: &str) {
        let mut editor = Editor::new(shape, text);
        for key in keys.split_whitespace() {
            editor.press(key.parse().unwrap());
        }
        assert_eq!(editor.text(), expected, "{text:?} after {keys}");
    }

    #[test]
    fn keys_edit_as_readline_users_expect() {
        check(Shape::Line, "5s", "backspace 0 s", "50s");
        check(
            Shape::Line,
            "timeout.write",
            "ctrl-w r e a d",
            "timeout.read",
        );
        check(Shape::Line, "abc", "home delete ctrl-k x", "x");
        check(Shape::Line, "abc", "ctrl-a right ctrl-u", "bc");
        check(Shape::Line, "größe", "left backspace z", "gröze");
        check(
            Shape::Lines,
            "a:",
            "enter space space b enter c",
            "a:\n  b\n  c",
        );
        check(Shape::Lines, "a\nb", "home backspace", "ab");
        check(Shape::Lines, "a\nb", "up end delete", "ab");
        check(Shape::Line, "abc", "ctrl-u ctrl-z", "abc");
    }

    #[test]
    fn a_pasted_line_end_stays_only_where_lines_are_wanted() {
        let mut line = Editor::new(Shape::Line, "");
        line.insert("a\nb\n");
        assert_eq!(line.text(), "a b");
        let mut lines = Editor::new(Shape::Lines, "");
        lines.insert("a\r\nb");
        assert_eq!(lines.lines(), ["a", "b"]);
    }

    proptest! {
        #[test]
        fn no_sequence_of_keys_loses_the_cursor(
            text in "[a-zü\n ]{0,30}",
            keys in prop::collection::vec(prop::sample::select(vec![
                "x", "ü", "enter", "backspace", "delete", "left", "right", "up", "down", "home",
                "end", "ctrl-w", "ctrl-u", "ctrl-k", "ctrl-z", "alt-d", "ctrl-left", "ctrl-right", "tab",
            ]), 0..60),
        ) {
            let mut editor = Editor::new(Shape::Lines, &text);
            for key in keys {
                editor.press(key.parse().unwrap());
                let (row, column) = editor.cursor();
                prop_assert!(row < editor.lines().len());
                prop_assert!(column <= editor.lines()[row].chars().count());
            }
        }
    }
}
