//! Users and orders over HTTP/JSON and gRPC, as callers see them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use demo::pb::order::{CreateRequest, GetRequest, Item, order_service_client::OrderServiceClient};
use serde_json::json;
use tonic::Code;

use crate::world::{World, answer, channel, soon, until};

#[tokio::test]
async fn an_order_asks_the_user_service_that_it_found_by_name() {
    let world = World::new().await;
    let body = r#"{"user_id":"1","items":[{"sku":"LOOM-2","quantity":2},{"sku":"CARD-80","quantity":40}]}"#;
    let placed = world.post(world.order(), "/v1/orders", body).await;
    assert_eq!(placed.status, 200, "{placed:?}");
    assert_eq!(placed.headers["grpc-metadata-x-timeout-write"], "3s");
    let order = placed.json();
    assert_eq!(order["userName"], "Ada");
    assert_eq!(order["items"][1], json!({"sku": "CARD-80", "quantity": 40}));
    assert_eq!(
        (&order["status"], &order["totalQuantity"]),
        (&json!("PLACED"), &json!("42"))
    );

    let id = order["id"].as_str().unwrap();
    let mut orders = OrderServiceClient::new(channel(world.order()).await);
    let same = orders
        .get(GetRequest { id: id.into() })
        .await
        .unwrap()
        .into_inner();
    assert_eq!((same.user_name.as_str(), same.items.len()), ("Ada", 2));
    assert_eq!(
        world
            .get(world.order(), &format!("/v1/orders/{id}"))
            .await
            .json(),
        order
    );
}

#[tokio::test]
async fn both_protocols_say_the_same_of_what_is_wrong() {
    let world = World::new().await;
    let mut orders = OrderServiceClient::new(channel(world.order()).await);
    let item = |sku: &str, quantity| Item {
        sku: sku.into(),
        quantity,
    };
    for (user_id, items, code, status, word) in [
        (
            "404",
            vec![item("A", 1)],
            Code::FailedPrecondition,
            400,
            "404",
        ),
        (
            "",
            vec![item("A", 1)],
            Code::InvalidArgument,
            400,
            "user_id",
        ),
        (
            "1",
            vec![item("A", 0)],
            Code::InvalidArgument,
            400,
            "items[0].quantity",
        ),
    ] {
        let json = json!({
            "userId": user_id,
            "items": items.iter().map(|item| json!({"sku": item.sku, "quantity": item.quantity})).collect::<Vec<_>>(),
        });
        let error = orders
            .create(CreateRequest {
                user_id: user_id.into(),
                items,
            })
            .await
            .unwrap_err();
        assert_eq!(error.code(), code);
        assert!(error.message().contains(word), "{error}");
        let answer = world
            .post(world.order(), "/v1/orders", &json.to_string())
            .await;
        assert_eq!(answer.status, status);
        assert_eq!(
            answer.json(),
            json!({"code": code as i32, "message": error.message(), "details": []})
        );
    }
    let answer = world
        .post(
            world.order(),
            "/v1/orders",
            r#"{"userId":"1","items":[{"quantity":"x"}]}"#,
        )
        .await;
    assert!(
        answer.json()["message"]
            .as_str()
            .unwrap()
            .contains("items[0].quantity"),
        "{answer:?}"
    );
    assert_eq!(
        world.get(world.order(), "/v1/orders/nope").await.status,
        404
    );
}

#[tokio::test]
async fn users_are_read_paged_and_changed_over_http() {
    let world = World::new().await;
    let ada = world.get(world.user(), "/v1/users/1").await.json();
    assert_eq!(
        (&ada["name"], &ada["createdAt"]),
        (&json!("Ada"), &json!("2026-01-01T00:00:00Z"))
    );
    let page = world
        .get(world.user(), "/v1/users?page_size=5")
        .await
        .json();
    assert_eq!(page["users"].as_array().unwrap().len(), 5);
    let next = page["nextPageToken"].as_str().unwrap();
    let page = world
        .get(
            world.user(),
            &format!("/v1/users?pageSize=50&pageToken={next}"),
        )
        .await
        .json();
    assert_eq!(
        (
            page["users"].as_array().unwrap().len(),
            &page["nextPageToken"]
        ),
        (7, &json!(""))
    );
    let created = world
        .post(
            world.user(),
            "/v1/users",
            r#"{"name":"Eve","address":{"city":"Turin","country":"IT"}}"#,
        )
        .await
        .json();
    let path = format!("/v1/users/{}", created["id"].as_str().unwrap());
    let changed = world
        .send(
            world.user(),
            "PATCH",
            &path,
            r#"{"address":{"city":"Rome"}}"#,
        )
        .await
        .json();
    assert_eq!(
        changed["address"],
        json!({"street": "", "city": "Rome", "country": "IT"})
    );
    assert_eq!(changed["name"], "Eve");
}

#[tokio::test]
async fn a_token_is_asked_for_by_both_protocols_and_passed_on() {
    let world = World::with(1, Some("s3cret")).await;
    let bare = http::Request::get("/v1/users/1").header("host", "demo");
    let refused = answer(
        world.user(),
        bare.body(http_body_util::Full::default()).unwrap(),
    )
    .await;
    assert_eq!(
        (refused.status.as_u16(), &refused.json()["code"]),
        (401, &json!(16))
    );
    let mut orders = OrderServiceClient::new(channel(world.order()).await);
    let error = orders.get(GetRequest { id: "1".into() }).await.unwrap_err();
    assert_eq!(error.code(), Code::Unauthenticated);
    let mut request = tonic::Request::new(GetRequest { id: "1".into() });
    request
        .metadata_mut()
        .insert("authorization", "Bearer s3cret".parse().unwrap());
    assert_eq!(
        orders.get(request).await.unwrap().into_inner().user_name,
        "Ada"
    );
    let open = http::Request::get("/readyz").header("host", "demo");
    assert_eq!(
        answer(
            world.order(),
            open.body(http_body_util::Full::default()).unwrap()
        )
        .await
        .status,
        200
    );
}

#[tokio::test]
async fn an_instance_drains_without_a_failed_call() {
    let mut world = World::with(2, None).await;
    let leaving = world.users.remove(0);
    let (stop, done, failed) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
        Arc::default(),
    );
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let addr = world.order();
            let (stop, done, failed): (_, _, Arc<std::sync::Mutex<Vec<String>>>) =
                (Arc::clone(&stop), Arc::clone(&done), Arc::clone(&failed));
            tokio::spawn(async move {
                let mut orders = OrderServiceClient::new(channel(addr).await);
                while !stop.load(Ordering::Relaxed) {
                    let items = vec![Item {
                        sku: "A".into(),
                        quantity: 1,
                    }];
                    match orders
                        .create(CreateRequest {
                            user_id: "1".into(),
                            items,
                        })
                        .await
                    {
                        Ok(_) => _ = done.fetch_add(1, Ordering::Relaxed),
                        Err(status) => failed.lock().unwrap().push(status.to_string()),
                    }
                }
            })
        })
        .collect();
    let count = || done.load(Ordering::Relaxed);
    until("calls are flowing", async || count() > 50).await;
    soon(leaving.run_until(std::future::ready(()), std::future::pending())).await;
    let before = count();
    until("calls go on", async || count() > before + 50).await;
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        soon(caller).await.unwrap();
    }
    let failed = failed.lock().unwrap().clone();
    assert!(failed.is_empty(), "of {} calls failed: {failed:?}", count());
    let listed = world
        .etcd
        .etcdctl(&["get", "/services/user/", "--prefix", "--keys-only"])
        .await;
    assert_eq!(
        listed.split_whitespace().collect::<Vec<_>>(),
        ["/services/user/user-2"]
    );
}

#[tokio::test]
async fn what_one_instance_is_told_all_know_and_it_outlives_that_instance() {
    let mut world = World::with(2, None).await;
    let (one, two) = (world.users[0].local_addr(), world.users[1].local_addr());
    let eve = world
        .post(one, "/v1/users", r#"{"name":"Eve"}"#)
        .await
        .json();
    let path = format!("/v1/users/{}", eve["id"].as_str().unwrap());
    until("the other instance knows Eve", async || {
        world.get(two, &path).await.json() == eve
    })
    .await;
    let changed = world
        .send(two, "PATCH", &path, r#"{"name":"Eva"}"#)
        .await
        .json();
    until("the first one knows of the change", async || {
        world.get(one, &path).await.json() == changed
    })
    .await;
    drop(world.users.remove(0));
    let late = demo::start_user(world.options("user-3")).await.unwrap();
    until("a newcomer knows Eva", async || {
        world.get(late.local_addr(), &path).await.json() == changed
    })
    .await;
    let list = async |addr| world.get(addr, "/v1/users?pageSize=100").await.json();
    assert_eq!(list(late.local_addr()).await, list(two).await);
}
