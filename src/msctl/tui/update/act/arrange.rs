//! Which rows of a list show, and in which order.

use super::{State, View, config, go};
use crate::tui::state::config::tree::Arrangement;
use crate::tui::state::editor::{Editor, Shape};
use crate::tui::state::services::{self, Pane};
use crate::tui::state::table::Motion;
use crate::tui::state::toast::Tone;
use crate::tui::state::{events, keys, leases};
use crate::tui::update::filter_text;

/// What was found stays under the cursor, also when the filter goes.
pub(super) fn keep_filter(state: &mut State) {
    state.filtering = None;
    go(state, Motion::Rows(0));
}

pub(super) fn start_filter(state: &mut State) {
    if let Some(text) = filter_text(state) {
        let text = text.to_owned();
        state.filtering = Some((Editor::new(Shape::Line, &text), text));
    }
}

/// What becomes of the order.
#[derive(Clone, Copy)]
pub(in crate::tui::update) enum Sorting {
    /// By the next column.
    Next,
    /// The other way round.
    Reverse,
    /// By this column; the second time downwards.
    By(usize),
}

pub(in crate::tui::update) fn sort(state: &mut State, sorting: Sorting) {
    macro_rules! on {
        ($list:expr, $columns:expr) => {
            match sorting {
                Sorting::Next => $list.sort_next($columns),
                Sorting::Reverse => $list.reverse(),
                Sorting::By(column) if column < $columns => $list.sort_by(column),
                // What only tells has no order.
                Sorting::By(_) => {}
            }
        };
    }
    match (state.view, state.services.pane) {
        (View::Services, Pane::Services) => {
            on!(state.services.services, services::SERVICE_COLUMNS.len());
        }
        (View::Services, _) => on!(state.services.instances, services::INSTANCE_COLUMNS.len()),
        (View::Config, _) if state.config.arrangement == Arrangement::Tree => {
            let text = "a tree is in the order of its names; t shows the flat list";
            state.say(Tone::Plain, text);
        }
        (View::Config, _) => on!(state.config.keys, config::rows::COLUMNS),
        (View::Keys, _) => on!(state.keys.list, keys::COLUMNS),
        (View::Leases, _) => {
            on!(state.leases.list, leases::COLUMNS.len());
        }
        (View::Events, _) => on!(state.events.list, events::COLUMNS.len()),
        _ => {}
    }
}
