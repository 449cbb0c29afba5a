//! A save that met someone else's change: base, theirs and mine side by side, a choice for each key.

use crate::tui::state::State;
use crate::tui::state::area::Area;
use crate::tui::state::config::{Choice, Clash, Wanted};
use crate::tui::theme::Role;
use crate::tui::view::paint::{Focus, Paint, Span};

/// Base, theirs, mine: three columns, a block of rows for each key.
pub(super) fn conflict(paint: &mut Paint<'_>, area: Area, state: &State, clash: &Clash) {
    let (rule, rest) = area.top(1);
    let count = clash.conflicts.len();
    let keys = if count == 1 {
        "1 key".to_owned()
    } else {
        format!("{count} keys")
    };
    paint.rule(
        rule,
        &format!("{keys} changed meanwhile; nothing was written"),
        Role::Warn,
    );
    let third = rest.width.saturating_sub(4) / 3;
    let mut y = rest.y;
    let end = rest.y + rest.height;
    for (index, (conflict, choice)) in clash
        .conflicts
        .iter()
        .zip(&clash.choices)
        .enumerate()
        .skip(clash.cursor.saturating_sub(1))
    {
        if y >= end {
            break;
        }
        let name = state.config.name_of(&conflict.key);
        let path = name
            .as_ref()
            .map_or_else(|| conflict.key.to_string(), ToString::to_string);
        let chosen = match choice {
            Choice::Open if clash.merged[index].is_some() => {
                Span::new("choose: t theirs, m mine, b both", Role::Warn)
            }
            Choice::Open => Span::new("choose: t theirs, m mine", Role::Warn),
            Choice::Theirs => Span::new("theirs is kept", Role::Good),
            Choice::Mine => Span::new("mine is written", Role::Good),
            Choice::Both => Span::new("both are written", Role::Good),
        };
        paint.spans(
            rest.x + 3,
            y,
            rest.width.saturating_sub(4),
            &[Span::plain(path.clone()), Span::plain("   "), chosen],
        );
        if index == clash.cursor {
            paint.cursor(Area { width: 3, ..rest }, y, Focus::Here);
        }
        y += 1;
        let mine = name
            .as_ref()
            .and_then(|name| state.config.drafts.get(name))
            .map(|draft| match &draft.wanted {
                Wanted::Set(text) => Some(text.clone().into_bytes()),
                Wanted::Unset => None,
            });
        let seen = conflict.seen.value().map(<[u8]>::to_vec);
        let current = conflict.current.as_ref().map(|entry| entry.value.to_vec());
        let now = conflict
            .current
            .as_ref()
            .map_or(0, |entry| entry.mod_revision.0);
        let ago = fleet::finding::age(state.now.mono.saturating_sub(clash.at));
        let columns = [
            (
                format!("base r{}", conflict.seen.revision()),
                seen,
                Role::Dim,
            ),
            (
                if now == 0 {
                    "theirs: deleted".into()
                } else {
                    match state.config.authors.at(fleet::Revision(now)) {
                        Some(_) => {
                            let since = super::keys::since(state, fleet::Revision(now));
                            format!("theirs {since}")
                        }
                        None => format!("theirs r{now}, found {ago} ago"),
                    }
                },
                current,
                Role::Removed,
            ),
            ("mine".to_owned(), mine.flatten(), Role::Added),
        ];
        let mut tallest = 1;
        for (column, (title, value, role)) in columns.into_iter().enumerate() {
            let x = rest.x + 3 + third * u16::try_from(column).unwrap_or(0);
            paint.text(x, y, third.saturating_sub(2), &title, Role::Title);
            let lines = match &value {
                None => vec!["(not set)".to_owned()],
                Some(value) => {
                    let veil = name.as_ref().and_then(|key| state.config.veil(key, value));
                    value_lines(veil.as_deref().unwrap_or(value))
                }
            };
            tallest = tallest.max(lines.len().min(6));
            for (line, y) in lines.iter().take(6).zip(y + 1..end) {
                paint.text(x, y, third.saturating_sub(2), line, role);
            }
        }
        y += 1 + u16::try_from(tallest).unwrap_or(1) + 1;
    }
}

fn value_lines(value: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(value)
        .lines()
        .map(str::to_owned)
        .collect()
}
