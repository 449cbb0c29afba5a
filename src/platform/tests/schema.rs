//! The published schema against a real etcd.

use std::time::{Duration, Instant};

use fleet::config::schema::Schema;
use platform::Platform;
use schemars::JsonSchema;
use serde::Serialize;
use tests::realetcd::RealEtcd;

use crate::world::{PATIENCE, builder, client, entry, until};

#[derive(Serialize, JsonSchema)]
struct Settings {
    timeout: Timeout,
    #[serde(rename = "page.size")]
    #[schemars(range(min = 1, max = 500))]
    page_size: u32,
}

#[derive(Serialize, JsonSchema)]
struct Timeout {
    /// How long a write may take.
    #[schemars(extend("x-minimum" = "10ms", "x-maximum" = "1m"))]
    write: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            timeout: Timeout {
                write: Duration::from_secs(3),
            },
            page_size: 10,
        }
    }
}

async fn start(etcd: &str) -> Platform {
    let builder = builder("order", etcd).schema::<Settings>();
    builder.start().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_instances_publish_one_schema_without_a_lease_and_only_where_it_differs() {
    let etcd = RealEtcd::start().await;
    let client = client(&etcd.endpoint());
    let endpoint = etcd.endpoint();
    let starts = (0..5).map(|_| start(&endpoint));
    let instances = futures::future::join_all(starts).await;
    let published = entry(&client, "/schema/order", |_| true).await;
    assert_eq!(published.lease, None);
    let schema = Schema::from_json(&published.value).unwrap();
    let field = schema.field("timeout.write").unwrap();
    assert_eq!(field.kind, "duration, 10ms … 1m");
    assert_eq!(
        field.description.as_deref(),
        Some("How long a write may take.")
    );

    // Another version's stands there: the next start replaces it. Its own would stay as it is.
    etcd.etcdctl(&["put", "/schema/order", "{\"type\":\"object\"}"])
        .await;
    let again = start(&etcd.endpoint()).await;
    let replaced = entry(&client, "/schema/order", |entry| {
        entry.value == published.value
    })
    .await;
    // Of the first five one wrote; put by hand; written by the sixth.
    assert_eq!(replaced.version, 3);
    drop((instances, again));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_defaults_of_the_schema_hold_where_no_layer_says_more() {
    let etcd = RealEtcd::start().await;
    etcd.etcdctl(&["put", "/config/order/timeout.write", "2h"])
        .await;
    let platform = builder("order", &etcd.endpoint())
        .schema::<Settings>()
        .default("page.size", 20)
        .start()
        .await
        .unwrap();
    let timeout = platform.config().live::<Duration>("timeout.write").unwrap();
    let page = platform.config().live::<u64>("page.size").unwrap();
    let refused = || platform.config().standing().borrow().rejected.clone();
    until("the refusal", || !refused().is_empty()).await;
    assert!(refused()[0].error.contains("10ms … 1m"), "{:?}", refused());
    assert_eq!(timeout.get(), Duration::from_secs(3));
    assert_eq!(page.get(), 20);
    etcd.etcdctl(&["put", "/config/order/timeout.write", "20s"])
        .await;
    until("the good value", || {
        timeout.get() == Duration::from_secs(20)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_waits_for_an_etcd_that_is_away_and_comes_back_after_a_wipe() {
    let etcd = RealEtcd::start().await;
    etcd.kill();
    let begun = Instant::now();
    let platform = start(&etcd.endpoint()).await;
    assert!(begun.elapsed() < PATIENCE / 4, "a start waited for etcd");
    assert!(platform.config().duration("timeout.write").is_ok());
    etcd.wipe().await;
    let client = client(&etcd.endpoint());
    let first = entry(&client, "/schema/order", |_| true).await;
    etcd.wipe().await;
    let second = entry(&client, "/schema/order", |_| true).await;
    assert_eq!(first.value, second.value);
}

#[tokio::test]
async fn a_local_value_out_of_bounds_stops_the_start_and_says_where_it_stands() {
    let start = builder("order", "127.0.0.1:1")
        .schema::<Settings>()
        .environment([("ORDER__PAGE__SIZE".into(), "0".into())])
        .start();
    let error = start.await.err().unwrap().to_string();
    assert!(error.contains("ORDER__PAGE__SIZE"), "{error}");
    assert!(error.contains("1 … 500"), "{error}");
}
