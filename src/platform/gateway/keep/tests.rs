//! The loop alone: what it takes at a time, and what becomes of a gateway whose loop panics.

use std::convert::Infallible;
use std::task::{Context, Poll};

use bytes::Bytes;
use etcd::{Client, History, Settings};
use fleet::{Change, Edit, Entry, Key, LeaseId, Plan, Prefix, Revision, Seen};
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use prost_types::{
    DescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
    ServiceDescriptorProto,
};
use tonic::{body::Body, server::NamedService};

use super::*;
use crate::Service;
use crate::gateway::Gateway;
use crate::running::fault::strike;
use crate::server::{JsonOptions, Server};

/// `order.Orders`, whose one method answers with nothing.
#[derive(Clone)]
struct Orders;

impl NamedService for Orders {
    const NAME: &'static str = "order.Orders";
}

impl tower::Service<Request<Body>> for Orders {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        Box::pin(async {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            let message = Full::new(Bytes::from_static(&[0; 5]));
            let body = message.with_trailers(async { Some(Ok(trailers)) });
            let mut response = Response::new(Body::new(body));
            let grpc = HeaderValue::from_static("application/grpc");
            response.headers_mut().insert("content-type", grpc);
            Ok(response)
        })
    }
}

fn descriptors(name: &str) -> Vec<u8> {
    let (package, service) = name.split_once('.').unwrap();
    let empty = DescriptorProto {
        name: Some("Nothing".into()),
        ..DescriptorProto::default()
    };
    let method = MethodDescriptorProto {
        name: Some("Get".into()),
        input_type: Some(format!(".{package}.Nothing")),
        output_type: Some(format!(".{package}.Nothing")),
        ..MethodDescriptorProto::default()
    };
    let service = ServiceDescriptorProto {
        name: Some(service.into()),
        method: vec![method],
        ..ServiceDescriptorProto::default()
    };
    let file = FileDescriptorProto {
        name: Some(format!("{package}.proto")),
        package: Some(package.into()),
        syntax: Some("proto3".into()),
        message_type: vec![empty],
        service: vec![service],
        ..FileDescriptorProto::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}

const PREFIX: &str = "/services/";

fn client(endpoint: &str) -> Client {
    Client::new(Settings::new([endpoint])).unwrap()
}

fn prefix() -> Prefix {
    Prefix::new(PREFIX).unwrap()
}

fn front() -> Front {
    Front::new(JsonOptions::default(), false)
}

fn no_servers() -> Keeper {
    let nobody = Upstreams::Addresses(Vec::new());
    Keeper::new(front(), nobody, GatewayOptions::default())
}

/// An instance of `order` that was put at this revision.
fn put(number: i64) -> MirrorEvent {
    let value = format!(r#"{{"service":"order","id":"o-{number}","endpoints":["grpc://h:1"]}}"#);
    let entry = Entry {
        key: format!("{PREFIX}order/o-{number}").into(),
        value: value.into_bytes().into(),
        create_revision: Revision(number),
        mod_revision: Revision(number),
        version: 1,
        lease: LeaseId::new(7),
    };
    MirrorEvent::Changed {
        revision: Revision(number),
        changes: vec![Change::Put(entry)],
        history: History::Same,
    }
}

#[tokio::test]
async fn of_a_flood_of_events_so_many_are_taken_at_a_time() {
    let mut keeper = no_servers();
    let nobody = client("127.0.0.1:1");
    let (_mirror, _) = Mirror::spawn(nobody, prefix(), MirrorOptions::default());
    let (flood, events) = mpsc::channel(3 * TOGETHER);
    for number in 1..=2 * TOGETHER + 1 {
        flood.try_send(put(i64::try_from(number).unwrap())).unwrap();
    }
    keeper.registered = Some(Registered {
        directory: Directory::new(prefix()),
        events,
        unheard: None,
        is_full: false,
        _mirror,
    });
    for taken in [TOGETHER, 2 * TOGETHER, 2 * TOGETHER + 1] {
        assert!(keeper.turn().await.is_continue());
        // Shown between, and not when the flood is over.
        let Place::Discovered(view) = &keeper.upstreams["order"].place else {
            panic!("found in the registry");
        };
        assert_eq!(view.borrow().instances.len(), taken);
    }
    drop(flood);
    assert!(keeper.turn().await.is_break(), "the mirror has ended");
}

#[tokio::test]
async fn what_was_shown_stays_until_a_loop_that_begins_anew_has_asked_everybody() {
    let mut before = front();
    before.show([], None);
    let nobody = fleet::Endpoint::parse("grpc://127.0.0.1:1").unwrap();
    let upstreams = Upstreams::Addresses(vec![vec![nobody]]);
    let mut keeper = Keeper::new(before.clone(), upstreams, GatewayOptions::default());
    keeper.shown = Shown::Before;
    keeper.show();
    assert_eq!(before.pending(), None);
    assert!(keeper.turn().await.is_continue());
    keeper.show();
    let pending = before.pending().unwrap();
    assert!(pending.contains("127.0.0.1:1"), "{pending}");
}

/// One figure of the process; 0 before it was counted.
fn figure(line: &str) -> f64 {
    let text = crate::server::recorder().unwrap().text();
    let found = text.lines().find_map(|one| one.strip_prefix(line));
    found.map_or(0.0, |value| value.trim().parse().unwrap())
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), waited).await;
    assert!(waited.is_ok(), "waited in vain: {what}");
}

async fn commit(client: &Client, edit: Edit) {
    client.commit(&Plan::new([edit]).unwrap()).await.unwrap();
}

/// The status of a call over HTTP.
async fn call(gateway: &Gateway) -> u16 {
    let stream = tokio::net::TcpStream::connect(gateway.local_addr()).await;
    let io = hyper_util::rt::TokioIo::new(stream.unwrap());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    let connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = Request::post("/order.Orders/Get").header("host", "t");
    let request = request.body(Full::new(Bytes::from_static(b"{}"))).unwrap();
    let status = sender.send_request(request).await.unwrap().status();
    drop(connection);
    status.as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_whose_loops_panic_follows_its_registry_again() {
    let store =
        etcdlite::Server::bind("127.0.0.1:0".parse().unwrap(), etcdlite::Options::default());
    let store = store.await.unwrap();
    let client = client(&store.local_addr().unwrap().to_string());
    let orders = Service::new().grpc(Orders);
    let orders = orders.descriptors(&descriptors(Orders::NAME));
    let orders = Server::bind("127.0.0.1:0", orders).await.unwrap();
    orders.handle().ready();
    let key = Key::from(format!("{PREFIX}order/o-1").as_str());
    let at = orders.local_addr();
    let record = format!(r#"{{"service":"order","id":"o-1","endpoints":["grpc://{at}"]}}"#);
    let register = Edit::put(key.clone(), Seen::Absent, record.into_bytes());
    commit(&client, register).await;
    let upstreams = Upstreams::Registry {
        client: client.clone(),
        services: prefix(),
    };
    let gateway = Gateway::bind("127.0.0.1:0", upstreams, GatewayOptions::default());
    let gateway = gateway.await.unwrap();
    until("it serves", async || call(&gateway).await == 200).await;
    for hit in ["gateway learner", "gateway"] {
        let faults = format!("platform_loop_faults_total{{loop=\"{hit}\"}} ");
        let runs = format!("platform_loop_running{{loop=\"{hit}\"}} ");
        let (before, ran) = (figure(&faults), figure(&runs));
        assert!(ran >= 1.0, "{hit}");
        strike(hit);
        until(hit, async || {
            assert_eq!(call(&gateway).await, 200, "what it knew stays");
            figure(&faults) > before && figure(&runs) >= ran
        })
        .await;
    }
    let found = client.get(&key).await.unwrap().0.unwrap();
    commit(&client, Edit::delete(key, Seen::At(found))).await;
    until("it sees who leaves", async || call(&gateway).await == 503).await;
    drop(gateway);
    store.shutdown().await;
}
