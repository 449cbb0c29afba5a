//! Streams over HTTP/JSON: a line for each message, documents in a row, and both at once.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use platform::server::JsonOptions;
use serde_json::{Value, json};

use crate::{
    contract::conforms,
    json::{check, populated},
    world::{Answer, World, soon},
};

#[tokio::test]
async fn a_server_stream_is_a_line_for_each_message() {
    let world = World::new().await;
    let answer = world.get("/v1/stream/3?id=x").await;
    let lines: Vec<Value> = answer
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(
        populated(&lines[0]["result"]),
        json!({"id": "x", "number": 3})
    );
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.text().ends_with("}\n"));
    conforms(&world, "GET", "/v1/stream/3", &answer).await;

    let answer = world.get("/v1/stream/2?small=8&name=full").await;
    assert_eq!(answer.status, 200);
    let last: Value = serde_json::from_str(answer.text().lines().last().unwrap()).unwrap();
    assert_eq!(
        last,
        json!({"error": {"code": 8, "message": "full", "details": []}})
    );
    assert!(answer.whole);

    let answer = world.get("/v1/stream/0?small=8&name=full").await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()["code"].as_i64()),
        (429, Some(8))
    );
    let answer = world.get("/v1/stream/0").await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, ""));
}

async fn asked_for(world: &World, path: &str, accept: &str) -> Answer {
    let request = Request::get(path).header("host", "t");
    let request = request.header("accept", accept);
    world.http(request.body(Full::default()).unwrap()).await
}

/// Envoy has the events of a stream as a setting, and bare messages in them: a failure then ends the stream as its
/// success does. Here callers ask, and an event is a line.
#[tokio::test]
async fn a_stream_comes_as_it_is_asked_for() {
    const ALL: &str = "/v1/stream/2/names?name=ab";
    const FAILED: &str = "/v1/stream/1/names?name=ab&small=8";
    let lines = "{\"result\":\"ab\"}\n{\"result\":\"ab\"}\n";
    let failed =
        "{\"result\":\"ab\"}\n{\"error\":{\"code\":8,\"message\":\"ab\",\"details\":[]}}\n";
    let events = |lines: &str| -> String {
        let each = lines.lines();
        each.map(|line| format!("data: {line}\n\n")).collect()
    };
    let world = World::new().await;
    for (path, accept, kind, text) in [
        (ALL, "*/*", "application/json", lines.to_owned()),
        (
            ALL,
            "application/x-ndjson",
            "application/x-ndjson",
            lines.to_owned(),
        ),
        (ALL, "text/event-stream", "text/event-stream", events(lines)),
        (
            FAILED,
            "application/json",
            "application/json",
            failed.to_owned(),
        ),
        (
            FAILED,
            "text/event-stream",
            "text/event-stream",
            events(failed),
        ),
        (
            "/v1/stream/0/names",
            "text/event-stream",
            "text/event-stream",
            String::new(),
        ),
    ] {
        let answer = asked_for(&world, path, accept).await;
        assert_eq!(answer.status, 200, "{path} {accept}");
        assert_eq!(answer.header("content-type"), Some(kind), "{path} {accept}");
        assert_eq!(answer.text(), text, "{path} {accept}");
        assert!(answer.whole);
        conforms(&world, "GET", "/v1/stream/2/names", &answer).await;
    }
    // Before its first message a failure is an error, whatever was asked for.
    let path = "/v1/stream/0/names?name=ab&small=8";
    let answer = asked_for(&world, path, "text/event-stream").await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn a_message_of_a_stream_is_one_line_however_answers_are_written() {
    let mut json = JsonOptions::default();
    json.print.indent = Some(2);
    let world = World::with(|service| service.json(json)).await;
    let answer = world.get("/v1/stream/2?id=x").await;
    assert_eq!(answer.text().lines().count(), 2, "{}", answer.text());
    let answer = world.get("/v1/all/x").await;
    assert!(answer.text().lines().count() > 2, "{}", answer.text());
}

#[tokio::test]
async fn a_stream_is_sent_when_the_service_pauses_and_not_message_by_message() {
    let world = World::new().await;
    let mut sender = crate::world::http1(world.addr()).await;
    let get = |path: &str| {
        Request::get(path)
            .header("host", "t")
            .body(Full::default())
            .unwrap()
    };
    let mut stalled = soon(sender.send_request(get("/v1/stall")))
        .await
        .unwrap()
        .into_body();
    let first = soon(stalled.frame())
        .await
        .unwrap()
        .unwrap()
        .into_data()
        .unwrap();
    assert!(
        first.starts_with(b"{\"result\":"),
        "what was said arrives while the service pauses"
    );

    let mut sender = crate::world::http1(world.addr()).await;
    let mut many = sender
        .send_request(get("/v1/stream/2000"))
        .await
        .unwrap()
        .into_body();
    let (mut frames, mut lines) = (0, 0);
    while let Some(frame) = soon(many.frame()).await {
        let data = frame.unwrap().into_data().unwrap();
        frames += 1;
        lines += data.iter().filter(|byte| **byte == b'\n').count();
    }
    assert_eq!(lines, 2_000);
    assert!(frames < 200, "{frames} writes for 2000 messages");
}

#[tokio::test]
async fn a_stream_of_requests_is_documents_in_a_row() {
    let world = World::new().await;
    check(
        &world,
        "POST",
        "/v1/collect",
        "{\"id\":\"1\"}\n{\"name\":\"n\"}{\"numbers\":[4]}",
        json!({"id": "1", "name": "n", "numbers": [4]}),
    )
    .await;
    check(&world, "POST", "/v1/collect", "", json!({})).await;
    check(
        &world,
        "POST",
        "/v1/collect",
        "{} {\"id\":\"1\"} {}",
        json!({"id": "1"}),
    )
    .await;
    // grpc-httpjson-transcoding reads the elements of one array. Here an array is a document, which a body that is a
    // repeated field may be.
    let answer = world.send("POST", "/v1/collect", r#"[{"id":"1"}]"#).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    let answer = world
        .send("POST", "/v1/both", "{\"id\":\"1\"}\n{\"id\":\"2\"}")
        .await;
    let ids: Vec<Value> = answer
        .text()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["result"]["id"].clone())
        .collect();
    assert_eq!(ids, ["1", "2"]);
    let answer = world
        .send("POST", "/v1/collect", "{\"id\":\"1\"}\n{\"number\":\"x\"}")
        .await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.json()["message"]
            .as_str()
            .unwrap()
            .contains("message 1 of the body: number"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn a_bidi_call_over_http_2_answers_while_it_is_asked() {
    let world = World::new().await;
    let stream = tokio::net::TcpStream::connect(world.addr()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let (ask, asked) =
        tokio::sync::mpsc::channel::<Result<http_body::Frame<Bytes>, std::convert::Infallible>>(1);
    let body = StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(asked));
    let request = Request::post("http://t/v1/both").body(body).unwrap();
    let say = async |text: &'static str| {
        ask.send(Ok(http_body::Frame::data(Bytes::from_static(
            text.as_bytes(),
        ))))
        .await
        .unwrap();
    };
    say("{\"id\":\"1\"}").await;
    let mut answers = soon(sender.send_request(request))
        .await
        .unwrap()
        .into_body();
    let mut next = async || {
        soon(answers.frame())
            .await
            .map(|frame| frame.unwrap().into_data().unwrap_or_default())
    };
    assert!(next().await.unwrap().starts_with(br#"{"result":{"id":"1""#));
    say("{\"id\":").await;
    say("\"2\"}").await;
    assert!(next().await.unwrap().starts_with(br#"{"result":{"id":"2""#));
    drop(ask);
    // HTTP/2 may end a body with an empty frame.
    assert!(next().await.is_none_or(|data| data.is_empty()));
}
