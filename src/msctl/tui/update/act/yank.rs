//! What `y` and `Y` put on the clipboard: the identity of what is under the cursor, a command line
//! that does the same.

use crate::tui::effect::Effect;
use crate::tui::state::calls::Tool;
use crate::tui::state::editor::Editor;
use crate::tui::state::overlay::Overlay;
use crate::tui::state::services::Pane;
use crate::tui::state::toast::Tone;
use crate::tui::state::{State, View, calls, config};
use crate::tui::text::fit;

/// Copies what the cursor is on.
pub(super) fn row(state: &mut State) -> Vec<Effect> {
    let text = match &state.overlay {
        Some(Overlay::Reader(reader)) => Some(reader.lines.join("\n")),
        _ => under_cursor(state),
    };
    copy(state, text)
}

fn under_cursor(state: &State) -> Option<String> {
    Some(match state.view {
        View::Services => match state.services.pane {
            Pane::Services => state.services.of()?.to_string(),
            _ => {
                let record = &state.services.instance()?.record;
                match record.endpoints.first() {
                    Some(endpoint) => format!("{} {endpoint}", record.id),
                    None => record.id.to_string(),
                }
            }
        },
        View::Config => match state.config.current() {
            Some(key) => match state.config.entry(&key) {
                Some(entry) => {
                    let veil = state.config.veil(&key, &entry.value);
                    let shown = veil.as_deref().unwrap_or(&entry.value);
                    format!("{key} {}", String::from_utf8_lossy(shown))
                }
                None => key.to_string(),
            },
            None if state.config.pane == config::Pane::Scopes => {
                state.config.scopes.current()?.scope.to_string()
            }
            None => match state.config.keys.current()? {
                config::Line::Stray(stray) => stray.entry.key.to_string(),
                config::Line::Folder(folder) => folder.path.to_string(),
                config::Line::Key(row, _) => row.path.to_string(),
            },
        },
        View::Calls => match state.calls.pane {
            calls::Pane::Past => {
                let before = state.calls.sent_before();
                before.get(state.calls.past_cursor)?.request.clone()
            }
            calls::Pane::Response => state.calls.answer.as_ref()?.lines.join("\n"),
            _ => state.calls.chosen.as_ref()?.1.full_name(),
        },
        View::Leases => state.leases.list.current()?.id.to_string(),
        View::Events => {
            let event = state.events.get(*state.events.list.current()?)?;
            format!(
                "{} {} {} {}",
                event.at,
                event.what.word(),
                event.subject,
                event.text
            )
        }
        View::Keys => state.keys.list.current()?.key.to_string(),
        View::Doctor => {
            let (_, row) = state.doctor.list.current()?;
            format!(
                "{}: {}. {}",
                row.subject, row.finding.message, row.finding.next
            )
        }
        View::Messages => state.messages.newest().next()?.text.clone(),
        View::Overview => return None,
    })
}

/// Copies the call as a command line: of this tool, and when asked again of grpcurl.
pub(super) fn command(state: &mut State) -> Vec<Effect> {
    let (Some(key), Some((service, method))) =
        (state.calls.chosen_key(), state.calls.chosen.clone())
    else {
        return Vec::new();
    };
    let tool = match &state.calls.copied {
        Some((before, Tool::Msctl)) if *before == key => Tool::Grpcurl,
        _ => Tool::Msctl,
    };
    let request = state.calls.request().map(Editor::text).unwrap_or_default();
    let compact = serde_json::from_str::<serde_json::Value>(&request)
        .map_or(request, |json| json.to_string());
    let mut words: Vec<String> = Vec::new();
    let headers = state.calls.headers();
    let chosen = state.calls.instance.as_ref();
    match tool {
        Tool::Msctl => {
            let chosen = chosen.and_then(|key| state.directory.registry.instance(key));
            words.push(format!(
                "msctl call {}",
                quoted(&format!("{service}.{}", method.name))
            ));
            words
                .extend(chosen.map(|one| format!("--instance {}", quoted(one.record.id.as_str()))));
        }
        Tool::Grpcurl => {
            let instances = super::calls::candidates(state, &service, chosen);
            let endpoint = instances.first().and_then(|one| one.record.grpc());
            let Some(endpoint) = endpoint.cloned() else {
                let text = format!("no instance of {service} has an address for grpcurl");
                state.say(Tone::Warn, text);
                return Vec::new();
            };
            let plain = if endpoint.secure { "" } else { " -plaintext" };
            // It takes variables out of the environment only when it is told to.
            let expand = headers.iter().any(|header| header.contains("${"));
            let expand = if expand { " -expand-headers" } else { "" };
            words.push(format!("grpcurl{plain}{expand}"));
            words.push(String::new());
            words.push(quoted(&endpoint.address));
            words.push(quoted(&method.full_name()));
        }
    }
    let headers = headers
        .iter()
        .map(|header| format!("-H {}", quoted(header)));
    let middle: Vec<String> = headers
        .chain([format!("-d {}", quoted(&compact))])
        .collect();
    match words.iter().position(String::is_empty) {
        Some(at) => drop(words.splice(at..=at, middle)),
        None => words.extend(middle),
    }
    state.calls.copied = Some((key, tool));
    copy(state, Some(words.join(" ")))
}

/// A word of a shell's command line: as it is, or between quotes.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn copy(state: &mut State, text: Option<String>) -> Vec<Effect> {
    let Some(text) = text else { return Vec::new() };
    let first = text.lines().next().unwrap_or_default().to_owned();
    state.say(Tone::Plain, format!("copied: {}", fit(&first, 60, "…")));
    vec![Effect::Copy(text)]
}
