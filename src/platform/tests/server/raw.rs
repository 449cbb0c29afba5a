//! `google.api.HttpBody`: bytes of a type of their own, either way.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::world::{Answer, World, http1, http2};

/// The same request over either protocol.
async fn both(world: &World, verb: &str, path: &str, body: &'static [u8]) -> [Answer; 2] {
    let request = |uri: String| {
        let request = Request::builder().method(verb).uri(uri).header("host", "t");
        let request = request.header("content-type", "image/png");
        request.body(Full::new(Bytes::from_static(body))).unwrap()
    };
    let mut first = http1(world.addr()).await;
    let mut second = http2(world.addr()).await;
    let url = format!("http://t{path}");
    [
        Answer::of(first.send_request(request(path.to_owned())).await.unwrap()).await,
        Answer::of(second.send_request(request(url)).await.unwrap()).await,
    ]
}

#[tokio::test]
async fn a_stream_of_bytes_is_their_concatenation() {
    let world = World::new().await;
    for answer in both(&world, "GET", "/v1/raws/3?name=ab", b"").await {
        assert_eq!(answer.text(), "ababab");
        assert_eq!(answer.header("content-type"), Some("video/mp4"));
        assert!(answer.whole);
    }
}

#[tokio::test]
async fn a_stream_of_bytes_that_fails_does_not_look_complete() {
    let world = World::new().await;
    for answer in both(&world, "GET", "/v1/raws/2?name=ab&small=13", b"").await {
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "abab"));
        assert!(!answer.whole, "cut short, and nobody can tell");
    }
    for answer in both(&world, "GET", "/v1/raws/0?small=5", b"").await {
        assert_eq!(answer.status, 404, "before its first byte it is an error");
        assert_eq!(answer.json()["code"], 5);
    }
}

/// As Envoy has it; the reference gives the bytes of a field the type of JSON.
#[tokio::test]
async fn bytes_that_are_a_field_of_the_answer_are_its_body() {
    let world = World::new().await;
    let file = "file.content_type=text/html&file.data=aGkh";
    for (path, kind, text) in [
        (format!("/v1/files/x?{file}"), "text/html", "hi!"),
        ("/v1/files/x".to_owned(), "application/octet-stream", ""),
        (
            format!("/v1/files/x/times/3?{file}"),
            "text/html",
            "hi!hi!hi!",
        ),
        (
            "/v1/files/x/times/2".to_owned(),
            "application/octet-stream",
            "",
        ),
    ] {
        for answer in both(&world, "GET", &path, b"").await {
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            assert_eq!(answer.text(), text, "{path}");
            assert_eq!(answer.header("content-type"), Some(kind), "{path}");
            assert!(answer.whole);
        }
    }
    let document = world.get("/openapi.json").await.json();
    let answers = &document["paths"]["/v1/files/{name}"]["get"]["responses"];
    assert!(answers["200"]["content"]["*/*"].is_object(), "{answers}");
}

#[tokio::test]
async fn an_upload_is_the_bytes_as_they_came_and_their_type() {
    let world = World::new().await;
    for answer in both(&world, "POST", "/v1/files/cat?number=3", b"\x89PNG\xff{").await {
        assert_eq!(
            answer.json(),
            json!({
                "name": "cat",
                "file": {"contentType": "image/png", "data": "iVBOR/97", "extensions": []},
                "number": 3
            })
        );
    }
    for answer in both(&world, "POST", "/v1/upload", b"\x89PNG\xff{").await {
        assert_eq!(&*answer.body, b"\x89PNG\xff{");
        assert_eq!(answer.header("content-type"), Some("image/png"));
    }
    for answer in both(&world, "POST", "/v1/files/cat?number=x", b"{}").await {
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
}

#[tokio::test]
async fn an_upload_in_a_stream_of_requests_comes_piece_by_piece() {
    let world = World::new().await;
    for answer in both(&world, "POST", "/v1/parts/cat", b"\x89PNG\xff{").await {
        let lines: Vec<Value> = answer
            .text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        // In how many pieces it comes is the network's choice; every one says whose it is. With
        // grpc-httpjson-transcoding the first alone does, and a handler must remember it.
        assert!(!lines.is_empty());
        for line in &lines {
            assert_eq!(line["result"]["name"], "cat");
            assert_eq!(line["result"]["file"]["contentType"], "image/png");
        }
        let data: Vec<&str> = lines
            .iter()
            .filter_map(|line| line["result"]["file"]["data"].as_str())
            .collect();
        if let [whole] = data[..] {
            assert_eq!(whole, "iVBOR/97");
        }
    }
}
