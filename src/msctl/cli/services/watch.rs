//! `services --watch`: the registry as a stream of changes. What stands there at first is told as
//! `present`, so that a reader needs no listing of its own and misses nothing in between.

use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd::MirrorEvent;
use fleet::finding::{Comings, Flaps};
use fleet::{Change, Instance, Key, Registry, Revision, ServiceName};
use serde::Serialize;

use super::gather::Asked;
use super::row::InstanceRow;
use crate::report::{Failure, Report};
use crate::session::Session;

/// One change as it is printed.
#[derive(Debug, Serialize)]
struct Told<'a> {
    change: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<InstanceRow<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'a str>,
}

impl Told<'_> {
    fn new(change: &'static str, revision: Revision) -> Self {
        Self {
            change,
            revision: Some(revision.0),
            key: None,
            instance: None,
            cause: None,
        }
    }
}

/// Follows until the reader goes away or the process is interrupted.
pub(super) async fn run(
    session: &Session,
    name: Option<&ServiceName>,
    report: &mut Report,
) -> Result<(), Failure> {
    let all = &session.prefixes().services;
    let prefix = name.map_or_else(|| all.clone(), |name| all.narrow(&format!("{name}/")));
    let (_mirror, mut events) = session.follow(&prefix).await?;
    let mut registry = Registry::new(all.clone());
    let mut stale = false;
    let mut comings = Comings::default();
    let began = Instant::now();
    while let Some(event) = events.recv().await {
        match event {
            MirrorEvent::Listed { revision, entries } => {
                registry.replace(entries);
                for (_, service) in registry.services() {
                    for instance in service.instances() {
                        report.event(&told("present", revision, instance, None))?;
                    }
                }
                for (key, poison) in registry.quarantined() {
                    report.event(&unreadable(key, &poison.reason, revision))?;
                }
            }
            MirrorEvent::Changed {
                revision, changes, ..
            } => {
                for change in &changes {
                    let before = registry.instance(change.key()).map(Arc::clone);
                    registry.apply(change);
                    tell(
                        &registry,
                        before.as_deref(),
                        change,
                        revision,
                        &mut comings,
                        began.elapsed(),
                        report,
                    )?;
                }
            }
            MirrorEvent::Stale { cause } if !stale => {
                stale = true;
                report.event(&Told {
                    change: "stale",
                    revision: None,
                    key: None,
                    instance: None,
                    cause: Some(&cause),
                })?;
            }
            MirrorEvent::Fresh { revision } if stale => {
                stale = false;
                report.event(&Told::new("fresh", revision))?;
            }
            MirrorEvent::Stale { .. } | MirrorEvent::Fresh { .. } => {}
        }
    }
    Err(Failure::failed("the watch ended by itself"))
}

fn tell(
    registry: &Registry,
    before: Option<&Instance>,
    change: &Change,
    revision: Revision,
    comings: &mut Comings,
    at: Duration,
    report: &mut Report,
) -> Result<(), Failure> {
    match (before, registry.instance(change.key())) {
        (None, Some(now)) => {
            comings.forget(at);
            let flaps = comings.came(&now.key, at);
            report.event(&told("registered", revision, now, Some(flaps)))
        }
        (Some(_), Some(now)) => report.event(&told("updated", revision, now, None)),
        (Some(before), None) => report.event(&told("deregistered", revision, before, None)),
        (None, None) => match change {
            Change::Put(entry) => {
                let poison = registry.quarantined().find(|(key, _)| **key == entry.key);
                let cause = poison.map_or("", |(_, poison)| poison.reason.as_str());
                report.event(&unreadable(&entry.key, cause, revision))
            }
            Change::Delete { .. } => report.event(&Told {
                key: Some(shown(change.key())),
                ..Told::new("deleted", revision)
            }),
        },
    }
}

fn told<'a>(
    change: &'static str,
    revision: Revision,
    instance: &'a Instance,
    flaps: Option<Flaps>,
) -> Told<'a> {
    Told {
        key: Some(shown(&instance.key)),
        instance: Some(InstanceRow::of(instance, &Asked::nobody(), flaps)),
        ..Told::new(change, revision)
    }
}

fn unreadable<'a>(key: &Key, cause: &'a str, revision: Revision) -> Told<'a> {
    Told {
        key: Some(shown(key)),
        cause: Some(cause),
        ..Told::new("unreadable", revision)
    }
}

fn shown(key: &Key) -> String {
    key.as_str().map_or_else(|| key.to_string(), str::to_owned)
}
