//! What `y` and `Y` put on the clipboard: the identity of what is under the cursor, a command line
//! that does the same.

use crate::tui::effect::Effect;
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
                    let value = String::from_utf8_lossy(&entry.value);
                    let shown = if state.config.hides(&key) {
                        fleet::config::secret::MASK
                    } else {
                        &*value
                    };
                    format!("{key} {shown}")
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

/// Copies the call as a command line.
pub(super) fn command(state: &mut State) -> Vec<Effect> {
    let text = state.calls.chosen.as_ref().map(|(service, method)| {
        let request = state
            .calls
            .request()
            .map(|editor| editor.text())
            .unwrap_or_default();
        let compact = serde_json::from_str::<serde_json::Value>(&request)
            .map_or(request, |json| json.to_string());
        let request = compact.replace('\'', r"'\''");
        format!("msctl call {service}.{} -d '{request}'", method.name)
    });
    copy(state, text)
}

fn copy(state: &mut State, text: Option<String>) -> Vec<Effect> {
    let Some(text) = text else { return Vec::new() };
    let first = text.lines().next().unwrap_or_default().to_owned();
    state.say(Tone::Plain, format!("copied: {}", fit(&first, 60, "…")));
    vec![Effect::Copy(text)]
}
