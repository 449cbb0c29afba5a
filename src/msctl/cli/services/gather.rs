//! Asks what the registry does not say: how long each lease still lives, and whether each instance
//! serves.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fleet::{Instance, Key, LeaseId, Registry};
use futures::StreamExt;

use super::When;
use crate::probe::{ProbeOptions, Prober, Verdict};
use crate::report::Report;
use crate::session::Session;

/// `auto` asks so many; more would hold up a person, and the leader of the cluster.
const AUTO_LIMIT: usize = 1_000;

/// How many leases are asked for at once: each is one request to the leader.
const LEASES_AT_ONCE: usize = 64;

/// With `auto` all questions together may take so long.
const AUTO_BUDGET: Duration = Duration::from_secs(10);

/// What was found out, by key and by lease.
#[derive(Debug, Default)]
pub(super) struct Asked {
    verdicts: HashMap<Key, Verdict>,
    leases: HashMap<LeaseId, etcd::LeaseInfo>,
    silence: &'static str,
}

impl Asked {
    /// Nothing was asked of anybody.
    pub(super) fn nobody() -> Self {
        Self {
            silence: "not asked",
            ..Self::default()
        }
    }

    pub(super) fn verdict(&self, instance: &Instance) -> Verdict {
        match self.verdicts.get(&instance.key) {
            Some(verdict) => verdict.clone(),
            None => Verdict::not_asked(self.silence),
        }
    }

    pub(super) fn lease(&self, instance: &Instance) -> Option<&etcd::LeaseInfo> {
        self.leases.get(&instance.lease?)
    }
}

/// Asks leases and instances at the same time.
pub(super) async fn ask(
    session: &Session,
    registry: &Registry,
    probe: When,
    ttl: When,
    report: &Report,
) -> Asked {
    let instances: Vec<&Arc<Instance>> = registry
        .services()
        .flat_map(|(_, service)| service.instances())
        .collect();
    let mut leases: Vec<LeaseId> = instances.iter().filter_map(|i| i.lease).collect();
    leases.sort_unstable();
    leases.dedup();
    let probed = chosen(
        probe,
        instances.len(),
        "instances for their health",
        "--probe",
        report,
    );
    let timed = chosen(ttl, leases.len(), "leases for their time", "--ttl", report);
    let mut asked = Asked::nobody();
    let verdicts = collect(
        probe,
        Prober::new(ProbeOptions {
            keep: 0,
            ..ProbeOptions::default()
        })
        .instances(
            instances[..probed]
                .iter()
                .map(|i| (i.key.clone(), Arc::clone(i))),
        ),
    );
    let client = session.client();
    let leases = collect(
        ttl,
        futures::stream::iter(leases[..timed].to_vec())
            .map(|id| async move { (id, client.lease_ttl(id, etcd::LeaseKeys::Omitted).await) })
            .buffer_unordered(LEASES_AT_ONCE),
    );
    let (verdicts, leases) = tokio::join!(verdicts, leases);
    if verdicts.len() < probed {
        asked.silence = "not answered in time";
        report.warn(&format!(
            "{} of {probed} instances were not asked within {AUTO_BUDGET:?}; --probe always asks all",
            probed - verdicts.len()
        ));
    }
    asked.verdicts.extend(verdicts);
    let mut failed = None;
    for (id, answer) in leases {
        match answer {
            Ok(info) => {
                asked.leases.insert(id, info);
            }
            // It ended since the listing: the record goes with it.
            Err(etcd::Error::LeaseNotFound { .. }) => {}
            Err(error) => failed = Some(error),
        }
    }
    if let Some(error) = failed {
        report.warn(&format!("the time of some leases is unknown: {error}"));
    }
    asked
}

fn chosen(when: When, count: usize, what: &str, flag: &str, report: &Report) -> usize {
    match when {
        When::Never => 0,
        When::Always => count,
        When::Auto if count <= AUTO_LIMIT => count,
        When::Auto => {
            report.warn(&format!(
                "did not ask {count} {what}; {flag} always asks them all"
            ));
            0
        }
    }
}

async fn collect<T>(when: When, answers: impl futures::Stream<Item = T>) -> Vec<T> {
    let mut collected = Vec::new();
    let mut answers = std::pin::pin!(answers);
    match when {
        When::Auto => {
            let all = async {
                while let Some(answer) = answers.next().await {
                    collected.push(answer);
                }
            };
            // What came in time is used, the rest is unknown.
            let _ = tokio::time::timeout(AUTO_BUDGET, all).await;
        }
        When::Always | When::Never => {
            while let Some(answer) = answers.next().await {
                collected.push(answer);
            }
        }
    }
    collected
}
