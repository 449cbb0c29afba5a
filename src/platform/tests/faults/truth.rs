//! Whether each part of a fleet agrees with what etcd says when it is asked directly.

use std::sync::atomic::Ordering;
use std::time::Duration;

use etcd::{ListOptions, Listing};
use fleet::status::StatusRecord;
use fleet::{Entry, Instance, InstanceRecord, Key, Prefix};
use platform::register::RegistrationState;
use tonic::Request;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::fleet::{Fleet, User};

/// What is compared, one by one.
pub(crate) const PARTS: [&str; 6] = [
    "watch",
    "directory",
    "registration",
    "config",
    "report",
    "calls",
];

type Compared = Result<(), String>;

impl Fleet {
    /// What of each part is not as etcd says.
    pub(crate) async fn compare(&self) -> [Compared; PARTS.len()] {
        let everything = Prefix::new("/").unwrap();
        let listing = self.direct.list(&everything, ListOptions::default());
        let truth = match listing.await {
            Ok(truth) => truth,
            Err(error) => return std::array::from_fn(|_| Err(error.to_string())),
        };
        let each = |compare: &dyn Fn(&User) -> Compared| self.users.iter().try_for_each(compare);
        let registered = each(&|user| self.compare_registration(user, &truth));
        [
            differ(self.ledger.differs_from(&truth)),
            self.compare_directory(&truth),
            match registered {
                Ok(()) => self.compare_leases(&truth).await,
                different => different,
            },
            each(&|user| self.compare_config(user)).and(same(
                "the caller's limit",
                &self.caller.config().u64("limit").ok(),
                &Some(self.number()),
            )),
            each(&|user| compare_report(user, &truth)),
            self.call().await,
        ]
    }

    fn compare_directory(&self, truth: &Listing) -> Compared {
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

    fn compare_registration(&self, user: &User, truth: &Listing) -> Compared {
        let state = user.serving.registration().unwrap().borrow().clone();
        let RegistrationState::Registered { lease, .. } = state else {
            return Err(format!("{}: {state:?}", user.key));
        };
        let record = entry(truth, &user.key)?;
        same("the record's lease", &record.lease, &Some(lease))?;
        let record: InstanceRecord =
            serde_json::from_slice(&record.value).map_err(|error| error.to_string())?;
        let endpoint = record.grpc().map(|endpoint| endpoint.address.to_string());
        let address = user.serving.local_addr().to_string();
        same("the registered address", &endpoint, &Some(address))
    }

    fn compare_config(&self, user: &User) -> Compared {
        let config = user.platform.config();
        let standing = config.standing().borrow().clone();
        differ(standing.stale)?;
        for key in ["number", "twin", "limit"] {
            same(key, &config.u64(key).ok(), &Some(self.number()))?;
        }
        let refused = self.to_refuse.load(Ordering::Relaxed);
        same("values refused", &standing.rejected.len(), &refused)
    }

    /// One lease for each instance and no other: a lost one ends, and takes what it had along.
    async fn compare_leases(&self, truth: &Listing) -> Compared {
        let leases = self.direct.leases().await;
        let leases = leases.map_err(|error| error.to_string())?.len();
        let mut used: Vec<_> = truth.entries.iter().filter_map(|one| one.lease).collect();
        used.sort_unstable_by_key(|lease| lease.get());
        used.dedup();
        same("leases", &leases, &used.len())
    }

    async fn call(&self) -> Compared {
        let channel = self.channel.clone();
        let called = self.within(async move {
            let mut request = Request::new(HealthCheckRequest::default());
            request.set_timeout(Duration::from_secs(5));
            HealthClient::new(channel).check(request).await
        });
        called.await.map(drop).map_err(|status| status.to_string())
    }
}

/// Under the lease of its record, and about the config that the instance has.
fn compare_report(user: &User, truth: &Listing) -> Compared {
    let report = entry(truth, &user.status)?;
    same(
        "the report's lease",
        &report.lease,
        &entry(truth, &user.key)?.lease,
    )?;
    let report = StatusRecord::from_json(&report.value)?;
    let standing = user.platform.config().standing().borrow().clone();
    let applied = standing.applied.0;
    same("the reported revision", &report.revision, &applied)?;
    same(
        "the reported refusals",
        &report.rejected,
        &standing.rejected,
    )?;
    differ(report.watch.stale)
}

fn entry<'a>(truth: &'a Listing, key: &Key) -> Result<&'a Entry, String> {
    let found = truth.entries.iter().find(|entry| entry.key == *key);
    found.ok_or_else(|| format!("{key} is not there"))
}

fn differ(difference: Option<String>) -> Compared {
    difference.map_or(Ok(()), Err)
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, wanted: &T) -> Compared {
    if found == wanted {
        return Ok(());
    }
    let text = format!("{what}: {found:?}, should be {wanted:?}");
    Err(text.chars().take(600).collect())
}
