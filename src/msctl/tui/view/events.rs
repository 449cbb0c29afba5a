//! The journal.

use super::columns::{Column, Grid};
use super::paint::{Focus, Paint, Span};
use crate::tui::state::State;
use crate::tui::state::area::Area;
use crate::tui::state::events::{self, Happened, What};
use crate::tui::text;
use crate::tui::theme::Role;

const COLUMNS: [Column; 5] = [
    Column::left(events::COLUMNS[0], 8, 8, 1),
    Column::right(events::COLUMNS[1], 8, 12, 4),
    Column::left(events::COLUMNS[2], 8, 16, 2),
    Column::left(events::COLUMNS[3], 12, 44, 0),
    Column::left("", 8, 120, 3),
];

/// How what happened looks.
pub(super) fn role(what: What) -> Role {
    match what {
        What::Created => Role::Good,
        What::Changed => Role::Accent,
        What::Deleted | What::Gone | What::Health => Role::Warn,
        What::LeaseEnded | What::DeletedByHand | What::Link => Role::Bad,
    }
}

/// The cells of an event.
pub(super) fn cells<'a>(paint: &Paint<'_>, happened: &'a Happened) -> Vec<Vec<Span<'a>>> {
    vec![
        vec![Span::dim(paint.clock(happened.at))],
        vec![happened.revision.map_or_else(
            || Span::dim("–"),
            |revision| Span::dim(text::number(revision.0)),
        )],
        vec![Span::new(happened.what.word(), role(happened.what))],
        vec![Span::plain(happened.subject.as_str())],
        vec![Span::dim(happened.text.as_str())],
    ]
}

/// Draws the page.
pub(super) fn page(paint: &mut Paint<'_>, area: Area, state: &State) {
    let page = &state.events;
    let list = &page.list;
    let rows = list
        .visible()
        .filter_map(|(_, number)| page.get(*number))
        .map(|happened| cells(paint, happened))
        .collect();
    let grid = Grid {
        columns: &COLUMNS,
        rows,
        cursor: list
            .table
            .cursor()
            .checked_sub(list.table.visible(list.rows().len()).start),
        marked: Vec::new(),
        sort: Some(list.table.sort),
        focus: Focus::Here,
    };
    grid.draw(paint, area);
    let last = area.width.saturating_sub(14);
    if page.following {
        paint.text(area.x + last, area.y, 13, "following", Role::Dim);
    } else {
        paint.text(area.x + last, area.y, 13, "held, f follows", Role::Warn);
    }
    if list.rows().is_empty() {
        let why = if page.is_empty() {
            "Nothing changed since the console looks. Changes show here as they happen."
        } else {
            "No event passes the filter; esc drops it."
        };
        paint.text(
            area.x + 3,
            area.y + 1,
            area.width.saturating_sub(4),
            why,
            Role::Dim,
        );
    }
}
