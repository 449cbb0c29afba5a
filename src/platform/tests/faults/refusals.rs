//! etcd is there and refuses: authentication turned on, tokens expired, no space left.

use std::time::{Duration, Instant};

use platform::register::RegistrationState;
use tests::proxy::Proxy;
use tests::realetcd::RealEtcd;

use crate::fleet::{Fleet, Ways, eventually, until};
use crate::history::lease;
use crate::ledger::History;
use crate::restart::alone;

const PASSWORD: &str = "secret";

async fn guarded(extra: &[&str], password: Option<&str>) -> (RealEtcd, Proxy, Fleet) {
    let mut arguments = vec!["--bcrypt-cost=4"];
    arguments.extend(extra);
    let etcd = RealEtcd::start_with(&arguments).await;
    let proxy = Proxy::start(etcd.address()).await;
    let ways = Ways {
        fleet: vec![proxy.endpoint()],
        direct: vec![etcd.endpoint()],
        fleet_password: password.map(str::to_owned),
        direct_password: Some(PASSWORD.to_owned()),
    };
    let fleet = Fleet::start(ways).await;
    (etcd, proxy, fleet)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authentication_may_be_turned_on_under_a_fleet_with_a_password() {
    let (etcd, proxy, fleet) = guarded(&[], Some(PASSWORD)).await;
    let since = Instant::now();
    etcd.turn_auth_on(PASSWORD).await;
    proxy.cut();
    fleet.change().await;
    fleet
        .survives(since, "authentication turned on", History::Whole)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_without_a_password_says_so_and_joins_again_when_none_is_needed() {
    let (etcd, proxy, fleet) = guarded(&[], None).await;
    etcd.turn_auth_on(PASSWORD).await;
    // A stream that stands is let be; what begins is refused.
    proxy.cut();
    fleet.notices().await;
    fleet.direct.lease_revoke(lease(&fleet, 0)).await.unwrap();
    let state = fleet.users[0].serving.registration().unwrap();
    until("the registration says why", || {
        matches!(&*state.borrow(), RegistrationState::Waiting { cause } if cause.contains("user"))
    })
    .await;
    fleet.change().await;
    let since = Instant::now();
    etcd.turn_auth_off(PASSWORD).await;
    fleet
        .survives(since, "authentication turned off again", History::Whole)
        .await;
}

/// How many tokens etcd was asked for.
async fn tokens(etcd: &RealEtcd) -> u64 {
    let metrics = etcd.http("/metrics").await.unwrap_or_default();
    metrics
        .lines()
        .filter(|line| line.starts_with("grpc_server_started_total"))
        .filter(|line| line.contains("grpc_method=\"Authenticate\""))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_token_is_renewed() {
    let (etcd, _proxy, fleet) = guarded(&["--auth-token-ttl=1"], Some(PASSWORD)).await;
    etcd.turn_auth_on(PASSWORD).await;
    fleet.change().await;
    fleet
        .converges(Instant::now(), "authentication turned on")
        .await;
    let before = tokens(&etcd).await;
    let mut rounds = 0;
    eventually("every client has asked for a new token", async || {
        rounds += 1;
        // A token outlives its last use by a second, and etcd looks once a second.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        let since = Instant::now();
        fleet.change().await;
        let took = fleet.converges(since, "a token expired").await;
        println!("token expired: converged in {took}");
        (tokens(&etcd).await >= before + 3).then_some(())
    })
    .await;
    let fault = format!("after {rounds} expired tokens");
    fleet.survives(Instant::now(), &fault, History::Whole).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_database_keeps_nobody_out_once_it_has_room() {
    let (etcd, _proxy, fleet) = alone(&["--quota-backend-bytes=4194304"]).await;
    let mut number = 0;
    let refused = eventually("the quota is reached", async || {
        number += 1;
        // Over and over: what is full is history, and that can be compacted.
        let put = [("/ballast".into(), vec![number; 400_000])];
        fleet.try_write(&put).await.err()
    })
    .await;
    assert!(refused.contains("space"), "{refused}");
    // Losing the lease now is to lose the registration: a new one is a write.
    fleet.direct.lease_revoke(lease(&fleet, 0)).await.unwrap();
    let state = fleet.users[0].serving.registration().unwrap();
    until("the registration says why", || {
        matches!(&*state.borrow(), RegistrationState::Waiting { cause } if cause.contains("space"))
    })
    .await;
    let since = Instant::now();
    etcd.make_room().await;
    fleet.change().await;
    fleet
        .survives(since, "quota exceeded, then disarmed", History::Whole)
        .await;
}
