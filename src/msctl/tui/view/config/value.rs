//! A value being edited, with what its service says of it.

use fleet::config::schema::Field;

use crate::tui::state::State;
use crate::tui::state::area::Area;
use crate::tui::state::config::Editing;
use crate::tui::theme::Role;
use crate::tui::view::paint::{Focus, Paint, Span};

/// Draws the editor.
pub(super) fn editor(paint: &mut Paint<'_>, area: Area, state: &State, editing: &Editing) {
    let (rule, rest) = area.top(1);
    let seen = match editing.seen.revision().0 {
        0 => "new".to_owned(),
        revision => format!("r{revision}"),
    };
    paint.rule(rule, &format!("{} {seen}", editing.key), Role::Accent);
    let (text_area, last) = rest.bottom(1);
    let text_area = match &editing.field {
        Some(field) => about(paint, text_area, state, editing, field),
        None => text_area,
    };
    let text_area = Area {
        x: text_area.x + 3,
        width: text_area.width.saturating_sub(4),
        ..text_area
    };
    if state.config.hides(&editing.key) {
        // Who looks over a shoulder sees how long it is, and no more.
        paint.editor(text_area, &editing.editor.veiled(), Focus::Here);
    } else {
        paint.editor(text_area, &editing.editor, Focus::Here);
    }
    let x = last.x + 3;
    let room = last.width.saturating_sub(4);
    match &editing.error {
        Some(error) => {
            paint.text(x, last.y, room, error, Role::Bad);
        }
        None => {
            let now = state
                .config
                .entry(&editing.key)
                .map_or(0, |entry| entry.mod_revision.0);
            if now == editing.seen.revision().0 {
                let hint =
                    "YAML: 5s, true, 10MiB, [a, b], {a: 1}. Nothing is written before the save.";
                paint.text(x, last.y, room, hint, Role::Dim);
            } else {
                let text = format!(
                    "changed by someone else at r{now} while you edit; saving will show both"
                );
                paint.text(x, last.y, room, &text, Role::Warn);
            }
        }
    }
}

/// What the service says of the key that is edited, below the text. Returns what is left above.
fn about(
    paint: &mut Paint<'_>,
    area: Area,
    state: &State,
    editing: &Editing,
    field: &Field,
) -> Area {
    let lines = 1 + u16::from(field.description.is_some());
    // The text comes first where there is little room.
    let (rest, about) = area.bottom(lines.min(area.height.saturating_sub(2)));
    if about.is_empty() {
        return area;
    }
    let (x, room) = (about.x + 3, about.width.saturating_sub(4));
    let default = field.default.as_ref().map(|default| {
        let default = state.config.shown(&editing.key, default);
        let text = fleet::config::value::one_line(&default);
        Span::dim(format!("   default {text}"))
    });
    let required = field.required.then(|| Span::dim("   required"));
    let mut spans = vec![Span::plain(&field.kind)];
    spans.extend(default);
    spans.extend(required);
    paint.spans(x, about.y, room, &spans);
    if let (Some(docs), true) = (&field.description, about.height > 1) {
        paint.text(x, about.y + 1, room, docs, Role::Dim);
    }
    rest
}
