//! An etcd, instances of the demo in this process, and plain clients for them.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use demo::{Options, Serving, Token, start_order, start_user};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tests::realetcd::{RealEtcd, etcdctl};

/// The same stories on a real etcd and on the embedded one.
macro_rules! on_both {
    ($($story:ident),+ $(,)?) => {
        mod on_etcd {
            $(#[tokio::test]
            async fn $story() {
                super::$story($crate::world::Etcd::real().await).await;
            })+
        }
        mod on_the_embedded_etcd {
            $(#[tokio::test]
            async fn $story() {
                super::$story($crate::world::Etcd::embedded().await).await;
            })+
        }
    };
}
pub(crate) use on_both;

pub(crate) enum Etcd {
    Real(Box<RealEtcd>),
    Embedded(etcdlite::Server),
}

impl Etcd {
    pub(crate) async fn real() -> Self {
        Self::Real(Box::new(RealEtcd::start().await))
    }

    pub(crate) async fn embedded() -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = etcdlite::Server::bind(any, etcdlite::Options::default()).await;
        Self::Embedded(server.unwrap())
    }

    pub(crate) fn endpoint(&self) -> String {
        match self {
            Self::Real(etcd) => etcd.endpoint(),
            Self::Embedded(server) => format!("http://{}", server.local_addr().unwrap()),
        }
    }

    pub(crate) async fn etcdctl(&self, arguments: &[&str]) -> String {
        etcdctl(&[self.endpoint()], arguments).await
    }
}

pub(crate) struct World {
    pub(crate) etcd: Etcd,
    pub(crate) users: Vec<Serving>,
    pub(crate) orders: Vec<Serving>,
    token: Option<&'static str>,
}

impl World {
    /// So many instances of `user`, and one of `order`, on a real etcd.
    pub(crate) async fn with(users: usize, token: Option<&'static str>) -> Self {
        Self::on(Etcd::real().await, users, token).await
    }

    pub(crate) async fn on(etcd: Etcd, users: usize, token: Option<&'static str>) -> Self {
        let mut world = Self {
            etcd,
            users: Vec::new(),
            orders: Vec::new(),
            token,
        };
        for number in 1..=users {
            let options = world.options(&format!("user-{number}"));
            world.users.push(start_user(options).await.unwrap());
        }
        let options = world.options("order-1");
        world.orders.push(start_order(options).await.unwrap());
        // A call succeeds once the order service has heard of the user service.
        until("an order can be placed", async || {
            let body = r#"{"userId":"1","items":[{"sku":"A","quantity":1}]}"#;
            world.post(world.order(), "/v1/orders", body).await.status == 200
        })
        .await;
        world
    }

    pub(crate) async fn new() -> Self {
        Self::with(1, None).await
    }

    pub(crate) fn options(&self, instance: &str) -> Options {
        Options {
            etcd: vec![self.etcd.endpoint()],
            instance: Some(instance.to_owned()),
            token: self.token.map(|token| Token(token.to_owned())),
            ttl: Duration::from_secs(2),
            ..Options::default()
        }
    }

    pub(crate) fn user(&self) -> SocketAddr {
        self.users[0].local_addr()
    }

    pub(crate) fn order(&self) -> SocketAddr {
        self.orders[0].local_addr()
    }

    pub(crate) async fn get(&self, addr: SocketAddr, path: &str) -> Answer {
        self.send(addr, "GET", path, "").await
    }

    pub(crate) async fn post(&self, addr: SocketAddr, path: &str, body: &str) -> Answer {
        self.send(addr, "POST", path, body).await
    }

    pub(crate) async fn send(
        &self,
        addr: SocketAddr,
        verb: &str,
        path: &str,
        body: &str,
    ) -> Answer {
        let mut request = Request::builder()
            .method(verb)
            .uri(path)
            .header("host", "demo");
        if let Some(token) = self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        answer(
            addr,
            request
                .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
                .unwrap(),
        )
        .await
    }

    /// Puts a config value as any etcd client would.
    pub(crate) async fn put(&self, key: &str, value: &str) {
        self.etcd
            .etcdctl(&["put", &format!("/config/{key}"), value])
            .await;
    }
}

/// One request on a connection of its own.
pub(crate) async fn answer(addr: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let response = soon(sender.send_request(request)).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = soon(body.collect()).await.unwrap().to_bytes();
    connection.abort();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|cause| panic!("{cause}: {:?}", self.body))
    }

    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = std::str::from_utf8(&self.body).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

pub(crate) async fn channel(addr: SocketAddr) -> tonic::transport::Channel {
    tonic::transport::Endpoint::from_shared(format!("http://{addr}"))
        .unwrap()
        .connect()
        .await
        .unwrap()
}

/// Waits for a condition, for at most a minute: a busy machine takes its time.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain: {what}");
}

/// Fails a test that would hang.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work)
        .await
        .expect("took longer than a minute")
}
