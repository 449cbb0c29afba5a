//! What a change will do, shown before it is done: for each key its lines, the words that differ
//! marked, secrets masked.

use fleet::Plan;
use fleet::config::ConfigKey;
use fleet::config::diff::{Difference, Emphasis, Meaning, Secrets, Side, difference};

use crate::report::{Palette, Tone};

/// The change of a plan's config keys as text; records of the change are not shown.
pub(super) fn plan(
    plan: &Plan,
    config: &fleet::Prefix,
    secrets: Secrets,
    palette: Palette,
) -> String {
    let mut text = String::new();
    for edit in plan.edits() {
        let Ok(key) = ConfigKey::from_key(config, &edit.key) else {
            continue;
        };
        let after = match &edit.write {
            fleet::Write::Put { value, .. } => Some(&**value),
            fleet::Write::Delete => None,
        };
        let changed = difference(key.path(), edit.seen.value(), after, secrets);
        text.push_str(&one(&key.to_string(), &changed, palette));
    }
    text
}

/// One key's difference: on one line while both sides fit there.
pub(super) fn one(key: &str, changed: &Difference, palette: Palette) -> String {
    let key = fleet::safe::escape(key);
    let note = match changed.meaning {
        Meaning::Stays => palette.paint("   (only written differently)", Tone::Dim),
        Meaning::Changes => String::new(),
    };
    let side = |side: Side| -> Vec<String> {
        let lines = changed.lines.iter().filter(|line| line.side == side);
        lines.map(fleet::config::diff::Line::text).collect()
    };
    let (before, after, both) = (side(Side::Before), side(Side::After), side(Side::Both));
    let strong = palette.paint(&key, Tone::Strong);
    match (before.as_slice(), after.as_slice(), both.is_empty()) {
        ([before], [after], true) if before.len() + after.len() < 60 => {
            let before = palette.paint(before, Tone::Bad);
            let after = palette.paint(after, Tone::Good);
            format!("  {strong}   {before} → {after}{note}\n")
        }
        ([], [after], true) => {
            format!("  {strong}   {} (new)\n", palette.paint(after, Tone::Good))
        }
        ([before], [], true) => {
            format!(
                "  {strong}   {} (removed)\n",
                palette.paint(before, Tone::Bad)
            )
        }
        _ => {
            let mut text = format!("  {strong}{note}\n");
            for line in &changed.lines {
                let tone = match line.side {
                    Side::Both => Tone::Dim,
                    Side::Before => Tone::Bad,
                    Side::After => Tone::Good,
                };
                let mut shown = palette.paint(&line.side.sign().to_string(), tone);
                shown.push(' ');
                for piece in &line.pieces {
                    let plain = line.side == Side::Both || piece.emphasis == Emphasis::Plain;
                    let tone = if plain && line.side == Side::Both {
                        Tone::Dim
                    } else {
                        tone
                    };
                    shown.push_str(&palette.paint(&piece.text, tone));
                }
                text.push_str(&format!("    {}\n", shown.trim_end()));
            }
            text
        }
    }
}
