//! The way to etcd: dropped, reset, refused, swallowed, long, and cut in the middle of a message.

use std::time::{Duration, Instant};

use tests::proxy::Mode;

use crate::ledger::History;
use crate::restart::alone;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_connection_costs_nothing() {
    let (_etcd, proxy, fleet) = alone(&[]).await;
    for end in [tests::proxy::Proxy::cut, tests::proxy::Proxy::reset] {
        fleet.change().await;
        let since = Instant::now();
        end(&proxy);
        fleet.change().await;
        fleet
            .survives(since, "connections dropped", History::Whole)
            .await;
    }
}

async fn is_away(mode: Mode, fault: &str) {
    let (_etcd, proxy, fleet) = alone(&[]).await;
    proxy.set(mode);
    let noticed = fleet.notices().await;
    println!("{fault}: noticed after {noticed:.2?}");
    // Longer than the leases live: everybody is gone from the registry.
    for user in &fleet.users {
        crate::fleet::eventually("the registration runs out", async || {
            let found = fleet.direct.get(&user.key).await.ok()?.0;
            found.is_none().then_some(())
        })
        .await;
    }
    for _ in 0..3 {
        fleet.change().await;
    }
    let since = Instant::now();
    proxy.set(Mode::Forward);
    fleet.survives(since, fault, History::Whole).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_connection_is_survived() {
    is_away(Mode::Refuse, "connections refused").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_is_survived() {
    is_away(Mode::BlackHole, "black hole").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_arrive_while_answers_do_not_are_survived() {
    is_away(Mode::HoldAnswers, "answers held").await;
}

/// The fault stays: a fleet far away converges all the same, and stays registered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_way_with_jitter_keeps_everything_going() {
    let (_etcd, proxy, fleet) = alone(&[]).await;
    proxy.set(Mode::Delay {
        each_way: Duration::from_millis(300),
        jitter: Duration::from_millis(100),
    });
    for round in 0..2 {
        let since = Instant::now();
        fleet.change().await;
        let fault = format!("300 ms later each way, with jitter, round {round}");
        fleet.survives(since, &fault, History::Whole).await;
    }
    proxy.set(Mode::Forward);
    fleet
        .survives(Instant::now(), "the way is short again", History::Whole)
        .await;
}

/// At every length of what comes first, down to a connection that cannot even begin.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_cut_in_mid_message_misses_and_doubles_nothing() {
    let (_etcd, proxy, fleet) = alone(&[]).await;
    for bytes in [1500, 700, 333, 150, 70, 20, 5] {
        proxy.set(Mode::CutAfter(bytes));
        fleet.change().await;
        let met = proxy.accepted();
        crate::fleet::until("a connection was cut", || proxy.accepted() > met + 1).await;
    }
    fleet.change().await;
    let since = Instant::now();
    proxy.set(Mode::Forward);
    fleet
        .survives(since, "cut in mid-message, seven lengths", History::Whole)
        .await;
}
