//! What a change will do, shown before it is done: for each key its lines, the words that differ
//! marked, secrets masked.

use fleet::config::conflict::{ThreeWay, written};
use fleet::config::diff::{self, Difference, Emphasis, Line, Meaning, Piece, Secrets, Side};
use fleet::config::secret::MASK;
use fleet::config::secret::redact::redact_beside;
use fleet::config::{ConfigKey, Published};
use fleet::safe::escape;
use unicode_width::UnicodeWidthStr as _;

use super::one_line;
use crate::change::Proposal;
use crate::report::{Palette, Tone};

/// A change as text: for each key its lines and what the schema says of it. Records of the change
/// are not shown.
pub(super) fn proposal(
    proposal: &Proposal,
    config: &fleet::Prefix,
    (secrets, layout): (Secrets, Layout),
    palette: Palette,
) -> String {
    let mut text = String::new();
    if let Some(tried) = &proposal.tried {
        let named: Vec<_> = tried.instances.iter().map(|id| id.as_str()).collect();
        text.push_str(&format!("  for {} alone:\n", escape(&named.join(", "))));
    }
    for (key, edit) in proposal.effects(config) {
        let after = written(&edit.write).map(|value| &**value);
        let before = edit.seen.value();
        text.push_str(&edited(
            &key,
            before,
            after,
            proposal,
            (secrets, layout),
            palette,
        ));
    }
    text
}

fn edited(
    key: &ConfigKey,
    before: Option<&[u8]>,
    after: Option<&[u8]>,
    proposal: &Proposal,
    (secrets, layout): (Secrets, Layout),
    palette: Palette,
) -> String {
    let changed = diff::of(&proposal.schemas, key, before, after, secrets);
    let mut text = one(&key.to_string(), &changed, layout, palette);
    let kind = proposal.schemas.field(key);
    if let Some(kind) = kind.map(|field| field.kind).filter(|kind| !kind.is_empty()) {
        let end = text.find('\n').unwrap_or(text.len());
        text.insert_str(end, &palette.paint(&format!("   {kind}"), Tone::Dim));
    }
    text
}

/// The three versions of a key in conflict.
pub(super) fn three_way(
    way: &ThreeWay,
    config: &fleet::Prefix,
    known: &Published,
    secrets: Secrets,
    palette: Palette,
) -> String {
    let key = ConfigKey::from_key(config, &way.key).ok();
    let name = key
        .as_ref()
        .map_or_else(|| way.key.to_string(), ToString::to_string);
    let base = way.base.as_deref();
    let shown = |value: Option<&[u8]>| match (value, secrets, &key) {
        (None, ..) => "(not there)".to_owned(),
        (Some(value), Secrets::Revealed, _) => one_line(value),
        (Some(value), _, Some(key)) => one_line(&redact_beside(known, key, value, base)),
        (Some(_), _, None) => MASK.to_owned(),
    };
    let theirs = way.theirs.as_ref();
    let at = theirs.map_or_else(String::new, |entry| format!(" r{}", entry.mod_revision));
    format!(
        "  {}   changed meanwhile\n    base      {}\n    theirs{at}  {}\n    mine      {}\n",
        palette.paint(&escape(&name), Tone::Strong),
        shown(way.base.as_deref()),
        palette.paint(&shown(theirs.map(|entry| &*entry.value)), Tone::Bad),
        palette.paint(&shown(way.mine.as_deref()), Tone::Good),
    )
}

/// How a difference of several lines is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// What goes above what comes.
    Unified,
    /// What goes beside what comes.
    SideBySide,
}

/// One key's difference: on one line while both sides fit there.
pub(super) fn one(key: &str, changed: &Difference, layout: Layout, palette: Palette) -> String {
    let key = fleet::safe::escape(key);
    let note = match changed.meaning {
        Meaning::Stays => palette.paint("   (only written differently)", Tone::Dim),
        Meaning::Changes => String::new(),
    };
    let side = |side: Side| -> Vec<&Line> {
        let lines = changed.lines.iter().filter(|line| line.side == side);
        lines.collect()
    };
    let (before, after, both) = (side(Side::Before), side(Side::After), side(Side::Both));
    let strong = palette.paint(&key, Tone::Strong);
    let width = |line: &Line| line.text().chars().count();
    match (before.as_slice(), after.as_slice(), both.is_empty()) {
        ([before], [after], true) if width(before) + width(after) < 60 => {
            let (before, after) = (pieces(before, palette), pieces(after, palette));
            format!("  {strong}   {before} → {after}{note}\n")
        }
        ([], [after], true) => format!("  {strong}   {} (new)\n", pieces(after, palette)),
        ([before], [], true) => format!("  {strong}   {} (removed)\n", pieces(before, palette)),
        _ => {
            let mut text = format!("  {strong}{note}\n");
            match layout {
                Layout::Unified => unified(&mut text, changed, palette),
                Layout::SideBySide => side_by_side(&mut text, changed, palette),
            }
            text
        }
    }
}

/// A line with the words that differ standing out, where not all of it does.
fn pieces(line: &Line, palette: Palette) -> String {
    let tone = match line.side {
        Side::Both => Tone::Dim,
        Side::Before => Tone::Bad,
        Side::After => Tone::Good,
    };
    let plain = |piece: &&Piece| piece.emphasis == Emphasis::Plain && !piece.text.trim().is_empty();
    let in_part = line.pieces.iter().any(|piece| plain(&piece));
    let mut text = String::new();
    for piece in &line.pieces {
        text.push_str(&match piece.emphasis {
            Emphasis::Changed if in_part && line.side != Side::Both => {
                palette.emphasize(&piece.text, tone)
            }
            _ => palette.paint(&piece.text, tone),
        });
    }
    text
}

fn unified(text: &mut String, changed: &Difference, palette: Palette) {
    for line in &changed.lines {
        let sign = match line.side {
            Side::Both => " ".to_owned(),
            Side::Before => palette.paint("-", Tone::Bad),
            Side::After => palette.paint("+", Tone::Good),
        };
        let shown = format!("{sign} {}", pieces(line, palette));
        text.push_str(&format!("    {}\n", shown.trim_end()));
    }
}

/// The most columns of the left side; what is longer there pushes the right one.
const LEFT: usize = 60;

fn side_by_side(text: &mut String, changed: &Difference, palette: Palette) {
    let rows = changed.paired();
    let width = |line: &Line| line.text().width();
    let left = rows.iter().filter_map(|(left, _)| *left).map(width).max();
    let left = left.unwrap_or(0).min(LEFT);
    for (before, after) in rows {
        let sign = match (before, after) {
            (Some(before), Some(_)) if before.side == Side::Both => ' ',
            (Some(_), Some(_)) => '~',
            (Some(_), None) => '-',
            (None, _) => '+',
        };
        let room = left.saturating_sub(before.map_or(0, width));
        let shown = format!(
            "{sign} {}{} │ {}",
            before.map_or_else(String::new, |line| pieces(line, palette)),
            " ".repeat(room),
            after.map_or_else(String::new, |line| pieces(line, palette)),
        );
        text.push_str(&format!("    {}\n", shown.trim_end()));
    }
}
