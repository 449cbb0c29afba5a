//! What an edit changes, for people: line by line, with the changed words marked, secrets masked.
//!
//! A re-ordered mapping is no change of meaning, and comments in values are kept: the text is
//! compared as it was written, its meaning as YAML.

use similar::{ChangeTag, TextDiff};

use super::secret::redact::{redact, redact_beside};
use super::secret::{MASK, Sensitivity};
use super::{ConfigKey, Published, value};
use crate::safe::escape;

/// One key's difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its lines, in order; those of the value before come before those that replace them.
    pub lines: Vec<Line>,
    /// Whether the meaning changes, or only how it is written.
    pub meaning: Meaning,
}

/// Whether a service would notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The value is another one.
    Changes,
    /// The value is the same, written differently: order, spacing, comments.
    Stays,
}

/// One line of a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Which side it is on.
    pub side: Side,
    /// Its text in pieces, safe to show.
    pub pieces: Vec<Piece>,
}

/// The side of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// On both.
    Both,
    /// Goes.
    Before,
    /// Comes.
    After,
}

impl Side {
    /// The sign in front of the line.
    #[must_use]
    pub const fn sign(self) -> char {
        match self {
            Self::Both => ' ',
            Self::Before => '-',
            Self::After => '+',
        }
    }
}

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The text.
    pub text: String,
    /// Whether just this differs from the line on the other side.
    pub emphasis: Emphasis,
}

/// Whether a piece stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emphasis {
    /// It is on both sides.
    Plain,
    /// It differs.
    Changed,
}

/// Whether secrets are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Secrets {
    /// A mask stands in their place.
    #[default]
    Masked,
    /// As they are; the user asked for it.
    Revealed,
}

impl Line {
    /// The line as plain text, without its sign.
    #[must_use]
    pub fn text(&self) -> String {
        self.pieces
            .iter()
            .map(|piece| piece.text.as_str())
            .collect()
    }
}

/// The difference of one key's values, a secret's where its name says so; `None` stands for a key
/// that is not there.
#[must_use]
pub fn difference(
    path: &str,
    before: Option<&[u8]>,
    after: Option<&[u8]>,
    secrets: Secrets,
) -> Difference {
    compare(Sensitivity::of(path), before, after, secrets)
}

/// The difference of one key's values, where a schema may have said that it is a secret's.
#[must_use]
pub fn compare(
    sensitivity: Sensitivity,
    before: Option<&[u8]>,
    after: Option<&[u8]>,
    secrets: Secrets,
) -> Difference {
    let meaning = meaning(before, after);
    if sensitivity == Sensitivity::Secret && secrets == Secrets::Masked {
        let line = |side| Line {
            side,
            pieces: vec![Piece {
                text: MASK.into(),
                emphasis: Emphasis::Plain,
            }],
        };
        let mut lines = Vec::new();
        lines.extend(before.map(|_| line(Side::Before)));
        lines.extend(after.map(|_| line(Side::After)));
        return Difference { lines, meaning };
    }
    let text = |side: Option<&[u8]>| {
        side.map(String::from_utf8_lossy)
            .unwrap_or_default()
            .into_owned()
    };
    let (before, after) = (text(before), text(after));
    let lines = TextDiff::from_lines(before.as_str(), after.as_str());
    let lines = lines
        .ops()
        .iter()
        .flat_map(|op| lines.iter_inline_changes(op))
        .map(|change| Line {
            side: match change.tag() {
                ChangeTag::Equal => Side::Both,
                ChangeTag::Delete => Side::Before,
                ChangeTag::Insert => Side::After,
            },
            pieces: change
                .iter_strings_lossy()
                .map(|(changed, text)| Piece {
                    text: escape(text.trim_end_matches(['\n', '\r'])).into_owned(),
                    emphasis: if changed {
                        Emphasis::Changed
                    } else {
                        Emphasis::Plain
                    },
                })
                .filter(|piece| !piece.text.is_empty())
                .collect(),
        })
        .collect();
    Difference { lines, meaning }
}

/// The difference of one key's values as it may be shown: a secret's is masked whole, one that
/// holds secrets member by member.
#[must_use]
pub fn of(
    known: &Published,
    key: &ConfigKey,
    before: Option<&[u8]>,
    after: Option<&[u8]>,
    secrets: Secrets,
) -> Difference {
    let sensitivity = known.sensitivity(key);
    if secrets == Secrets::Revealed || sensitivity == Sensitivity::Secret {
        return compare(sensitivity, before, after, secrets);
    }
    let (was, is) = (
        before.map(|value| redact(known, key, value)),
        after.map(|value| redact_beside(known, key, value, before)),
    );
    Difference {
        meaning: meaning(before, after),
        ..compare(sensitivity, was.as_deref(), is.as_deref(), secrets)
    }
}

/// A row of two columns.
type Row<'l> = (Option<&'l Line>, Option<&'l Line>);

impl Difference {
    /// The lines side by side: what goes on the left beside what comes in its place on the right.
    #[must_use]
    pub fn paired(&self) -> Vec<Row<'_>> {
        let mut rows = Vec::new();
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for line in &self.lines {
            match line.side {
                Side::Before => before.push(line),
                Side::After => after.push(line),
                Side::Both => {
                    beside(&mut rows, &mut before, &mut after);
                    rows.push((Some(line), Some(line)));
                }
            }
        }
        beside(&mut rows, &mut before, &mut after);
        rows
    }
}

/// Puts the lines of a changed place beside each other; the shorter column ends early.
fn beside<'l>(rows: &mut Vec<Row<'l>>, before: &mut Vec<&'l Line>, after: &mut Vec<&'l Line>) {
    let height = before.len().max(after.len());
    rows.extend((0..height).map(|at| (before.get(at).copied(), after.get(at).copied())));
    before.clear();
    after.clear();
}

fn meaning(before: Option<&[u8]>, after: Option<&[u8]>) -> Meaning {
    let same = match (before, after) {
        (None, None) => true,
        (Some(before), Some(after)) => {
            before == after
                || matches!((value::parse(before), value::parse(after)), (Ok(b), Ok(a)) if b == a)
        }
        _ => false,
    };
    if same {
        Meaning::Stays
    } else {
        Meaning::Changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(before: &str, after: &str) -> String {
        difference(
            "a",
            Some(before.as_bytes()),
            Some(after.as_bytes()),
            Secrets::Masked,
        )
        .lines
        .iter()
        .map(|line| format!("{}{}\n", line.side.sign(), line.text()))
        .collect()
    }

    #[test]
    fn what_goes_stands_beside_what_comes_in_its_place() {
        let found = difference(
            "rules",
            Some(b"a: 1\nb: 2\nc: 3\nz: 9\n"),
            Some(b"a: 1\nb: 5\nz: 9\ny: 8\n"),
            Secrets::Masked,
        );
        let text = |line: Option<&Line>| line.map_or_else(|| "-".to_owned(), Line::text);
        let rows: Vec<_> = found
            .paired()
            .into_iter()
            .map(|(l, r)| format!("{} | {}", text(l), text(r)))
            .collect();
        assert_eq!(
            rows,
            [
                "a: 1 | a: 1",
                "b: 2 | b: 5",
                "c: 3 | -",
                "z: 9 | z: 9",
                "- | y: 8"
            ]
        );
    }

    #[test]
    fn lines_are_shown_with_their_side() {
        assert_eq!(shown("2s", "5s"), "-2s\n+5s\n");
        assert_eq!(
            shown("a: 1\nb: 2\n", "a: 1\nb: 3\n"),
            " a: 1\n-b: 2\n+b: 3\n"
        );
    }

    #[test]
    fn the_words_that_differ_are_marked() {
        let found = difference(
            "a",
            Some(b"{attempts: 3, backoff: 100ms}"),
            Some(b"{attempts: 5, backoff: 100ms}"),
            Secrets::Masked,
        );
        let marked: Vec<_> = found.lines[1]
            .pieces
            .iter()
            .filter(|piece| piece.emphasis == Emphasis::Changed)
            .map(|piece| piece.text.clone())
            .collect();
        assert_eq!(marked.concat().trim_matches([',', ' ']), "5");
    }

    #[test]
    fn a_reordered_mapping_is_no_change_of_meaning() {
        for (before, after, meaning) in [
            ("{a: 1, b: 2}", "{b: 2, a: 1}", Meaning::Stays),
            ("a: 1 # why\n", "a: 1\n", Meaning::Stays),
            ("[1, 2]", "[2, 1]", Meaning::Changes),
            ("5s", "\"5s\"", Meaning::Stays),
            ("5", "\"5\"", Meaning::Changes),
        ] {
            let found = difference(
                "a",
                Some(before.as_bytes()),
                Some(after.as_bytes()),
                Secrets::Masked,
            );
            assert_eq!(found.meaning, meaning, "{before} {after}");
        }
    }

    #[test]
    fn a_secret_is_masked_unless_revealed() {
        let of = |secrets| {
            let found = difference("db.password", Some(b"hunter2"), Some(b"hunter3"), secrets);
            found.lines.iter().map(Line::text).collect::<String>()
        };
        assert!(!of(Secrets::Masked).contains("hunter"));
        assert!(of(Secrets::Revealed).contains("hunter3"));
    }

    #[test]
    fn hostile_values_are_shown_escaped() {
        let found = difference("a", None, Some(b"\x1b[2J\xff"), Secrets::Masked);
        assert!(!found.lines[0].text().contains('\u{1b}'));
    }
}
