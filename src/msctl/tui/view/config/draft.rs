//! The pending changes: the difference that each makes, what is to be known of it, and why it is made.

use fleet::config::diff::{Emphasis, Line, Side};

use crate::tui::state::State;
use crate::tui::state::area::Area;
use crate::tui::state::config::basket::{Layout, ReviewRow, Weight};
use crate::tui::theme::Role;
use crate::tui::view::paint::{Focus, Paint, Span};

/// From so many columns on, facts stand beside the difference.
const WIDE: u16 = 110;

/// The most that facts take of them.
const FACTS: u16 = 56;

/// Draws them beside the keys, the one under the cursor in sight.
pub(super) fn drafts(paint: &mut Paint<'_>, area: Area, state: &State) {
    let (rest, last) = frame(paint, area, state);
    let page = &state.config;
    let first = page.current().map_or(0, |key| page.row_of(&key));
    let fits = page.reviewed.len().saturating_sub(usize::from(rest.height));
    rows(paint, rest, state, first.min(fits));
    let message = if state.save_message.is_empty() {
        Span::dim("none yet; the save asks")
    } else {
        Span::plain(&state.save_message)
    };
    let spans = [Span::dim("message  "), message];
    paint.spans(last.x + 3, last.y, last.width.saturating_sub(4), &spans);
}

/// Draws them before the save, with the message being typed.
pub(super) fn review(paint: &mut Paint<'_>, area: Area, state: &State) {
    let (rest, last) = frame(paint, area, state);
    let Some(review) = &state.config.review else {
        return;
    };
    rows(paint, rest, state, review.scroll);
    let x = paint.text(last.x + 3, last.y, 9, "message  ", Role::Accent);
    let field = Area {
        x,
        width: (last.x + last.width).saturating_sub(x + 1),
        ..last
    };
    paint.editor(field, &review.message, Focus::Here);
}

fn frame(paint: &mut Paint<'_>, area: Area, state: &State) -> (Area, Area) {
    let page = &state.config;
    let count = page.drafts.len();
    let changes = if count == 1 { "change" } else { "changes" };
    let kind = match page.kind.to_string() {
        kind if kind.is_empty() => kind,
        kind => format!(", {kind}"),
    };
    let (rule, rest) = area.top(1);
    let title = format!("{count} {changes}, one transaction{kind}");
    paint.rule(rule, &title, Role::Accent);
    rest.bottom(1)
}

fn rows(paint: &mut Paint<'_>, area: Area, state: &State, first: usize) {
    let page = &state.config;
    let shown = page.reviewed.iter().skip(first);
    let facts = shown.clone().take(usize::from(area.height));
    let facts = facts.filter_map(|row| {
        row.fact
            .as_ref()
            .filter(|(weight, _)| *weight == Weight::Plain)
    });
    let facts = facts.map(|(_, fact)| crate::tui::text::width(fact)).max();
    let facts = u16::try_from(facts.unwrap_or(0))
        .unwrap_or(FACTS)
        .min(FACTS);
    let lines = shown.clone().take(usize::from(area.height));
    let lines = lines.filter_map(|row| row.lines.0.as_ref());
    let widest = lines
        .map(|line| crate::tui::text::width(&line.text()) + 6)
        .max();
    let columns = (
        u16::try_from(widest.unwrap_or(0)).unwrap_or(u16::MAX),
        facts,
    );
    let mut before: Option<&ReviewRow> = None;
    for (row, y) in shown.zip(area.y..area.y + area.height) {
        let line = Area {
            x: area.x + 3,
            y,
            width: area.width.saturating_sub(4),
            height: 1,
        };
        match page.layout {
            Layout::Unified => unified(paint, line, columns, row, before),
            Layout::Beside => beside(paint, line, row),
        }
        before = Some(row);
    }
}

fn unified(
    paint: &mut Paint<'_>,
    line: Area,
    (widest, facts): (u16, u16),
    row: &ReviewRow,
    before: Option<&ReviewRow>,
) {
    let keys = (line.width / 3).clamp(16, 40);
    let wide = line.width >= WIDE;
    let (left, rest) = line.left(keys);
    match &row.key {
        Some(key) => drop(paint.text(left.x, left.y, keys - 1, &key.to_string(), Role::Text)),
        // Where there is no room beside the difference, facts stand below the key.
        None if !wide => {
            let fact = before.and_then(|row| row.fact.as_ref());
            if let Some((weight, fact)) = fact.filter(|(weight, _)| *weight == Weight::Plain) {
                let text = format!("  {fact}");
                paint.text(left.x, left.y, keys - 1, &text, role(*weight));
            }
        }
        None => {}
    }
    // What is doubtful is told in full, in the place of a line.
    if let Some((Weight::Doubt, fact)) = &row.fact {
        paint.text(rest.x, rest.y, rest.width, fact, role(Weight::Doubt));
        return;
    }
    let facts = if wide { facts } else { 0 };
    // As near as the longest line lets them.
    let room = rest.width.saturating_sub(facts + 1);
    let (rest, facts) = rest.left(if wide { room.min(widest.max(24)) } else { room });
    if let Some(shown) = &row.lines.0 {
        change(paint, rest, shown);
    }
    if let Some((weight, fact)) = row.fact.as_ref().filter(|_| wide) {
        paint.text(facts.x, facts.y, facts.width, fact, role(*weight));
    }
}

fn beside(paint: &mut Paint<'_>, line: Area, row: &ReviewRow) {
    let keys = (line.width / 3).clamp(16, 40);
    if let Some(key) = &row.key {
        paint.text(line.x, line.y, keys - 1, &key.to_string(), Role::Text);
    }
    if let Some((weight, fact)) = &row.fact {
        let (_, rest) = line.left(keys);
        paint.text(rest.x, rest.y, rest.width, fact, role(*weight));
    }
    let (left, right) = line.left(line.width / 2);
    for (area, shown) in [(left, &row.lines.0), (right, &row.lines.1)] {
        if let Some(shown) = shown {
            let area = Area {
                width: area.width.saturating_sub(1),
                ..area
            };
            change(paint, area, shown);
        }
    }
}

fn role(weight: Weight) -> Role {
    match weight {
        Weight::Plain => Role::Dim,
        Weight::Doubt => Role::Warn,
    }
}

/// A line with its sign, the words that differ in bold.
pub(super) fn change(paint: &mut Paint<'_>, area: Area, line: &Line) {
    let (sign, role) = match line.side {
        Side::Both => ("  ", Role::Dim),
        Side::Before => ("- ", Role::Removed),
        Side::After => ("+ ", Role::Added),
    };
    let mut x = paint.text(area.x, area.y, area.width, sign, role);
    for piece in &line.pieces {
        let room = (area.x + area.width).saturating_sub(x);
        let mut style = paint.theme().style(role);
        if piece.emphasis == Emphasis::Changed {
            style = style.add_modifier(ratatui::style::Modifier::BOLD);
        }
        x = paint.styled(x, area.y, room, piece.text.trim_end_matches('\n'), style);
    }
}
