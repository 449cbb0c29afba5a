//! The Leases page.

use super::columns::{Column, Grid};
use super::instances::gauge;
use super::paint::{Focus, Paint, Span};
use crate::tui::state::State;
use crate::tui::state::area::Area;
use crate::tui::text;
use crate::tui::theme::Role;

const COLUMNS: [Column; 6] = [
    Column::left("LEASE", 10, 18, 0),
    Column::left("SERVICE", 8, 32, 2),
    Column::left("INSTANCE", 10, 40, 3),
    Column::right("GRANTED", 7, 8, 5),
    Column::left("LEFT", 18, 34, 1),
    Column::left("KEYS", 8, 60, 4),
];

/// Cells of a gauge, where there is room and where there is little: the number behind it says more.
const GAUGE: usize = 16;
const SHORT_GAUGE: usize = 8;

/// Draws the page.
pub(super) fn page(paint: &mut Paint<'_>, area: Area, state: &State) {
    let list = &state.leases.list;
    let cells = if area.width < 120 { SHORT_GAUGE } else { GAUGE };
    let rows = list
        .visible()
        .map(|(_, row)| {
            let seen = state.directory.lease(row.id);
            let record = row.instance.as_ref().map(|instance| &instance.record);
            let granted = seen.map_or_else(
                || Span::dim("–"),
                |seen| Span::plain(format!("{}s", seen.granted)),
            );
            let keys = match seen.and_then(|seen| seen.keys.as_deref()) {
                None => Vec::new(),
                Some([]) => vec![Span::new("no keys", Role::Warn)],
                Some([key]) => vec![Span::dim(key.to_string())],
                Some([first, rest @ ..]) => {
                    vec![Span::dim(format!("{first} and {} more", rest.len()))]
                }
            };
            vec![
                vec![Span::plain(row.id.to_string())],
                vec![record.map_or_else(
                    || Span::dim("–"),
                    |record| Span::plain(record.service.as_str()),
                )],
                vec![record.map_or_else(
                    || Span::dim("–"),
                    |record| {
                        Span::plain(text::fit_id(record.id.as_str(), 40, paint.marks().ellipsis))
                    },
                )],
                vec![granted],
                gauge(paint, state, row.id, cells),
                keys,
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
    if list.rows().is_empty() {
        let why = match &state.leases.error {
            Some(error) => error.as_str(),
            None if !list.filter_text().is_empty() => "No lease passes the filter; esc drops it.",
            None => "No lease is granted.",
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
