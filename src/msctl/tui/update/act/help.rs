//! `?`: the keys that work here, from the list of actions and the keymap, and nothing else.

use super::read;
use crate::tui::action::{Scope, Spec};
use crate::tui::state::State;

/// Opens help about the focus.
pub(super) fn open(state: &mut State) {
    let lines = lines(state, state.scopes_of_page());
    read(state, "help", lines);
}

/// What works in these scopes, the innermost first.
pub(in crate::tui) fn lines(state: &State, scopes: &[Scope]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut shown: Vec<&str> = Vec::new();
    for scope in scopes {
        let specs: Vec<&Spec> = state
            .keymap
            .available(std::slice::from_ref(scope))
            .filter(|spec| !shown.contains(&spec.name))
            .collect();
        if specs.is_empty() {
            continue;
        }
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.push(heading(*scope).to_owned());
        for spec in specs {
            shown.push(spec.name);
            let keys = state.keymap.keys_of(spec.action);
            let others: Vec<_> = spec
                .keys
                .iter()
                .filter(|other| **other != keys)
                .copied()
                .collect();
            let keys = std::iter::once(keys)
                .chain(others)
                .collect::<Vec<_>>()
                .join(", ");
            lines.push(format!("  {keys:<22} {:<18} {}", spec.name, spec.help));
        }
    }
    lines.push(String::new());
    lines.push("filter".into());
    for (example, meaning) in [
        ("order hung", "rows that contain both words"),
        ("!serving", "rows that do not serve"),
        ("ttl<10s up>1h", "times with their unit"),
        ("version=1.4.2 zone=a", "fields and metadata of an instance"),
    ] {
        lines.push(format!("  {example:<22} {meaning}"));
    }
    lines
}

fn heading(scope: Scope) -> &'static str {
    match scope {
        Scope::Global => "everywhere",
        Scope::List => "in a list",
        Scope::Services => "services and instances",
        Scope::ServiceList => "services",
        Scope::Instances => "instances",
        Scope::ConfigScopes => "who has config",
        Scope::ConfigKeys => "config keys",
        Scope::ConfigValue => "a value being edited",
        Scope::Review => "changes before a save",
        Scope::History => "history",
        Scope::Conflict => "a conflict",
        Scope::Methods => "methods",
        Scope::Request => "a request being edited",
        Scope::Response => "an answer",
        Scope::Leases => "leases",
        Scope::Events => "events",
        Scope::Keys => "keys",
        Scope::Reader => "a text",
        Scope::Filter => "a filter being typed",
        Scope::Palette => "the palette",
        Scope::Question => "a question",
        Scope::Prompt => "a line being typed",
    }
}
