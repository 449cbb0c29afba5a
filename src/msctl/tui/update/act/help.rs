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
        lines.push(scope.heading().to_owned());
        for spec in specs {
            shown.push(spec.name);
            let keys = state.keymap.keys_in(spec.action, *scope).join(", ");
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
