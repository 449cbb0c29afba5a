//! HEAD: the status and headers of GET, and never a body, whoever answers.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use platform::server::Auth;

use crate::world::{Answer, World, http1, http2};

/// What both protocols answer to HEAD, in this order.
async fn head(world: &World, path: &str) -> [Answer; 2] {
    let request = |uri: String| {
        let request = Request::head(uri).header("accept-encoding", "gzip");
        let request = request.header("host", "t");
        request.body(Full::<Bytes>::default()).unwrap()
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
async fn no_answer_to_head_has_a_body_whoever_gives_it() {
    let open = World::with(|service| service.gzip_from(256)).await;
    let closed = World::with(|service| service.auth(Auth::token("s3cret"))).await;
    for (world, path, status) in [
        (&open, "/v1/all/1", 200),
        (&open, "/v1/stream/3", 200),
        (&open, "/v1/raw/x", 200),
        (&open, "/v1/fail/5", 404),
        (&open, "/v1/all/1?number=x", 400),
        (&open, "/v1/all", 405),
        (&open, "/nowhere", 404),
        (&open, "/v1/panic/0", 500),
        (&open, "/healthz", 200),
        (&open, "/healthz?service=nobody", 404),
        (&open, "/metrics", 200),
        (&open, "/openapi.json", 200),
        (&closed, "/v1/all/1", 401),
        (&closed, "/healthz", 401),
    ] {
        for answer in head(world, path).await {
            assert_eq!(answer.status, status, "{path}");
            assert_eq!(answer.body.len(), 0, "{path}: {:?}", answer.body);
            assert!(answer.whole, "{path}");
        }
    }
}

#[tokio::test]
async fn head_tells_the_length_that_get_would_have() {
    let world = World::new().await;
    for path in ["/v1/all/1", "/v1/fail/5", "/nowhere", "/healthz"] {
        let length = world.get(path).await.body.len().to_string();
        for answer in head(&world, path).await {
            assert_eq!(answer.header("content-length"), Some(&*length), "{path}");
        }
    }
}
