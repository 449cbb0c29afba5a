//! How long a watcher hears nothing when the leader is killed, and when the network swallows its
//! own member: the library's mirror beside `etcdctl watch`, in one run. What the writer could not
//! write meanwhile is shown as well: nobody hears of it sooner.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a measurement, run by hand"
)]

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use etcd::{Client, Mirror, MirrorEvent, MirrorOptions, Settings};
use fleet::{Edit, Outcome, Plan, Prefix, Seen};
use tests::proxy::{Mode, Proxy};
use tests::realetcd::{Cluster, RealEtcd};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

const KEY: &str = "/gap/tick";

/// Between two writes.
const TICK: Duration = Duration::from_millis(20);

/// So long is listened after a fault; a watcher that hears nothing for all of it counts as silent.
const LISTEN: Duration = Duration::from_secs(20);

const ROUNDS: usize = 3;

/// The moments at which something was heard.
#[derive(Debug, Clone, Default)]
struct Heard(Arc<Mutex<Vec<Instant>>>);

impl Heard {
    fn note(&self) {
        self.0.lock().unwrap().push(Instant::now());
    }

    fn count_since(&self, since: Instant) -> usize {
        let heard = self.0.lock().unwrap();
        heard.iter().filter(|at| **at > since).count()
    }

    async fn some(&self) {
        let since = Instant::now();
        while self.count_since(since) < 50 {
            tokio::time::sleep(TICK).await;
        }
    }

    /// The longest silence that ended after this moment, or has not ended yet.
    fn silence(&self, since: Instant) -> Duration {
        let mut moments = self.0.lock().unwrap().clone();
        moments.push(Instant::now());
        let pairs = moments.windows(2).filter(|pair| pair[1] > since);
        pairs
            .map(|pair| pair[1] - pair[0])
            .max()
            .unwrap_or_default()
    }

    /// The same, once things are heard again.
    async fn silence_after(&self, since: Instant) -> Duration {
        while since.elapsed() < LISTEN {
            let last = self.0.lock().unwrap().last().copied();
            let flows = last.is_some_and(|last| last.elapsed() < Duration::from_millis(200));
            if flows && since.elapsed() > Duration::from_secs(8) {
                break;
            }
            tokio::time::sleep(TICK).await;
        }
        self.silence(since)
    }
}

fn write(endpoints: Vec<String>) -> (Heard, AbortOnDropHandle<()>) {
    let wrote = Heard::default();
    let book = wrote.clone();
    let client = Client::new(Settings::new(endpoints)).unwrap();
    let task = tokio::spawn(async move {
        let mut number = 0_u64;
        loop {
            number += 1;
            let seen = client
                .get(&KEY.into())
                .await
                .map(|(found, _)| Seen::from(found));
            if let Ok(seen) = seen {
                let edit = Edit::put(KEY.into(), seen, number.to_string().into_bytes());
                let outcome = client.commit(&Plan::new([edit]).unwrap()).await;
                if matches!(outcome, Ok(Outcome::Applied { .. })) {
                    book.note();
                }
            }
            tokio::time::sleep(TICK).await;
        }
    });
    (wrote, AbortOnDropHandle::new(task))
}

fn mirror(endpoints: Vec<String>) -> (Heard, AbortOnDropHandle<()>) {
    let heard = Heard::default();
    let book = heard.clone();
    let client = Client::new(Settings::new(endpoints)).unwrap();
    let prefix = Prefix::new("/gap/").unwrap();
    let (mirror, mut events) = Mirror::spawn(client, prefix, MirrorOptions::default());
    let task: JoinHandle<()> = tokio::spawn(async move {
        let _mirror = mirror;
        while let Some(event) = events.recv().await {
            if matches!(event, MirrorEvent::Changed { .. }) {
                book.note();
            }
        }
    });
    (heard, AbortOnDropHandle::new(task))
}

fn etcdctl(endpoints: &[String]) -> (Heard, AbortOnDropHandle<()>) {
    let heard = Heard::default();
    let book = heard.clone();
    let mut child = tokio::process::Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .arg(format!("--endpoints={}", endpoints.join(",")))
        .args(["watch", "--prefix", "/gap/"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let task = tokio::spawn(async move {
        // It ends with the task.
        let _child = child;
        while let Ok(Some(line)) = lines.next_line().await {
            if line == "PUT" {
                book.note();
            }
        }
    });
    (heard, AbortOnDropHandle::new(task))
}

fn shown(silence: Duration) -> String {
    if silence + Duration::from_secs(1) >= LISTEN {
        return "silent".into();
    }
    format!("{:.2} s", silence.as_secs_f64())
}

/// The member on which a watcher sits, by etcd's own count.
async fn watched(members: &[RealEtcd]) -> usize {
    loop {
        for (place, member) in members.iter().enumerate() {
            let metrics = member.http("/metrics").await.unwrap_or_default();
            let count = metrics
                .lines()
                .find_map(|line| line.strip_prefix("etcd_debugging_mvcc_watcher_total "));
            if count.is_some_and(|count| count != "0") {
                return place;
            }
        }
        tokio::time::sleep(TICK).await;
    }
}

async fn leader_killed() {
    let cluster = Cluster::start().await;
    let (wrote, _writer) = write(cluster.endpoints());
    for round in 1..=ROUNDS {
        let (ours, _mirror) = mirror(cluster.endpoints());
        let (theirs, _etcdctl) = etcdctl(&cluster.endpoints());
        tokio::join!(wrote.some(), ours.some(), theirs.some());
        let leader = &cluster.members[cluster.leader().await];
        let since = Instant::now();
        leader.kill();
        let (written, ours, theirs) = tokio::join!(
            wrote.silence_after(since),
            ours.silence_after(since),
            theirs.silence_after(since)
        );
        println!(
            "leader killed, round {round}: mirror {}, etcdctl watch {}; nothing written for {}",
            shown(ours),
            shown(theirs),
            shown(written),
        );
        leader.revive();
        leader.ready().await;
    }
}

async fn member_swallowed() {
    let cluster = Cluster::start().await;
    let mut proxies = Vec::new();
    for member in &cluster.members {
        proxies.push(Proxy::start(member.address()).await);
    }
    let through: Vec<String> = proxies.iter().map(Proxy::endpoint).collect();
    let (wrote, _writer) = write(cluster.endpoints());
    wrote.some().await;
    let swallow = async |heard: Heard| {
        heard.some().await;
        let member = watched(&cluster.members).await;
        let since = Instant::now();
        proxies[member].set(Mode::BlackHole);
        let silence = heard.silence_after(since).await;
        proxies[member].set(Mode::Forward);
        silence
    };
    for round in 1..=ROUNDS {
        let ours = {
            let (heard, _mirror) = mirror(through.clone());
            swallow(heard).await
        };
        let theirs = {
            let (heard, _etcdctl) = etcdctl(&through);
            swallow(heard).await
        };
        println!(
            "own member black-holed, round {round}: mirror {}, etcdctl watch {}",
            shown(ours),
            shown(theirs),
        );
    }
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        leader_killed().await;
        member_swallowed().await;
    });
}
