//! `make soak TIME=10m SEED=7`: faults drawn by a seed for so long, after each the invariants of
//! the fault suite, and at the end a table of how long converging took. It ends with an error at
//! the first that does not hold, naming the seed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a check fails by panic, as a test does"
)]

use std::process::Command;
use std::time::Duration;

use tests::realetcd::RealEtcd;

use citizen::{Citizen, ETCD};
use mix::Mix;

mod citizen;
mod converge;
mod fleet;
mod idle;
mod ledger;
mod mix;
mod suspend;
mod truth;

/// How long a process is stopped: longer than any lease that a service asks for lives.
const STOPPED: Duration = Duration::from_secs(30);

fn main() {
    // The process that is to be stopped is this very program, run again.
    if let Ok(etcd) = std::env::var(ETCD) {
        return citizen::live(etcd);
    }
    let mut arguments = std::env::args().skip(1);
    let time = arguments.next().unwrap_or_else(|| "10m".into());
    let time = ::fleet::config::value::parse_duration(&time).expect("a time such as 10m");
    let seed = arguments
        .next()
        .map_or_else(rand::random, |seed| seed.parse().unwrap());
    println!("soak: {time:?}, seed {seed}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut mix = Mix::start(seed).await;
        let (count, stopped) = tokio::join!(mix.run(time), suspended());
        println!(
            "\n{count} faults, seed {seed}; every invariant held\n\n{}{stopped}",
            mix.table()
        );
    });
}

/// Beside the mix: a process that sleeps through it.
async fn suspended() -> String {
    let etcd = RealEtcd::start().await;
    let client = etcd::Client::new(etcd::Settings::new([etcd.endpoint()])).unwrap();
    let again = Command::new(std::env::current_exe().unwrap());
    let citizen = Citizen::start(again, &etcd.endpoint());
    suspend::stop_and_continue(&client, &citizen, STOPPED).await
}
