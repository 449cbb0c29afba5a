//! Requests that nobody would send: whatever they are, each has an answer, and an error is always JSON.

use std::sync::OnceLock;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use platform::server::{Service, Stack};
use proptest::prelude::*;
use tonic::body::Body;
use tower::ServiceExt as _;

use crate::echo::{Echo, descriptors};

async fn answered(stack: &Stack, request: Request<Full<Bytes>>) -> (u16, Bytes) {
    let asked = stack.clone().oneshot(request.map(Body::new));
    let answer = tokio::time::timeout(std::time::Duration::from_secs(60), asked).await;
    let (parts, body) = answer.expect("no answer").unwrap().into_parts();
    (
        parts.status.as_u16(),
        body.collect().await.unwrap().to_bytes(),
    )
}

/// One for all cases: linking the descriptors is most of the work.
fn stack() -> &'static Stack {
    static STACK: OnceLock<Stack> = OnceLock::new();
    STACK.get_or_init(|| {
        let service = Service::new()
            .grpc(Echo::default())
            .descriptors(descriptors());
        service.in_process().unwrap().0
    })
}

fn check(request: Result<Request<Full<Bytes>>, http::Error>) {
    // What is no HTTP request at all never gets beyond hyper.
    let Ok(request) = request else { return };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let stack = stack();
    let shown = format!("{request:?}");
    let (status, body) = runtime.block_on(answered(stack, request));
    assert!(
        (200..500).contains(&status),
        "{status} for {shown}: {body:?}"
    );
    if status >= 400 {
        let error: serde_json::Value =
            serde_json::from_slice(&body).unwrap_or_else(|cause| panic!("{cause}: {body:?}"));
        assert!(
            error["code"].is_i64() && error["message"].is_string(),
            "{error}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_path_and_query_is_answered(
        path in "(/v1)?/(all|num|deep|named/shelves|inner)(/[a-z0-9%:.*{}+~-]{0,6}){0,4}",
        query in "[a-z.\\[\\]=&%+0-9]{0,24}",
    ) {
        check(Request::get(format!("{path}?{query}")).body(Full::default()));
    }

    #[test]
    fn any_body_is_answered(
        route in prop::sample::select(vec![("POST", "/v1/all"), ("PUT", "/v1/all/1"), ("PATCH", "/v1/all/1"), ("POST", "/v1/collect"), ("POST", "/v1/number")]),
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..64),
            "[{}\\[\\]\":,0-9a-z\\\\ .-]{0,48}".prop_map(String::into_bytes),
            "\\{\"(inner|list|labels|at|mask|kind|data|big)\":[{}\\[\\]\":,0-9a-z. -]{0,32}\\}".prop_map(String::into_bytes),
        ],
    ) {
        check(Request::builder().method(route.0).uri(route.1).body(Full::from(body)));
    }

    #[test]
    fn any_headers_are_answered(
        name in "(grpc-metadata-)?[a-z-]{1,12}(-bin)?|grpc-timeout|accept|content-encoding",
        value in "[ -~]{0,24}",
    ) {
        check(Request::get("/v1/all/1").header(name, value).body(Full::default()));
    }
}

#[test]
fn depth_is_bounded_and_deep_json_is_no_danger() {
    let deep = format!("{}{}", r#"{"inner":"#.repeat(100_000), "}".repeat(100_000));
    check(Request::post("/v1/all").body(Full::from(deep)));
    let deep = format!("{}1{}", "[".repeat(500_000), "]".repeat(500_000));
    check(Request::post("/v1/all").body(Full::from(format!(r#"{{"list":{deep}}}"#))));
}
