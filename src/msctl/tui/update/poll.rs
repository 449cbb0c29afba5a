//! What is asked again and again: the TTL of leases and the health of instances that show, a slow
//! sweep over all others, the cluster. One question of a kind is out at a time, whatever etcd does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fleet::{Instance, LeaseId, ServiceName};

use crate::tui::effect::{Effect, Keys};
use crate::tui::state::freshness::Freshness;
use crate::tui::state::services::{Pane, TTL_ASKED_UP_TO};
use crate::tui::state::{Beat, State, View};
use crate::tui::update::act::ask_methods;

/// How often the leases that show are asked: keepalives come about every third of a TTL, so a
/// gauge interpolated between two questions is soon right again.
const LEASES_EVERY: Duration = Duration::from_secs(2);

/// How often the instances that show are asked for their health.
const HEALTH_EVERY: Duration = Duration::from_secs(3);

/// How often etcd is asked for all its leases, while they show.
const LEASE_LIST_EVERY: Duration = Duration::from_secs(5);

/// How often the cluster is asked who leads.
const CLUSTER_EVERY: Duration = Duration::from_secs(10);

/// At most so many leases in a question.
const LEASES_AT_ONCE: usize = 96;

/// At most so many instances in a question; what shows comes first.
const INSTANCES_AT_ONCE: usize = 96;

/// Of them, so many from the sweep over the whole fleet.
const SWEPT_AT_ONCE: usize = 32;

/// Asks what is due.
pub(super) fn poll(state: &mut State) -> Vec<Effect> {
    let mut effects = Vec::new();
    let now = state.now.mono;
    if !state.is_loaded() {
        return effects;
    }
    let reachable = !matches!(state.freshness(), Freshness::Stale { .. });
    if reachable && is_due(state.beats.leases, LEASES_EVERY, now) {
        let ids = leases_in_sight(state);
        if !ids.is_empty() {
            state.beats.leases = begun(now);
            let keys = if state.view == View::Leases {
                Keys::With
            } else {
                Keys::Without
            };
            effects.push(Effect::ProbeLeases { ids, keys });
        }
    }
    if is_due(state.beats.health, HEALTH_EVERY, now) {
        let instances = instances_to_ask(state);
        state.beats.health = Beat {
            asked: Some(now),
            out: !instances.is_empty(),
        };
        if !instances.is_empty() {
            effects.push(Effect::ProbeHealth(instances));
        }
    }
    if reachable
        && state.view == View::Leases
        && is_due(state.beats.lease_list, LEASE_LIST_EVERY, now)
    {
        state.beats.lease_list = begun(now);
        effects.push(Effect::ListLeases);
    }
    if is_due(state.beats.cluster, CLUSTER_EVERY, now) {
        state.beats.cluster = begun(now);
        effects.push(Effect::AskCluster);
    }
    if state.view == View::Config && reachable {
        effects.extend(super::past::authors(state));
    }
    if state.view == View::Calls {
        let directory = &state.directory;
        let deployed = |service: &ServiceName| Some(directory.summary(service)?.deployed);
        for service in state.calls.outdated(deployed) {
            effects.extend(ask_methods(state, service));
        }
    }
    if state.view == View::Keys && !state.keys.asked && reachable {
        state.keys.asked = true;
        effects.push(Effect::ListKeys);
    }
    effects
}

/// When the next question is due.
pub fn due(state: &State) -> Option<Duration> {
    if !state.is_loaded() {
        return None;
    }
    let reachable = !matches!(state.freshness(), Freshness::Stale { .. });
    let next = |beat: Beat, every: Duration| {
        (!beat.out).then(|| beat.asked.map_or(state.now.mono, |asked| asked + every))
    };
    let mut dues = vec![
        next(state.beats.health, HEALTH_EVERY),
        next(state.beats.cluster, CLUSTER_EVERY),
    ];
    if reachable && (state.shows_gauges() || !state.suspects.is_empty()) {
        dues.push(next(state.beats.leases, LEASES_EVERY));
    }
    if reachable && state.view == View::Leases {
        dues.push(next(state.beats.lease_list, LEASE_LIST_EVERY));
    }
    dues.into_iter().flatten().min()
}

fn begun(now: Duration) -> Beat {
    Beat {
        asked: Some(now),
        out: true,
    }
}

fn is_due(beat: Beat, every: Duration, now: Duration) -> bool {
    !beat.out && beat.asked.is_none_or(|asked| now >= asked + every)
}

/// The leases whose time shows, and those whose end explains an event.
fn leases_in_sight(state: &mut State) -> Vec<LeaseId> {
    let mut ids: BTreeSet<LeaseId> = state.suspects.iter().copied().take(16).collect();
    match state.view {
        View::Services => {
            let page = &state.services;
            ids.extend(
                page.instances
                    .visible()
                    .filter_map(|(_, instance)| instance.lease),
            );
            if page.pane == Pane::Detail {
                ids.extend(page.instance().and_then(|instance| instance.lease));
            }
            for (_, name) in page.services.visible() {
                if ids.len() >= LEASES_AT_ONCE {
                    break;
                }
                let service = state.directory.registry.service(name.as_str());
                if let Some(service) = service.filter(|service| service.len() <= TTL_ASKED_UP_TO) {
                    ids.extend(service.instances().filter_map(|instance| instance.lease));
                }
            }
        }
        View::Leases => ids.extend(state.leases.list.visible().map(|(_, row)| row.id)),
        _ => {}
    }
    ids.into_iter().take(LEASES_AT_ONCE).collect()
}

/// The instances that show, then a few of all, in turns.
fn instances_to_ask(state: &mut State) -> Vec<Arc<Instance>> {
    let mut asked: Vec<Arc<Instance>> = Vec::new();
    if state.view == View::Services {
        asked.extend(
            state
                .services
                .instances
                .visible()
                .map(|(_, instance)| Arc::clone(instance)),
        );
    }
    let total = state.directory.registry.instance_count();
    let start = if total == 0 {
        0
    } else {
        state.beats.sweep % total
    };
    let room = SWEPT_AT_ONCE.min(total);
    let mut passed = 0;
    let mut swept = Vec::with_capacity(room);
    // Whole services are skipped by their size: the walk does not grow with the fleet's instances.
    for round in 0..2 {
        for (_, service) in state.directory.registry.services() {
            if swept.len() >= room {
                break;
            }
            if round == 0 && passed + service.len() <= start {
                passed += service.len();
                continue;
            }
            let skip = if round == 0 {
                start.saturating_sub(passed)
            } else {
                0
            };
            passed += service.len();
            swept.extend(
                service
                    .instances()
                    .skip(skip)
                    .take(room - swept.len())
                    .cloned(),
            );
        }
    }
    state.beats.sweep = start + swept.len();
    for instance in swept {
        if asked.len() >= INSTANCES_AT_ONCE {
            break;
        }
        if !asked.iter().any(|known| known.key == instance.key) {
            asked.push(instance);
        }
    }
    asked
}
