//! How deep messages may nest: as deep as the service reads them, and what is deeper is the caller's mistake.

use platform::server::JsonOptions;
use prost::Message as _;
use serde_json::Value;

use crate::world::World;

/// A message that contains itself, as services of this process read it.
#[derive(Clone, PartialEq, prost::Message)]
struct Inner {
    #[prost(message, optional, boxed, tag = "3")]
    inner: Option<Box<Inner>>,
}

/// A request whose deepest message lies `levels` below it.
fn nested(levels: usize) -> String {
    format!("{}{}", r#"{"inner":"#.repeat(levels), "{}") + &"}".repeat(levels)
}

fn wire(levels: usize) -> Vec<u8> {
    let mut message = Inner::default();
    for _ in 0..levels {
        message = Inner {
            inner: Some(Box::new(message)),
        };
    }
    message.encode_to_vec()
}

#[tokio::test]
async fn a_request_may_be_as_deep_as_the_service_reads_and_one_level_more_is_a_400() {
    let world = World::new().await;
    for levels in [1, 99, 100] {
        assert!(Inner::decode(&*wire(levels)).is_ok(), "{levels}");
        let answer = world.send("POST", "/v1/all", &nested(levels)).await;
        assert_eq!(answer.status, 200, "{levels}: {}", answer.text());
    }
    for levels in [101, 300, 9_000, 100_000] {
        if levels < 1_000 {
            assert!(Inner::decode(&*wire(levels)).is_err(), "{levels}");
        }
        let answer = world.send("POST", "/v1/all", &nested(levels)).await;
        assert_eq!(answer.status, 400, "{levels}: {}", answer.text());
        let said = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(said.contains("deeper than 100 levels"), "{said}");
        assert!(said.starts_with("inner.inner."), "{said}");
    }
}

#[tokio::test]
async fn the_limit_is_a_setting() {
    let mut json = JsonOptions::default();
    json.parse.max_nesting = 1_000;
    let world = World::with(|service| service.json(json)).await;
    let answer = world.send("POST", "/v1/all", &nested(300)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // The JSON is deeper than what reads it here would follow.
    assert_eq!(answer.text().matches("\"inner\":{").count(), 300);
    let answer = world.send("POST", "/v1/all", &nested(1_001)).await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn a_query_reaches_no_deeper_than_a_body() {
    let world = World::new().await;
    for (steps, status) in [(99, 200), (101, 400), (5_000, 400)] {
        let path = format!("/v1/all/1?{}count=1", "inner.".repeat(steps));
        let answer = world.get(&path).await;
        assert_eq!(answer.status, status, "{steps}: {}", answer.text());
        if status == 400 {
            let error: Value = answer.json();
            assert!(
                error["message"].as_str().unwrap().contains("100 steps"),
                "{error}"
            );
        }
    }
}
