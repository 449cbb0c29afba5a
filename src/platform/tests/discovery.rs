//! Finding peers through etcd, whatever becomes of etcd.

use std::time::Duration;

use fleet::ServiceName;
use platform::discover::Knowledge;
use platform::{Channel, Platform, Service};
use tests::proxy::{Mode, Proxy};
use tests::realetcd::RealEtcd;

use crate::peer::Peer;
use crate::world::{builder, check, client, entry, eventually, until};

fn name(service: &str) -> ServiceName {
    ServiceName::new(service).unwrap()
}

fn record(id: &str, peer: &Peer) -> String {
    format!(
        r#"{{"service":"user","id":"{id}","endpoints":["grpc://{}"]}}"#,
        peer.address()
    )
}

async fn calls(channel: &Channel) {
    eventually("a call succeeds", || async {
        check(channel).await.ok().map(drop)
    })
    .await;
}

async fn caller(etcd: &RealEtcd) -> Platform {
    builder("order", &etcd.endpoint()).start().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_called_by_its_name_as_it_comes_and_goes() {
    let etcd = RealEtcd::start().await;
    let order = caller(&etcd).await;
    let channel = order.channel("user");
    let status = check(&channel).await.unwrap_err();
    assert!(
        status
            .message()
            .contains("no instance of user: 0 registered"),
        "{}",
        status.message()
    );
    let user = builder("user", &etcd.endpoint()).start().await.unwrap();
    let serving = user.bind(Service::new()).await.unwrap();
    calls(&channel).await;
    serving.run_until(async {}, std::future::pending()).await;
    until("its leaving is seen", || {
        let view = order.instances(&name("user")).unwrap();
        let view = view.borrow();
        view.instances.is_empty()
    })
    .await;
    let status = check(&channel).await.unwrap_err();
    assert!(
        status.message().contains("0 registered"),
        "{}",
        status.message()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_record_hides_no_good_one() {
    let etcd = RealEtcd::start().await;
    let peer = Peer::start();
    etcd.etcdctl(&["put", "/services/user/a", "{not json"])
        .await;
    etcd.etcdctl(&["put", "/services/user/b", &record("b", &peer)])
        .await;
    etcd.etcdctl(&[
        "put",
        "/services/user/c",
        r#"{"service":"user","id":"c","endpoints":"none"}"#,
    ])
    .await;
    let order = caller(&etcd).await;
    calls(&order.channel("user")).await;
    let view = order.instances(&name("user")).unwrap().borrow().clone();
    assert_eq!((view.instances.len(), view.quarantined), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_list_is_used_while_etcd_is_away_and_says_so() {
    let etcd = RealEtcd::start().await;
    let peer = Peer::start();
    etcd.etcdctl(&["put", "/services/user/a", &record("a", &peer)])
        .await;
    let order = caller(&etcd).await;
    let channel = order.channel("user");
    calls(&channel).await;
    etcd.kill();
    let views = order.instances(&name("user")).unwrap();
    until("marked stale", || {
        matches!(views.borrow().knowledge, Knowledge::Stale { .. })
    })
    .await;
    check(&channel).await.unwrap();
    drop(peer);
    let status = eventually("the peer's death is seen", || async {
        check(&channel).await.err()
    })
    .await;
    let status = match status.message().contains("list is") {
        true => status,
        // The call in flight failed by the broken connection; the next one has the whole reason.
        false => check(&channel).await.unwrap_err(),
    };
    assert!(
        status.message().contains("list is") && status.message().contains("old"),
        "{}",
        status.message()
    );
    etcd.revive();
    until("fresh again", || {
        matches!(views.borrow().knowledge, Knowledge::Fresh { .. })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_wiped_etcd_forgot_is_still_called_and_a_real_delete_is_honoured() {
    let etcd = RealEtcd::start().await;
    let peer = Peer::start();
    // The wiped store has to be behind the one that was.
    for number in 0..20 {
        etcd.etcdctl(&["put", "/other", &number.to_string()]).await;
    }
    etcd.etcdctl(&["put", "/services/user/a", &record("a", &peer)])
        .await;
    let order = caller(&etcd).await;
    let channel = order.channel("user");
    calls(&channel).await;
    etcd.wipe().await;
    let views = order.instances(&name("user")).unwrap();
    until("the loss is seen", || {
        views
            .borrow()
            .knowledge
            .doubt()
            .is_some_and(|doubt| doubt.contains("without its data"))
    })
    .await;
    check(&channel).await.unwrap();
    etcd.etcdctl(&["put", "/services/user/a", &record("a", &peer)])
        .await;
    until("registered anew", || {
        matches!(views.borrow().knowledge, Knowledge::Fresh { .. })
    })
    .await;
    etcd.etcdctl(&["del", "/services/user/a"]).await;
    until("the delete is honoured", || {
        views.borrow().instances.is_empty()
    })
    .await;
}

/// The wiped store has taken more writes than the old one by the time it is seen again.
#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_etcd_that_has_overtaken_us_takes_nobody_away() {
    let etcd = RealEtcd::start().await;
    let proxy = Proxy::start(etcd.address()).await;
    let peer = Peer::start();
    etcd.etcdctl(&["put", "/services/user/a", &record("a", &peer)])
        .await;
    let order = builder("order", &proxy.endpoint()).start().await.unwrap();
    let channel = order.channel("user");
    calls(&channel).await;
    let views = order.instances(&name("user")).unwrap();
    proxy.set(Mode::Refuse);
    until("the loss is seen", || {
        matches!(views.borrow().knowledge, Knowledge::Stale { .. })
    })
    .await;
    etcd.wipe().await;
    for number in 0..30 {
        etcd.etcdctl(&["put", "/other", &number.to_string()]).await;
    }
    proxy.set(Mode::Forward);
    until("the wipe is seen", || {
        views
            .borrow()
            .knowledge
            .doubt()
            .is_some_and(|doubt| doubt.contains("without its data"))
    })
    .await;
    assert_eq!(views.borrow().instances.len(), 1);
    check(&channel).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_name_fails_its_calls_and_nothing_else() {
    let order = builder("order", "127.0.0.1:1").start().await.unwrap();
    let status = check(&order.channel("no such/service")).await.unwrap_err();
    assert!(
        status.message().contains("not a service's name"),
        "{}",
        status.message()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_drains_under_load_fails_no_call() {
    let etcd = RealEtcd::start().await;
    let users = [
        builder("user", &etcd.endpoint()).instance_id("a"),
        builder("user", &etcd.endpoint()).instance_id("b"),
    ];
    let mut serving = Vec::new();
    for user in users {
        serving.push(
            user.drain_spread(Duration::from_millis(200))
                .start()
                .await
                .unwrap()
                .bind(Service::new())
                .await
                .unwrap(),
        );
    }
    let order = caller(&etcd).await;
    let channel = order.channel("user");
    let client = client(&etcd.endpoint());
    for id in ["a", "b"] {
        entry(&client, &format!("/services/user/{id}"), |_| true).await;
    }
    until("both are known", || {
        order
            .instances(&name("user"))
            .unwrap()
            .borrow()
            .instances
            .len()
            == 2
    })
    .await;
    calls(&channel).await;
    let over = std::sync::atomic::AtomicBool::new(false);
    let load = async {
        let mut made = 0u32;
        while !over.load(std::sync::atomic::Ordering::Relaxed) || made < 200 {
            check(&channel).await.unwrap();
            made += 1;
        }
    };
    let leaving = serving.remove(0);
    let drain = async {
        leaving.run_until(async {}, std::future::pending()).await;
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    tokio::join!(load, drain);
}
