//! A small fleet on the library: two instances of `user`, a caller of theirs, and a writer of
//! config and records who goes to etcd directly, whatever is in the fleet's way.
//!
//! It lives in a runtime of its own, so that its tasks and its CPU time can be counted.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use etcd::{Client, Credentials, Settings};
use fleet::{Edit, InstanceRecord, Key, Outcome, Plan, Revision, ServiceName};
use platform::config::Snapshot;
use platform::discover::ServiceView;
use platform::platform::{Builder, Serving};
use platform::{Channel, Platform, Service};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::ledger::Ledger;

/// The longest that anything is waited for: far longer than it takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How long a registration outlives its instance.
pub(crate) const TTL: Duration = Duration::from_secs(2);

/// Three keys that always change together.
pub(crate) const NUMBER: &str = "/config/user/number";
const TWIN: &str = "/config/user/twin";
const LIMIT: &str = "/config/global/limit";

/// A record that no process keeps.
pub(crate) const GUEST: &str = "/services/user/guest";

/// How etcd is reached.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ways {
    /// By the fleet: mostly through proxies.
    pub(crate) fleet: Vec<String>,
    /// By the writer, and by who looks at what is true.
    pub(crate) direct: Vec<String>,
    /// The fleet's password for `root`.
    pub(crate) fleet_password: Option<String>,
    /// The writer's.
    pub(crate) direct_password: Option<String>,
}

pub(crate) struct Fleet {
    runtime: Option<Runtime>,
    /// The name of its threads.
    pub(crate) threads: String,
    /// Of etcd, as the fleet knows it.
    pub(crate) members: usize,
    pub(crate) direct: Client,
    pub(crate) users: Vec<User>,
    pub(crate) caller: Platform,
    pub(crate) view: watch::Receiver<Arc<ServiceView>>,
    pub(crate) channel: Channel,
    pub(crate) ledger: Ledger,
    number: AtomicUsize,
    written: Mutex<Vec<Revision>>,
    /// Values that each instance has to refuse at the moment.
    pub(crate) to_refuse: AtomicUsize,
    pub(crate) tasks_at_rest: AtomicUsize,
}

/// An instance of `user`.
pub(crate) struct User {
    pub(crate) key: Key,
    pub(crate) status: Key,
    pub(crate) platform: Platform,
    pub(crate) serving: Serving,
    /// Each number that its config had, as it was heard.
    pub(crate) heard: Arc<Mutex<Vec<u64>>>,
}

fn settings(endpoints: &[String], password: Option<&String>) -> Settings {
    let mut settings = Settings::new(endpoints.iter().cloned());
    settings.user = password.map(|password| Credentials::new("root", password));
    settings
}

fn builder(service: &str, ways: &Ways) -> Builder {
    Platform::builder(service)
        .etcd_settings(settings(&ways.fleet, ways.fleet_password.as_ref()))
        .environment([])
        .no_config_cache()
        .lease_ttl(TTL)
        .drain_spread(Duration::from_millis(10))
}

/// Notes each number; two keys that change together are never seen apart.
async fn listen(mut snapshots: watch::Receiver<Arc<Snapshot>>, heard: Arc<Mutex<Vec<u64>>>) {
    loop {
        let snapshot = snapshots.borrow_and_update().clone();
        let value = |key| snapshot.get(key).and_then(|found| found.value.as_u64());
        let (number, twin) = (value("number"), value("twin"));
        assert_eq!(number, twin, "one revision was taken in by halves");
        if let Some(number) = number {
            let mut heard = heard.lock().unwrap();
            if heard.last() != Some(&number) {
                heard.push(number);
            }
        }
        if snapshots.changed().await.is_err() {
            return;
        }
    }
}

impl User {
    async fn start(id: &str, ways: &Ways) -> User {
        let platform = builder("user", ways)
            .instance_id(id)
            .default("number", 0)
            .default("twin", 0)
            .default("limit", 0)
            .start()
            .await
            .unwrap();
        // From now on a value that is no number is refused.
        platform.config().u64("number").unwrap();
        let heard = Arc::default();
        tokio::spawn(listen(platform.config().watch(), Arc::clone(&heard)));
        let serving = platform.bind(Service::new()).await.unwrap();
        User {
            key: format!("/services/user/{id}").as_str().into(),
            status: format!("/status/user/{id}").as_str().into(),
            platform,
            serving,
            heard,
        }
    }
}

impl Fleet {
    /// Starts it and waits until it has settled.
    pub(crate) async fn start(ways: Ways) -> Fleet {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        // The kernel keeps fifteen letters.
        let threads = format!("fleet-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name(&threads)
            .enable_all()
            .build()
            .unwrap();
        let mut direct = settings(&ways.direct, ways.direct_password.as_ref());
        direct.request_timeout = PATIENCE;
        let direct = Client::new(direct).unwrap();
        let members = ways.fleet.len();
        let started = runtime.spawn(async move {
            let mut users = Vec::new();
            for id in ["u-1", "u-2"] {
                users.push(User::start(id, &ways).await);
            }
            let caller = builder("order", &ways)
                .default("limit", 0)
                .start()
                .await
                .unwrap();
            let view = caller.instances(&ServiceName::new("user").unwrap());
            let channel = caller.channel("user");
            let observer = settings(&ways.fleet, ways.fleet_password.as_ref());
            let ledger = Ledger::open(Client::new(observer).unwrap());
            (users, caller, view.unwrap(), channel, ledger)
        });
        let (users, caller, view, channel, ledger) = started.await.unwrap();
        let fleet = Fleet {
            runtime: Some(runtime),
            threads,
            members,
            direct,
            users,
            caller,
            view,
            channel,
            ledger,
            number: AtomicUsize::new(0),
            written: Mutex::default(),
            to_refuse: AtomicUsize::new(0),
            tasks_at_rest: AtomicUsize::new(0),
        };
        fleet.change().await;
        fleet.settle().await;
        fleet
    }

    /// Runs something among the fleet's own tasks.
    pub(crate) async fn within<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let runtime = self.runtime.as_ref().unwrap();
        runtime.spawn(work).await.unwrap()
    }

    /// Tasks that live now.
    pub(crate) fn tasks(&self) -> usize {
        let runtime = self.runtime.as_ref().unwrap();
        runtime.metrics().num_alive_tasks()
    }

    /// The number that config has to have.
    pub(crate) fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed) as u64
    }

    /// The next number; who takes it writes it.
    pub(crate) fn next_number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed) as u64 + 1
    }

    /// Writes the next number to all keys, and a new guest, as one change; etcd must be up for the
    /// writer, at the latest after a while.
    pub(crate) async fn change(&self) -> Revision {
        let number = self.next_number();
        self.write(&self.edits(number)).await
    }

    pub(crate) fn edits(&self, number: u64) -> Vec<(Key, Vec<u8>)> {
        let text = number.to_string().into_bytes();
        let mut edits: Vec<(Key, Vec<u8>)> = [NUMBER, TWIN, LIMIT]
            .into_iter()
            .map(|key| (key.into(), text.clone()))
            .collect();
        edits.push((GUEST.into(), self.record("user", "guest", number)));
        edits
    }

    /// A record of a process that is really there: the first instance's.
    pub(crate) fn record(&self, service: &str, id: &str, number: u64) -> Vec<u8> {
        let service = ServiceName::new(service).unwrap();
        let mut record = InstanceRecord::new(service, id.parse().unwrap());
        let address = self.users[0].serving.local_addr();
        let endpoint = fleet::Endpoint::parse(&format!("grpc://{address}"));
        record.endpoints = vec![endpoint.unwrap()];
        record.version = number.to_string();
        record.to_json().unwrap()
    }

    /// The revisions of all writes of the number since it was last asked.
    pub(crate) fn take_written(&self) -> Vec<Revision> {
        std::mem::take(&mut self.written.lock().unwrap())
    }

    /// Puts keys as one change, whatever stands there, however long etcd is away.
    pub(crate) async fn write(&self, puts: &[(Key, Vec<u8>)]) -> Revision {
        let begun = Instant::now();
        loop {
            let tried = self.try_write(puts).await;
            match tried {
                Ok(revision) => return revision,
                Err(cause) => assert!(begun.elapsed() < PATIENCE, "never written: {cause}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The same, once.
    pub(crate) async fn try_write(&self, puts: &[(Key, Vec<u8>)]) -> Result<Revision, String> {
        let mut edits = Vec::new();
        for (key, value) in puts {
            let (found, _) = self.direct.get(key).await.map_err(|e| e.to_string())?;
            edits.push(Edit::put(key.clone(), found.into(), value.clone()));
        }
        let revision = self.commit(edits).await?;
        if puts.iter().any(|(key, _)| *key == Key::from(NUMBER)) {
            self.wrote_number(revision);
        }
        Ok(revision)
    }

    pub(crate) fn wrote_number(&self, at: Revision) {
        self.written.lock().unwrap().push(at);
    }

    /// Deletes keys as one change.
    pub(crate) async fn delete(&self, keys: &[Key]) -> Revision {
        let mut edits = Vec::new();
        for key in keys {
            let (found, _) = self.direct.get(key).await.unwrap();
            edits.push(Edit::delete(key.clone(), found.into()));
        }
        self.commit(edits).await.unwrap()
    }

    pub(crate) async fn commit(&self, edits: Vec<Edit>) -> Result<Revision, String> {
        let plan = Plan::new(edits).unwrap();
        let outcome = self.direct.commit(&plan).await;
        match outcome.map_err(|error| error.to_string())? {
            Outcome::Applied { revision } => Ok(revision),
            other => Err(format!("{other:?}")),
        }
    }

    /// Waits until every part of the fleet knows that etcd is away.
    pub(crate) async fn notices(&self) -> Duration {
        let begun = Instant::now();
        until("everybody notices", || {
            self.view.borrow().knowledge.doubt().is_some()
                && !self.ledger.is_fresh()
                && self.users.iter().all(|user| {
                    let standing = user.platform.config().standing();
                    standing.borrow().stale.is_some()
                })
        })
        .await;
        begun.elapsed()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Waits until `found` gives something.
pub(crate) async fn eventually<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(it) = found().await {
            return it;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    eventually(what, async || holds().then_some(())).await;
}
