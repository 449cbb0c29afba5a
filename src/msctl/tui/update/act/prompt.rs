//! What is typed into a line or shown over the page: prompts, questions, readers.

use super::{Effect, State, calls, save, values, write};
use crate::tui::state::editor::{Editor, Shape};
use crate::tui::state::overlay::{Overlay, Prompt, Purpose, Reader};
use crate::tui::state::toast::Tone;

/// Asks for a line of text.
pub(super) fn prompt(state: &mut State, purpose: Purpose, text: &str) {
    let editor = Editor::new(Shape::Line, text);
    state.overlay = Some(Overlay::Prompt(Prompt {
        purpose,
        editor,
        error: None,
    }));
}

/// Takes what was typed, or says what is wrong with it and leaves it to be mended.
pub(super) fn accept_prompt(state: &mut State) -> Vec<Effect> {
    match state.overlay.take() {
        Some(Overlay::Question(question)) => {
            let name_given = question
                .typed
                .as_ref()
                .is_some_and(|(name, typed)| *name == typed.text().trim());
            if name_given {
                return write::agreed(state, question.then);
            }
            let name = question.typed.as_ref().map_or("", |(name, _)| name);
            let text = format!("not done: that is not the name of the context, '{name}'");
            state.say(Tone::Warn, text);
        }
        Some(Overlay::Prompt(prompt)) => match prompt.purpose {
            Purpose::Message => state.save_message = prompt.editor.text().trim().to_owned(),
            Purpose::NewKey => values::new_key(state, prompt),
            Purpose::Canary => return save::try_on(state, prompt),
            Purpose::Instance => calls::take_instance(state, prompt),
        },
        other => state.overlay = other,
    }
    Vec::new()
}

/// Opens a text in full.
pub(in crate::tui::update) fn read(
    state: &mut State,
    title: impl Into<String>,
    lines: Vec<String>,
) {
    state.overlay = Some(Overlay::Reader(Reader::new(title, lines)));
}
