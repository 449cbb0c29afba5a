//! Faults drawn by a seed, one after another, over one cluster whose every wire can be cut: after
//! each the same must hold as after one alone, and it must hold however many came before.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fleet::Key;
use platform::register::RegistrationState;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tests::proxy::{Mode, Proxy};
use tests::realetcd::Cluster;

use crate::fleet::{Fleet, GUEST, Ways};
use crate::ledger::History;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Dropped,
    Reset,
    Refused,
    BlackHole,
    AnswersHeld,
    Delayed,
    CutInMessage,
    OneWayAway,
    MemberKilled,
    MemberPaused,
    LeaderPartitioned,
    MajorityLost,
    Compacted,
    RecordDeleted,
    LeaseRevoked,
    BadRecords,
    Burst,
    Wiped,
    NoSpace,
    AuthOn,
    TokensExpired,
}

const FAULTS: [Fault; 21] = [
    Fault::Dropped,
    Fault::Reset,
    Fault::Refused,
    Fault::BlackHole,
    Fault::AnswersHeld,
    Fault::Delayed,
    Fault::CutInMessage,
    Fault::OneWayAway,
    Fault::MemberKilled,
    Fault::MemberPaused,
    Fault::LeaderPartitioned,
    Fault::MajorityLost,
    Fault::Compacted,
    Fault::RecordDeleted,
    Fault::LeaseRevoked,
    Fault::BadRecords,
    Fault::Burst,
    Fault::Wiped,
    Fault::NoSpace,
    Fault::AuthOn,
    Fault::TokensExpired,
];

/// The fleet has it from the start; etcd asks for it now and then.
const PASSWORD: &str = "secret";

/// Tokens end after a second without use, and a database is full at 32 MiB.
const MEMBERS: [&str; 3] = [
    "--bcrypt-cost=4",
    "--auth-token-ttl=1",
    "--quota-backend-bytes=33554432",
];

/// Longer than a token lives without use.
const IDLE: Duration = Duration::from_millis(2_500);

/// As large as a value may be, nearly: over and over it fills the history.
const BALLAST: usize = 1_200_000;

/// A cluster with proxies before its members and between them, and a fleet.
pub(crate) struct Mix {
    cluster: Cluster,
    proxies: Vec<Proxy>,
    fleet: Fleet,
    random: StdRng,
    seed: u64,
    took: BTreeMap<Fault, Vec<Duration>>,
}

impl Mix {
    pub(crate) async fn start(seed: u64) -> Mix {
        let cluster = Cluster::start_divisible_with(&MEMBERS).await;
        let mut proxies = Vec::new();
        for member in &cluster.members {
            proxies.push(Proxy::start(member.address()).await);
        }
        let ways = Ways {
            fleet: proxies.iter().map(Proxy::endpoint).collect(),
            direct: cluster.endpoints(),
            fleet_password: Some(PASSWORD.to_owned()),
            direct_password: Some(PASSWORD.to_owned()),
        };
        Mix {
            fleet: Fleet::start(ways).await,
            cluster,
            proxies,
            random: StdRng::seed_from_u64(seed),
            seed,
            took: BTreeMap::new(),
        }
    }

    /// One fault after another for at least so long; gives how many there were.
    pub(crate) async fn run(&mut self, time: Duration) -> usize {
        let begun = Instant::now();
        let mut count = 0;
        // Every fault comes before any comes again.
        let mut left = Vec::new();
        while begun.elapsed() < time {
            if left.is_empty() {
                left = FAULTS.to_vec();
            }
            let drawn = left.remove(self.random.random_range(0..left.len()));
            println!("seed {}, {count}: {drawn:?}", self.seed);
            let (since, history) = self.inflict(drawn).await;
            let converged = self
                .fleet
                .survives(since, &format!("{drawn:?}"), history)
                .await;
            self.took.entry(drawn).or_default().push(converged);
            count += 1;
        }
        count
    }

    /// What took how long to converge.
    pub(crate) fn table(&self) -> String {
        let mut table = format!(
            "{:<18} {:>5} {:>9} {:>9} {:>9}\n",
            "fault", "times", "least", "median", "most"
        );
        for (fault, took) in &self.took {
            let mut took = took.clone();
            took.sort_unstable();
            let seconds = |at: usize| format!("{:.2} s", took[at].as_secs_f64());
            table += &format!(
                "{:<18} {:>5} {:>9} {:>9} {:>9}\n",
                format!("{fault:?}"),
                took.len(),
                seconds(0),
                seconds(took.len() / 2),
                seconds(took.len() - 1),
            );
        }
        table
    }

    fn set_all(&self, mode: Mode) {
        for proxy in &self.proxies {
            proxy.set(mode);
        }
    }

    /// All ways to etcd fail in this manner until everybody knows, while things change.
    async fn is_away(&self, mode: Mode) -> Instant {
        self.set_all(mode);
        self.fleet.notices().await;
        for _ in 0..3 {
            self.fleet.change().await;
        }
        let since = Instant::now();
        self.set_all(Mode::Forward);
        since
    }

    /// Does it, and undoes it where it does not go by itself; gives when that was.
    async fn inflict(&mut self, fault: Fault) -> (Instant, History) {
        let any = self.random.random_range(0..3);
        let mut since = Instant::now();
        let mut history = History::Whole;
        match fault {
            Fault::Dropped => self.proxies.iter().for_each(Proxy::cut),
            Fault::Reset => self.proxies.iter().for_each(Proxy::reset),
            Fault::Refused => since = self.is_away(Mode::Refuse).await,
            Fault::BlackHole => since = self.is_away(Mode::BlackHole).await,
            Fault::AnswersHeld => since = self.is_away(Mode::HoldAnswers).await,
            Fault::Delayed => {
                let millis = self.random.random_range(50..300);
                self.set_all(Mode::Delay {
                    each_way: Duration::from_millis(millis),
                    jitter: Duration::from_millis(100),
                });
                self.fleet.change().await;
                self.fleet.converges(Instant::now(), "a delay").await;
                since = Instant::now();
                self.set_all(Mode::Forward);
            }
            Fault::CutInMessage => {
                let bytes = self.random.random_range(1..2000);
                let before: usize = self.accepted();
                self.set_all(Mode::CutAfter(bytes));
                self.fleet.change().await;
                crate::fleet::until("connections were cut", || self.accepted() > before + 3).await;
                since = Instant::now();
                self.set_all(Mode::Forward);
            }
            Fault::OneWayAway => {
                let mode = [Mode::BlackHole, Mode::Refuse, Mode::HoldAnswers];
                self.proxies[any].set(*mode.choose(&mut self.random).unwrap());
                self.fleet.change().await;
                self.fleet.converges(Instant::now(), "one way away").await;
                since = Instant::now();
                self.proxies[any].set(Mode::Forward);
            }
            Fault::MemberKilled => {
                let lost = &self.cluster.members[any];
                lost.kill();
                self.fleet.change().await;
                self.fleet
                    .converges(Instant::now(), "a member killed")
                    .await;
                since = Instant::now();
                lost.revive();
                lost.ready().await;
            }
            Fault::MemberPaused => {
                let lost = &self.cluster.members[any];
                lost.freeze();
                self.fleet.change().await;
                self.fleet
                    .converges(Instant::now(), "a member paused")
                    .await;
                since = Instant::now();
                lost.thaw();
            }
            Fault::LeaderPartitioned => {
                self.cluster.isolate(&[self.cluster.leader().await]).await;
                self.fleet.change().await;
                self.fleet
                    .converges(Instant::now(), "the leader partitioned")
                    .await;
                since = Instant::now();
                self.cluster.isolate(&[]).await;
            }
            Fault::MajorityLost => {
                let lost = [any, (any + 1) % 3];
                for lost in lost {
                    self.cluster.members[lost].kill();
                }
                self.fleet.notices().await;
                for lost in lost {
                    self.cluster.members[lost].revive();
                }
                for member in &self.cluster.members {
                    member.ready().await;
                }
                since = Instant::now();
            }
            Fault::Compacted => {
                self.set_all(Mode::Refuse);
                self.fleet.notices().await;
                self.fleet.change().await;
                self.fleet.delete(&[GUEST.into()]).await;
                self.cluster.members[any].compact().await;
                history = History::Gapped;
                since = Instant::now();
                self.set_all(Mode::Forward);
            }
            Fault::RecordDeleted => {
                let key = self.fleet.users[any % 2].key.clone();
                self.fleet.delete(&[key]).await;
            }
            Fault::LeaseRevoked => self.revoke_lease(any % 2).await,
            Fault::BadRecords => {
                let keys: Vec<Key> = vec![
                    "/services/user/bad".into(),
                    b"/config/user/\xff".to_vec().into(),
                ];
                for key in &keys {
                    let put = [(key.clone(), b"\xff[".to_vec())];
                    self.fleet.write(&put).await;
                }
                self.fleet.converges(Instant::now(), "bad records").await;
                since = Instant::now();
                self.fleet.delete(&keys).await;
            }
            Fault::Burst => {
                for _ in 0..100 {
                    self.fleet.change().await;
                }
                since = Instant::now();
            }
            Fault::Wiped => {
                self.cluster.wipe().await;
                history = History::Broken;
                since = Instant::now();
            }
            Fault::NoSpace => {
                self.fill().await;
                // A new lease is a write: it has to wait for the room.
                let state = self.fleet.users[any % 2].serving.registration().unwrap();
                self.revoke_lease(any % 2).await;
                crate::fleet::until("the registration says why", || {
                    matches!(&*state.borrow(), RegistrationState::Waiting { cause } if cause.contains("space"))
                })
                .await;
                since = Instant::now();
                self.cluster.make_room().await;
                self.fleet.write(&[("/ballast".into(), Vec::new())]).await;
            }
            Fault::AuthOn => {
                self.cluster.members[any].turn_auth_on(PASSWORD).await;
                self.proxies.iter().for_each(Proxy::cut);
                self.fleet.change().await;
                self.fleet
                    .converges(Instant::now(), "authentication on")
                    .await;
                since = Instant::now();
                self.cluster.members[any].turn_auth_off(PASSWORD).await;
            }
            Fault::TokensExpired => {
                self.cluster.members[any].turn_auth_on(PASSWORD).await;
                self.proxies.iter().for_each(Proxy::cut);
                self.fleet.change().await;
                self.fleet
                    .converges(Instant::now(), "authentication on")
                    .await;
                // Tokens end for want of use alone: leases use theirs, the writer does not.
                tokio::time::sleep(IDLE).await;
                self.fleet.change().await;
                self.fleet.converges(Instant::now(), "no use").await;
                since = Instant::now();
                self.cluster.members[any].turn_auth_off(PASSWORD).await;
            }
        }
        self.fleet.change().await;
        (since, history)
    }

    async fn revoke_lease(&self, of: usize) {
        let state = self.fleet.users[of].serving.registration().unwrap();
        let state = state.borrow().clone();
        if let RegistrationState::Registered { lease, .. } = state {
            self.fleet.direct.lease_revoke(lease).await.unwrap();
        }
    }

    /// Writes until the quota is reached.
    async fn fill(&self) {
        let mut number = 0;
        let refused = crate::fleet::eventually("the quota is reached", async || {
            number += 1;
            let put = [("/ballast".into(), vec![number; BALLAST])];
            self.fleet.try_write(&put).await.err()
        })
        .await;
        assert!(refused.contains("space"), "{refused}");
    }

    fn accepted(&self) -> usize {
        self.proxies.iter().map(Proxy::accepted).sum()
    }
}

/// A short one; `make soak` runs for as long as it is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seeded_mix_of_faults_ends_in_the_truth() {
    let mut mix = Mix::start(1).await;
    let faults = mix.run(Duration::from_secs(20)).await;
    println!("{faults} faults\n{}", mix.table());
}
