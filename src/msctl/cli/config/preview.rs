//! What a change will do, shown before it is done: for each key its lines, the words that differ
//! marked, secrets masked.

use fleet::config::ConfigKey;
use fleet::config::conflict::{ThreeWay, written};
use fleet::config::diff::{Difference, Emphasis, Meaning, Secrets, Side, compare};
use fleet::config::secret::MASK;
use fleet::safe::escape;

use crate::change::Proposal;
use crate::report::{Palette, Tone};

/// A change as text: for each key its lines and what the schema says of it. Records of the change
/// are not shown.
pub(super) fn proposal(
    proposal: &Proposal,
    config: &fleet::Prefix,
    secrets: Secrets,
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
        text.push_str(&edited(&key, before, after, proposal, secrets, palette));
    }
    text
}

fn edited(
    key: &ConfigKey,
    before: Option<&[u8]>,
    after: Option<&[u8]>,
    proposal: &Proposal,
    secrets: Secrets,
    palette: Palette,
) -> String {
    let sensitivity = proposal.schemas.sensitivity(key);
    let changed = compare(sensitivity, before, after, secrets);
    let mut text = one(&key.to_string(), &changed, palette);
    let schema = proposal.schemas.get(&key.scope);
    let kind = schema.and_then(|schema| schema.field(key.path()));
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
    hidden: bool,
    palette: Palette,
) -> String {
    let name = ConfigKey::from_key(config, &way.key)
        .map_or_else(|_| way.key.to_string(), |key| key.to_string());
    let shown = |value: Option<&[u8]>| match value {
        None => "(not there)".to_owned(),
        Some(_) if hidden => MASK.to_owned(),
        Some(value) => super::shown("", value, Secrets::Revealed),
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
