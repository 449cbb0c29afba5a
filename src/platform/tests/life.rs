//! Start and stop: never waiting for etcd, and in the right order.

use std::time::{Duration, Instant};

use platform::{Channel, ChannelOptions, Error, Platform, Service};
use tests::proxy::{Mode, Proxy};
use tests::realetcd::RealEtcd;

use crate::peer::at;
use crate::world::{builder, check, client, entry, get, until};

async fn serves_within_a_second(etcd: &str) -> Platform {
    let begun = Instant::now();
    let platform = builder("order", etcd)
        .default("timeout.write", "1s")
        .start()
        .await
        .unwrap();
    let serving = platform.bind(Service::new()).await.unwrap();
    let channel = Channel::fixed(
        "order",
        [at(serving.local_addr())],
        ChannelOptions::default(),
    );
    check(&channel).await.unwrap();
    let took = begun.elapsed();
    println!("start to first answer with etcd at {etcd}: {took:?}");
    // The goal is 1 s on a quiet machine; tests run beside each other.
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(
        platform.config().duration("timeout.write").unwrap(),
        Duration::from_secs(1)
    );
    platform
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_starts_while_etcd_refuses() {
    serves_within_a_second("127.0.0.1:1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_starts_while_etcd_is_a_black_hole_and_joins_when_it_comes() {
    let etcd = RealEtcd::start().await;
    let proxy = Proxy::start_in(etcd.address(), Mode::BlackHole).await;
    let begun = Instant::now();
    let platform = builder("order", &proxy.endpoint())
        .instance_id("o-1")
        .start()
        .await
        .unwrap();
    let serving = platform.bind(Service::new()).await.unwrap();
    let channel = Channel::fixed(
        "order",
        [at(serving.local_addr())],
        ChannelOptions::default(),
    );
    check(&channel).await.unwrap();
    println!(
        "start to first answer with etcd black-holed: {:?}",
        begun.elapsed()
    );
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    proxy.set(Mode::Forward);
    entry(&client(&etcd.endpoint()), "/services/order/o-1", |_| true).await;
    until("config is fresh", || {
        platform.config().standing().borrow().stale.is_none()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_says_so_first_and_deregisters_before_the_port_closes() {
    let etcd = RealEtcd::start().await;
    let spread = Duration::from_millis(400);
    let platform = builder("order", &etcd.endpoint())
        .instance_id("o-1")
        .drain_spread(spread)
        .start()
        .await
        .unwrap();
    let serving = platform.bind(Service::new()).await.unwrap();
    let client = client(&etcd.endpoint());
    entry(&client, "/status/order/o-1", |_| true).await;
    let address = serving.local_addr();
    let handle = serving.handle();
    // Asks this port whatever it says of itself.
    let health = None;
    let options = ChannelOptions {
        health,
        ..ChannelOptions::default()
    };
    let channel = Channel::fixed("order", [at(address)], options);
    assert_eq!(
        check(&channel).await.unwrap().get_ref().status,
        1,
        "serving"
    );
    let drain = tokio::spawn(serving.run_until(async {}, std::future::pending()));
    crate::world::gone(&client, "/services/order/o-1").await;
    // Deregistered, and still answering: as not serving.
    assert!(!handle.stage().is_draining());
    assert_eq!(
        check(&channel).await.unwrap().get_ref().status,
        2,
        "not serving"
    );
    assert!(
        get(&client, "/status/order/o-1").await.is_none(),
        "the report goes with the lease"
    );
    drain.await.unwrap();
    check(&channel).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_stops_at_once() {
    let platform = builder("order", "127.0.0.1:1")
        .drain_spread(Duration::from_secs(600))
        .start()
        .await
        .unwrap();
    let serving = platform.bind(Service::new()).await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let run =
        tokio::spawn(serving.run_until(async {}, async move { stopped.await.unwrap_or_default() }));
    stop.send(()).unwrap();
    tokio::time::timeout(crate::world::PATIENCE, run)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named_with_the_next_step() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let platform = builder("order", "127.0.0.1:1")
        .listen(&*address)
        .start()
        .await
        .unwrap();
    let error = platform.bind(Service::new()).await.unwrap_err();
    assert!(matches!(error, Error::Listen { .. }));
    let text = error.to_string();
    assert!(
        text.contains(&address) && text.contains("listen()"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_service_name_is_refused_at_start() {
    let error = Platform::builder("my order")
        .start()
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("my order"), "{error}");
}
