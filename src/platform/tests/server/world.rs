//! A running server and clients that know nothing of this library.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use platform::server::{Handle, Server, Service};
use prost::Message as _;
use tokio::net::TcpStream;
use tonic::Code;

use crate::echo::{All, Echo, descriptors, framed};

pub struct World {
    pub server: Server,
    pub handle: Handle,
    pub echo: Echo,
}

impl World {
    /// A ready server with the echo service, changed by `change`.
    pub async fn with(change: impl FnOnce(Service) -> Service) -> Self {
        let echo = Echo::default();
        let service = Service::new().grpc(echo.clone()).descriptors(descriptors());
        let server = Server::bind("127.0.0.1:0", change(service)).await.unwrap();
        let handle = server.handle();
        handle.ready();
        Self {
            server,
            handle,
            echo,
        }
    }

    pub async fn new() -> Self {
        Self::with(|service| service).await
    }

    pub fn addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// One request over HTTP/1.1, on a connection of its own.
    pub async fn http(&self, request: Request<Full<Bytes>>) -> Answer {
        let mut sender = http1(self.addr()).await;
        Answer::of(sender.send_request(request).await.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.http(
            Request::get(path)
                .header("host", "t")
                .body(Full::default())
                .unwrap(),
        )
        .await
    }

    pub async fn send(&self, verb: &str, path: &str, body: &str) -> Answer {
        let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
        self.http(
            Request::builder()
                .method(verb)
                .uri(path)
                .header("host", "t")
                .body(body)
                .unwrap(),
        )
        .await
    }

    pub async fn grpc(&self) -> Grpc {
        Grpc::connect(self.addr()).await
    }

    pub async fn channel(&self) -> tonic::transport::Channel {
        let endpoint =
            tonic::transport::Endpoint::from_shared(format!("http://{}", self.addr())).unwrap();
        endpoint.connect().await.unwrap()
    }
}

/// A connection over HTTP/2.
pub async fn http2(addr: SocketAddr) -> hyper::client::conn::http2::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(addr).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    sender
}

pub async fn http1(addr: SocketAddr) -> hyper::client::conn::http1::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(addr).await.unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

/// An answer over HTTP, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Whether the body came to its proper end.
    pub whole: bool,
}

impl Answer {
    pub async fn of(response: Response<Incoming>) -> Self {
        let (parts, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        let mut whole = true;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(_) => {
                    whole = false;
                    break;
                }
            }
        }
        Self {
            status: parts.status,
            headers: parts.headers,
            body: bytes.into(),
            whole,
        }
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|cause| panic!("{cause}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A gRPC client of raw frames on one connection.
#[derive(Clone)]
pub struct Grpc(hyper::client::conn::http2::SendRequest<Full<Bytes>>);

/// What a gRPC call came to.
#[derive(Debug)]
pub struct Called {
    pub code: Code,
    pub message: String,
    pub headers: HeaderMap,
}

impl Grpc {
    pub async fn connect(addr: SocketAddr) -> Self {
        Self(http2(addr).await)
    }

    pub async fn call(&self, method: &str, all: &All, headers: &[(&str, &str)]) -> Called {
        self.try_call(method, all, headers).await.unwrap()
    }

    /// An error is the connection's; a call that was refused is no error.
    pub async fn try_call(
        &self,
        method: &str,
        all: &All,
        headers: &[(&str, &str)],
    ) -> hyper::Result<Called> {
        let mut request = Request::post(format!("http://t/echo.v1.Echo/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(framed(&all.encode_to_vec())))
            .unwrap();
        let response = self.0.clone().send_request(request).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        let text = |name| {
            let value = trailers.get(name).or_else(|| parts.headers.get(name));
            value.map(|value| value.to_str().unwrap().to_owned())
        };
        let code =
            text("grpc-status").map_or(Code::Unknown, |code| Code::from_bytes(code.as_bytes()));
        Ok(Called {
            code,
            message: text("grpc-message").unwrap_or_default(),
            headers: parts.headers,
        })
    }
}

/// Asks until there is an answer, for at most a minute.
pub async fn eventually<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            if let Some(it) = found().await {
                return it;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    waited
        .await
        .unwrap_or_else(|_| panic!("not within a minute: {what}"))
}

/// Fails a test that would hang.
pub async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work)
        .await
        .expect("took longer than a minute")
}
