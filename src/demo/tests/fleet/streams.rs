//! The streaming methods, by both protocols.

use demo::pb::{
    order::{ChatRequest, order_service_client::OrderServiceClient},
    user::{
        CreateRequest, WatchRequest, user_service_client::UserServiceClient, watch_response::Kind,
    },
};
use serde_json::json;

use crate::world::{World, channel, soon};

#[tokio::test]
async fn a_watch_tells_of_users_that_exist_and_that_come_and_ends_with_the_drain() {
    let mut world = World::new().await;
    let mut users = UserServiceClient::new(channel(world.user()).await);
    let mut watch = users
        .watch(WatchRequest {
            include_existing: true,
        })
        .await
        .unwrap()
        .into_inner();
    for _ in 0..12 {
        let told = soon(watch.message()).await.unwrap().unwrap();
        assert_eq!(told.kind(), Kind::Existing);
    }
    users
        .create(CreateRequest {
            name: "Eve".into(),
            ..CreateRequest::default()
        })
        .await
        .unwrap();
    let told = soon(watch.message()).await.unwrap().unwrap();
    assert_eq!(
        (told.kind(), told.user.unwrap().name.as_str()),
        (Kind::Created, "Eve")
    );
    let leaving = world.users.remove(0);
    let drain = tokio::spawn(leaving.run_until(std::future::ready(()), std::future::pending()));
    assert_eq!(
        soon(watch.message()).await.unwrap_err().code(),
        tonic::Code::Unavailable
    );
    soon(drain).await.unwrap();
}

#[tokio::test]
async fn an_import_places_the_good_orders_and_names_the_bad() {
    let world = World::new().await;
    let body = concat!(
        r#"{"userId":"1","items":[{"sku":"A","quantity":1}]}"#,
        "\n",
        r#"{"userId":"404","items":[{"sku":"A","quantity":1}]}"#,
        r#"{"userId":"2","items":[]}"#,
        r#"{"userId":"2","items":[{"sku":"B","quantity":2}]}"#,
    );
    let answer = world
        .post(world.order(), "/v1/orders:import", body)
        .await
        .json();
    assert_eq!(
        (&answer["imported"], &answer["failed"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(
        (
            &answer["failures"][0]["index"],
            &answer["failures"][0]["code"]
        ),
        (&json!(1), &json!(9))
    );
    assert_eq!(
        (
            &answer["failures"][1]["index"],
            &answer["failures"][1]["code"]
        ),
        (&json!(2), &json!(3))
    );
    let of_two = world.get(world.order(), "/v1/orders?userId=2").await.json();
    assert_eq!(of_two["totalSize"], 2);
}

#[tokio::test]
async fn a_chat_is_answered_message_by_message() {
    let world = World::new().await;
    let mut orders = OrderServiceClient::new(channel(world.order()).await);
    let (say, said) = tokio::sync::mpsc::channel(1);
    let said = tokio_stream::wrappers::ReceiverStream::new(said);
    let mut answers = orders.chat(said).await.unwrap().into_inner();
    for (text, expected) in [
        ("status 1", "Order 1 of Ada is shipped, 501 pieces."),
        ("help", "Ask `status 1` for order 1."),
    ] {
        say.send(ChatRequest { text: text.into() }).await.unwrap();
        let answer = soon(answers.message()).await.unwrap().unwrap();
        assert_eq!(
            (answer.text.as_str(), answer.instance.as_str()),
            (expected, "order-1")
        );
    }
    drop(say);
    assert!(soon(answers.message()).await.unwrap().is_none());
    let lines = world
        .post(
            world.order(),
            "/v1/orders:chat",
            r#"{"text":"help"} {"text":"x"}"#,
        )
        .await
        .lines();
    assert_eq!(
        lines
            .iter()
            .map(|line| line["result"]["inReplyTo"].clone())
            .collect::<Vec<_>>(),
        ["1", "2"]
    );
}
