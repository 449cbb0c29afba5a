//! Two thousand at one moment, on a real etcd: leases that are lost are asked for again over a time that
//! the size of the fleet gives, and all come back; whole registrations are in `registrations`. Hundreds
//! share a connection, as a machine cannot be two thousand.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use etcd::{Client, Gate, LeaseKeeper, LeaseOptions, LeaseState, Settings};
use fleet::LeaseId;
use tests::realetcd::RealEtcd;
use tokio_util::task::AbortOnDropHandle;

use super::FleetSize;

const LEASES: usize = 2_000;
const CLIENTS: usize = 20;

const PATIENCE: Duration = Duration::from_secs(120);

/// Two of them on one machine would only measure each other.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// When a lease was got, of all.
#[derive(Clone, Default)]
struct Times(Arc<Mutex<Vec<Instant>>>);

impl Times {
    fn note(&self) {
        self.0.lock().unwrap().push(Instant::now());
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn forget(&self) {
        self.0.lock().unwrap().clear();
    }

    /// The most in any such time.
    fn peak(&self, span: Duration) -> usize {
        let mut times = self.0.lock().unwrap().clone();
        times.sort_unstable();
        let within = |from: usize| times.partition_point(|at| *at < times[from] + span) - from;
        (0..times.len()).map(within).max().unwrap_or_default()
    }
}

/// The lease of one process.
struct One {
    _watching: AbortOnDropHandle<()>,
    _keeper: LeaseKeeper,
    fleet: FleetSize,
}

fn one(client: &Client, granted: Times) -> One {
    let fleet = FleetSize::default();
    let options = LeaseOptions {
        regrant_spread: fleet.leases(),
        ..LeaseOptions::new(Duration::from_secs(60))
    };
    let keeper = LeaseKeeper::spawn(client.clone(), options, Gate::Open);
    let mut lease = keeper.state();
    let watching = async move {
        let mut held: Option<LeaseId> = None;
        while lease.changed().await.is_ok() {
            if let LeaseState::Held { id, .. } = &*lease.borrow_and_update()
                && held.replace(*id) != Some(*id)
            {
                granted.note();
            }
        }
    };
    One {
        _watching: AbortOnDropHandle::new(tokio::spawn(watching)),
        _keeper: keeper,
        fleet,
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_leases_lost_at_once_are_granted_anew_one_after_another() {
    let _alone = ALONE.lock().await;
    let etcd = RealEtcd::start().await;
    let client = || Client::new(Settings::new([etcd.endpoint()])).unwrap();
    let clients: Vec<Client> = std::iter::repeat_with(client).take(CLIENTS).collect();
    let granted = Times::default();
    let fleet: Vec<One> = (0..LEASES)
        .map(|number| one(&clients[number % CLIENTS], granted.clone()))
        .collect();
    until("all are granted", || granted.count() >= LEASES).await;

    // As a tenth of a fleet whose leases are spread over ten seconds: what a machine can do in one
    // second does not hide what is asked of it.
    let size = 10 * LEASES;
    for one in &fleet {
        one.fleet.set(size as u64);
    }
    granted.forget();
    etcd.wipe().await;
    let begun = Instant::now();
    until("all are granted anew", || granted.count() >= LEASES).await;
    let took = begun.elapsed();
    let (second, tenth) = (
        granted.peak(Duration::from_secs(1)),
        granted.peak(Duration::from_millis(100)),
    );
    println!(
        "{LEASES} leases of a fleet of {size} lost at once: all granted anew after {took:.1?}, \
         at most {second} in one second and {tenth} in 100 ms"
    );
    // 200 in each second, and what chance and a slow machine make of it.
    assert!(second < LEASES / 3, "{second}");
}

mod registrations;
