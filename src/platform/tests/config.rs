//! Live config against a real etcd.

use std::path::Path;
use std::time::{Duration, Instant};

use fleet::status::{Applied, StatusRecord};
use platform::{Platform, Service};
use tests::realetcd::RealEtcd;

use crate::world::{builder, client, entry, get, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_change_in_etcd_reaches_a_handle_and_a_deletion_falls_back() {
    let etcd = RealEtcd::start().await;
    etcd.etcdctl(&["put", "/config/global/timeout.write", "3s"])
        .await;
    let platform = builder("order", &etcd.endpoint())
        .default("timeout.write", "1s")
        .start()
        .await
        .unwrap();
    let timeout = platform.config().live::<Duration>("timeout.write").unwrap();
    let reaches = |seconds| async move { Duration::from_secs(seconds) };
    let wait = |wanted: Duration| {
        let timeout = timeout.clone();
        async move { until(&format!("{wanted:?}"), || timeout.get() == wanted).await }
    };
    wait(reaches(3).await).await;
    etcd.etcdctl(&["put", "/config/order/timeout.write", "5s"])
        .await;
    wait(reaches(5).await).await;
    etcd.etcdctl(&["del", "/config/order/timeout.write"]).await;
    wait(reaches(3).await).await;
    etcd.etcdctl(&["del", "/config/global/timeout.write"]).await;
    wait(reaches(1).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_value_is_refused_for_its_key_alone_and_reported() {
    let etcd = RealEtcd::start().await;
    etcd.etcdctl(&["put", "/config/order/timeout.write", "2s"])
        .await;
    let platform = builder("order", &etcd.endpoint())
        .instance_id("o-1")
        .default("page.size", 10)
        .start()
        .await
        .unwrap();
    let config = platform.config();
    until("the first value", || {
        config.duration("timeout.write").is_ok()
    })
    .await;
    let timeout = config.live::<Duration>("timeout.write").unwrap();
    let page = config.live::<u64>("page.size").unwrap();
    let _serving = platform.bind(Service::new()).await.unwrap();
    etcd.etcdctl(&["put", "/config/order/timeout.write", "soon"])
        .await;
    etcd.etcdctl(&["put", "/config/order/page.size", "20"])
        .await;
    until("the good one is taken", || page.get() == 20).await;
    assert_eq!(timeout.get(), Duration::from_secs(2));
    let client = client(&etcd.endpoint());
    let wanted = client
        .get(&"/config/order/page.size".into())
        .await
        .unwrap()
        .0
        .unwrap()
        .mod_revision;
    let report = entry(&client, "/status/order/o-1", |entry| {
        StatusRecord::from_json(&entry.value)
            .is_ok_and(|status| status.revision >= wanted.0 && !status.rejected.is_empty())
    })
    .await;
    let status = StatusRecord::from_json(&report.value).unwrap();
    assert_eq!(status.rejected[0].key, "order/timeout.write");
    assert!(status.rejected[0].error.contains("soon"), "{status:?}");
    etcd.etcdctl(&["put", "/config/order/timeout.write", "4s"])
        .await;
    until("a good value is taken", || {
        timeout.get() == Duration::from_secs(4)
    })
    .await;
    entry(&client, "/status/order/o-1", |entry| {
        StatusRecord::from_json(&entry.value).is_ok_and(|status| status.rejected.is_empty())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_environment_overrides_is_reported_with_what_was_taken_in_by_scope() {
    let etcd = RealEtcd::start().await;
    let platform = builder("order", &etcd.endpoint())
        .instance_id("o-1")
        .default("timeout.write", "1s")
        .environment([("ORDER__TIMEOUT__WRITE".to_owned(), "8s".to_owned())])
        .start()
        .await
        .unwrap();
    let _serving = platform.bind(Service::new()).await.unwrap();
    let client = client(&etcd.endpoint());
    let mut written = Vec::new();
    for key in ["/config/order/timeout.write", "/config/global/other"] {
        etcd.etcdctl(&["put", key, "5s"]).await;
        let entry = get(&client, key).await.unwrap();
        written.push(entry.mod_revision.0);
    }
    let report = entry(&client, "/status/order/o-1", |entry| {
        StatusRecord::from_json(&entry.value).is_ok_and(|status| status.revision >= written[1])
    })
    .await;
    let status = StatusRecord::from_json(&report.value).unwrap();
    let taken = status.taken.unwrap();
    assert!(
        taken.service >= written[0] && taken.global >= written[1],
        "{status:?}"
    );
    assert_eq!(
        status.overridden[0].variable.as_deref(),
        Some("ORDER__TIMEOUT__WRITE")
    );
    assert!(
        matches!(
            status.applied("order/timeout.write", written[0]),
            Applied::Overridden(_)
        ),
        "{status:?}"
    );
    assert_eq!(
        platform.config().duration("timeout.write").unwrap(),
        Duration::from_secs(8)
    );
}

/// Two keys written by one transaction fifty times, and no reader ever sees one without the other.
async fn change_together(etcd: &str, keys: [&str; 2]) {
    let platform = builder("order", etcd)
        .default("a", 0)
        .default("b", 0)
        .start()
        .await
        .unwrap();
    let config = platform.config().clone();
    let mut snapshots = config.watch();
    let client = client(etcd);
    let writes = async {
        for number in 1..=50 {
            let edits = keys.map(|key| {
                let client = &client;
                async move {
                    let seen = client.get(&key.into()).await.unwrap().0;
                    fleet::Edit::put(key.into(), seen.into(), number.to_string().into_bytes())
                }
            });
            let [a, b] = edits;
            let plan = fleet::Plan::new([a.await, b.await]).unwrap();
            client.commit(&plan).await.unwrap();
        }
    };
    let reads = async {
        loop {
            snapshots.changed().await.unwrap();
            let snapshot = snapshots.borrow_and_update().clone();
            let value = |key| snapshot.get(key).unwrap().value.as_u64().unwrap();
            assert_eq!(value("a"), value("b"), "a revision was taken apart");
            if value("a") == 50 {
                return;
            }
        }
    };
    let both = async { tokio::join!(writes, reads) };
    tokio::time::timeout(crate::world::PATIENCE, both)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_keys_of_one_revision_change_together() {
    let etcd = RealEtcd::start().await;
    change_together(&etcd.endpoint(), ["/config/order/a", "/config/order/b"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_global_key_and_one_of_the_services_own_change_together() {
    let etcd = RealEtcd::start().await;
    change_together(&etcd.endpoint(), ["/config/global/a", "/config/order/b"]).await;
    let lite = etcdlite::Server::bind(([127, 0, 0, 1], 0).into(), etcdlite::Options::default());
    let lite = lite.await.unwrap();
    let endpoint = lite.local_addr().unwrap().to_string();
    change_together(&endpoint, ["/config/global/a", "/config/order/b"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_etcd_runs_on_the_last_good_cache() {
    let etcd = RealEtcd::start().await;
    etcd.etcdctl(&["put", "/config/order/timeout.write", "7s"])
        .await;
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("order.json");
    let build = || {
        builder("order", &etcd.endpoint())
            .config_cache(&cache)
            .default("timeout.write", "1s")
    };
    let first = build().start().await.unwrap();
    until("the value", || {
        first.config().duration("timeout.write").unwrap() == Duration::from_secs(7)
    })
    .await;
    until("the cache is written", || {
        std::fs::read_to_string(&cache).is_ok_and(|text| text.contains("7s"))
    })
    .await;
    drop(first);
    etcd.kill();
    let second = build().start().await.unwrap();
    let origin = second
        .config()
        .snapshot()
        .get("timeout.write")
        .unwrap()
        .origin
        .to_string();
    assert!(origin.starts_with("cache"), "{origin}");
    let timeout = second.config().live::<Duration>("timeout.write").unwrap();
    assert_eq!(timeout.get(), Duration::from_secs(7));
    // Once etcd is heard again the cache stands in for nothing.
    etcd.wipe().await;
    until("the default", || timeout.get() == Duration::from_secs(1)).await;
}

async fn is_hot(platform: Platform, file: &Path) {
    let timeout = platform.config().live::<Duration>("timeout.write").unwrap();
    assert_eq!(timeout.get(), Duration::from_secs(2));
    std::fs::write(file, "timeout: {write: 30s, read: 1s}").unwrap();
    until("the new value", || timeout.get() == Duration::from_secs(30)).await;
    std::fs::write(file, "timeout: {write: soon, read: 40s}").unwrap();
    let rejected = || platform.config().standing().borrow().rejected.clone();
    until("the refusal", || !rejected().is_empty()).await;
    assert_eq!(timeout.get(), Duration::from_secs(30));
    let read = platform.config().duration("timeout.read").unwrap();
    assert_eq!(
        read,
        Duration::from_secs(40),
        "one bad value of the file holds no other one back"
    );
    std::fs::write(file, "timeout: {write: 50s").unwrap();
    let name = file.display().to_string();
    until("the whole file is refused", || {
        rejected().iter().any(|one| one.key == name)
    })
    .await;
    assert_eq!(timeout.get(), Duration::from_secs(30));
    std::fs::write(file, "timeout: {write: 50s}").unwrap();
    until("mended", || timeout.get() == Duration::from_secs(50)).await;
    until("nothing is refused", || rejected().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_file_is_hot_while_etcd_is_away_and_where_there_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, "timeout: {write: 2s}").unwrap();
    let away = builder("order", "127.0.0.1:1").config_file(&file);
    is_hot(away.start().await.unwrap(), &file).await;
    std::fs::write(&file, "timeout: {write: 2s}").unwrap();
    let alone = Platform::builder("order")
        .environment([])
        .config_file(&file)
        .start()
        .await
        .unwrap();
    assert_eq!(
        alone.config().standing().borrow().stale,
        None,
        "nobody is waited for"
    );
    is_hot(alone, &file).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_file_shows_in_the_instances_report() {
    let etcd = RealEtcd::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, "a: 1").unwrap();
    let platform = builder("order", &etcd.endpoint())
        .instance_id("o-1")
        .config_file(&file)
        .start()
        .await
        .unwrap();
    let _serving = platform.bind(Service::new()).await.unwrap();
    std::fs::write(&file, "[a]").unwrap();
    entry(&client(&etcd.endpoint()), "/status/order/o-1", |entry| {
        StatusRecord::from_json(&entry.value).is_ok_and(|status| {
            let mut rejected = status.rejected.iter();
            rejected.any(|one| one.key == file.display().to_string())
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_seen_fast() {
    let etcd = RealEtcd::start().await;
    let platform = builder("order", &etcd.endpoint())
        .default("n", 0)
        .start()
        .await
        .unwrap();
    let live = platform.config().live::<u64>("n").unwrap();
    let client = client(&etcd.endpoint());
    let mut changes = live.changes();
    let mut slowest = Duration::ZERO;
    for number in 1..=20u64 {
        let seen = client.get(&"/config/order/n".into()).await.unwrap().0;
        let edit = fleet::Edit::put(
            "/config/order/n".into(),
            seen.into(),
            number.to_string().into_bytes(),
        );
        let plan = fleet::Plan::new([edit]).unwrap();
        client.commit(&plan).await.unwrap();
        let begun = Instant::now();
        while live.get() != number {
            tokio::time::timeout(crate::world::PATIENCE, changes.next())
                .await
                .unwrap();
        }
        slowest = slowest.max(begun.elapsed());
    }
    println!("the slowest of 20 changes was seen {slowest:?} after its write was acknowledged");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_reaches_the_instances_it_names_and_then_everyone() {
    use fleet::Seen;
    use fleet::config::ConfigKey;
    use fleet::config::canary::{Standing, begin, key_of};
    use fleet::config::edit::{ConfigEdit, plan};

    let etcd = RealEtcd::start().await;
    etcd.etcdctl(&["put", "/config/order/timeout.write", "2s"])
        .await;
    etcd.etcdctl(&["put", "/config/order/page.size", "50"])
        .await;
    let mut instances = Vec::new();
    for id in ["o-1", "o-2"] {
        let platform = builder("order", &etcd.endpoint())
            .instance_id(id)
            .default("page.size", 10)
            .default("timeout.write", "1s")
            .start()
            .await
            .unwrap();
        let timeout = platform.config().live::<Duration>("timeout.write").unwrap();
        let page = platform.config().live::<u64>("page.size").unwrap();
        let serving = platform.bind(Service::new()).await.unwrap();
        until("the first values", || {
            timeout.get() == Duration::from_secs(2) && page.get() == 50
        })
        .await;
        instances.push((timeout, page, serving, platform));
    }
    let runs = |i: usize| {
        let (timeout, page, ..) = &instances[i];
        (timeout.get().as_secs(), page.get())
    };
    let client = client(&etcd.endpoint());
    let config = fleet::Prefix::new("/config/").unwrap();
    let (order, id) = (
        fleet::ServiceName::new("order").unwrap(),
        fleet::InstanceId::new("o-1").unwrap(),
    );
    let listing = client
        .list(&config, etcd::ListOptions::default())
        .await
        .unwrap();
    let seen =
        |key: &fleet::Key| Seen::from(listing.entries.iter().find(|e| e.key == *key).cloned());
    let key = |text: &str| ConfigKey::parse(text).unwrap();
    let edits = [
        ConfigEdit::Set {
            key: key("order/timeout.write"),
            value: "9s".into(),
        },
        ConfigEdit::Unset {
            key: key("order/page.size"),
        },
    ];
    let change = plan(&config, edits, |key| seen(&key.to_key(&config))).unwrap();
    let who = ("lin", jiff::Timestamp::now(), "try it");
    let (_, tried) = begin(&config, &change, vec![id], None, who).unwrap();
    client.commit(&tried).await.unwrap();

    until("the canary runs it", || runs(0) == (9, 10)).await;
    let status = entry(&client, "/status/order/o-2", |entry| {
        // The other one has seen the canary and leaves it be.
        StatusRecord::from_json(&entry.value)
            .is_ok_and(|status| status.revision > listing.revision.0)
    });
    status.await;
    assert_eq!(runs(1), (2, 50));

    let (standing, _) = client.get(&key_of(&config, &order)).await.unwrap();
    let standing = Standing::read(&config, &standing.unwrap())
        .unwrap()
        .unwrap();
    client
        .commit(&standing.promote(&config, seen).unwrap())
        .await
        .unwrap();
    until("everyone runs it", || {
        runs(0) == (9, 10) && runs(1) == (9, 10)
    })
    .await;
    assert!(
        client
            .get(&key_of(&config, &order))
            .await
            .unwrap()
            .0
            .is_none()
    );
}
