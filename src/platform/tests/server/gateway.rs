//! A gateway in front of servers that come late, change, and go.

use std::{net::SocketAddr, time::Duration};

use fleet::Endpoint;
use http::Request;
use platform::{
    Gateway, Server, Service,
    gateway::{GatewayOptions, Upstreams},
    server::{Auth, Cors, JsonOptions, Rate, Surface},
};
use tonic::Code;

use crate::{
    echo::{All, Echo, descriptors},
    world::{Answer, Grpc, World, http1},
};

/// As long as anything here may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn options() -> GatewayOptions {
    GatewayOptions {
        refresh: Duration::from_millis(100),
        ..GatewayOptions::default()
    }
}

fn at(addr: SocketAddr) -> Vec<Endpoint> {
    vec![Endpoint::parse(&format!("grpc://{addr}")).unwrap()]
}

async fn before(servers: &[SocketAddr]) -> Gateway {
    guarded(servers, options(), Service::new()).await
}

async fn guarded(servers: &[SocketAddr], options: GatewayOptions, service: Service) -> Gateway {
    let servers = Upstreams::Addresses(servers.iter().copied().map(at).collect());
    Gateway::bind_with("127.0.0.1:0", servers, options, service)
        .await
        .unwrap()
}

/// One request over HTTP/1.1, on a connection of its own.
pub async fn ask(addr: SocketAddr, verb: &str, path: &str, body: &str) -> Answer {
    let request = Request::builder()
        .method(verb)
        .uri(path)
        .header("host", "t")
        .header("grpc-metadata-colour", "red")
        .body(body.to_owned().into())
        .unwrap();
    Answer::of(http1(addr).await.send_request(request).await.unwrap()).await
}

/// Asks until the answer is as it should be.
pub async fn asked(addr: SocketAddr, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
    let asking = async {
        loop {
            let answer = ask(addr, "GET", path, "").await;
            if wanted(&answer) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking)
        .await
        .unwrap_or_else(|_| panic!("never so: {path}"))
}

pub async fn answers(addr: SocketAddr, path: &str, status: u16) -> Answer {
    asked(addr, path, |answer| answer.status.as_u16() == status).await
}

/// An address on which nobody listens, yet.
pub async fn free() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// The port is free a moment after its last server was dropped.
pub async fn echo_at(addr: SocketAddr) -> Server {
    let binding = async {
        loop {
            let service = Service::new()
                .grpc(Echo::default())
                .descriptors(descriptors());
            if let Ok(server) = Server::bind(addr, service).await {
                return server;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let server = tokio::time::timeout(PATIENCE, binding).await.unwrap();
    server.handle().ready();
    server
}

#[tokio::test]
async fn a_gateway_answers_as_the_servers_own_port() {
    let world = World::new().await;
    let gateway = before(&[world.addr()]).await;
    answers(gateway.local_addr(), "/v1/all/1", 200).await;
    for (verb, path, body) in [
        ("GET", "/v1/all/a%2Fb?number=3", ""),
        ("GET", "/v1/all/1?number=x", ""),
        ("GET", "/v1/all/1:verb", ""),
        ("HEAD", "/v1/all/1", ""),
        (
            "POST",
            "/v1/all",
            r#"{"id":"1","name":"Ada","inner":{"name":"b"}}"#,
        ),
        ("POST", "/v1/all", "{"),
        ("PATCH", "/v1/all/7", r#"{"name":"new"}"#),
        ("DELETE", "/v1/all/7", ""),
        ("PUT", "/v1/all/7/none", ""),
        ("POST", "/v1/all/1", ""),
        ("GET", "/nowhere", ""),
        ("POST", "/echo.v1.Echo/Bare", r#"{"id":"1"}"#),
        ("GET", "/v1/fail/9?name=gone", ""),
        ("GET", "/v1/stream/3?name=end", ""),
        ("GET", "/v1/stream/2?small=9&name=broke", ""),
        ("GET", "/v1/stream/0?small=7&name=no", ""),
        ("POST", "/v1/collect", r#"{"id":"a"} {"name":"b"}"#),
        ("POST", "/v1/both", r#"{"id":"a"} {"id":"b"}"#),
        ("GET", "/v1/raw/body", ""),
    ] {
        let own = ask(world.addr(), verb, path, body).await;
        let through = ask(gateway.local_addr(), verb, path, body).await;
        let show = |answer: &Answer| {
            let kind = answer.header("content-type").map(str::to_owned);
            let colour = answer.header("grpc-metadata-colour").map(str::to_owned);
            let allow = answer.header("allow").map(str::to_owned);
            (answer.status, kind, colour, allow, answer.text().to_owned())
        };
        assert_eq!(show(&through), show(&own), "{verb} {path} {body}");
        let is_nowhere = ["/nowhere", "/v1/all/7/none"].contains(&path);
        assert_eq!(own.status == 404, is_nowhere, "{verb} {path} {body}");
    }
}

#[tokio::test]
async fn a_server_that_comes_late_is_served_when_it_comes() {
    let addr = free().await;
    let gateway = before(&[addr]).await;
    let early = ask(gateway.local_addr(), "GET", "/v1/all/1", "").await;
    assert_eq!(early.status, 503, "{}", early.text());
    assert_eq!(early.json()["code"], 14);
    answers(gateway.local_addr(), "/healthz", 200).await;
    let named = asked(gateway.local_addr(), "/v1/all/1", |answer| {
        answer.text().contains("refused")
    })
    .await;
    assert!(named.text().contains(&addr.to_string()), "{}", named.text());
    let server = echo_at(addr).await;
    answers(gateway.local_addr(), "/v1/all/1", 200).await;
    answers(gateway.local_addr(), "/v1/nothing", 404).await;
    // Gone again: what is known stays, and says that nobody answers.
    drop(server);
    let gone = answers(gateway.local_addr(), "/v1/all/1", 503).await;
    assert_eq!(gone.json()["code"], 14);
    answers(gateway.local_addr(), "/v1/nothing", 404).await;
    let _server = echo_at(addr).await;
    answers(gateway.local_addr(), "/v1/all/1", 200).await;
}

#[tokio::test]
async fn a_changed_descriptor_is_picked_up() {
    let addr = free().await;
    let bare = Server::bind(addr, Service::new()).await.unwrap();
    let gateway = before(&[addr]).await;
    answers(gateway.local_addr(), "/v1/all/1", 404).await;
    let document = ask(gateway.local_addr(), "GET", "/openapi.json", "").await;
    assert_eq!(document.json()["paths"], serde_json::json!({}));
    drop(bare);
    let _server = echo_at(addr).await;
    answers(gateway.local_addr(), "/v1/all/1", 200).await;
    let document = ask(gateway.local_addr(), "GET", "/openapi.json", "").await;
    assert!(document.json()["paths"]["/v1/all/{id}"].is_object());
}

#[tokio::test]
async fn the_layers_stand_before_a_gateway_as_before_a_service() {
    let world = World::new().await;
    let service = Service::new()
        .auth(Auth::keys([("ann", "k1")]).open(&[Surface::Health]))
        .cors(Cors::origins(["https://shop.example"]))
        .rate(Rate::per_second(0.001).burst(200).each_address());
    let gateway = guarded(&[world.addr()], options(), service).await;
    let addr = gateway.local_addr();
    let get = async |path: &str, key: Option<&str>| {
        let request = Request::get(path)
            .header("host", "t")
            .header("origin", "https://shop.example");
        let request = match key {
            Some(key) => request.header("x-api-key", key),
            None => request,
        };
        let request = request.body("".to_owned().into()).unwrap();
        Answer::of(http1(addr).await.send_request(request).await.unwrap()).await
    };
    let served = async {
        while get("/v1/all/1", Some("k1")).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, served).await.unwrap();
    for (path, key, status) in [
        ("/v1/all/1", None, 401),
        ("/v1/all/1", Some("k2"), 401),
        ("/openapi.json", None, 401),
        ("/healthz", None, 200),
        ("/v1/all/1", Some("k1"), 200),
    ] {
        let answer = get(path, key).await;
        assert_eq!(answer.status, status, "{path} with {key:?}");
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!(allowed, Some("https://shop.example"));
    }
    let document = get("/openapi.json", Some("k1")).await.json();
    assert!(document["security"].is_array());
    // The same layer answers those who come by gRPC.
    let grpc = Grpc::connect(addr).await;
    let called = grpc.call("Get", &All::default(), &[]).await;
    assert_eq!(called.code, Code::Unauthenticated);
    // What is left of the burst is used up, by whoever it is.
    let exhausted = async { while get("/v1/all/1", None).await.status != 429 {} };
    tokio::time::timeout(PATIENCE, exhausted).await.unwrap();
    assert_eq!(get("/v1/all/1", Some("k1")).await.status, 429);
    assert_eq!(get("/healthz", None).await.status, 200);
}

#[tokio::test]
async fn a_call_under_way_outlives_the_drain_of_its_server_and_new_ones_go_elsewhere() {
    let replicas = [World::new().await, World::new().await];
    let both = replicas.iter().flat_map(|world| at(world.addr())).collect();
    let options = GatewayOptions {
        // Nothing but calls is in flight once it is known what they serve.
        refresh: Duration::from_secs(3600),
        ..GatewayOptions::default()
    };
    let gateway = Gateway::bind("127.0.0.1:0", Upstreams::Addresses(vec![both]), options);
    let addr = gateway.await.map(|gateway| (gateway.local_addr(), gateway));
    let (addr, _gateway) = addr.unwrap();
    answers(addr, "/v1/all/1", 200).await;
    crate::echo::until("nothing is in flight", || {
        replicas.iter().all(|world| world.handle.in_flight() == 0)
    })
    .await;
    let waiting = tokio::spawn(async move { ask(addr, "GET", "/v1/wait?id=7", "").await });
    let busy = || replicas.iter().find(|world| world.handle.in_flight() > 0);
    crate::echo::until("the call is under way", || busy().is_some()).await;
    let leaving = busy().unwrap();
    let handle = leaving.handle.clone();
    let drained = tokio::spawn(async move { handle.shutdown(PATIENCE).await });
    crate::echo::until("it drains", || leaving.handle.stage().is_draining()).await;
    for _ in 0..20 {
        let answer = ask(addr, "GET", "/v1/all/1", "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(leaving.handle.in_flight(), 1, "none of these went there");
    leaving.echo.waiting.notify_waiters();
    let answer = waiting.await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["id"], "7");
    assert_eq!(drained.await.unwrap().cut_off, 0);
}

#[tokio::test]
async fn reflection_behind_a_credential_is_asked_with_one() {
    let world = World::with(|service| service.auth(Auth::keys([("gateway", "own")]))).await;
    let mut reflection = reflect::Metadata::default();
    reflection.insert("x-api-key", "own").unwrap();
    let options = GatewayOptions {
        reflection,
        ..options()
    };
    let gateway = guarded(&[world.addr()], options, Service::new()).await;
    // Known, and not open: what the gateway may ask is nobody else's.
    let refused = answers(gateway.local_addr(), "/v1/all/1", 401).await;
    assert_eq!(refused.json()["code"], 16);
}

#[tokio::test]
async fn a_server_without_reflection_serves_what_was_said_beforehand() {
    // Nothing but the service: no health, no reflection.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let serving = tonic::transport::Server::builder()
        .add_service(Echo::default())
        .serve_with_incoming(incoming);
    let serving = tokio::spawn(serving);
    let mute = before(&[addr]).await;
    answers(mute.local_addr(), "/v1/all/1", 404).await;
    let options = GatewayOptions {
        fallback: Some(reflect::Schema::from_descriptor_set(descriptors()).unwrap()),
        ..options()
    };
    let gateway = guarded(&[addr], options, Service::new()).await;
    answers(gateway.local_addr(), "/v1/all/1", 200).await;
    serving.abort();
}

#[tokio::test]
async fn messages_go_through_a_gateway_deeper_than_a_service_of_this_process_reads() {
    let mut json = JsonOptions::default();
    json.parse.max_nesting = 1_000;
    let world = World::with(|service| service.json(json)).await;
    let gateway = before(&[world.addr()]).await;
    answers(gateway.local_addr(), "/v1/all/1", 200).await;
    let deep = format!("{}{}", r#"{"inner":"#.repeat(300), "{}") + &"}".repeat(300);
    let answer = ask(gateway.local_addr(), "POST", "/v1/all", &deep).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.text().matches("\"inner\":{").count(), 300);
    // What no service could read is refused here, and what reads it here is still there.
    let deep = format!("{}{}", r#"{"inner":"#.repeat(100_000), "{}") + &"}".repeat(100_000);
    let answer = ask(gateway.local_addr(), "POST", "/v1/all", &deep).await;
    assert_eq!(answer.status, 400);
    let said = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(said.contains("deeper than 10000 levels"), "{said}");
    assert_eq!(
        ask(gateway.local_addr(), "GET", "/v1/all/1", "")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_server_of_something_else_hides_nobody() {
    // It accepts and says nothing that gRPC would.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = World::new().await;
    let gateway = before(&[silent.local_addr().unwrap(), world.addr()]).await;
    answers(gateway.local_addr(), "/v1/all/1", 200).await;
}

#[tokio::test]
async fn of_two_servers_with_one_service_the_first_keeps_it() {
    let mut servers = vec![echo_at(free().await).await, echo_at(free().await).await];
    // In the order of their names.
    servers.sort_by_key(|server| server.local_addr().to_string());
    let addrs: Vec<_> = servers.iter().map(Server::local_addr).collect();
    let gateway = before(&addrs).await;
    // Nothing is pending: both are known.
    answers(gateway.local_addr(), "/nowhere", 404).await;
    drop(servers.pop());
    for _ in 0..20 {
        let answer = ask(gateway.local_addr(), "GET", "/v1/all/1", "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}
