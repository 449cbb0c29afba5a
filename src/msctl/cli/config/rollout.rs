//! Waits until the instances of a service say that they run a change. What they say stands under
//! `/status`; an instance that refused a value is done too, and named.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use etcd::MirrorEvent;
use fleet::config::{ConfigKey, Scope};
use fleet::status::{Applied, StatusRecord};
use fleet::{Change, Key, Plan, Registry, Revision};
use serde::Serialize;

use crate::report::Failure;
use crate::session::Session;

/// How far a change has come.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Progress {
    instances: usize,
    applied: usize,
    refused: Vec<Refusal>,
    waiting: Vec<String>,
    #[serde(rename = "milliseconds", serialize_with = "millis")]
    took: Duration,
}

#[derive(Debug, Clone, Serialize)]
struct Refusal {
    instance: String,
    key: String,
    error: String,
}

fn millis<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

impl Progress {
    /// Whether every instance runs the change.
    pub(super) fn is_complete(&self) -> bool {
        self.refused.is_empty() && self.waiting.is_empty()
    }

    /// Why it is not complete.
    pub(super) fn failure(&self) -> Failure {
        let mut parts: Vec<String> = self
            .refused
            .iter()
            .map(|r| format!("{} refused {}: {}", r.instance, r.key, r.error))
            .collect();
        if !self.waiting.is_empty() {
            parts.push(format!(
                "{} did not say that they run it",
                self.waiting.join(", ")
            ));
        }
        Failure::failed(format!("the change is saved, but {}", parts.join("; ")))
            .next("See how they are with 'msctl services NAME'.")
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.instances {
            0 => write!(f, "no instance is registered that could apply it"),
            n => write!(
                f,
                "{} of {n} instances applied it in {} ms",
                self.applied,
                self.took.as_millis()
            ),
        }
    }
}

/// Waits until all instances are done, or the time is up.
pub(super) async fn wait(
    session: &Session,
    plan: &Plan,
    revision: Revision,
    limit: Duration,
) -> Result<Progress, Failure> {
    let started = Instant::now();
    let prefixes = session.prefixes();
    let keys: Vec<ConfigKey> = plan
        .edits()
        .iter()
        .filter_map(|edit| ConfigKey::from_key(&prefixes.config, &edit.key).ok())
        .collect();
    let mut registry = Registry::new(prefixes.services.clone());
    registry.replace(session.list(&prefixes.services).await?.entries);
    let (_mirror, mut events) = session.follow(&prefixes.status).await?;
    let mut said: BTreeMap<Key, StatusRecord> = BTreeMap::new();
    loop {
        let progress = measure(
            &registry,
            &keys,
            revision,
            &said,
            prefixes,
            started.elapsed(),
        );
        let left = limit.saturating_sub(started.elapsed());
        if progress.waiting.is_empty() || left.is_zero() {
            return Ok(progress);
        }
        let Ok(Some(event)) = tokio::time::timeout(left, events.recv()).await else {
            return Ok(progress);
        };
        let changes = match event {
            MirrorEvent::Listed { entries, .. } => entries.into_iter().map(Change::Put).collect(),
            MirrorEvent::Changed { changes, .. } => changes,
            MirrorEvent::Fresh { .. } | MirrorEvent::Stale { .. } => Vec::new(),
        };
        for change in changes {
            match change {
                Change::Put(entry) => match StatusRecord::from_json(&entry.value) {
                    Ok(record) => {
                        said.insert(entry.key, record);
                    }
                    Err(_) => {
                        said.remove(&entry.key);
                    }
                },
                Change::Delete { key, .. } => {
                    said.remove(&key);
                }
            }
        }
    }
}

fn measure(
    registry: &Registry,
    keys: &[ConfigKey],
    revision: Revision,
    said: &BTreeMap<Key, StatusRecord>,
    prefixes: &fleet::Prefixes,
    took: Duration,
) -> Progress {
    let mut progress = Progress {
        instances: 0,
        applied: 0,
        refused: Vec::new(),
        waiting: Vec::new(),
        took,
    };
    for (name, service) in registry.services() {
        let touching: Vec<&ConfigKey> = keys
            .iter()
            .filter(|key| match &key.scope {
                Scope::Global => true,
                Scope::Service(service) => service == name,
            })
            .collect();
        if touching.is_empty() {
            continue;
        }
        for instance in service.instances() {
            let id = &instance.record.id;
            progress.instances += 1;
            let Some(record) = said.get(&prefixes.instance_status(name, id)) else {
                progress.waiting.push(id.to_string());
                continue;
            };
            let mut waits = false;
            let mut refused = false;
            for key in &touching {
                match record.applied(&key.to_string(), revision.0) {
                    Applied::Yes => {}
                    Applied::NotYet => waits = true,
                    Applied::Refused(rejected) => {
                        refused = true;
                        progress.refused.push(Refusal {
                            instance: id.to_string(),
                            key: rejected.key.clone(),
                            error: rejected.error.clone(),
                        });
                    }
                }
            }
            if waits {
                progress.waiting.push(id.to_string());
            } else if !refused {
                progress.applied += 1;
            }
        }
    }
    progress
}
