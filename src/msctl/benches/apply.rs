//! `config apply` of a tree of 5,000 keys against the raw transactions alone that write the same
//! keys: the same number of them, guarded in the same way, one after the other over one connection
//! that is open already. Both in one run on one real etcd, in turn; medians and their ratio.
//!
//! What the command does beyond: it starts, connects, reads the file and the store, compares, asks
//! for schemas, and writes the record of the change in each transaction.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark"
)]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fleet::config::Scope;
use fleet::config::apply::{Prune, batches, difference};
use fleet::config::import::{Notation, read_tree};
use fleet::{Plan, Prefix};
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
    let (mut applied, mut raw) = (Vec::new(), Vec::new());
    let mut transactions = 0;
    for round in 0..ROUNDS {
        // Each round has services of its own, so that every key is new and nothing is deleted.
        for which in ["applied", "raw"] {
            let text = tree(&format!("{which}-{round}"));
            let begun;
            if which == "applied" {
                let file = home.path().join("tree.yaml");
                std::fs::write(&file, &text).unwrap();
                begun = Instant::now();
                let done = Command::new(MSCTL)
                    .args(["--endpoints", &etcd.endpoint(), "config", "apply", "-f"])
                    .arg(&file)
                    .arg("--yes")
                    .env("HOME", home.path())
                    .env("XDG_CONFIG_HOME", home.path())
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .status()
                    .unwrap();
                assert!(done.success());
                applied.push(begun.elapsed());
            } else {
                let plans = plans(&text);
                transactions = plans.len();
                begun = Instant::now();
                runtime.block_on(async {
                    for plan in &plans {
                        let outcome = client.commit(plan).await.unwrap();
                        assert!(matches!(outcome, fleet::Outcome::Applied { .. }));
                    }
                });
                raw.push(begun.elapsed());
            }
        }
    }
    let (applied, raw) = (median(applied), median(raw));
    let ratio = applied.as_secs_f64() / raw.as_secs_f64();
    println!("applying {KEYS} new keys, {transactions} transactions, median of {ROUNDS}:");
    println!("  msctl config apply       {applied:>8.1?}");
    println!("  the transactions alone   {raw:>8.1?}");
    println!("  ratio                    {ratio:>8.2}   wanted at most 1.50");
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
