//! Calls in this process and the fault service: hanging, slow, failing, not serving, and the way back.

use std::time::Duration;

use serde_json::json;
use tonic::{Code, Request, client::Grpc, codegen::http::uri::PathAndQuery};

use crate::world::{World, channel, soon, until};

/// `grpc.health.v1`, written out: one empty request, and the second byte of the answer is the status.
async fn health(addr: std::net::SocketAddr) -> Result<i32, Code> {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Check {
        #[prost(int32, tag = "1")]
        status: i32,
    }
    let mut grpc = Grpc::new(channel(addr).await);
    grpc.ready().await.unwrap();
    let mut request = Request::new(Check::default());
    request.set_timeout(Duration::from_millis(300));
    let codec = tonic_prost::ProstCodec::<Check, Check>::default();
    let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let answer = soon(grpc.unary(request, path, codec)).await;
    answer
        .map(|answer| answer.into_inner().status)
        .map_err(|status| status.code())
}

async fn set(world: &World, fault: serde_json::Value) {
    let answer = world
        .post(world.user(), "/v1/fault", &fault.to_string())
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["mode"], fault["mode"]);
}

#[tokio::test]
async fn a_hanging_instance_answers_nothing_and_can_be_cured() {
    let world = World::new().await;
    assert_eq!(health(world.user()).await, Ok(1));
    set(&world, json!({"mode": "HANG"})).await;
    // The port accepts and the record stays: only asking shows that it hangs.
    assert!(matches!(
        health(world.user()).await,
        Err(Code::DeadlineExceeded | Code::Cancelled)
    ));
    let asked = tokio::time::timeout(
        Duration::from_millis(200),
        world.get(world.user(), "/v1/users/1"),
    )
    .await;
    assert!(asked.is_err(), "{asked:?}");
    let records = world
        .etcd
        .etcdctl(&["get", "/services/user/user-1", "--keys-only"])
        .await;
    assert_eq!(records.trim(), "/services/user/user-1");
    assert_eq!(world.get(world.user(), "/metrics").await.status, 200);
    assert_eq!(
        world.get(world.user(), "/v1/fault").await.json()["mode"],
        "HANG"
    );
    set(&world, json!({"mode": "NONE"})).await;
    assert_eq!(health(world.user()).await, Ok(1));
    assert_eq!(world.get(world.user(), "/v1/users/1").await.status, 200);
}

#[tokio::test]
async fn a_slow_user_service_shows_as_the_deadline_of_an_order() {
    let world = World::new().await;
    world.put("order/timeout.write", "150ms").await;
    until("150ms is applied", async || {
        world.get(world.order(), "/v1/fault").await.json()["config"]["timeout.write"] == "150ms"
    })
    .await;
    set(&world, json!({"mode": "SLOW", "delay": "3600s"})).await;
    let body = r#"{"userId":"1","items":[{"sku":"A","quantity":1}]}"#;
    let late = world.post(world.order(), "/v1/orders", body).await;
    assert_eq!(late.status, 504, "{late:?}");
    assert!(
        late.json()["message"]
            .as_str()
            .unwrap()
            .contains("timeout.write = 150ms"),
        "{late:?}"
    );
    assert_eq!(health(world.user()).await, Ok(1), "health is not slow");
    set(&world, json!({"mode": "NONE"})).await;
    until("orders are placed again", async || {
        world.post(world.order(), "/v1/orders", body).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_failing_share_and_not_serving_are_seen_and_end_by_themselves() {
    let world = World::new().await;
    set(&world, json!({"mode": "FAIL", "code": 8, "ratio": 0.5})).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(world.get(world.user(), "/v1/users/1").await.status.as_u16());
    }
    assert_eq!(statuses, [200, 429, 200, 429]);
    assert_eq!(health(world.user()).await, Ok(1));

    set(&world, json!({"mode": "NOT_SERVING", "for": "0.4s"})).await;
    until("health says NOT_SERVING", async || {
        health(world.user()).await == Ok(2)
    })
    .await;
    assert_eq!(
        world.get(world.user(), "/v1/users/1").await.status,
        200,
        "calls are answered"
    );
    until("the fault is over", async || {
        health(world.user()).await == Ok(1)
    })
    .await;
    assert_eq!(
        world.get(world.user(), "/v1/fault").await.json()["mode"],
        "NONE"
    );

    let refused = world
        .post(world.user(), "/v1/fault", r#"{"mode":"FAIL","ratio":2}"#)
        .await;
    assert_eq!(
        (refused.status.as_u16(), &refused.json()["message"]),
        (400, &json!("ratio: 2 is not above 0 and at most 1"))
    );
}

#[tokio::test]
async fn a_hanging_instance_leaves_in_good_order() {
    let mut world = World::new().await;
    set(&world, json!({"mode": "HANG"})).await;
    let leaving = world.users.remove(0);
    let (addr, handle) = (leaving.local_addr(), leaving.handle());
    let asked = tokio::spawn(async move {
        let request = http::Request::get("/v1/users/1").header("host", "demo");
        crate::world::answer(addr, request.body(http_body_util::Full::default()).unwrap()).await
    });
    until("a call hangs", async || handle.in_flight() > 0).await;
    soon(leaving.run_until(std::future::ready(()), std::future::pending())).await;
    assert_eq!(
        soon(asked).await.unwrap().status,
        200,
        "the call is answered before the end"
    );
}
