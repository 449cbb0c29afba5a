//! Values of the Config page before they are saved: a new key, one to be unset, the choice between
//! theirs and mine, a text handed to `$EDITOR`.

use fleet::Seen;
use fleet::config::ConfigKey;

use super::{Effect, State, View, config, open, save, write};
use crate::tui::state::config::tree::Arrangement;
use crate::tui::state::config::{Choice, Wanted};
use crate::tui::state::editor::Editor;
use crate::tui::state::overlay::{Overlay, Prompt};
use crate::tui::state::toast::Tone;

pub(super) fn new_key(state: &mut State, mut prompt: Prompt) {
    let Some(scope) = state.config.scope.clone() else {
        return;
    };
    match ConfigKey::new(scope, prompt.editor.text().trim()) {
        Ok(key) => {
            state.config.unfold_to(key.path());
            state.config.keys.table.select_key(key.path().into());
            state.config.edit(key);
        }
        Err(error) => {
            prompt.error = Some(error.to_string());
            state.overlay = Some(Overlay::Prompt(prompt));
        }
    }
}

pub(super) fn fold(state: &mut State) {
    let page = &mut state.config;
    let why = if page.arrangement == Arrangement::Flat {
        "the list is flat; t lays it out as a tree"
    } else if !page.keys.filter_text().is_empty() {
        "a filter shows all that passes it; esc drops it"
    } else if page.toggle_fold() {
        return;
    } else {
        "this stands in no folder"
    };
    state.say(Tone::Plain, why);
}

pub(super) fn unset(state: &mut State) {
    if !write::allowed(state) {
        return;
    }
    let Some(key) = state.config.current() else {
        return;
    };
    let drafted = state
        .config
        .drafts
        .get(&key)
        .map(|draft| draft.seen.clone());
    let seen = drafted.unwrap_or_else(|| Seen::from(state.config.entry(&key).cloned()));
    if seen == Seen::Absent {
        let text = format!("{key} has no value of its own; there is nothing to unset");
        state.config.discard(&key);
        return state.say(Tone::Plain, text);
    }
    state.config.want(key, seen, Wanted::Unset, None);
}

pub(super) fn choose(state: &mut State, choice: Choice) {
    if !state.config.choose(choice) {
        let text = "both changed the same; take theirs or mine";
        state.say(Tone::Plain, text);
    }
}

pub(super) fn resolve(state: &mut State) {
    if !state.config.resolve() {
        state.say(Tone::Warn, "choose for each key first: t theirs, m mine");
    } else if state.config.drafts.is_empty() {
        state.say(
            Tone::Good,
            "theirs is kept everywhere; nothing is left to save",
        );
    } else {
        save::review(state);
    }
}

pub(super) fn edit_outside(state: &mut State) -> Vec<Effect> {
    if state.view == View::Config && state.config.pane == config::Pane::Keys {
        open(state);
    }
    let (text, suffix) = match state.view {
        View::Config => (
            state.config.editing.as_ref().map(|e| e.editor.text()),
            ".yaml",
        ),
        _ => (state.calls.request().map(Editor::text), ".json"),
    };
    text.map(|text| Effect::EditOutside { text, suffix })
        .into_iter()
        .collect()
}
