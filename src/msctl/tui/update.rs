//! The one place where state changes: an event comes in, state becomes what it must, and what is to
//! be done in the world goes out as effects. Nothing here waits or draws.

use super::action::{Action, Scope};
use super::effect::Effect;
use super::event::{Event, Now};
use super::key::Key;
use super::keymap::Meaning;
use super::state::editor::Pressed;
use super::state::overlay::Overlay;
use super::state::toast::Tone;
use super::state::{State, View, calls, config, known_size};

mod act;
mod feed;
mod mouse;
mod palette;
mod past;
pub mod poll;
mod reply;
mod save;
mod turn;
mod write;

/// Takes an event in.
pub fn update(state: &mut State, now: Now, event: Event) -> Vec<Effect> {
    let second = state.now.mono.as_secs();
    state.now = now;
    if state.messages.expire(now.mono) {
        state.changed = true;
    }
    let mut effects = match event {
        Event::Key(key) => press(state, key),
        Event::Paste(text) => paste(state, &text),
        Event::Mouse(mouse) => mouse::mouse(state, mouse),
        Event::Title(mouse, column) => mouse::title(state, mouse, column),
        Event::Resize(width, height) => {
            let size = known_size((width, height));
            state.changed |= size != state.size;
            state.size = size;
            Vec::new()
        }
        Event::Resumed => {
            state.changed = true;
            vec![Effect::Redraw]
        }
        Event::Edited(text) => edited(state, text),
        Event::Tick => {
            state.changed |= now.mono.as_secs() != second && shows_time(state);
            Vec::new()
        }
        // One line drops the answers to another context.
        Event::Feed(generation, _) | Event::Reply(generation, _)
            if generation != state.generation =>
        {
            Vec::new()
        }
        Event::Feed(_, feed) => feed::feed(state, feed),
        Event::Reply(_, reply) => reply::reply(state, reply),
    };
    effects.extend(poll::poll(state));
    effects
}

fn shows_time(state: &State) -> bool {
    use super::state::freshness::Freshness;
    state.shows_gauges()
        || matches!(state.freshness(), Freshness::Stale { .. })
        || (state.view == View::Calls
            && state
                .calls
                .answer
                .as_ref()
                .is_some_and(calls::Answer::is_running))
}

fn press(state: &mut State, key: Key) -> Vec<Effect> {
    // Keys typed faster than frames are drawn find the rows they would have seen.
    state.settle();
    state.changed = true;
    let scopes = state.scopes();
    state.pending.push(key);
    let pending = state.pending.clone();
    match state.keymap.meaning(scopes, &pending) {
        Meaning::Begun => return Vec::new(),
        Meaning::Run(action) => {
            state.pending.clear();
            return act::act(state, action);
        }
        Meaning::Nothing => state.pending.clear(),
    }
    // A sequence that leads nowhere ends, and its last key counts for itself.
    if pending.len() > 1 {
        return press(state, key);
    }
    if scopes.first().is_some_and(|scope| scope.is_text()) {
        type_key(state, key);
    }
    Vec::new()
}

/// Gives a key to the text that has the focus.
fn type_key(state: &mut State, key: Key) {
    let Some(pressed) = with_editor(state, |editor| editor.press(key)) else {
        return;
    };
    if pressed == Pressed::Changed {
        typed(state);
    }
}

fn paste(state: &mut State, text: &str) -> Vec<Effect> {
    state.changed = true;
    if state.scopes().first().is_some_and(|scope| scope.is_text())
        && with_editor(state, |editor| editor.insert(text)).is_some()
    {
        typed(state);
    }
    Vec::new()
}

/// The text being typed is another one: what depends on it follows.
fn typed(state: &mut State) {
    match &mut state.overlay {
        Some(Overlay::Palette(_)) => palette::search(state),
        Some(Overlay::Prompt(prompt)) => prompt.error = None,
        Some(_) => {}
        None => {
            if let Some((editor, _)) = &state.filtering {
                let text = editor.text();
                set_filter(state, &text);
            } else if let Some(editing) = &mut state.config.editing {
                editing.error = None;
            }
        }
    }
}

/// Runs something on the text that has the focus.
pub(super) fn with_editor<T>(
    state: &mut State,
    run: impl FnOnce(&mut super::state::editor::Editor) -> T,
) -> Option<T> {
    let editor = match &mut state.overlay {
        Some(Overlay::Palette(palette)) => &mut palette.editor,
        Some(Overlay::Prompt(prompt)) => &mut prompt.editor,
        Some(Overlay::Question(question)) => &mut question.typed.as_mut()?.1,
        Some(Overlay::Reader(_)) => return None,
        None => {
            if let Some((editor, _)) = &mut state.filtering {
                editor
            } else if state.view == View::Config && state.config.pane == config::Pane::Value {
                &mut state.config.editing.as_mut()?.editor
            } else if state.view == View::Config && state.config.pane == config::Pane::Review {
                &mut state.config.review.as_mut()?.message
            } else if state.view == View::Calls && state.calls.pane == calls::Pane::Request {
                state.calls.request_mut()?
            } else if state.view == View::Calls && state.calls.pane == calls::Pane::Headers {
                state.calls.headers_mut()?
            } else {
                return None;
            }
        }
    };
    Some(run(editor))
}

/// The text of the filter that narrows the list with the focus.
pub(super) fn filter_text(state: &State) -> Option<&str> {
    use super::state::services::Pane;
    Some(match state.view {
        View::Services if state.services.pane == Pane::Services => {
            state.services.services.filter_text()
        }
        View::Services => state.services.instances.filter_text(),
        View::Config if state.config.pane == config::Pane::Scopes => {
            state.config.scopes.filter_text()
        }
        View::Config if state.config.pane == config::Pane::History => {
            state.config.history.as_ref()?.list.filter_text()
        }
        View::Config => state.config.keys.filter_text(),
        View::Calls => state.calls.tree.filter_text(),
        View::Leases => state.leases.list.filter_text(),
        View::Events => state.events.list.filter_text(),
        View::Keys => state.keys.list.filter_text(),
        View::Doctor => state.doctor.list.filter_text(),
        View::Overview | View::Messages => return None,
    })
}

fn set_filter(state: &mut State, text: &str) {
    use super::state::services::Pane;
    match state.view {
        View::Services if state.services.pane == Pane::Services => {
            state.services.services.set_filter(text);
        }
        View::Services => state.services.instances.set_filter(text),
        View::Config if state.config.pane == config::Pane::Scopes => {
            state.config.scopes.set_filter(text);
        }
        View::Config if state.config.pane == config::Pane::History => {
            if let Some(history) = &mut state.config.history {
                history.list.set_filter(text);
            }
        }
        View::Config => state.config.keys.set_filter(text),
        View::Calls => state.calls.tree.set_filter(text),
        View::Leases => state.leases.list.set_filter(text),
        View::Events => state.events.list.set_filter(text),
        View::Keys => state.keys.list.set_filter(text),
        View::Doctor => state.doctor.list.set_filter(text),
        View::Overview | View::Messages => {}
    }
}

fn edited(state: &mut State, text: Result<String, String>) -> Vec<Effect> {
    state.changed = true;
    match text {
        Err(why) => state.say(Tone::Bad, why),
        Ok(text) => {
            let text = text.trim_end_matches('\n');
            if with_editor(state, |editor| editor.replace(text)).is_none() {
                state.say(
                    Tone::Warn,
                    "the edited text has no place any longer; nothing changed",
                );
            }
            typed(state);
        }
    }
    vec![Effect::Redraw]
}

/// Shows a page; the one before is remembered.
pub(super) fn show(state: &mut State, view: View) {
    state.overlay = None;
    state.filtering = None;
    state.changed = true;
    if state.view != view {
        let before = std::mem::replace(&mut state.view, view);
        state.history.0.push(before);
        if state.history.0.len() > 50 {
            state.history.0.remove(0);
        }
        state.history.1.clear();
        outdate_page(state);
    }
}

/// A page that was hidden may have missed changes.
fn outdate_page(state: &mut State) {
    match state.view {
        View::Services => {
            state.services.services.outdate_now();
            state.services.instances.outdate_now();
        }
        View::Config => {
            state.config.scopes.outdate_now();
            state.config.keys.outdate_now();
        }
        View::Calls => state.calls.tree.outdate_now(),
        View::Leases => {
            state.leases.list.outdate_now();
            state.beats.lease_list.asked = None;
        }
        View::Events => state.events.list.outdate_now(),
        View::Keys => {
            state.keys.list.outdate_now();
            state.keys.asked = false;
        }
        View::Doctor | View::Overview => state.doctor.list.outdate_now(),
        View::Messages => {}
    }
}

/// Whether an action works on the page, whatever lies over it.
pub(super) fn works(state: &State, action: Action) -> bool {
    let scopes = state.scopes_of_page();
    action
        .spec()
        .scopes
        .iter()
        .any(|scope: &Scope| scopes.contains(scope))
}
