//! Config that changes while the services run.

use serde_json::json;

use crate::world::{World, until};

#[tokio::test]
async fn a_changed_value_shows_in_the_next_answer() {
    let world = World::new().await;
    let shown = world.get(world.order(), "/v1/fault").await.json();
    assert_eq!(
        shown["config"],
        json!({"timeout.write": "3s", "page.size": "10", "features.greeting": "false"})
    );

    world.put("order/timeout.write", "5s").await;
    until("5s is applied", async || {
        world.get(world.order(), "/v1/fault").await.json()["config"]["timeout.write"] == "5s"
    })
    .await;
    let body = r#"{"userId":"1","items":[{"sku":"A","quantity":1}]}"#;
    let placed = world.post(world.order(), "/v1/orders", body).await;
    assert_eq!(placed.headers["grpc-metadata-x-timeout-write"], "5s");

    world.put("user/features.greeting", "true").await;
    world.put("global/page.size", "3").await;
    until("Ada is greeted", async || {
        world.get(world.user(), "/v1/users/1").await.json()["greeting"] == "Hello, Ada!"
    })
    .await;
    until("a page has 3 users", async || {
        world.get(world.user(), "/v1/users").await.json()["users"]
            .as_array()
            .unwrap()
            .len()
            == 3
    })
    .await;
}

#[tokio::test]
async fn a_value_that_does_not_parse_leaves_the_last_good_one() {
    let world = World::new().await;
    world.put("order/timeout.write", "4s").await;
    until("4s is applied", async || {
        world.get(world.order(), "/v1/fault").await.json()["config"]["timeout.write"] == "4s"
    })
    .await;
    world.put("order/timeout.write", "soon").await;
    // The next change proves that the bad one was seen.
    world.put("order/page.size", "7").await;
    until("7 is applied", async || {
        world.get(world.order(), "/v1/fault").await.json()["config"]["page.size"] == "7"
    })
    .await;
    let shown = world.get(world.order(), "/v1/fault").await.json();
    assert_eq!(shown["config"]["timeout.write"], "4s");
}

#[tokio::test]
async fn both_services_say_what_their_config_is() {
    let world = World::new().await;
    for service in ["user", "order"] {
        let key = format!("/schema/{service}");
        until("the schema is published", async || {
            world.etcd.etcdctl(&["get", &key]).await.contains("page")
        })
        .await;
    }
    let text = world
        .etcd
        .etcdctl(&["get", "/schema/order", "--print-value-only"])
        .await;
    let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
    let write = &schema["properties"]["timeout"]["properties"]["write"];
    assert_eq!(write["format"], "duration");
    assert_eq!(write["default"], "3s");
    assert_eq!(write["x-maximum"], "1m");

    // What it refuses, the service refuses.
    world.put("order/page.size", "0").await;
    world.put("order/timeout.write", "4s").await;
    until("4s is applied", async || {
        world.get(world.order(), "/v1/fault").await.json()["config"]["timeout.write"] == "4s"
    })
    .await;
    let shown = world.get(world.order(), "/v1/fault").await.json();
    assert_eq!(shown["config"]["page.size"], "10");
}
