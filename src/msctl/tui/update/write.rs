//! Before a write: what a read-only context refuses, what is asked, and what a production context
//! asks more strictly.

use std::sync::Arc;

use fleet::{Edit, Instance, LeaseId, Plan};

use crate::settings::{Access, Stage};
use crate::tui::effect::Effect;
use crate::tui::event::Deed;
use crate::tui::state::State;
use crate::tui::state::editor::{Editor, Shape};
use crate::tui::state::overlay::{Overlay, Question};
use crate::tui::state::services::Pane;
use crate::tui::state::toast::Tone;

/// Whether a write may be asked for at all; a read-only context says no before asking.
pub(super) fn allowed(state: &mut State) -> bool {
    if state.context.access == Access::ReadWrite {
        return true;
    }
    let name = state.context.name.clone();
    state.say(
        Tone::Bad,
        format!("context '{name}' is read-only; use another, or take read_only from its settings"),
    );
    false
}

/// Asks, and does it on yes.
pub(super) fn ask(state: &mut State, text: impl Into<String>, lines: Vec<String>, then: Effect) {
    let typed = (state.context.stage == Stage::Production)
        .then(|| (state.context.name.clone(), Editor::new(Shape::Line, "")));
    state.overlay = Some(Overlay::Question(Question {
        text: text.into(),
        lines,
        typed,
        then,
    }));
}

/// The user said yes.
pub(super) fn agreed(state: &mut State, then: Effect) -> Vec<Effect> {
    if let Effect::Save {
        id, plan, action, ..
    } = &then
    {
        let cargo = super::save::cargo(state, plan, action);
        state.config.send(*id, cargo);
    }
    vec![then]
}

/// The instances an action is for: the marked ones, or the one under the cursor.
pub(super) fn chosen(state: &State) -> Vec<Arc<Instance>> {
    let page = &state.services;
    let marked: Vec<Arc<Instance>> = page
        .instances
        .rows()
        .iter()
        .filter(|instance| page.instances.table.is_marked(&instance.key))
        .cloned()
        .collect();
    if marked.is_empty() || page.pane == Pane::Detail {
        page.instance().cloned().into_iter().collect()
    } else {
        marked
    }
}

/// How several instances are called in a question.
pub(super) fn called(instances: &[Arc<Instance>]) -> String {
    match instances {
        [one] => one.record.id.to_string(),
        many => format!("{} instances", many.len()),
    }
}

/// The keys of instances, as many as a question has room for.
pub(super) fn keys(instances: &[Arc<Instance>]) -> Vec<String> {
    let shown = instances.iter().take(10);
    let mut lines: Vec<String> = shown.map(|instance| instance.key.to_string()).collect();
    if instances.len() > 10 {
        lines.push(format!("and {} more", instances.len() - 10));
    }
    lines
}

/// Asks before records of instances are deleted.
pub(super) fn deregister(state: &mut State) {
    if !allowed(state) {
        return;
    }
    let chosen = chosen(state);
    let edits = chosen
        .iter()
        .map(|instance| Edit::delete(instance.key.clone(), instance.seen()));
    let plan = match Plan::new(edits) {
        Ok(plan) if plan.is_empty() => return,
        Ok(plan) => plan,
        Err(error) => return state.say(Tone::Bad, error.to_string()),
    };
    let what = called(&chosen);
    let mut lines = keys(&chosen);
    lines.push("A process that lives registers itself anew.".into());
    let text = format!("Deregister {what} in {}?", state.context.name);
    ask(
        state,
        text,
        lines,
        Effect::Commit {
            plan,
            deed: Deed::Deregister(what),
        },
    );
}

/// Asks before a lease is revoked.
pub(super) fn revoke(state: &mut State, id: LeaseId) {
    if !allowed(state) {
        return;
    }
    let keys = state
        .directory
        .lease(id)
        .and_then(|seen| seen.keys.clone())
        .unwrap_or_default();
    let mut lines: Vec<String> = keys
        .iter()
        .take(10)
        .map(|key| format!("deletes {key}"))
        .collect();
    if keys.len() > 10 {
        lines.push(format!("and {} more keys", keys.len() - 10));
    }
    if keys.is_empty() {
        lines.push("no keys of it are known".into());
    }
    let text = format!("Revoke lease {id} in {}?", state.context.name);
    ask(state, text, lines, Effect::Revoke(id));
}
