//! Leaving: the console, which asks before drafts are lost, and what stands open, by `ctrl-c`.

use super::{Action, Effect, State, View, act, config};
use crate::tui::state::overlay::{Overlay, Question};

pub(super) fn quit(state: &mut State) -> Vec<Effect> {
    unless_drafts(state, "Leave", Effect::Quit)
}

/// What ends this session's state, after a question where drafts would be lost with it. That is
/// asked in any context, and never takes a typed name.
pub(in crate::tui::update) fn unless_drafts(
    state: &mut State,
    verb: &str,
    then: Effect,
) -> Vec<Effect> {
    let drafts = &state.config.drafts;
    if drafts.is_empty() {
        return vec![then];
    }
    state.overlay = Some(Overlay::Question(Question {
        text: format!(
            "{} changes are not saved. {verb} and lose them?",
            drafts.len()
        ),
        lines: drafts.keys().take(10).map(ToString::to_string).collect(),
        typed: None,
        then,
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
