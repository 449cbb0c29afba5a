//! The pending changes: the difference that each makes, whom it reaches, and why it is made.

use fleet::config::diff::{Difference, Emphasis, Meaning, Side as DiffSide};
use fleet::config::{ConfigKey, Scope};

use crate::tui::state::State;
use crate::tui::state::area::Area;
use crate::tui::theme::Role;
use crate::tui::view::paint::{Paint, Span};

/// Draws them.
pub(super) fn drafts(paint: &mut Paint<'_>, area: Area, state: &State) {
    let page = &state.config;
    let count = page.drafts.len();
    let changes = if count == 1 {
        "1 change".into()
    } else {
        format!("{count} changes")
    };
    let (rule, rest) = area.top(1);
    paint.rule(rule, &format!("{changes}, one transaction"), Role::Accent);
    let (rest, last) = rest.bottom(1);
    let overtaken: Vec<&ConfigKey> = page.overtaken().collect();
    let keys = (rest.width / 3).clamp(16, 40);
    let mut y = rest.y;
    let end = rest.y + rest.height;
    // The change under the cursor is always among those that show.
    let current = page.current();
    let first = current.and_then(|key| page.drafts.keys().position(|draft| *draft == key));
    let order = page.drafts.iter().skip(first.unwrap_or(0));
    let order = order.chain(page.drafts.iter().take(first.unwrap_or(0)));
    for (key, draft) in order {
        if y >= end {
            break;
        }
        let x = paint.text(rest.x + 3, y, keys, &key.to_string(), Role::Text);
        if overtaken.contains(&key) {
            paint.text(x + 2, y, 24, "changed meanwhile", Role::Warn);
        }
        if y + 1 < end
            && draft.difference.lines.len() > 1
            && let Some(reach) = reach(state, key)
        {
            paint.text(rest.x + 3, y + 1, keys, &format!("  {reach}"), Role::Dim);
        }
        let x = rest.x + 3 + keys;
        let room = rest.width.saturating_sub(keys + 4);
        y = difference(
            paint,
            Area {
                x,
                y,
                width: room,
                height: end - y,
            },
            &draft.difference,
        );
        if let Some(doubt) = &draft.doubt
            && y < end
        {
            paint.text(x, y, room, doubt, Role::Warn);
            y += 1;
        }
    }
    let message = if state.save_message.is_empty() {
        Span::dim("none; m writes one")
    } else {
        Span::plain(&state.save_message)
    };
    let spans = [Span::dim("message  "), message];
    paint.spans(last.x + 3, last.y, last.width.saturating_sub(4), &spans);
}

/// Whom a change reaches.
fn reach(state: &State, key: &ConfigKey) -> Option<String> {
    match &key.scope {
        Scope::Global => Some("reaches every service".into()),
        Scope::Service(service) => {
            let running = state.directory.registry.service(service.as_str())?.len();
            let word = if running == 1 {
                "instance"
            } else {
                "instances"
            };
            Some(format!("reaches {running} {word}"))
        }
    }
}

/// The lines of a difference. Returns the row after them.
fn difference(paint: &mut Paint<'_>, area: Area, difference: &Difference) -> u16 {
    let mut y = area.y;
    let end = area.y + area.height;
    // Long values show the lines that differ, with the rest in the editor.
    let lines: Vec<_> = if difference.lines.len() > usize::from(area.height.max(1)) {
        difference
            .lines
            .iter()
            .filter(|line| line.side != DiffSide::Both)
            .collect()
    } else {
        difference.lines.iter().collect()
    };
    for line in lines {
        if y >= end {
            return y;
        }
        let (sign, role) = match line.side {
            DiffSide::Both => ("  ", Role::Dim),
            DiffSide::Before => ("- ", Role::Removed),
            DiffSide::After => ("+ ", Role::Added),
        };
        let mut x = paint.text(area.x, y, area.width, sign, role);
        for piece in &line.pieces {
            let room = (area.x + area.width).saturating_sub(x);
            let mut style = paint.theme().style(role);
            if piece.emphasis == Emphasis::Changed {
                style = style.add_modifier(ratatui::style::Modifier::BOLD);
            }
            x = paint.styled(x, y, room, piece.text.trim_end_matches('\n'), style);
        }
        y += 1;
    }
    if difference.meaning == Meaning::Stays && y < end {
        paint.text(
            area.x,
            y,
            area.width,
            "the same value, written differently",
            Role::Dim,
        );
        y += 1;
    }
    y
}
