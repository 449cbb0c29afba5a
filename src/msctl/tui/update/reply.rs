//! Answers to effects become state. An answer about something that is gone changes nothing.

use std::collections::HashSet;
use std::sync::Arc;

use fleet::config::diff::Secrets;
use fleet::{Instance, Key, LeaseId, Outcome, Seen};

use super::{past, save, turn};
use crate::tui::effect::Effect;
use crate::tui::event::{Deed, HealthAnswer, LeaseAnswer, Reply};
use crate::tui::state::calls::{Methods, Progress};
use crate::tui::state::directory::{HealthSeen, LeaseSeen};
use crate::tui::state::events::{Happened, What};
use crate::tui::state::overlay::{Overlay, Reader};
use crate::tui::state::services::TTL_ASKED_UP_TO;
use crate::tui::state::toast::Tone;
use crate::tui::state::{State, View};

/// Takes an answer in.
pub(super) fn reply(state: &mut State, reply: Reply) -> Vec<Effect> {
    match reply {
        Reply::Health(answers) => health(state, answers),
        Reply::HealthDone => state.beats.health.out = false,
        Reply::Leases(answers) => leases(state, answers),
        Reply::LeaseList(list) => {
            state.beats.lease_list.out = false;
            state.leases.take(list);
            state.beats.leases.asked = None;
        }
        Reply::Cluster(cluster) => {
            state.beats.cluster.out = false;
            if state.cluster.as_ref() != Some(&cluster) {
                state.cluster = Some(cluster);
                state.doctor.list.outdate();
                state.changed = true;
            }
        }
        Reply::Keys(list) => {
            state.keys.take(list);
            // Asked once per visit of the page.
            state.keys.asked = true;
        }
        Reply::Raw(key, entry) => raw(state, &key, entry),
        Reply::Written(deed, outcome) => written(state, deed, outcome),
        Reply::Judged(standing, verdict) => return save::judged(state, &standing, verdict),
        Reply::History(scope, only, found) => {
            state.config.take_history(&scope, only.as_ref(), found);
            state.changed |= state.view == View::Config;
        }
        Reply::Records(scopes, found) => match found {
            Ok(records) => {
                let of = state.config.authors.of.as_ref();
                if of.is_some_and(|(asked, _)| *asked == scopes) {
                    state.config.authors.take(records);
                    state.changed |= state.view == View::Config;
                }
            }
            // Who wrote a value is a courtesy; without the right to read it, revisions are shown.
            Err(_) => state.config.authors.take(Vec::new()),
        },
        Reply::WayBack(scope, way) => {
            past::found(state, &scope, way);
            state.changed = true;
        }
        Reply::Revoked(id, result) => match result {
            Ok(()) => {
                state.say(Tone::Good, format!("lease {id} is revoked"));
                state.beats.lease_list.asked = None;
            }
            Err(why) => state.say(Tone::Bad, why),
        },
        Reply::Methods(service, methods) => {
            let methods = match methods {
                Ok(methods) => Methods::Known(methods.into_iter().map(Into::into).collect()),
                Err(why) => Methods::Failed(why),
            };
            state.calls.told(service, methods);
            state.changed |= state.view == View::Calls;
        }
        Reply::Call(id, progress) => {
            if let Progress::Failed(why) = &progress
                && state.view != View::Calls
            {
                state.say(Tone::Bad, format!("call: {why}"));
            }
            state.changed |= state.calls.news(id, progress) && state.view == View::Calls;
        }
    }
    Vec::new()
}

fn health(state: &mut State, answers: Vec<HealthAnswer>) {
    let at = state.now.mono;
    for HealthAnswer {
        key,
        health,
        detail,
        latency,
    } in answers
    {
        let before = state.directory.health(&key).map(|seen| seen.health);
        let seen = HealthSeen {
            health,
            detail,
            latency,
            at,
            since: at,
        };
        let news = state.directory.observe(&key, seen);
        if news && let Some(before) = before {
            let detail = state.directory.health(&key).map(|seen| seen.detail.clone());
            let subject = state.directory.registry.instance(&key).map_or_else(
                || key.to_string(),
                |instance| format!("{}/{}", instance.record.service, instance.record.id),
            );
            let arrow = format!("{before} → {health}");
            let text = match detail.filter(|detail| !detail.is_empty()) {
                Some(detail) => format!("{arrow}: {detail}"),
                None => arrow,
            };
            state.events.note(Happened {
                number: 0,
                at: state.now.wall,
                revision: None,
                what: What::Health,
                key: Some(key),
                subject,
                text,
                lease: None,
            });
        }
        state.changed |= state.view == View::Services || news;
    }
}

fn leases(state: &mut State, answers: Vec<LeaseAnswer>) {
    state.beats.leases.out = false;
    let at = state.now.mono;
    let mut news = HashSet::new();
    for LeaseAnswer {
        id,
        granted,
        ttl,
        keys,
    } in answers
    {
        if state.suspects.remove(&id) {
            state.changed |= state.events.explain(id, ttl.is_none());
        }
        let seen = LeaseSeen {
            granted,
            ttl,
            at,
            keys,
        };
        if state.directory.observe_lease(id, seen) {
            news.insert(id);
        }
    }
    for key in holders(state, &news) {
        state.directory.touch(key);
    }
    state.changed |= matches!(state.view, View::Services | View::Leases);
    // Leases nobody names any longer are forgotten now and then, so that the table stays bounded.
    if state.directory.lease_count() > 2 * (state.directory.registry.instance_count() + 1_000) {
        let mut known = state.leases.listed.iter().copied().collect::<HashSet<_>>();
        for (_, service) in state.directory.registry.services() {
            known.extend(service.instances().filter_map(|instance| instance.lease));
        }
        state.directory.keep_leases(&known);
    }
}

/// The instances that hold one of these leases, among those whose leases are asked for.
fn holders(state: &State, leases: &HashSet<LeaseId>) -> Vec<Key> {
    if leases.is_empty() {
        return Vec::new();
    }
    let page = &state.services;
    let mut seen: Vec<&Arc<Instance>> = page.instances.visible().map(|(_, one)| one).collect();
    seen.extend(page.instance());
    for (_, name) in page.services.visible() {
        let service = state.directory.registry.service(name.as_str());
        let small = service.filter(|service| service.len() <= TTL_ASKED_UP_TO);
        seen.extend(small.into_iter().flat_map(|service| service.instances()));
    }
    let listed = state.leases.list.visible();
    seen.extend(listed.filter_map(|(_, row)| row.instance.as_ref()));
    let holds = |instance: &&Arc<Instance>| instance.lease.is_some_and(|id| leases.contains(&id));
    let holders = seen.into_iter().filter(holds);
    holders.map(|instance| instance.key.clone()).collect()
}

fn raw(state: &mut State, key: &Key, entry: Result<Option<fleet::Entry>, String>) {
    match entry {
        Err(why) => state.say(Tone::Bad, why),
        Ok(None) => state.say(Tone::Warn, format!("{key} is gone")),
        Ok(Some(entry)) => {
            let lease = entry
                .lease
                .map_or("none".to_owned(), |lease| lease.to_string());
            let mut lines = vec![
                format!("key       {key}"),
                format!(
                    "revision  {}, created {}, version {}",
                    entry.mod_revision, entry.create_revision, entry.version
                ),
                format!("lease     {lease}"),
                format!(
                    "size      {}",
                    crate::tui::text::size(entry.value.len() as u64)
                ),
                String::new(),
            ];
            lines.extend(pretty(key, state, &entry.value));
            state.overlay = Some(Overlay::Reader(Reader::new(key.to_string(), lines)));
        }
    }
    state.changed = true;
}

/// A value as lines: JSON indented, other text as it is, bytes escaped; secrets masked.
fn pretty(key: &Key, state: &State, value: &[u8]) -> Vec<String> {
    let masked = match state.config.secrets() {
        Secrets::Masked => state.config.mask(key, value),
        Secrets::Revealed => None,
    };
    let value = masked.as_deref().map_or(value, str::as_bytes);
    if let Ok(json) = serde_json::from_slice::<serde_json::Value>(value)
        && (json.is_object() || json.is_array())
        && let Ok(text) = serde_json::to_string_pretty(&json)
    {
        return text.lines().map(str::to_owned).collect();
    }
    match std::str::from_utf8(value) {
        Ok(text) => text.lines().map(str::to_owned).collect(),
        Err(_) => fleet::safe::escape_bytes(value)
            .as_bytes()
            .chunks(120)
            .map(|chunk| String::from_utf8_lossy(chunk).into_owned())
            .collect(),
    }
}

fn written(state: &mut State, deed: Deed, outcome: Result<Outcome, String>) {
    state.changed = true;
    match (deed, outcome) {
        (Deed::SaveConfig(id), Ok(Outcome::Applied { revision })) => {
            if state.config.saved(id, revision) {
                state.save_message.clear();
            }
            state.say(Tone::Good, format!("saved as revision {revision}"));
        }
        (Deed::SaveConfig(id), Ok(Outcome::Refused { conflicts })) => {
            let keys: Vec<_> = conflicts.iter().map(|c| c.key.to_string()).collect();
            let at = state.now.mono;
            state.config.refused(id, conflicts, at);
            state.say(
                Tone::Warn,
                format!("nothing was written: {} changed meanwhile", keys.join(", ")),
            );
        }
        (Deed::SaveConfig(id), Ok(Outcome::Unknown { cause })) => {
            state.config.unwritten(id);
            state.say(
                Tone::Warn,
                format!(
                    "whether the save was written is unknown: {cause}. The draft is kept; what \
                     stands in etcd shows as soon as it answers"
                ),
            );
        }
        (Deed::SaveConfig(id), Err(why)) => {
            state.config.unwritten(id);
            state.say(Tone::Bad, format!("not saved: {why}. The draft is kept"));
        }
        (Deed::Turn(way, what), outcome) => turn::told(state, way, &what, outcome),
        (Deed::Deregister(what), Ok(Outcome::Applied { revision })) => {
            state.services.instances.table.clear_marks();
            state.say(
                Tone::Good,
                format!("{what} deregistered, revision {revision}"),
            );
        }
        (Deed::Deregister(what), Ok(Outcome::Refused { conflicts })) => {
            let gone = conflicts.iter().all(|conflict| conflict.current.is_none());
            let why = if gone {
                "gone already"
            } else {
                "written again meanwhile; look again"
            };
            let seen = conflicts.first().map_or(0, |c| Seen::revision(&c.seen).0);
            state.say(
                Tone::Warn,
                format!("{what} not deregistered: {why} (you saw revision {seen})"),
            );
        }
        (Deed::Deregister(what), Ok(Outcome::Unknown { cause })) => {
            state.say(
                Tone::Warn,
                format!("whether {what} is deregistered is unknown: {cause}"),
            );
        }
        (Deed::Deregister(what), Err(why)) => {
            state.say(Tone::Bad, format!("{what} not deregistered: {why}"));
        }
    }
}
