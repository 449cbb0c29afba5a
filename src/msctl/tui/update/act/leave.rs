//! Leaving: the console, which asks before drafts are lost, and what stands open, by `ctrl-c`.

use super::{Action, Effect, State, View, act, config};
use crate::tui::state::overlay::{Overlay, Question};

pub(super) fn quit(state: &mut State) -> Vec<Effect> {
    if state.config.drafts.is_empty() {
        return vec![Effect::Quit];
    }
    // Losing a draft is asked in any context, and never takes a typed name.
    let count = state.config.drafts.len();
    state.overlay = Some(Overlay::Question(Question {
        text: format!("{count} changes are not saved. Leave and lose them?"),
        lines: state
            .config
            .drafts
            .keys()
            .take(10)
            .map(ToString::to_string)
            .collect(),
        typed: None,
        then: Effect::Quit,
    }));
    Vec::new()
}

pub(super) fn interrupt(state: &mut State) -> Vec<Effect> {
    if state.overlay.take().is_some() {
        return Vec::new();
    }
    if state.filtering.is_some() {
        return act(state, Action::DropFilter);
    }
    match state.view {
        View::Config if state.config.pane == config::Pane::Review => {
            act(state, Action::LeaveReview)
        }
        View::Config => act(state, Action::LeaveValue),
        View::Calls => act(state, Action::LeaveRequest),
        _ => Vec::new(),
    }
}
