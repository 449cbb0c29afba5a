//! Asks what the registry does not say: how long each lease still lives, whether each instance
//! serves, and what it says of itself. What is wrong follows from that by the rules of
//! `fleet::finding` alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fleet::config::{ConfigKey, Scope};
use fleet::finding::{self, Finding, Flaps, Observed, Ttl};
use fleet::status::{StatusRecord, Taken};
use fleet::{Instance, Key, LeaseId, Prefixes, Registry, Revision, ServiceName};
use futures::StreamExt;

use super::{Asking, When};
use crate::probe::{ProbeOptions, Verdict};
use crate::report::{Failure, Report};
use crate::session::Session;

/// `auto` asks so many; more would hold up a person, and the leader of the cluster.
const AUTO_LIMIT: usize = 1_000;

/// How many leases are asked for at once: each is one request to the leader.
const LEASES_AT_ONCE: usize = 64;

/// With `auto` all questions together may take so long.
const AUTO_BUDGET: Duration = Duration::from_secs(10);

/// An instance that has not taken in the newest config gets this long before it is called behind:
/// reports are coalesced, and a change that was just written is no finding.
const SETTLES: Duration = Duration::from_secs(1);

/// What was found out, by key and by lease.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    verdicts: HashMap<Key, Verdict>,
    leases: HashMap<LeaseId, etcd::LeaseInfo>,
    /// By the key under which an instance reports.
    said: HashMap<Key, StatusRecord>,
    config: HashMap<Scope, Revision>,
    shared: HashMap<Key, Vec<Finding>>,
    prefixes: Option<Prefixes>,
    silence: &'static str,
    /// What was left out, a sentence each.
    pub(crate) left_out: Vec<String>,
    /// How many instances were asked for their health.
    pub(crate) probed: usize,
}

impl Asked {
    /// Nothing was asked of anybody.
    pub(crate) fn nobody() -> Self {
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

    fn status(&self, instance: &Instance) -> Option<&StatusRecord> {
        let record = &instance.record;
        let prefixes = self.prefixes.as_ref()?;
        self.said
            .get(&prefixes.instance_status(&record.service, &record.id))
    }

    fn newest(&self, instance: &Instance) -> Taken {
        let of = |scope: Scope| self.config.get(&scope).map_or(0, |revision| revision.0);
        Taken {
            service: of(Scope::Service(instance.record.service.clone())),
            global: of(Scope::Global),
        }
    }

    fn is_behind(&self, instance: &Instance) -> bool {
        let newest = self.newest(instance);
        self.status(instance)
            .is_some_and(|status| status.behind(&newest).is_some())
    }

    /// Everything that is wrong with an instance, the worst first.
    pub(crate) fn findings(&self, instance: &Instance, flaps: Option<Flaps>) -> Vec<Finding> {
        let verdict = self.verdict(instance);
        let seconds = |n: i64| Duration::from_secs(u64::try_from(n).unwrap_or(0));
        let observed = Observed {
            health: verdict.health,
            detail: &verdict.detail,
            since: None,
            ttl: self.lease(instance).map(|info| Ttl {
                granted: seconds(info.granted),
                left: seconds(info.ttl.unwrap_or(0)),
            }),
            flaps,
            status: self.status(instance),
            config: Some(self.newest(instance)),
        };
        let mut findings = finding::of_instance(instance, &observed);
        findings.extend(
            self.shared
                .get(&instance.key)
                .into_iter()
                .flatten()
                .cloned(),
        );
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        findings
    }
}

/// Asks leases and instances at the same time, and reads what instances say of themselves.
pub(crate) async fn ask(
    session: &Session,
    registry: &Registry,
    name: Option<&ServiceName>,
    asking: Asking,
    report: &Report,
) -> Asked {
    let Asking { probe, ttl } = asking;
    let instances: Vec<&Arc<Instance>> = registry
        .services()
        .flat_map(|(_, service)| service.instances())
        .collect();
    let mut leases: Vec<LeaseId> = instances.iter().filter_map(|i| i.lease).collect();
    leases.sort_unstable();
    leases.dedup();
    let mut asked = Asked {
        prefixes: Some(session.prefixes().clone()),
        ..Asked::nobody()
    };
    let mut choose = |when, count, what, flag| {
        let (chosen, left_out) = chosen(when, count, what, flag);
        asked.left_out.extend(left_out);
        chosen
    };
    let probed = choose(
        probe,
        instances.len(),
        "instances for their health",
        "--probe",
    );
    let timed = choose(ttl, leases.len(), "leases for their time", "--ttl");
    for (_, service) in registry.services() {
        for (key, finding) in finding::shared_addresses(service) {
            asked.shared.entry(key).or_default().push(finding);
        }
    }
    let verdicts = collect(
        probe,
        session
            .prober(ProbeOptions {
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
    let spoken = spoken(session, name);
    let (verdicts, leases, spoken) = tokio::join!(verdicts, leases, spoken);
    if verdicts.len() < probed {
        asked.silence = "not answered in time";
        asked.left_out.push(format!(
            "{} of {probed} instances were not asked within {AUTO_BUDGET:?}; --probe always asks all",
            probed - verdicts.len()
        ));
    }
    asked.probed = verdicts.len();
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
        asked
            .left_out
            .push(format!("the time of some leases is unknown: {error}"));
    }
    match spoken {
        Ok((config, said)) => {
            asked.config = config;
            asked.said = said;
            if instances.iter().any(|instance| asked.is_behind(instance)) {
                tokio::time::sleep(SETTLES).await;
                // Once more; what cannot be read now stays as it was read before.
                if let Ok(said) = said_by(session, name).await {
                    asked.said = said;
                }
            }
        }
        Err(failure) => asked.left_out.push(format!(
            "what instances say of themselves is unknown: {}",
            failure.message()
        )),
    }
    for sentence in &asked.left_out {
        report.warn(sentence);
    }
    asked
}

type Spoken = (HashMap<Scope, Revision>, HashMap<Key, StatusRecord>);

/// The newest change of each scope, and then what instances say: who took a change in meanwhile is
/// not behind.
async fn spoken(session: &Session, name: Option<&ServiceName>) -> Result<Spoken, Failure> {
    let config = &session.prefixes().config;
    let keys = session
        .client()
        .keys(config, etcd::ListOptions::default())
        .await
        .map_err(|error| session.failure(&error))?
        .keys;
    let mut newest: HashMap<Scope, Revision> = HashMap::new();
    for head in keys {
        if let Ok(key) = ConfigKey::from_key(config, &head.key) {
            let slot = newest.entry(key.scope).or_insert(Revision::ZERO);
            *slot = (*slot).max(head.mod_revision);
        }
    }
    Ok((newest, said_by(session, name).await?))
}

async fn said_by(
    session: &Session,
    name: Option<&ServiceName>,
) -> Result<HashMap<Key, StatusRecord>, Failure> {
    let all = &session.prefixes().status;
    let prefix = name.map_or_else(|| all.clone(), |name| all.narrow(&format!("{name}/")));
    let entries = session.list(&prefix).await?.entries;
    let read = |entry: fleet::Entry| {
        let record = StatusRecord::from_json(&entry.value).ok()?;
        Some((entry.key, record))
    };
    Ok(entries.into_iter().filter_map(read).collect())
}

/// How many of so many are asked, and the sentence for who is not.
pub(crate) fn chosen(when: When, count: usize, what: &str, flag: &str) -> (usize, Option<String>) {
    match when {
        When::Never => (0, None),
        When::Always => (count, None),
        When::Auto if count <= AUTO_LIMIT => (count, None),
        When::Auto => (
            0,
            Some(format!(
                "did not ask {count} {what}; {flag} always asks them all"
            )),
        ),
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
