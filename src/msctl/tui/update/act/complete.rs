//! `tab` in a text: the value a key may have, the name of a key that the service has, an instance.

use fleet::ServiceName;
use fleet::config::Scope;

use crate::tui::state::State;
use crate::tui::state::config::Line;
use crate::tui::state::editor::Editor;
use crate::tui::state::overlay::{Overlay, Purpose};
use crate::tui::update::with_editor;

/// At most so many names are shown to choose from.
const SHOWN: usize = 12;

/// Completes what is typed, as far as it is certain; shows what it may be beyond that.
pub(super) fn complete(state: &mut State) {
    let candidates = candidates(state);
    let Some((typed, before)) = with_editor(state, |editor| last_word(editor)) else {
        return;
    };
    let fitting: Vec<&String> = candidates
        .iter()
        .filter(|candidate| candidate.starts_with(&typed))
        .collect();
    let common = common(&fitting);
    if common.len() > typed.len() {
        with_editor(state, |editor| editor.replace(&format!("{before}{common}")));
    }
    let shown = match fitting.as_slice() {
        [] if candidates.is_empty() => return,
        [] => names(&candidates.iter().collect::<Vec<_>>()),
        [_] => return,
        many => names(many),
    };
    match &mut state.overlay {
        Some(Overlay::Prompt(prompt)) => prompt.error = Some(shown),
        _ => {
            if let Some(editing) = &mut state.config.editing {
                editing.error = Some(shown);
            }
        }
    }
}

fn names(names: &[&String]) -> String {
    let shown: Vec<&str> = names.iter().take(SHOWN).map(|name| name.as_str()).collect();
    let more = match names.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    format!("one of {}{more}", shown.join(", "))
}

/// What is completed and what stands before it: names are separated by commas or spaces.
fn last_word(editor: &Editor) -> (String, String) {
    let text = editor.text();
    let at = text.rfind([',', ' ']).map_or(0, |at| at + 1);
    (text[at..].to_owned(), text[..at].to_owned())
}

/// What all of them begin with.
fn common(names: &[&String]) -> String {
    let Some(first) = names.first() else {
        return String::new();
    };
    let same = |(at, character): (usize, char)| {
        let rest = names.iter().all(|name| name[at..].starts_with(character));
        rest.then_some(character)
    };
    first.char_indices().map_while(same).collect()
}

fn candidates(state: &State) -> Vec<String> {
    match &state.overlay {
        Some(Overlay::Prompt(prompt)) => match prompt.purpose {
            Purpose::NewKey => new_keys(state),
            Purpose::Canary => match &state.config.scope {
                Some(Scope::Service(service)) => instances(state, service),
                Some(Scope::Global) | None => Vec::new(),
            },
            Purpose::Instance => super::calls::service(state)
                .map_or_else(Vec::new, |service| instances(state, &service)),
            Purpose::Message => Vec::new(),
        },
        Some(_) => Vec::new(),
        None => {
            let field = state.config.editing.as_ref();
            let field = field.and_then(|editing| editing.field.as_ref());
            field.map_or_else(Vec::new, |field| field.choices.clone())
        }
    }
}

/// The keys that the service says it has and that have no value of its own, and those of `global`.
fn new_keys(state: &State) -> Vec<String> {
    let rows = state.config.keys.rows().iter();
    let rows = rows.filter_map(Line::key);
    let open = rows.filter(|row| row.own.is_none());
    open.map(|row| row.path.to_string()).collect()
}

fn instances(state: &State, service: &ServiceName) -> Vec<String> {
    let service = state.directory.registry.service(service.as_str());
    let all = service.into_iter().flat_map(|service| service.instances());
    all.map(|instance| instance.record.id.to_string()).collect()
}
