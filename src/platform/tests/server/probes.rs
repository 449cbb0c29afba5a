//! Health, metrics, OpenAPI and reflection.

use futures::StreamExt as _;
use platform::server::{Server, Service, Serving};
use prost::Message as _;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::{
    v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest as Ask,
        server_reflection_response::MessageResponse as Answer,
    },
    v1alpha,
};

use crate::{
    echo::{All, descriptors},
    world::{World, soon},
};

#[tokio::test]
async fn a_server_is_not_serving_until_it_is_ready() {
    let server = Server::bind("127.0.0.1:0", Service::new()).await.unwrap();
    let world = World {
        handle: server.handle(),
        server,
        echo: crate::echo::Echo::default(),
    };
    let mut health = HealthClient::new(world.channel().await);
    let mut check = async || {
        health
            .check(HealthCheckRequest::default())
            .await
            .unwrap()
            .into_inner()
            .status
    };
    assert_eq!(
        (check().await, world.get("/readyz").await.status.as_u16()),
        (2, 503)
    );
    world.handle.ready();
    assert_eq!(
        (check().await, world.get("/readyz").await.status.as_u16()),
        (1, 200)
    );
}

#[tokio::test]
async fn healthz_tells_of_one_service_or_all() {
    let world = World::new().await;
    for (path, status, body) in [
        ("/healthz", 200, r#"{"status":"SERVING"}"#),
        (
            "/healthz?service=echo.v1.Echo",
            200,
            r#"{"status":"SERVING"}"#,
        ),
        (
            "/healthz?service=nobody",
            404,
            r#"{"status":"SERVICE_UNKNOWN"}"#,
        ),
    ] {
        let answer = world.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text()),
            (status, body),
            "{path}"
        );
    }
    world.handle.health().report("echo.v1.Echo", Serving::No);
    assert_eq!(world.get("/healthz?service=echo.v1.Echo").await.status, 503);
    assert_eq!(world.get("/healthz").await.status, 200);
    let answer = world.send("POST", "/healthz", "").await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("allow")),
        (405, Some("GET, HEAD"))
    );
    assert_eq!(world.send("HEAD", "/healthz", "").await.text(), "");
}

#[tokio::test]
async fn metrics_count_calls_of_both_protocols_by_method_and_code() {
    let world = World::new().await;
    let fail = All {
        number: 5,
        ..All::default()
    };
    world.grpc().await.call("Fail", &fail, &[]).await;
    world.get("/v1/fail/5").await;
    world.get("/made/up/path").await;
    world.get("/v1/stream/2?small=15").await;
    let text = world.get("/metrics").await.text().to_owned();
    for (method, protocol, code) in [
        ("/echo.v1.Echo/Fail", "grpc", "NOT_FOUND"),
        ("/echo.v1.Echo/Fail", "http", "NOT_FOUND"),
        ("unknown", "http", "NOT_FOUND"),
        ("/echo.v1.Echo/Stream", "http", "DATA_LOSS"),
    ] {
        let line = format!(
            "server_requests_total{{method=\"{method}\",protocol=\"{protocol}\",code=\"{code}\"}}"
        );
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
    assert!(text.contains("server_request_seconds_bucket"));
    assert!(!text.contains("/made/up/path"));
}

#[tokio::test]
async fn reflection_serves_the_bytes_that_were_given_with_all_imports() {
    let world = World::new().await;
    let mut client = ServerReflectionClient::new(world.channel().await);
    let ask = |ask| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(ask),
    };
    let asks = [
        ask(Ask::ListServices(String::new())),
        ask(Ask::FileContainingSymbol("echo.v1.Echo".into())),
    ];
    let mut answers = client
        .server_reflection_info(futures::stream::iter(asks))
        .await
        .unwrap()
        .into_inner();
    let mut next = async || {
        soon(answers.next())
            .await
            .unwrap()
            .unwrap()
            .message_response
            .unwrap()
    };
    let Answer::ListServicesResponse(listed) = next().await else {
        panic!()
    };
    let names: Vec<_> = listed
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    assert_eq!(
        names,
        [
            "echo.v1.Echo",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection"
        ]
    );
    let Answer::FileDescriptorResponse(files) = next().await else {
        panic!()
    };
    let given: Vec<Vec<u8>> = prost_types::FileDescriptorSet::decode(descriptors())
        .unwrap()
        .file
        .iter()
        .map(|file| file.name().into())
        .collect();
    assert_eq!(
        files.file_descriptor_proto.len(),
        given.len(),
        "the file and its imports in one answer"
    );
    // An annotation is in the bytes only where nobody has decoded and encoded them.
    let has_rule = files.file_descriptor_proto[0]
        .windows(12)
        .any(|bytes| bytes == b"/v1/all/{id}");
    assert!(has_rule, "the HTTP rules are lost");
}

#[tokio::test]
async fn reflection_answers_v1alpha_as_well() {
    let world = World::new().await;
    let mut client =
        v1alpha::server_reflection_client::ServerReflectionClient::new(world.channel().await);
    let request = v1alpha::ServerReflectionRequest {
        host: "h".into(),
        message_request: Some(
            v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol("nope".into()),
        ),
    };
    let mut answers = client
        .server_reflection_info(futures::stream::iter([request.clone()]))
        .await
        .unwrap()
        .into_inner();
    let answer = soon(answers.next()).await.unwrap().unwrap();
    assert_eq!(answer.original_request, Some(request));
    let Some(v1alpha::server_reflection_response::MessageResponse::ErrorResponse(error)) =
        answer.message_response
    else {
        panic!()
    };
    assert_eq!(error.error_code, 5);
}
