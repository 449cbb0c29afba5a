//! Whether a fleet agrees with what etcd says when it is asked directly, how long it takes to, and
//! what else a fault must not leave behind.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use etcd::ListOptions;
use fleet::status::StatusRecord;
use fleet::{Instance, InstanceRecord, Prefix};
use platform::register::RegistrationState;
use tonic::Request;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::fleet::{Fleet, PATIENCE, User, eventually};
use crate::idle::Idle;
use crate::ledger::History;

/// Tasks more than before that are no leak: connections to members that were not asked before.
const SPARE_TASKS: usize = 8;

/// A whole core for a third of the time is a loop that runs hot; rest takes a hundredth of it.
const HOT: f64 = 0.3;

impl Fleet {
    /// Waits until it has converged and come to rest, and begins new books.
    pub(crate) async fn settle(&self) {
        self.converges("the start").await;
        let mut most = 0;
        let mut same = 0;
        eventually("tasks at rest", async || {
            let now = self.tasks();
            same = if now == most { same + 1 } else { 0 };
            most = now;
            (same == 30).then_some(())
        })
        .await;
        self.tasks_at_rest.store(most, Ordering::Relaxed);
        self.take_written();
        self.ledger.audit(&[], History::Broken);
        self.forget_heard();
    }

    fn forget_heard(&self) {
        for user in &self.users {
            let mut heard = user.heard.lock().unwrap();
            let last = heard.pop();
            *heard = last.into_iter().collect();
        }
    }

    /// Waits until everything agrees with etcd; gives how long that took.
    pub(crate) async fn converges(&self, fault: &str) -> Duration {
        let begun = Instant::now();
        loop {
            let Err(difference) = self.compare().await else {
                return begun.elapsed();
            };
            assert!(
                begun.elapsed() < PATIENCE,
                "no convergence after {fault}: {difference}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// After a fault: it converges, goes on following, and nothing is left behind. Gives
    /// how long converging took.
    pub(crate) async fn survives(&self, fault: &str, history: History) -> Duration {
        let begun = Instant::now();
        self.survives_since(begun, fault, history).await
    }

    /// The same where the fault, or its end, was a while ago.
    pub(crate) async fn survives_since(
        &self,
        since: Instant,
        fault: &str,
        history: History,
    ) -> Duration {
        self.converges(fault).await;
        let converged = since.elapsed();
        self.change().await;
        let next = self.converges(fault).await;
        let wrong = self.ledger.audit(&self.take_written(), history);
        assert_eq!(wrong, None, "after {fault}");
        for user in &self.users {
            let heard = user.heard.lock().unwrap();
            let in_order = heard.is_sorted_by(|one, other| one < other);
            assert!(in_order || history == History::Broken, "{fault}: {heard:?}");
            assert_eq!(heard.last(), Some(&self.number()), "{fault}");
        }
        self.forget_heard();
        let before = self.tasks_at_rest.load(Ordering::Relaxed);
        let mut tasks = 0;
        eventually(&format!("after {fault} no task is left over"), async || {
            tasks = self.tasks();
            (tasks <= before + SPARE_TASKS).then_some(())
        })
        .await;
        let idle = Idle::of_threads(&self.threads).await;
        if let Some(idle) = &idle {
            assert!(idle.share() < HOT, "after {fault}: {idle}");
        }
        let idle = idle.map_or("not measured".into(), |idle| idle.to_string());
        println!(
            "{fault}: converged in {converged:.2?}, the next change in {next:.2?}; \
             tasks {before} before, {tasks} after; at rest {idle}"
        );
        converged
    }

    /// The first thing that is not as etcd says is the error.
    async fn compare(&self) -> Result<(), String> {
        let everything = Prefix::new("/").unwrap();
        let listing = self.direct.list(&everything, ListOptions::default());
        let truth = listing.await.map_err(|error| error.to_string())?;
        differ(self.ledger.differs_from(&truth))?;
        self.compare_directory(&truth)?;
        for user in &self.users {
            self.compare_user(user, &truth)?;
        }
        self.compare_leases(&truth).await?;
        self.call().await
    }

    fn compare_directory(&self, truth: &etcd::Listing) -> Result<(), String> {
        let services = Prefix::new("/services/").unwrap();
        let ours = Prefix::new("/services/user/").unwrap();
        let mut registry = fleet::Registry::new(services);
        let entries = truth.entries.iter();
        registry.replace(entries.filter(|entry| ours.contains(&entry.key)).cloned());
        let view = self.view.borrow().clone();
        differ(view.knowledge.doubt())?;
        let known: Vec<&Instance> = view.instances.iter().map(|one| &**one).collect();
        let listed = registry.service("user");
        let listed: Vec<&Instance> = listed
            .iter()
            .flat_map(|one| one.instances())
            .map(|one| &**one)
            .collect();
        same("instances known", &known, &listed)?;
        let quarantined = registry.quarantined().len();
        same("records in quarantine", &view.quarantined, &quarantined)
    }

    fn compare_user(&self, user: &User, truth: &etcd::Listing) -> Result<(), String> {
        let entry = |key: &fleet::Key| truth.entries.iter().find(|entry| entry.key == *key);
        let state = user.serving.registration().unwrap().borrow().clone();
        let RegistrationState::Registered { lease, .. } = state else {
            return Err(format!("{}: {state:?}", user.key));
        };
        let record = entry(&user.key).ok_or(format!("{} is not there", user.key))?;
        same("the record's lease", &record.lease, &Some(lease))?;
        let record: InstanceRecord =
            serde_json::from_slice(&record.value).map_err(|error| error.to_string())?;
        let endpoint = record.grpc().map(|endpoint| endpoint.address.to_string());
        let address = user.serving.local_addr().to_string();
        same("the registered address", &endpoint, &Some(address))?;

        let config = user.platform.config();
        let standing = config.standing().borrow().clone();
        differ(standing.stale)?;
        for key in ["number", "twin", "limit"] {
            same(key, &config.u64(key).ok(), &Some(self.number()))?;
        }
        let refused = self.to_refuse.load(Ordering::Relaxed);
        same("values refused", &standing.rejected.len(), &refused)?;

        let status = entry(&user.status).ok_or(format!("{} is not there", user.status))?;
        same("the report's lease", &status.lease, &Some(lease))?;
        let status = StatusRecord::from_json(&status.value)?;
        same(
            "the reported revision",
            &status.revision,
            &standing.applied.0,
        )?;
        same(
            "the reported refusals",
            &status.rejected,
            &standing.rejected,
        )?;
        differ(status.watch.stale)
    }

    /// One lease for each instance and no other: a lost one ends, and takes what it had along.
    async fn compare_leases(&self, truth: &etcd::Listing) -> Result<(), String> {
        let leases = self.direct.leases().await;
        let leases = leases.map_err(|error| error.to_string())?.len();
        let mut used: Vec<_> = truth.entries.iter().filter_map(|one| one.lease).collect();
        used.sort_unstable_by_key(|lease| lease.get());
        used.dedup();
        same("leases", &leases, &used.len())
    }

    async fn call(&self) -> Result<(), String> {
        let channel = self.channel.clone();
        let called = self.within(async move {
            let mut request = Request::new(HealthCheckRequest::default());
            request.set_timeout(Duration::from_secs(5));
            HealthClient::new(channel).check(request).await
        });
        called.await.map(drop).map_err(|status| status.to_string())
    }
}

fn differ(difference: Option<String>) -> Result<(), String> {
    difference.map_or(Ok(()), Err)
}

pub(crate) fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    found: &T,
    wanted: &T,
) -> Result<(), String> {
    if found == wanted {
        return Ok(());
    }
    let text = format!("{what}: {found:?}, should be {wanted:?}");
    Err(text.chars().take(600).collect())
}
