//! A gateway in front of every service of a registry, as they come, change and go.

use std::net::SocketAddr;

use fleet::{Edit, Key, Plan, Prefix, Seen};
use platform::{
    Gateway, Server, Service,
    gateway::{GatewayOptions, Upstreams},
};
use tests::realetcd::RealEtcd;
use tokio::task::JoinHandle;

use crate::{
    echo::{Echo, older_descriptors, until},
    gateway::{answers, ask, asked, echo_at, free, options},
    world::{World, eventually},
};

async fn before(etcd: &RealEtcd, options: GatewayOptions) -> Gateway {
    let client = etcd::Client::new(etcd::Settings::new([etcd.endpoint()])).unwrap();
    let upstreams = Upstreams::Registry {
        client,
        services: Prefix::new("/services/").unwrap(),
    };
    Gateway::bind("127.0.0.1:0", upstreams, options)
        .await
        .unwrap()
}

fn record(service: &str, id: &str, server: SocketAddr) -> String {
    format!(r#"{{"service":"{service}","id":"{id}","endpoints":["grpc://{server}"]}}"#)
}

async fn register(etcd: &RealEtcd, id: &str, server: SocketAddr) {
    let key = format!("/services/echo/{id}");
    etcd.etcdctl(&["put", &key, &record("echo", id, server)])
        .await;
}

/// Only what the registry says makes it look again.
fn patient() -> GatewayOptions {
    GatewayOptions {
        refresh: std::time::Duration::from_secs(3600),
        ..options()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registry_is_followed_as_it_changes() {
    let etcd = RealEtcd::start().await;
    let options = GatewayOptions {
        forget_after: std::time::Duration::from_millis(300),
        ..patient()
    };
    let gateway = before(&etcd, options).await;
    let addr = gateway.local_addr();
    answers(addr, "/v1/all/1", 404).await;

    // An instance that serves nothing yet, and then a newer one that does.
    let old = Server::bind("127.0.0.1:0", Service::new()).await.unwrap();
    register(&etcd, "e-1", old.local_addr()).await;
    let first = World::new().await;
    register(&etcd, "e-2", first.addr()).await;
    etcd.etcdctl(&["del", "/services/echo/e-1"]).await;
    answers(addr, "/v1/all/1", 200).await;

    // Its successor comes, it leaves the registry, and only then it ends: nobody notices.
    let second = World::new().await;
    register(&etcd, "e-3", second.addr()).await;
    etcd.etcdctl(&["del", "/services/echo/e-2"]).await;
    let in_flight = || first.handle.in_flight();
    crate::echo::until("nothing in flight", || in_flight() == 0).await;
    for _ in 0..20 {
        let answer = ask(addr, "GET", "/v1/all/1", "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    drop(first);
    for _ in 0..20 {
        let answer = ask(addr, "POST", "/v1/all", "{}").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    // The last one leaves: nobody is there for a while, and then there is no such path.
    etcd.etcdctl(&["del", "/services/echo/e-3"]).await;
    answers(addr, "/v1/all/1", 503).await;
    answers(addr, "/v1/all/1", 404).await;
    register(&etcd, "e-4", second.addr()).await;
    answers(addr, "/v1/all/1", 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_watch_of_etcd_is_enough_for_a_hundred_services() {
    const SERVICES: usize = 120;
    let etcd = RealEtcd::start().await;
    let nobody = free().await;
    let edits = (0..SERVICES).map(|number| {
        let service = format!("s-{number}");
        let key = Key::from(format!("/services/{service}/a").as_str());
        Edit::put(
            key,
            Seen::Absent,
            record(&service, "a", nobody).into_bytes(),
        )
    });
    let client = etcd::Client::new(etcd::Settings::new([etcd.endpoint()])).unwrap();
    client.commit(&Plan::new(edits).unwrap()).await.unwrap();
    let gateway = before(&etcd, patient()).await;
    // All are known, and being asked what they serve.
    let all = format!("and {} more", SERVICES - 3);
    asked(gateway.local_addr(), "/nowhere", |answer| {
        answer.text().contains(&all)
    })
    .await;
    let metrics = etcd.http("/metrics").await.unwrap();
    let watchers = metrics
        .lines()
        .find_map(|line| line.strip_prefix("etcd_debugging_mvcc_watcher_total "));
    assert_eq!(watchers, Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_descriptor_of_one_replica_is_picked_up() {
    let etcd = RealEtcd::start().await;
    let older = Service::new()
        .grpc(Echo::default())
        .descriptors(&older_descriptors());
    let older = Server::bind("127.0.0.1:0", older).await.unwrap();
    older.handle().ready();
    register(&etcd, "e-1", older.local_addr()).await;
    let gateway = before(&etcd, patient()).await;
    let addr = gateway.local_addr();
    answers(addr, "/v1/all/1", 200).await;
    let answer = ask(addr, "DELETE", "/v1/all/1", "").await;
    assert_eq!(answer.status, 405, "{}", answer.text());
    // Its successor comes while it is still there.
    let newer = World::new().await;
    register(&etcd, "e-2", newer.addr()).await;
    eventually("the new method", async || {
        let answer = ask(addr, "DELETE", "/v1/all/1", "").await;
        (answer.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_registered_and_leaves_gets_no_more_calls() {
    let etcd = RealEtcd::start().await;
    let (leaving, staying) = (World::new().await, World::new().await);
    register(&etcd, "e-1", leaving.addr()).await;
    register(&etcd, "e-2", staying.addr()).await;
    let gateway = before(&etcd, patient()).await;
    let addr = gateway.local_addr();
    answers(addr, "/v1/all/1", 200).await;
    // Calls that are under way show where they went.
    let spread = async |calls: usize| {
        let waiting: Vec<_> = (0..calls)
            .map(|_| tokio::spawn(async move { ask(addr, "GET", "/v1/wait?id=7", "").await }))
            .collect();
        let count = || (leaving.handle.in_flight(), staying.handle.in_flight());
        until("all are there", || count().0 + count().1 == calls).await;
        let counted = count();
        // Who is there may not wait yet.
        until("all are answered", || {
            leaving.echo.waiting.notify_waiters();
            staying.echo.waiting.notify_waiters();
            waiting.iter().all(JoinHandle::is_finished)
        })
        .await;
        for one in waiting {
            assert_eq!(one.await.unwrap().status, 200);
        }
        counted
    };
    eventually("both are called", async || {
        let (one, other) = spread(8).await;
        (one > 0 && other > 0).then_some(())
    })
    .await;
    // Its record stands, and its health says that it leaves.
    leaving.handle.not_serving();
    eventually("it is heard", async || {
        (spread(8).await.0 == 0).then_some(())
    })
    .await;
    assert_eq!(spread(40).await, (0, 40));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_whatever_is_down_and_serves_what_comes() {
    let etcd = RealEtcd::start().await;
    let address = free().await;
    register(&etcd, "e-1", address).await;
    etcd.kill();
    let gateway = before(&etcd, options()).await;
    let addr = gateway.local_addr();
    let told = asked(addr, "/v1/all/1", |answer| {
        answer.text().contains("never reached")
    })
    .await;
    assert_eq!(told.status, 503);
    etcd.revive();
    let named = address.to_string();
    let told = asked(addr, "/v1/all/1", |answer| answer.text().contains(&named)).await;
    assert_eq!(told.status, 503);
    let _server = echo_at(address).await;
    answers(addr, "/v1/all/1", 200).await;
    // What is known stays while etcd is away.
    etcd.kill();
    answers(addr, "/v1/all/1", 200).await;
}
