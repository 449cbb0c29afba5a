//! `w`: why a key has its value. What each layer says, which one counts, who wrote it, and what every
//! instance says that it runs.

use fleet::config::explain::{Explanation, Rank};
use fleet::config::{ConfigKey, Origin, Scope};
use fleet::{Revision, ServiceName};

use super::read;
use crate::tui::state::State;
use crate::tui::state::toast::Tone;

/// At most so many instances are listed.
const INSTANCES: usize = 500;

/// Opens the explanation of the key under the cursor.
pub(super) fn explain(state: &mut State) {
    let Some(key) = state.config.current() else {
        return;
    };
    let Scope::Service(service) = &key.scope else {
        let text = "a global key counts where a service has none of its own; look at it there";
        return state.say(Tone::Plain, text);
    };
    match state.config.explain(service, key.path()) {
        Ok(found) => {
            let lines = lines(state, &key, &found);
            read(state, format!("why {key}"), lines);
        }
        Err(error) => state.say(Tone::Bad, error.to_string()),
    }
}

fn lines(state: &State, key: &ConfigKey, found: &Explanation) -> Vec<String> {
    let mut lines = vec![key.to_string()];
    for says in &found.says {
        let value = fleet::config::value::one_line(&state.config.shown(key, &says.value));
        let counts = match says.standing {
            Rank::Counts => "counts",
            Rank::InPart => "counts in part",
            Rank::OnTrial => "on trial",
            Rank::Hidden => "hidden",
        };
        let by = revision(&says.origin).and_then(|at| state.config.authors.at(at));
        let by = by.map_or_else(String::new, |by| format!("   {} at {}", by.name, by.time));
        let origin = says.origin.to_string();
        lines.push(format!("  {origin:<16} {value:<24} {counts}{by}"));
    }
    if found.says.is_empty() {
        lines.push("  no layer in etcd gives it, and the schema has no default".into());
    }
    for (key, why) in &found.unreadable {
        lines.push(format!("  {key} cannot be read: {why}"));
    }
    let counting = found.says.iter().find(|says| says.standing == Rank::Counts);
    let counting = counting.and_then(|says| Some((says, revision(&says.origin)?)));
    if let Some((says, at)) = counting {
        lines.extend([String::new(), "instances".into()]);
        lines.extend(instances(
            state,
            &found.service,
            &says.key,
            &says.origin,
            at,
        ));
    }
    lines
}

fn instances(
    state: &State,
    service: &ServiceName,
    path: &str,
    origin: &Origin,
    at: Revision,
) -> Vec<String> {
    let from = match origin {
        Origin::Global { .. } => Scope::Global,
        _ => Scope::Service(service.clone()),
    };
    let Ok(key) = ConfigKey::new(from, path) else {
        return Vec::new();
    };
    let scope = Scope::Service(service.clone());
    let rollout = state.directory.rollout(&scope, &[(key, at)], None);
    let said = rollout.instances.iter().take(INSTANCES);
    let mut lines: Vec<String> = said
        .map(|target| format!("  {:<24} {}", target.instance.to_string(), target.answer))
        .collect();
    if lines.is_empty() {
        lines.push("  none is running".into());
    }
    let more = rollout.instances.len().saturating_sub(INSTANCES);
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
    lines
}

fn revision(origin: &Origin) -> Option<Revision> {
    match origin {
        Origin::Global { revision }
        | Origin::Service { revision }
        | Origin::Canary { revision } => Some(*revision),
        _ => None,
    }
}
