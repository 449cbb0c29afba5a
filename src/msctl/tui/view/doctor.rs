//! Findings over the whole fleet.

use fleet::finding::Severity;

use super::columns::{Column, Grid};
use super::paint::{Focus, Paint, Span};
use crate::tui::state::State;
use crate::tui::state::area::Area;
use crate::tui::text;
use crate::tui::theme::Role;

const COLUMNS: [Column; 3] = [
    Column::left("", 1, 1, 0),
    Column::left("SUBJECT", 12, 40, 0),
    Column::left("FINDING", 20, 160, 0),
];

/// How bad a finding is, as a glyph.
pub(super) fn mark(paint: &Paint<'_>, severity: Severity) -> (&'static str, Role) {
    match severity {
        Severity::Error => (paint.marks().unreachable, Role::Bad),
        Severity::Warning => ("!", Role::Warn),
        Severity::Info => (paint.marks().dot, Role::Dim),
    }
}

/// Draws the page.
pub(super) fn page(paint: &mut Paint<'_>, area: Area, state: &State) {
    let list = &state.doctor.list;
    let (table, below) = area.bottom(3);
    let rows = list
        .visible()
        .map(|(_, (_, row))| {
            let (mark, role) = mark(paint, row.finding.severity);
            vec![
                vec![Span::new(mark, role)],
                vec![Span::plain(text::fit_id(
                    &row.subject,
                    40,
                    paint.marks().ellipsis,
                ))],
                vec![Span::plain(row.finding.message.as_str())],
            ]
        })
        .collect();
    let grid = Grid {
        columns: &COLUMNS,
        rows,
        cursor: list
            .table
            .cursor()
            .checked_sub(list.table.visible(list.rows().len()).start),
        marked: Vec::new(),
        sort: None,
        focus: Focus::Here,
    };
    grid.draw(paint, table);
    if list.rows().is_empty() {
        let why = if list.filter_text().is_empty() {
            "Nothing is wrong, as far as it was asked."
        } else {
            "No finding passes the filter; esc drops it."
        };
        paint.text(
            area.x + 3,
            area.y + 1,
            area.width.saturating_sub(4),
            why,
            Role::Good,
        );
    }
    let (rule, rest) = below.top(1);
    let title = match &state.doctor.unknown {
        None => "next".to_owned(),
        Some(why) => format!("next {} {why}", paint.marks().dot),
    };
    paint.rule(rule, &title, Role::Text);
    if let Some((_, row)) = list.current() {
        let next = format!("{}: {}", row.subject, row.finding.next);
        let lines = text::wrap(&next, usize::from(rest.width.saturating_sub(4)));
        for (line, y) in lines.iter().zip(rest.y..rest.y + rest.height) {
            paint.text(
                rest.x + 3,
                y,
                rest.width.saturating_sub(4),
                line,
                Role::Text,
            );
        }
    }
}
