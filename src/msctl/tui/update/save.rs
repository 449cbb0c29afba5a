//! The road of a config change in the console: read in full, then sent; or given to some instances
//! first, and promoted or aborted by a person or by how those instances do.

use std::time::Duration;

use fleet::config::canary::Standing;
use fleet::config::{ConfigKey, Scope};
use fleet::release::Action as Kind;
use fleet::rollout::Verdict;
use fleet::{Health, InstanceId, Plan, ServiceName};

use super::write::{agreed, allowed, ask};
use crate::settings::Stage;
use crate::tui::effect::Effect;
use crate::tui::state::State;
use crate::tui::state::config::saving::Cargo;
use crate::tui::state::config::trial::keys_of;
use crate::tui::state::overlay::{Overlay, Prompt};
use crate::tui::state::toast::Tone;

/// How long a canary that is watched has to be without trouble before it is promoted.
const QUIET: Duration = Duration::from_secs(60);

/// Shows the pending changes before they are written.
pub(super) fn review(state: &mut State) {
    if may_save(state) {
        let message = state.save_message.clone();
        state.config.open_review(&message);
    }
}

/// Leaves the changes as they are pending; the message is kept.
pub(super) fn leave(state: &mut State) {
    state.save_message = state.config.close_review().unwrap_or_default();
}

fn may_save(state: &mut State) -> bool {
    if !allowed(state) {
        return false;
    }
    if state.config.sent.is_some() {
        state.say(Tone::Plain, "a save is on its way; wait for its answer");
        return false;
    }
    if state.config.drafts.is_empty() {
        state.say(Tone::Plain, "nothing to save: no value was changed");
        return false;
    }
    if let Some((key, why)) = state.config.refusal() {
        let text = format!(
            "{}/{why}. Edit it, or drop it with u; nothing was written",
            key.scope
        );
        state.say(Tone::Bad, text);
        return false;
    }
    true
}

/// Writes the pending changes. They were read: only production asks once more.
pub(super) fn commit(state: &mut State) -> Vec<Effect> {
    leave(state);
    if !may_save(state) {
        return Vec::new();
    }
    let plan = match state.config.plan() {
        Ok(plan) => plan,
        Err(error) => {
            state.say(Tone::Bad, error.to_string());
            return Vec::new();
        }
    };
    let count = plan.edits().len();
    let changes = if count == 1 { "change" } else { "changes" };
    let text = format!("Save {count} {changes} to {}?", state.context.name);
    let lines = lines_of(state, &plan);
    let message = state.save_message.clone();
    let kind = state.config.kind.clone();
    let effect = effect(state, plan, kind, message);
    if state.context.stage == Stage::Production {
        ask(state, text, lines, effect);
        return Vec::new();
    }
    agreed(state, effect)
}

/// What a plan does, line by line, without values.
fn lines_of(state: &State, plan: &Plan) -> Vec<String> {
    let line = |edit: &fleet::Edit| {
        let name = state.config.name_of(&edit.key);
        let name = name.map_or_else(|| edit.key.to_string(), |name| name.to_string());
        match edit.write {
            fleet::Write::Delete => format!("unset  {name}"),
            fleet::Write::Put { .. } => format!("set    {name}"),
        }
    };
    plan.edits().iter().map(line).collect()
}

fn effect(state: &mut State, plan: Plan, action: Kind, message: String) -> Effect {
    Effect::Save {
        id: state.config.number_save(),
        plan,
        action,
        message,
        revision: state.revision(),
    }
}

/// What a save that is sent carries.
pub(super) fn cargo(state: &State, plan: &Plan, action: &Kind) -> Cargo {
    match action {
        Kind::Canary { instances, .. } => {
            let named = instances.iter().filter_map(|id| InstanceId::new(id).ok());
            Cargo::Canary(state.config.drafts.clone(), named.collect())
        }
        Kind::Promote(_) | Kind::Abort(_) => {
            let config = &state.context.prefixes.config;
            let services = plan.edits().iter();
            let services =
                services.filter_map(|edit| fleet::config::canary::service_of(config, &edit.key));
            let keys = services
                .filter_map(|service| state.config.standing(&service)?.ok())
                .flat_map(|standing| keys_of(&standing.service, &standing.canary));
            Cargo::End(keys.collect())
        }
        _ => Cargo::Drafts(state.config.drafts.clone()),
    }
}

/// The service whose keys show.
fn service(state: &mut State) -> Option<ServiceName> {
    match &state.config.scope {
        Some(Scope::Service(service)) => Some(service.clone()),
        _ => {
            let text = "a canary is for chosen instances of one service";
            state.say(Tone::Plain, text);
            None
        }
    }
}

/// Names that are worth proposing for a canary: the first instance.
pub(super) fn proposed(state: &State) -> String {
    let Some(Scope::Service(service)) = state.config.drafts.keys().next().map(|key| &key.scope)
    else {
        return String::new();
    };
    let service = state.directory.registry.service(service.as_str());
    let first = service.and_then(|service| service.instances().next());
    first.map_or_else(String::new, |instance| instance.record.id.to_string())
}

/// Gives the pending changes to the instances that were typed.
pub(super) fn try_on(state: &mut State, mut prompt: Prompt) -> Vec<Effect> {
    let text = prompt.editor.text();
    let names = text
        .split([',', ' '])
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let named: Result<Vec<_>, _> = names.map(InstanceId::new).collect();
    let named = named.map_err(|error| error.to_string());
    let message = state.save_message.clone();
    let planned = named.and_then(|named| {
        running(state, &named)?;
        let who = (state.context.author.as_str(), state.now.wall, &*message);
        let plan = state.config.try_on(named.clone(), who)?;
        Ok((named, plan))
    });
    match planned {
        Ok((named, plan)) => {
            let action = Kind::Canary {
                instances: named.iter().map(ToString::to_string).collect(),
                keys: paths(state.config.drafts.keys()),
            };
            let effect = effect(state, plan, action, message);
            agreed(state, effect)
        }
        Err(why) => {
            prompt.error = Some(why);
            state.overlay = Some(Overlay::Prompt(prompt));
            Vec::new()
        }
    }
}

fn paths<'a>(keys: impl Iterator<Item = &'a ConfigKey>) -> Vec<String> {
    keys.map(|key| key.path().to_owned()).collect()
}

/// Whether a canary's instances are there to try it.
fn running(state: &State, named: &[InstanceId]) -> Result<(), String> {
    let Some(Scope::Service(service)) = state.config.drafts.keys().next().map(|key| &key.scope)
    else {
        return Ok(());
    };
    for id in named {
        let found = std::slice::from_ref(id);
        if state
            .directory
            .instances_named(service, found)
            .next()
            .is_none()
        {
            return Err(format!("{service} has no running instance '{id}'"));
        }
    }
    Ok(())
}

fn standing(state: &mut State) -> Option<Standing> {
    let service = service(state)?;
    match state.config.standing(&service) {
        Some(Ok(standing)) => Some(standing),
        Some(Err(error)) => {
            state.say(Tone::Bad, error.to_string());
            None
        }
        None => {
            let text = format!("no canary of {service} is under way; ctrl-t in a save begins one");
            state.say(Tone::Plain, text);
            None
        }
    }
}

/// Asks before a canary is given to everyone.
pub(super) fn promote(state: &mut State) {
    if !allowed(state) {
        return;
    }
    let Some(standing) = standing(state) else {
        return;
    };
    if let Some(effect) = promotion(state, &standing, String::new()) {
        let lines = match &effect {
            Effect::Save { plan, .. } => lines_of(state, plan),
            _ => Vec::new(),
        };
        let text = format!("Give the canary to all instances of {}?", standing.service);
        ask(state, text, lines, effect);
    }
}

fn promotion(state: &mut State, standing: &Standing, message: String) -> Option<Effect> {
    match state.config.promotion(standing) {
        Ok(plan) => {
            let action = Kind::Promote(standing.entry.mod_revision.0);
            Some(effect(state, plan, action, message))
        }
        Err(error) => {
            state.say(Tone::Bad, error.to_string());
            None
        }
    }
}

/// Asks before a canary is ended, also one that cannot be read.
pub(super) fn abort(state: &mut State) {
    if !allowed(state) {
        return;
    }
    let Some(service) = service(state) else {
        return;
    };
    match abortion(state, &service, String::new()) {
        Some(effect) => {
            let lines = vec!["Its instances fall back to what the others run.".into()];
            ask(
                state,
                format!("End the canary of {service}?"),
                lines,
                effect,
            );
        }
        None => state.say(Tone::Plain, format!("no canary of {service} is under way")),
    }
}

fn abortion(state: &mut State, service: &ServiceName, message: String) -> Option<Effect> {
    let plan = state.config.abortion(service)?.ok()?;
    let began = plan.edits().first()?.seen.revision();
    Some(effect(state, plan, Kind::Abort(began.0), message))
}

/// Has the canary watched, or leaves it to the user again.
pub(super) fn watch(state: &mut State) -> Vec<Effect> {
    if state.config.watch.take().is_some() {
        state.say(Tone::Plain, "the canary is left to you again");
        return vec![Effect::LeaveCanary];
    }
    if !allowed(state) {
        return Vec::new();
    }
    let Some(standing) = standing(state) else {
        return Vec::new();
    };
    let text = format!(
        "the canary of {} is promoted after {} without trouble, and aborted at the first sign of \
         it, while this console runs",
        standing.service,
        fleet::finding::age(QUIET)
    );
    state.say(Tone::Plain, text);
    state.config.watch = Some((standing.service.clone(), standing.entry.mod_revision));
    // Who cannot be reached from here anyway is not blamed for it.
    let named = &standing.canary.instances;
    let away = |health| matches!(health, Health::Unreachable | Health::Hung);
    let directory = &state.directory;
    let unreached = directory
        .instances_named(&standing.service, named)
        .filter(|instance| away(directory.state_of(&instance.key)))
        .map(|instance| instance.record.id.clone())
        .collect();
    vec![Effect::WatchCanary {
        standing: Box::new(standing),
        quiet: QUIET,
        unreached,
    }]
}

/// A canary was watched until it was plain what becomes of it.
pub(super) fn judged(
    state: &mut State,
    standing: &Standing,
    verdict: Result<Verdict, String>,
) -> Vec<Effect> {
    let watched = (standing.service.clone(), standing.entry.mod_revision);
    if state
        .config
        .watch
        .take_if(|watch| *watch == watched)
        .is_none()
    {
        return Vec::new();
    }
    if state.config.sent.is_some() {
        let text = format!(
            "the canary of {} is left to you: a save is out",
            standing.service
        );
        state.say(Tone::Warn, text);
        return Vec::new();
    }
    let effect = match verdict {
        Err(why) => {
            state.say(Tone::Bad, why);
            None
        }
        Ok(Verdict::Wait { .. }) => None,
        Ok(Verdict::Promote) => {
            let message = format!("canary was quiet for {}", fleet::finding::age(QUIET));
            promotion(state, standing, message)
        }
        Ok(Verdict::Abort { because }) => {
            let text = format!("the canary of {} is aborted: {because}", standing.service);
            state.say(Tone::Bad, text);
            abortion(
                state,
                &standing.service,
                format!("canary aborted: {because}"),
            )
        }
    };
    effect.map_or_else(Vec::new, |effect| agreed(state, effect))
}
