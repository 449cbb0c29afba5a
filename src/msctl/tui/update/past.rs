//! History and the way back: asked for, shown, and turned into pending changes.

use fleet::Revision;
use fleet::config::Scope;

use super::{save, write};
use crate::change::rollback::Target;
use crate::tui::effect::Effect;
use crate::tui::state::State;
use crate::tui::state::config::past::WayBack;
use crate::tui::state::config::{Pane, Saved};
use crate::tui::state::toast::Tone;

/// Opens the history of the key under the cursor.
pub(super) fn of_key(state: &mut State) -> Vec<Effect> {
    let Some(key) = state.config.current() else {
        return Vec::new();
    };
    let scope = key.scope.clone();
    state.config.open_history(scope.clone(), Some(key.clone()));
    vec![Effect::ReadHistory {
        scope,
        only: Some(key),
    }]
}

/// Opens the history of the scope that shows, or of the one under the cursor.
pub(super) fn of_scope(state: &mut State) -> Vec<Effect> {
    let scope = match state.config.pane {
        Pane::Scopes => state.config.scopes.current().map(|row| row.scope.clone()),
        _ => state.config.scope.clone(),
    };
    let Some(scope) = scope else {
        return Vec::new();
    };
    state.config.open(scope.clone());
    state.config.open_history(scope.clone(), None);
    vec![Effect::ReadHistory { scope, only: None }]
}

/// Looks for the way back from the change under the cursor.
pub(super) fn back(state: &mut State, target: fn(Revision) -> Target) -> Vec<Effect> {
    let history = state.config.history.as_ref();
    let Some((scope, past)) = history.and_then(|all| Some((all.scope.clone(), all.current()?)))
    else {
        return Vec::new();
    };
    match past.release {
        Some(revision) => find(state, scope, target(revision)),
        None => {
            let text = "another tool made this change and left no record; go back to a release";
            state.say(Tone::Plain, text);
            Vec::new()
        }
    }
}

fn find(state: &mut State, scope: Scope, target: Target) -> Vec<Effect> {
    if !write::allowed(state) {
        return Vec::new();
    }
    state.say(Tone::Plain, "looking for the way back");
    vec![Effect::FindWayBack { scope, target }]
}

/// Drops the pending change under the cursor; where there is none, takes the last save back.
pub(super) fn undo(state: &mut State) -> Vec<Effect> {
    if let Some(key) = state.config.current()
        && state.config.discard(&key)
    {
        state.say(Tone::Plain, format!("the change of {key} is dropped"));
        return Vec::new();
    }
    let saved = |saved: &Saved| {
        let scopes: std::collections::BTreeSet<_> =
            saved.keys.iter().map(|key| &key.scope).collect();
        let only = saved.only.is_some();
        (
            saved.revision,
            scopes.into_iter().cloned().collect::<Vec<_>>(),
            only,
        )
    };
    match state.config.saved.as_ref().map(saved) {
        None => Vec::new(),
        Some((_, _, true)) => {
            state.say(Tone::Plain, "a canary is ended with A, not taken back");
            Vec::new()
        }
        Some((revision, scopes, false)) => match scopes.as_slice() {
            [scope] => find(state, scope.clone(), Target::Of(revision)),
            _ => {
                let text = "the save touched several services; take it back in each: H, then o";
                state.say(Tone::Plain, text);
                Vec::new()
            }
        },
    }
}

/// A way back was found: it becomes pending changes, to be read before they are saved.
pub(super) fn found(state: &mut State, scope: &Scope, way: Result<WayBack, String>) {
    let now = state.now.mono;
    let blind = way.as_ref().is_ok_and(|way| way.blind);
    if let Err(why) = way.and_then(|way| state.config.go_back(way, now)) {
        return state.say(Tone::Warn, why);
    }
    if blind {
        let text = "etcd's own history of then is gone: what other tools deleted since is not \
                    brought back";
        state.say(Tone::Warn, text);
    }
    if state.config.scope.as_ref() != Some(scope) {
        let pane = state.config.pane;
        state.config.open(scope.clone());
        state.config.pane = pane;
    }
    if state.config.pane == Pane::Keys && state.view == crate::tui::state::View::Config {
        save::review(state);
    }
}

/// Whether the authors of what stands in the scope that shows have to be asked for.
pub(super) fn authors(state: &mut State) -> Option<Effect> {
    let wanted = state.config.authored()?;
    if state.config.authors.of.as_ref() == Some(&wanted) {
        return None;
    }
    let scopes = wanted.0.clone();
    state.config.authors.of = Some(wanted);
    Some(Effect::ReadRecords(scopes))
}
