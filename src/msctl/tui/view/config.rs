//! The Config page: who has config, the keys of one, and below them what is being changed: the value
//! being edited, the difference to be saved, a conflict, or how a save spreads.

use fleet::config::Scope;

use super::columns::{Column, Grid};
use super::paint::{Focus, Paint, Span};
use crate::tui::state::area::Area;
use crate::tui::state::config::Pane;
use crate::tui::state::{State, layout};
use crate::tui::text;
use crate::tui::theme::Role;

mod canary;
mod conflict;
mod draft;
mod history;
mod keys;
mod rollout;
mod value;

const SCOPES: [Column; 4] = [
    Column::left("SERVICE", 12, 40, 0),
    Column::right("KEYS", 5, 8, 1),
    Column::right("NEWEST", 7, 12, 2),
    Column::left("CHANGES", 8, 40, 3),
];

/// Draws the page.
pub(super) fn page(paint: &mut Paint<'_>, state: &State) {
    let panes = layout::config(state);
    let page = &state.config;
    if let Some(trial) = page.trial.as_ref().filter(|_| !panes.banner.is_empty()) {
        canary::banner(paint, panes.banner, state, trial);
    }
    match page.pane {
        Pane::Scopes => scopes(paint, panes.list, state),
        Pane::History => {
            if let Some(history) = &page.history {
                history::notes(paint, panes.notes, history);
                history::list(paint, panes.list, state, history);
                history::detail(paint, panes.lower, history);
            }
            return;
        }
        _ => keys::keys(paint, panes.list, state),
    }
    if panes.lower.is_empty() {
        return;
    }
    match (page.pane, &page.editing, &page.clash) {
        (Pane::Value, Some(editing), _) => value::editor(paint, panes.lower, state, editing),
        (Pane::Review, ..) => draft::review(paint, panes.lower, state),
        (Pane::Conflict, _, Some(clash)) => conflict::conflict(paint, panes.lower, state, clash),
        (Pane::Keys, ..) => match (&page.sent, &page.saved) {
            (Some(_), _) => rollout::sending(paint, panes.lower),
            (None, _) if !page.drafts.is_empty() => draft::drafts(paint, panes.lower, state),
            (None, Some(saved)) => rollout::rollout(paint, panes.lower, saved),
            (None, None) => keys::layers(paint, panes.lower, state),
        },
        _ => {}
    }
}

fn scopes(paint: &mut Paint<'_>, area: Area, state: &State) {
    let list = &state.config.scopes;
    let pending = |scope: &Scope| {
        let count = state
            .config
            .drafts
            .keys()
            .filter(|key| key.scope == *scope)
            .count();
        match count {
            0 => Vec::new(),
            count => vec![Span::new(format!("{count} pending  "), Role::Warn)],
        }
    };
    let unreadable = |count: usize| match count {
        0 => None,
        count => Some(Span::new(format!("{count} unreadable"), Role::Bad)),
    };
    let rows = list
        .visible()
        .map(|(_, row)| {
            let keys = i64::try_from(row.keys).unwrap_or(i64::MAX);
            let newest = match row.newest.0 {
                0 => Span::dim("–"),
                revision => Span::plain(format!("r{revision}")),
            };
            vec![
                vec![Span::plain(row.scope.to_string())],
                vec![Span::new(
                    text::number(keys),
                    if keys == 0 { Role::Dim } else { Role::Text },
                )],
                vec![newest],
                {
                    let mut changes = pending(&row.scope);
                    changes.extend(unreadable(row.unreadable));
                    changes
                },
            ]
        })
        .collect();
    let grid = Grid {
        columns: &SCOPES,
        rows,
        cursor: list
            .table
            .cursor()
            .checked_sub(list.table.visible(list.rows().len()).start),
        marked: Vec::new(),
        sort: None,
        focus: Focus::Here,
    };
    grid.draw(paint, area);
}
