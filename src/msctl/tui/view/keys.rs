//! The raw keys.

use super::columns::{Column, Grid};
use super::paint::{Focus, Paint, Span};
use crate::tui::state::State;
use crate::tui::state::area::Area;
use crate::tui::text;
use crate::tui::theme::Role;

const COLUMNS: [Column; 3] = [
    Column::left("KEY", 20, 120, 0),
    Column::right("REVISION", 8, 12, 1),
    Column::right("WRITTEN", 8, 10, 2),
];

/// Draws the page.
pub(super) fn page(paint: &mut Paint<'_>, area: Area, state: &State) {
    let list = &state.keys.list;
    let rows = list
        .visible()
        .map(|(_, row)| {
            vec![
                vec![Span::plain(row.key.to_string())],
                vec![Span::dim(text::number(row.mod_revision.0))],
                vec![Span::dim(format!("{}{}", paint.marks().times, row.version))],
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
        sort: Some(list.table.sort),
        focus: Focus::Here,
    };
    grid.draw(paint, area);
    if state.keys.more {
        let more = "there are more keys than are listed";
        let x = area
            .width
            .saturating_sub(u16::try_from(more.len() + 1).unwrap_or(0));
        paint.text(area.x + x, area.y, area.width - x, more, Role::Warn);
    }
    if list.rows().is_empty() {
        let why = match &state.keys.error {
            Some(error) => error.as_str(),
            None if state.keys.list.total() == 0 => "Reading keys, or there are none.",
            None => "No key passes the filter; esc drops it.",
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
