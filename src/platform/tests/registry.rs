//! An instance's own record through everything that can happen to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fleet::InstanceRecord;
use fleet::status::StatusRecord;
use platform::register::RegistrationState;
use platform::{Platform, Service};
use tests::proxy::{Mode, Proxy};
use tests::realetcd::RealEtcd;

use crate::world::{PATIENCE, builder, client, entry, get, gone};

const KEY: &str = "/services/order/o-1";
const STATUS: &str = "/status/order/o-1";

async fn start(etcd: &str) -> Platform {
    builder("order", etcd)
        .instance_id("o-1")
        .version("1.4.2")
        .metadata("zone", "a")
        .start()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_registers_and_reports_on_one_lease() {
    let etcd = RealEtcd::start().await;
    let platform = start(&etcd.endpoint()).await;
    let serving = platform.bind(Service::new()).await.unwrap();
    let client = client(&etcd.endpoint());
    let registered = entry(&client, KEY, |_| true).await;
    let record: InstanceRecord = serde_json::from_slice(&registered.value).unwrap();
    assert_eq!(
        (
            record.service.as_str(),
            record.id.as_str(),
            record.version.as_str()
        ),
        ("order", "o-1", "1.4.2")
    );
    assert_eq!(record.zone(), Some("a"));
    assert_eq!(
        record.grpc().unwrap().address.to_string(),
        serving.local_addr().to_string()
    );
    let reported = entry(&client, STATUS, |_| true).await;
    assert!(
        StatusRecord::from_json(&reported.value)
            .unwrap()
            .liveness
            .alive
    );
    assert_eq!(registered.lease, reported.lease);
    assert!(registered.lease.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_lease_is_granted_anew_and_the_record_put_again() {
    let etcd = RealEtcd::start().await;
    let platform = start(&etcd.endpoint()).await;
    let _serving = platform.bind(Service::new()).await.unwrap();
    let client = client(&etcd.endpoint());
    let before = entry(&client, STATUS, |_| true).await.lease;
    client.lease_revoke(before.unwrap()).await.unwrap();
    entry(&client, KEY, |entry| {
        entry.lease.is_some() && entry.lease != before
    })
    .await;
    entry(&client, STATUS, |entry| {
        entry.lease.is_some() && entry.lease != before
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_deleted_by_hand_is_put_again_on_the_same_lease() {
    let etcd = RealEtcd::start().await;
    let platform = start(&etcd.endpoint()).await;
    let _serving = platform.bind(Service::new()).await.unwrap();
    let client = client(&etcd.endpoint());
    let before = entry(&client, KEY, |_| true).await;
    etcd.etcdctl(&["del", KEY]).await;
    let after = entry(&client, KEY, |entry| {
        entry.create_revision > before.create_revision
    })
    .await;
    assert_eq!((after.lease, after.value), (before.lease, before.value));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_deleted_or_edited_by_hand_is_put_again() {
    let etcd = RealEtcd::start().await;
    let platform = start(&etcd.endpoint()).await;
    let _serving = platform.bind(Service::new()).await.unwrap();
    let client = client(&etcd.endpoint());
    let before = entry(&client, STATUS, |_| true).await;
    etcd.etcdctl(&["del", STATUS]).await;
    let again = entry(&client, STATUS, |entry| {
        entry.create_revision > before.create_revision
    })
    .await;
    assert_eq!(again.lease, before.lease);
    etcd.etcdctl(&["put", STATUS, "{}"]).await;
    let right = entry(&client, STATUS, |entry| {
        StatusRecord::from_json(&entry.value).is_ok() && entry.lease == before.lease
    })
    .await;
    assert!(right.mod_revision > again.mod_revision);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_ports_of_one_process_share_its_lease_and_its_connections() {
    let etcd = RealEtcd::start().await;
    let proxy = Proxy::start(etcd.address()).await;
    let platform = builder("order", &proxy.endpoint()).start().await.unwrap();
    let client = client(&etcd.endpoint());
    let key = |id: &fleet::InstanceId| format!("/services/order/{id}");
    let report = |id: &fleet::InstanceId| format!("/status/order/{id}");
    let first = platform.bind(Service::new()).await.unwrap();
    let one = first.instance_id().clone();
    let lease = entry(&client, &report(&one), |_| true).await.lease;
    let connections = proxy.accepted();
    let second = platform.bind(Service::new()).await.unwrap();
    let other = second.instance_id().clone();
    assert_ne!(one, other);
    for key in [key(&one), key(&other), report(&other)] {
        assert_eq!(entry(&client, &key, |_| true).await.lease, lease, "{key}");
    }
    assert_eq!(client.leases().await.unwrap(), [lease.unwrap()]);
    assert_eq!(proxy.accepted(), connections, "connections to etcd");
    // One goes, and takes nothing of the other with it.
    first.run_until(async {}, std::future::pending()).await;
    for key in [key(&one), report(&one)] {
        assert!(get(&client, &key).await.is_none(), "{key}");
    }
    assert_eq!(get(&client, &key(&other)).await.unwrap().lease, lease);
    second.run_until(async {}, std::future::pending()).await;
    assert!(client.leases().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_serves_under_one_name_once() {
    let platform = start("127.0.0.1:1").await;
    let first = platform.bind(Service::new()).await.unwrap();
    let error = platform.bind(Service::new()).await.unwrap_err().to_string();
    assert!(
        error.contains("o-1") && error.contains("instance_id()"),
        "{error}"
    );
    drop(first);
    platform.bind(Service::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_edited_by_hand_is_put_right_lease_and_all() {
    let etcd = RealEtcd::start().await;
    let platform = start(&etcd.endpoint()).await;
    let _serving = platform.bind(Service::new()).await.unwrap();
    let client = client(&etcd.endpoint());
    let before = entry(&client, KEY, |_| true).await;
    // A plain put detaches the lease: a ghost, were nobody watching.
    etcd.etcdctl(&["put", KEY, "{}"]).await;
    let after = entry(&client, KEY, |entry| entry.lease == before.lease).await;
    assert_eq!(after.value, before.value);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_etcd_finds_the_instance_again() {
    let etcd = RealEtcd::start().await;
    let platform = start(&etcd.endpoint()).await;
    let _serving = platform.bind(Service::new()).await.unwrap();
    let client = client(&etcd.endpoint());
    entry(&client, KEY, |_| true).await;
    etcd.wipe().await;
    entry(&client, KEY, |entry| entry.lease.is_some()).await;
    entry(&client, STATUS, |entry| entry.lease.is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_longer_than_the_lease_ends_in_a_new_registration() {
    let etcd = RealEtcd::start().await;
    let proxy = Proxy::start(etcd.address()).await;
    let platform = start(&proxy.endpoint()).await;
    let _serving = platform.bind(Service::new()).await.unwrap();
    let client = client(&etcd.endpoint());
    entry(&client, KEY, |_| true).await;
    proxy.set(Mode::BlackHole);
    gone(&client, KEY).await;
    proxy.set(Mode::Forward);
    entry(&client, KEY, |_| true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_process_falls_out_and_comes_back() {
    let etcd = RealEtcd::start().await;
    // Long enough for a report on a machine that is busy: reports rest for up to 5 s.
    let builder = builder("order", &etcd.endpoint()).lease_ttl(Duration::from_secs(15));
    let platform = builder.instance_id("o-1").start().await.unwrap();
    let hung = Arc::new(AtomicBool::new(false));
    let flag = hung.clone();
    platform.liveness_check("worker", move || {
        let hung = flag.load(Ordering::Relaxed);
        async move {
            if hung {
                Err("deadlocked".into())
            } else {
                Ok(())
            }
        }
    });
    let serving = platform.bind(Service::new()).await.unwrap();
    let client = client(&etcd.endpoint());
    entry(&client, KEY, |_| true).await;
    hung.store(true, Ordering::Relaxed);
    // While the lease still runs it says itself what is wrong.
    entry(&client, STATUS, |entry| {
        StatusRecord::from_json(&entry.value)
            .is_ok_and(|status| status.liveness.detail.contains("deadlocked"))
    })
    .await;
    gone(&client, KEY).await;
    let mut state = serving.registration().unwrap();
    let waiting = state.wait_for(|state| matches!(state, RegistrationState::Waiting { .. }));
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap()
        .unwrap();
    hung.store(false, Ordering::Relaxed);
    entry(&client, KEY, |_| true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_another_process_holds_is_refused_until_it_goes() {
    let etcd = RealEtcd::start().await;
    let first = start(&etcd.endpoint()).await;
    let first = first.bind(Service::new()).await.unwrap();
    let client = client(&etcd.endpoint());
    let before = entry(&client, KEY, |_| true).await;
    let second = start(&etcd.endpoint()).await;
    let second = second.bind(Service::new()).await.unwrap();
    let mut state = second.registration().unwrap();
    let refused = state.wait_for(|state| matches!(state, RegistrationState::Refused { .. }));
    let refused = tokio::time::timeout(PATIENCE, refused)
        .await
        .unwrap()
        .unwrap()
        .clone();
    let RegistrationState::Refused { cause } = refused else {
        panic!("{refused:?}")
    };
    assert!(
        cause.contains(&first.local_addr().to_string()) && cause.contains("instance_id"),
        "{cause}"
    );
    assert_eq!(
        get(&client, KEY).await.unwrap().mod_revision,
        before.mod_revision,
        "the first is untouched"
    );
    first.run_until(async {}, std::future::pending()).await;
    let address = second.local_addr().to_string();
    entry(&client, KEY, |entry| {
        String::from_utf8_lossy(&entry.value).contains(&address)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_process_started_again_takes_its_old_record_over_at_once() {
    let etcd = RealEtcd::start().await;
    let long = || {
        builder("order", &etcd.endpoint())
            .instance_id("o-1")
            .lease_ttl(Duration::from_secs(600))
    };
    let first = long().start().await.unwrap();
    let first = first.bind(Service::new()).await.unwrap();
    let address = first.local_addr().to_string();
    let client = client(&etcd.endpoint());
    let before = entry(&client, STATUS, |_| true).await.lease;
    // Dropping it deregisters nothing, as a crash does.
    drop(first);
    let second = crate::world::eventually("the port is free", || async {
        let platform = long().listen(address.clone()).start().await.unwrap();
        platform.bind(Service::new()).await.ok()
    })
    .await;
    assert_eq!(second.local_addr().to_string(), address);
    entry(&client, KEY, |entry| {
        entry.lease.is_some() && entry.lease != before
    })
    .await;
    crate::world::eventually("the old lease is revoked", || async {
        let leases = client.leases().await.ok()?;
        (!leases.contains(&before.unwrap())).then_some(())
    })
    .await;
}
