//! `echo.v1.Echo` without generated code: it answers with the bytes it was sent, so that an answer shows
//! exactly what a request became. Some methods misbehave as their comments in `echo.proto` say.

use std::{
    convert::Infallible,
    path::Path,
    process::Command,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{StreamExt as _, future::BoxFuture, stream};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use platform::server::{Identity, PeerCertificate, Stack};
use prost::Message as _;
use tokio::sync::Notify;
use tonic::{
    Code, Status,
    body::Body,
    server::NamedService,
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};

/// What steers the service, of all the fields of `echo.v1.All`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct All {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(int32, tag = "3")]
    pub number: i32,
    #[prost(int32, tag = "21")]
    pub small: i32,
}

/// The service. `waiting` answers the calls of `Wait`.
#[derive(Clone, Default)]
pub struct Echo {
    pub waiting: Arc<Notify>,
}

impl NamedService for Echo {
    const NAME: &'static str = "echo.v1.Echo";
}

/// The descriptors of `echo.proto`, made by `protoc`.
pub fn descriptors() -> &'static [u8] {
    static SET: OnceLock<Vec<u8>> = OnceLock::new();
    SET.get_or_init(|| compiled(PROTO))
}

const PROTO: &str = include_str!("echo.proto");

/// As [`descriptors`], before anybody could delete: what an older version of the service has.
pub fn older_descriptors() -> Vec<u8> {
    let (before, rest) = PROTO.split_once("  rpc Delete(").unwrap();
    let (_, after) = rest.split_once("\n  }\n").unwrap();
    compiled(&format!("{before}{after}"))
}

fn compiled(proto: &str) -> Vec<u8> {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/proto");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("echo.proto");
    std::fs::write(&file, proto).unwrap();
    let out = folder.path().join("echo.bin");
    let status = Command::new("protoc")
        .arg("--include_imports")
        .arg("-I")
        .arg(folder.path())
        .arg("-I")
        .arg(&assets)
        .arg("-o")
        .arg(&out)
        .arg(&file)
        .status()
        .expect("protoc is needed: apt-get install protobuf-compiler");
    assert!(status.success());
    std::fs::read(out).unwrap()
}

impl tower::Service<Request<Body>> for Echo {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move { Ok(echo.answer(request).await) })
    }
}

type Items = stream::BoxStream<'static, Result<Frame<Bytes>, Status>>;

impl Echo {
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let method = request
            .uri()
            .path()
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        let mut headers = HeaderMap::new();
        for (name, value) in request.headers() {
            // Metadata comes back, so that tests see what arrived.
            if !["content-type", "te", "user-agent", "content-length"].contains(&name.as_str()) {
                headers.append(name.clone(), value.clone());
            }
        }
        if let Some(identity) = request.extensions().get::<Identity>() {
            headers.insert("caller", identity.subject.parse().unwrap());
            for (name, value) in &identity.claims {
                if let Ok(name) = http::HeaderName::try_from(format!("claim-{name}")) {
                    headers.insert(name, value.parse().unwrap());
                }
            }
        }
        let tls = request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>();
        if let Some(shown) = tls.and_then(TlsConnectInfo::peer_certs) {
            headers.insert("certificates", shown.len().into());
        }
        if let Some(shown) = request.extensions().get::<PeerCertificate>() {
            let names: Vec<&str> = shown.dns_names().chain(shown.uris()).collect();
            headers.insert("caller-names", names.join(" ").parse().unwrap());
        }
        let items = if ["Both", "UploadParts"].contains(&&*method) {
            both(request.into_body())
        } else {
            match request.into_body().collect().await {
                Ok(body) => self.items(&method, body.to_bytes()).await,
                Err(status) => end(&status),
            }
        };
        let mut response = Response::new(Body::new(StreamBody::new(items)));
        *response.headers_mut() = headers;
        response
            .headers_mut()
            .insert("content-type", HeaderValue::from_static("application/grpc"));
        response
    }

    async fn items(&self, method: &str, body: Bytes) -> Items {
        let message = body.slice(5.min(body.len())..);
        let all = All::decode(message.clone()).unwrap_or_default();
        let number = usize::try_from(all.number).unwrap_or_default();
        match method {
            "Fail" => end(&Status::new(Code::from_i32(all.number), all.name)),
            "Stream" => {
                let status = Status::new(Code::from_i32(all.small), all.name);
                sent(vec![message; number]).chain(end(&status)).boxed()
            }
            "Downloads" => sent(vec![message; number])
                .chain(end(&Status::ok("")))
                .boxed(),
            "Raw" => {
                let mut raw = BytesMut::new();
                prost::encoding::string::encode(1, &"text/css".to_owned(), &mut raw);
                prost::encoding::string::encode(2, &all.name, &mut raw);
                sent(vec![raw.freeze()]).chain(end(&Status::ok(""))).boxed()
            }
            "RawStream" => {
                let mut raw = BytesMut::new();
                prost::encoding::string::encode(1, &"video/mp4".to_owned(), &mut raw);
                prost::encoding::string::encode(2, &all.name, &mut raw);
                let status = Status::new(Code::from_i32(all.small), "broke");
                sent(vec![raw.freeze(); number]).chain(end(&status)).boxed()
            }
            "Panic" => {
                assert!(number > 0, "asked to panic at once");
                let panic = stream::once(async { panic!("asked to panic in the answer") });
                sent(vec![message; number]).chain(panic).boxed()
            }
            "Hang" => std::future::pending().await,
            "Stall" => sent(vec![message]).chain(stream::pending()).boxed(),
            // Always has more, and is looked at first when its caller's deadline is over.
            "Flood" => {
                let frames = (0..100).map(move |number| {
                    if number == 0 {
                        std::thread::sleep(Duration::from_millis(60));
                    }
                    Ok(Frame::data(framed(&message)))
                });
                stream::iter(frames).chain(end(&Status::ok(""))).boxed()
            }
            // Says in mid-stream whether calls made there would inherit a deadline.
            "Inherit" => {
                let said = stream::once(async {
                    tokio::task::yield_now().await;
                    let heir = platform::deadline::current().is_some();
                    stream_end(if heir { "inherited" } else { "alone" })
                });
                sent(vec![message]).chain(said).boxed()
            }
            "Wait" => {
                self.waiting.notified().await;
                sent(vec![message]).chain(end(&Status::ok(""))).boxed()
            }
            // A stream of requests is answered by all of them together: protobuf merges what is appended.
            "Collect" => {
                let mut rest = body;
                let mut merged = BytesMut::new();
                while rest.len() >= 5 {
                    let length = u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize;
                    merged.extend_from_slice(&rest[5..5 + length]);
                    rest = rest.slice(5 + length..);
                }
                sent(vec![merged.freeze()])
                    .chain(end(&Status::ok("")))
                    .boxed()
            }
            "Get" | "Verb" | "Create" | "Replace" | "Patch" | "Number" | "Inner" | "Delete"
            | "Bare" | "Download" | "Upload" | "UploadWhole" => {
                sent(vec![message]).chain(end(&Status::ok(""))).boxed()
            }
            _ => end(&Status::unimplemented(method.to_owned())),
        }
    }
}

/// Each frame of data goes back as it comes.
fn both(body: Body) -> Items {
    let back = stream::unfold(body, |mut body| async move {
        loop {
            match body.frame().await? {
                Ok(frame) if frame.is_data() => return Some((Ok(frame), body)),
                Ok(_) => {}
                Err(status) => return Some((Err(status), body)),
            }
        }
    });
    back.chain(end(&Status::ok(""))).boxed()
}

fn sent(messages: Vec<Bytes>) -> Items {
    let frames = messages
        .into_iter()
        .map(|message| Ok(Frame::data(framed(&message))));
    stream::iter(frames).boxed()
}

fn end(status: &Status) -> Items {
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers).unwrap();
    trailers.insert("cost", HeaderValue::from_static("3"));
    stream::iter([Ok(Frame::trailers(trailers))]).boxed()
}

fn stream_end(message: &'static str) -> Result<Frame<Bytes>, Status> {
    let mut trailers = HeaderMap::new();
    Status::new(Code::Ok, message).add_header(&mut trailers)?;
    Ok(Frame::trailers(trailers))
}

/// A message in gRPC's framing.
pub fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.put_slice(message);
    frame.freeze()
}

/// Waits for a condition, for at most a minute.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain: {what}");
}

/// The type that layers of the tests are made for.
pub type Layered = Stack;
