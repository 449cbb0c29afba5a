//! `config apply` of a tree of 5,000 keys against the raw transactions alone: the same keys and the
//! same records, guarded in the same way, one after the other over one connection that is open
//! already. Once more without the records. All in one run on one real etcd, in turn; medians and
//! ratios.
//!
//! What the command does beyond: it starts, connects, reads the file and the store, compares, asks
//! for schemas, counts records and makes new ones.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark"
)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use fleet::config::Scope;
use fleet::config::apply::{Prune, batches, difference};
use fleet::config::import::{Notation, read_tree};
use fleet::release::{Author, record};
use fleet::{Plan, Prefix, Prefixes, Revision};
use tests::realetcd::RealEtcd;

const MSCTL: &str = env!("CARGO_BIN_EXE_msctl");

const KEYS: usize = 5_000;

const ROUNDS: usize = 15;

fn main() {
    // `cargo test --benches` builds and starts benchmarks too.
    if !std::env::args().any(|word| word == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let home = tempfile::tempdir().unwrap();
    let etcd = runtime.block_on(RealEtcd::start());
    let client = {
        let _inside = runtime.enter();
        etcd::Client::new(etcd::Settings::new(vec![etcd.endpoint()])).unwrap()
    };
    let (mut applied, mut raw, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    let mut transactions = 0;
    for round in 0..ROUNDS {
        // Each round has services of its own, so that every key is new and nothing is deleted.
        let of = |which: &str| tree(&format!("{which}-{round}"));
        applied.push(apply(&etcd.endpoint(), home.path(), &of("applied")));
        let plans = plans(&of("raw"));
        transactions = plans.len();
        let recorded = plans.into_iter().map(recorded).collect();
        raw.push(runtime.block_on(commit(&client, recorded)));
        bare.push(runtime.block_on(commit(&client, self::plans(&of("bare")))));
    }
    let (applied, raw, bare) = (median(applied), median(raw), median(bare));
    let ratio = |peer: Duration| applied.as_secs_f64() / peer.as_secs_f64();
    println!("applying {KEYS} new keys, {transactions} transactions, median of {ROUNDS}:");
    println!("  msctl config apply         {applied:>8.1?}");
    println!(
        "  the transactions alone     {raw:>8.1?}  ratio {:.2}, wanted at most 1.50",
        ratio(raw)
    );
    println!(
        "  the same without records   {bare:>8.1?}  ratio {:.2}",
        ratio(bare)
    );
}

fn apply(endpoint: &str, home: &Path, text: &str) -> Duration {
    let file = home.join("tree.yaml");
    std::fs::write(&file, text).unwrap();
    let begun = Instant::now();
    let done = Command::new(MSCTL)
        .args(["--endpoints", endpoint, "config", "apply", "-f"])
        .arg(&file)
        .arg("--yes")
        .env("HOME", home)
        .env("XDG_CONFIG_HOME", home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(done.success());
    begun.elapsed()
}

async fn commit(client: &etcd::Client, plans: Vec<Plan>) -> Duration {
    let begun = Instant::now();
    for plan in &plans {
        let outcome = client.commit(plan).await.unwrap();
        assert!(matches!(outcome, fleet::Outcome::Applied { .. }));
    }
    begun.elapsed()
}

/// With the record of its change, as the command writes it.
fn recorded(plan: Plan) -> Plan {
    static NONCE: AtomicU32 = AtomicU32::new(0);
    let prefixes = Prefixes::default();
    let author = Author {
        name: "bench".to_owned(),
        time: jiff::Timestamp::now(),
        message: "(1 of 40)".to_owned(),
    };
    record(
        plan,
        &prefixes.config,
        &prefixes.releases,
        &author,
        Revision(1),
        NONCE.fetch_add(1, Ordering::Relaxed),
    )
    .unwrap()
}

/// Keys and values as services have them.
fn tree(service: &str) -> String {
    let key = |at: usize| {
        format!(
            "  group-{}.limit-{at}: {{attempts: {}, backoff: {at}ms}}\n",
            at % 97,
            at % 7
        )
    };
    let keys: String = (0..KEYS).map(key).collect();
    format!("{service}:\n{keys}")
}

fn plans(text: &str) -> Vec<Plan> {
    let config = Prefix::new("/config/").unwrap();
    let tree = read_tree(Notation::Yaml, text).unwrap().unwrap();
    assert!(tree.scopes.iter().all(|scope| *scope != Scope::Global));
    let found = difference(&tree, &config, &[], Prune::Keep).unwrap();
    batches(&config, found.edits).unwrap()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
