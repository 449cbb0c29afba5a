//! The console in a pseudo-terminal over large fleets in a real etcd: the first screen, how soon a
//! key shows, memory, and the processor when nothing happens. `MSCTL=path` measures another binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark"
)]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fleet::{Edit, LeaseId, Plan, Revision, Seen};
use terminal::Terminal;
use tests::realetcd::RealEtcd;
use tokio::runtime::Runtime;

#[path = "../tests/terminal.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod terminal;

/// Columns and rows.
const SIZE: (u16, u16) = (180, 50);

/// Keys whose way to the screen is measured.
const KEYS: usize = 300;

/// For so long nothing happens, and after it so long 1,000 changes come each second.
const QUIET: Duration = Duration::from_secs(20);
const BUSY: Duration = Duration::from_secs(10);

/// Changes come in transactions of this many, ten milliseconds apart.
const AT_ONCE: usize = 10;

fn main() {
    // `cargo test --benches` builds and starts benchmarks too.
    if !std::env::args().any(|word| word == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let home = tempfile::tempdir().unwrap();
    for (services, each) in [(4, 25), (400, 250), (1, 100_000)] {
        fleet_of(services, each, home.path(), &runtime);
    }
}

fn record(service: usize, number: usize, version: &str) -> (String, Vec<u8>) {
    let service = format!("service-{service:03}");
    let id = format!("{service}-{number:06}");
    let (high, low) = (number / 250, number % 250);
    let address = format!("10.0.{high}.{low}:9000");
    let value = format!(
        r#"{{"service":"{service}","id":"{id}","version":"{version}","endpoints":["grpc://{address}","http://{address}"],"weight":100,"metadata":{{"zone":"a"}},"started_at":"2026-11-22T10:00:00Z"}}"#
    );
    (format!("/services/{service}/{id}"), value.into_bytes())
}

fn put(service: usize, number: usize, version: &str, seen: Seen, lease: LeaseId) -> Edit {
    let (key, value) = record(service, number, version);
    Edit {
        key: key.as_str().into(),
        seen,
        write: fleet::Write::Put {
            value: value.into(),
            lease: fleet::LeaseRule::Attach(lease),
        },
    }
}

/// Fills an etcd. Gives the lease of the records and the revision of each.
async fn fill(client: &etcd::Client, services: usize, each: usize) -> (LeaseId, Vec<Revision>) {
    let lease = client
        .lease_grant(Duration::from_secs(3_600))
        .await
        .unwrap();
    let mut revisions = Vec::new();
    let all: Vec<_> = (0..services * each).collect();
    for some in all.chunks(100) {
        let puts = some
            .iter()
            .map(|at| put(at / each, at % each, "1.4.2", Seen::Absent, lease.id));
        match client.commit(&Plan::new(puts).unwrap()).await.unwrap() {
            fleet::Outcome::Applied { revision } => {
                revisions.extend(std::iter::repeat_n(revision, some.len()));
            }
            other => panic!("{other:?}"),
        }
    }
    (lease.id, revisions)
}

fn fleet_of(services: usize, each: usize, home: &Path, runtime: &Runtime) {
    let etcd = runtime.block_on(RealEtcd::start());
    let endpoint = etcd.endpoint();
    let client = {
        let _within = runtime.enter();
        etcd::Client::new(etcd::Settings::new(vec![endpoint.clone()])).unwrap()
    };
    let (lease, mut revisions) = runtime.block_on(fill(&client, services, each));
    println!("\n{services} services of {each} instances");

    let binary = std::env::var("MSCTL").unwrap_or_else(|_| env!("CARGO_BIN_EXE_msctl").to_owned());
    let home = home.to_str().unwrap();
    let variables = [("HOME", home), ("XDG_CONFIG_HOME", home)];
    let all = ["--endpoints", endpoint.as_str(), "tui"];
    let begun = Instant::now();
    let mut screen = Terminal::start(&binary, &all, &variables, SIZE);
    screen.wait_for_texts(&["service-000-0000"]);
    let first = begun.elapsed();
    // The mirror lists the whole fleet at one revision; the last service has all of its own then.
    let count = msctl::tui::text::number(i64::try_from(each).unwrap());
    screen.wait_for_texts(&[&format!("{count} instances")]);
    println!(
        "  first rows {first:.0?}, all of them {:.0?}",
        begun.elapsed()
    );

    // Among the instances: a fleet of one service has no second one to go to.
    screen.keys("\r");
    keys(&mut screen, "a key");
    screen.keys("/");
    screen.wait_for("the filter", |text| text.contains("enter keep"));
    let mut typed = Vec::new();
    for index in 0..60 {
        let key = if index % 2 == 0 { "7" } else { "\u{7f}" };
        typed.push(until_it_shows(&mut screen, key));
    }
    tell("a key in the filter", &mut typed);
    screen.keys("\u{1b}");
    screen.wait_for("no filter", |text| !text.contains("enter keep"));
    screen.keys("\u{1b}");
    std::thread::sleep(Duration::from_secs(2));

    let before = processor(screen.pid());
    std::thread::sleep(QUIET);
    let took = processor(screen.pid()).saturating_sub(before);
    let share = took.as_secs_f64() / QUIET.as_secs_f64() * 100.0;
    println!("  nothing happens: {share:.2} % of a core");

    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (ends, client, revisions) = (&ends, &client, &mut revisions);
        scope.spawn(move || {
            let changed = runtime.block_on(change(client, each, lease, revisions, ends));
            println!("  {changed:.0} changes a second came");
        });
        let before = processor(screen.pid());
        let begun = Instant::now();
        let mut shown = Vec::new();
        while begun.elapsed() < BUSY {
            let key = if shown.len() % 2 == 0 { "j" } else { "k" };
            shown.push(until_it_shows(&mut screen, key));
            std::thread::sleep(Duration::from_millis(15));
        }
        let took = processor(screen.pid()).saturating_sub(before);
        ends.store(true, Ordering::Relaxed);
        tell("a key meanwhile", &mut shown);
        let share = took.as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0;
        println!("  the console meanwhile: {share:.0} % of a core");
    });
    let (now, peak) = memory(screen.pid());
    println!("  memory {now} MiB, at most {peak} MiB");
    screen.keys("q");
    assert_eq!(screen.wait_for_end(), 0);
}

/// Writes records again and again until it is told to end. Gives the changes a second.
async fn change(
    client: &etcd::Client,
    each: usize,
    lease: LeaseId,
    revisions: &mut [Revision],
    ends: &AtomicBool,
) -> f64 {
    let begun = Instant::now();
    let mut beat = tokio::time::interval(Duration::from_millis(10));
    let (mut at, mut changed) = (0, 0_usize);
    while !ends.load(Ordering::Relaxed) {
        beat.tick().await;
        let some: Vec<usize> = (0..AT_ONCE)
            .map(|next| (at + next) % revisions.len())
            .collect();
        at = (at + AT_ONCE) % revisions.len();
        let version = format!("1.4.{}", changed / revisions.len() + 3);
        let puts = some.iter().map(|at| {
            let (key, _) = record(at / each, at % each, "");
            let seen = Seen::At(fleet::Entry {
                key: key.as_str().into(),
                value: [].into(),
                create_revision: Revision(1),
                mod_revision: revisions[*at],
                version: 1,
                lease: None,
            });
            put(at / each, at % each, &version, seen, lease)
        });
        match client.commit(&Plan::new(puts).unwrap()).await.unwrap() {
            fleet::Outcome::Applied { revision } => {
                for at in &some {
                    revisions[*at] = revision;
                }
            }
            other => panic!("{other:?}"),
        }
        changed += AT_ONCE;
    }
    changed as f64 / begun.elapsed().as_secs_f64()
}

/// From the key to a screen that differs from the one before.
fn until_it_shows(screen: &mut Terminal, key: &str) -> Duration {
    let before = screen.text();
    let begun = Instant::now();
    screen.keys(key);
    screen.wait_for("the key shows", |text| text != before);
    begun.elapsed()
}

fn keys(screen: &mut Terminal, what: &str) {
    let mut shown: Vec<_> = (0..KEYS)
        .map(|index| {
            let key = if index % 2 == 0 { "j" } else { "k" };
            until_it_shows(screen, key)
        })
        .collect();
    tell(what, &mut shown);
}

fn tell(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    println!(
        "  {what}: median {:.1?}, p99 {:.1?}, slowest {:.1?} of {}",
        at(50),
        at(99),
        times[times.len() - 1],
        times.len()
    );
}

/// The processor time of a process, in steps of 10 ms.
fn processor(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    let ticks: u64 = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 10)
}

/// What it holds now and what it held at most, in MiB.
fn memory(pid: u32) -> (u64, u64) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.unwrap_or(0) / 1024
    };
    (of("VmRSS:"), of("VmHWM:"))
}
