//! What lies over a page: palette, question, prompt, and a text in full.

use super::paint::{Focus, Paint, Span};
use crate::tui::state::State;
use crate::tui::state::area::Area;
use crate::tui::state::overlay::{Palette, PaletteRun, Prompt, Question, Reader};
use crate::tui::text;
use crate::tui::theme::Role;

/// A pane at the foot of the page, cleared, under a rule.
fn pane(paint: &mut Paint<'_>, body: Area, rows: u16, title: &str, role: Role) -> Area {
    let (_, area) = body.bottom(rows.saturating_add(1).min(body.height));
    paint.clear(area);
    let (rule, rest) = area.top(1);
    paint.rule(rule, title, role);
    Area {
        x: rest.x + 3,
        width: rest.width.saturating_sub(4),
        ..rest
    }
}

/// The palette: what is typed, and what fits above it.
pub(super) fn palette(paint: &mut Paint<'_>, body: Area, state: &State, palette: &Palette) {
    let rows = u16::try_from(palette.entries.len().max(1)).unwrap_or(u16::MAX);
    let rows = rows.min(body.height.saturating_sub(4).min(14));
    let area = pane(paint, body, rows + 1, "palette", Role::Accent);
    let (line, list) = area.top(1);
    let x = paint.text(line.x, line.y, line.width, ": ", Role::Accent);
    let field = Area {
        x,
        width: line.width.saturating_sub(x - line.x),
        ..line
    };
    paint.editor(field, &palette.editor, Focus::Here);
    if palette.entries.is_empty() {
        paint.text(
            list.x,
            list.y,
            list.width,
            "nothing is called so",
            Role::Dim,
        );
    }
    let height = usize::from(list.height).max(1);
    let first = (palette.cursor + 1).saturating_sub(height);
    let shown = palette.entries.iter().enumerate().skip(first);
    for ((index, entry), y) in shown.zip(list.y..list.y + list.height) {
        let keys = match &entry.run {
            PaletteRun::Action(action) => state.keymap.keys_of(*action),
            _ => "",
        };
        let name = text::fit(&entry.name, 24, "…");
        let spans = [
            Span::plain(format!("{name:<24} ")),
            Span::new(format!("{keys:<12} "), Role::Accent),
            Span::dim(entry.help.as_str()),
        ];
        paint.spans(list.x, y, list.width, &spans);
        if index == palette.cursor {
            let row = Area {
                x: list.x.saturating_sub(3),
                width: list.width + 3,
                ..list
            };
            paint.cursor(row, y, Focus::Here);
        }
    }
}

/// A question, with what it is about.
pub(super) fn question(paint: &mut Paint<'_>, body: Area, state: &State, question: &Question) {
    let lines = u16::try_from(question.lines.len()).unwrap_or(u16::MAX);
    let rows = lines.saturating_add(2).min(body.height.saturating_sub(1));
    let role = if question.typed.is_some() {
        Role::Bad
    } else {
        Role::Warn
    };
    let area = pane(paint, body, rows, "confirm", role);
    let (text_area, last) = area.bottom(1);
    let mut y = text_area.y;
    let mut put = |paint: &mut Paint<'_>, line: &str, role| {
        if y < text_area.y + text_area.height {
            paint.text(area.x, y, area.width, line, role);
            y += 1;
        }
    };
    put(paint, &question.text, Role::Text);
    for line in &question.lines {
        put(paint, &format!("  {line}"), Role::Dim);
    }
    match &question.typed {
        None => {
            let spans = [
                Span::new("y", Role::Accent),
                Span::plain(" yes   "),
                Span::new("N", Role::Accent),
                Span::plain(" no"),
            ];
            paint.spans(last.x, last.y, last.width, &spans);
        }
        Some((name, editor)) => {
            let words = format!("This is production. Type {name} to go on: ");
            let x = paint.text(last.x, last.y, last.width, &words, Role::Bad);
            let left = last.width.saturating_sub(x - last.x);
            paint.editor(
                Area {
                    x,
                    width: left,
                    ..last
                },
                editor,
                Focus::Here,
            );
        }
    }
    let _ = state;
}

/// A line being asked for.
pub(super) fn prompt(paint: &mut Paint<'_>, body: Area, prompt: &Prompt) {
    let rows = if prompt.error.is_some() { 2 } else { 1 };
    let area = pane(paint, body, rows, prompt.purpose.title(), Role::Accent);
    let (line, below) = area.top(1);
    paint.editor(line, &prompt.editor, Focus::Here);
    if let Some(error) = &prompt.error {
        paint.text(below.x, below.y, below.width, error, Role::Bad);
    }
}

/// A text in full.
pub(super) fn reader(paint: &mut Paint<'_>, body: Area, reader: &Reader) {
    let (rule, rest) = body.top(1);
    let place = if reader.lines.len() > usize::from(rest.height) {
        format!(
            "{}  {}/{}",
            reader.title,
            reader.scroll + 1,
            reader.lines.len()
        )
    } else {
        reader.title.clone()
    };
    paint.rule(rule, &place, Role::Accent);
    // Nothing is cut off here: long lines go on below.
    let room = usize::from(rest.width.saturating_sub(4));
    let shown = reader
        .lines
        .iter()
        .skip(reader.scroll)
        .take(usize::from(rest.height));
    let shown = shown.flat_map(|line| text::wrap(&fleet::safe::escape(line), room));
    for (line, y) in shown.zip(rest.y..rest.y + rest.height) {
        paint.text(
            rest.x + 3,
            y,
            rest.width.saturating_sub(4),
            &line,
            Role::Text,
        );
    }
}
