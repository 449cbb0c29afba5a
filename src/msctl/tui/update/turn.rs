//! Draining instances by hand and taking it back: asked first, guarded by the records that were shown.

use std::sync::Arc;

use fleet::drain::{self, Turn};
use fleet::{Instance, Key, Outcome};

use super::write;
use crate::tui::effect::Effect;
use crate::tui::state::State;
use crate::tui::state::toast::Tone;

/// Asks before the marked instances, or the one under the cursor, are turned.
pub(super) fn ask(state: &mut State, turn: Turn) {
    if !write::allowed(state) {
        return;
    }
    let chosen = write::chosen(state);
    if let Some(foreign) = chosen.iter().find_map(|one| drain::drainable(one).err()) {
        let text = format!("{foreign}. Drain it by that framework's own means");
        return state.say(Tone::Bad, text);
    }
    let named = write::called(&chosen);
    let stands = |one: &Arc<Instance>| drain::is_drained(&one.record) == (turn == Turn::Out);
    let instances: Vec<_> = chosen.into_iter().filter(|one| !stands(one)).collect();
    if instances.is_empty() {
        let text = match turn {
            Turn::Out => format!("{named}: drained already"),
            Turn::Back => format!("{named}: not drained"),
        };
        return state.say(Tone::Plain, text);
    }
    let what = write::called(&instances);
    let context = &state.context.name;
    let mut lines = write::keys(&instances);
    let text = match turn {
        Turn::Out => {
            lines.push("It gets no new calls; the process goes on.".into());
            lines.extend(without_others(state, &instances));
            format!("Drain {what} in {context}?")
        }
        Turn::Back => {
            lines.push("It gets calls again, with the weight it had.".into());
            format!("Take the drain of {what} back in {context}?")
        }
    };
    let then = Effect::Turn {
        instances,
        turn,
        what,
    };
    write::ask(state, text, lines, then);
}

/// The services that are left without any other instance, in words.
fn without_others(state: &State, instances: &[Arc<Instance>]) -> Vec<String> {
    let leave = |key: &Key| instances.iter().any(|instance| instance.key == *key);
    let mut names: Vec<_> = instances.iter().map(|one| &one.record.service).collect();
    names.dedup();
    let left = names.into_iter().filter(|name| {
        let service = state.directory.registry.service(name.as_str());
        service.is_some_and(|service| drain::takes_the_last(service, leave))
    });
    left.map(|name| format!("{name} has no other instance: calls go to drained ones all the same."))
        .collect()
}

/// Tells what came of it.
pub(super) fn told(state: &mut State, turn: Turn, what: &str, outcome: Result<Outcome, String>) {
    let (done, key) = match turn {
        Turn::Out => ("drained", "u takes it back"),
        Turn::Back => ("undrained", ""),
    };
    let (tone, text) = match outcome {
        Ok(Outcome::Applied { revision }) => {
            state.services.instances.table.clear_marks();
            let undo = if key.is_empty() { "" } else { "; " };
            (
                Tone::Good,
                format!("{what} {done}, revision {revision}{undo}{key}"),
            )
        }
        Ok(Outcome::Refused { conflicts }) => {
            let gone = conflicts.iter().all(|conflict| conflict.current.is_none());
            let why = if gone {
                "gone already"
            } else {
                "written again meanwhile; look again"
            };
            (Tone::Warn, format!("{what} not {done}: {why}"))
        }
        Ok(Outcome::Unknown { cause }) => {
            let text = format!("whether {what} is {done} is unknown: {cause}");
            (Tone::Warn, text)
        }
        Err(why) => (Tone::Bad, format!("{what} not {done}: {why}")),
    };
    state.say(tone, text);
}
