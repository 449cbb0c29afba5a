//! One request through several servers is one trace, in headers, in logs and at a collector.

use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::Full;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use platform::{
    Channel, ChannelOptions, Platform, Service, platform::Serving, telemetry::Telemetry,
};
use tokio::sync::oneshot;
use tonic::{Code, body::Body, server::NamedService};
use tracing::Instrument as _;
use tracing_subscriber::{fmt::MakeWriter, layer::SubscriberExt as _};

use crate::{
    collector::{Collector, hex},
    echo::{All, descriptors},
    world::{Answer, Grpc, World, eventually, http1, soon},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// Another id for each test that looks for its trace among those of others.
fn sent(trace: &str) -> String {
    format!("00-{trace}-{SPAN}-01")
}

/// Subscribers and the exporter are the process's: one test at a time.
pub static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// `order`: answers every call by asking `user`, within a span of its own.
#[derive(Clone)]
struct Order(Channel);

impl NamedService for Order {
    const NAME: &'static str = "echo.v1.Echo";
}

impl tower::Service<Request<Body>> for Order {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut user = self.0.clone();
        let ask = async move {
            let answer = user.call(request).await;
            Ok(answer.map_or_else(|status| status.into_http(), |good| good.map(Body::new)))
        };
        Box::pin(ask.instrument(tracing::info_span!("asking")))
    }
}

fn order(user: &World) -> Service {
    let endpoint = fleet::Endpoint::parse(&format!("grpc://{}", user.addr())).unwrap();
    let channel = Channel::fixed("user", [endpoint], ChannelOptions::default());
    Service::new()
        .grpc(Order(channel))
        .descriptors(descriptors())
}

pub async fn platform(builder: platform::platform::Builder) -> Platform {
    let builder = builder.environment([]).no_config_cache();
    builder.start().await.unwrap()
}

async fn get(order: &Serving, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get("/v1/all/1").header("host", "t");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let mut sender = http1(order.local_addr()).await;
    Answer::of(sender.send_request(request).await.unwrap()).await
}

/// What `user` was sent: the ids of the trace and of the span that called it.
fn seen_by_user(answer: &Answer) -> (String, String) {
    let parent = answer.header("grpc-metadata-traceparent").unwrap();
    let parts: Vec<&str> = parent.split('-').collect();
    (parts[1].to_owned(), parts[2].to_owned())
}

#[tokio::test]
async fn a_request_over_http_through_two_servers_is_one_trace() {
    let _alone = ALONE.lock().await;
    let user = World::new().await;
    let platform = platform(Platform::builder("order")).await;
    let order = platform.bind(order(&user)).await.unwrap();
    let headers = [("traceparent", &*sent(TRACE)), ("tracestate", "a=1")];
    let answer = soon(get(&order, &headers)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let (trace, span) = seen_by_user(&answer);
    assert_eq!(trace, TRACE);
    assert_ne!(
        span, SPAN,
        "user is called by order, not by who called that"
    );
    assert_eq!(answer.header("grpc-metadata-tracestate"), Some("a=1"));
    // Without one, a trace begins; each has its own.
    let (first, _) = seen_by_user(&soon(get(&order, &[])).await);
    let (second, _) = seen_by_user(&soon(get(&order, &[])).await);
    assert!(first.len() == 32 && first != second, "{first} {second}");
    let called = Grpc::connect(order.local_addr())
        .await
        .call("Get", &All::default(), &headers)
        .await;
    assert!(
        called.headers["traceparent"]
            .to_str()
            .unwrap()
            .contains(TRACE)
    );
}

/// Everything logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;
    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn lines(&self, target: &str) -> Vec<serde_json::Value> {
        let text = self.text();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines
            .filter(|line: &serde_json::Value| line["target"] == target)
            .collect()
    }
}

#[tokio::test]
async fn the_access_log_names_call_and_trace_and_no_secret() {
    let _alone = ALONE.lock().await;
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_writer(log.clone())
        .finish();
    let _log = tracing::subscriber::set_default(subscriber);
    let world = World::new().await;
    let request = Request::get("/v1/all/7?name=s3cret&number=5")
        .header("host", "t")
        .header("authorization", "Bearer s3cret")
        .header("traceparent", sent(TRACE));
    world.http(request.body(Full::default()).unwrap()).await;
    world.get("/v1/panic/0").await;
    world.get("/readyz").await;
    let lines = eventually("both calls in the log", async || {
        let lines = log.lines("access");
        (lines.len() >= 2).then_some(lines)
    })
    .await;
    assert_eq!(lines.len(), 2, "probes are not in it: {lines:?}");
    let fields = &lines[0]["fields"];
    for (name, expected) in [
        ("protocol", "http"),
        ("method", "/echo.v1.Echo/Get"),
        ("verb", "GET"),
        ("path", "/v1/all/7"),
        ("code", "OK"),
        ("trace_id", TRACE),
    ] {
        assert_eq!(fields[name], expected, "{name} in {fields}");
    }
    assert_eq!(fields["status"], 200);
    assert!(
        fields["took_us"].is_u64() && fields["sent"].as_u64() > Some(0),
        "{fields}"
    );
    assert!(
        fields["peer"].as_str().unwrap().contains("127.0.0.1"),
        "{fields}"
    );
    assert_eq!(fields["span_id"].as_str().unwrap().len(), 16);
    assert_ne!(fields["span_id"], SPAN);
    // What is logged for a request can be found by its trace as well.
    let panic = log.text();
    let panic = panic
        .lines()
        .find(|line| line.contains("a handler panicked"));
    let panic: serde_json::Value = serde_json::from_str(panic.unwrap()).unwrap();
    assert_eq!(panic["span"]["trace_id"], lines[1]["fields"]["trace_id"]);
    assert!(!log.text().contains("s3cret"), "{}", log.text());
}

#[tokio::test]
async fn the_spans_of_a_request_are_at_the_collector_when_the_service_has_drained() {
    let _alone = ALONE.lock().await;
    let collector = Collector::start().await;
    let telemetry = Telemetry::new("order").endpoint(&collector.url);
    let telemetry = telemetry.attribute("service.instance.id", "o-1");
    let telemetry = telemetry.start().unwrap();
    let subscriber = tracing_subscriber::registry().with(telemetry.layer());
    let _subscriber = tracing::subscriber::set_default(subscriber);
    let user = World::new().await;
    let platform = platform(Platform::builder("order").telemetry(telemetry)).await;
    let order = platform.bind(order(&user)).await.unwrap();
    let trace = "aaaa2f3577b34da6a3ce929d0e0e4736";
    let answer = soon(get(&order, &[("traceparent", &*sent(trace))])).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let (_, calling) = seen_by_user(&answer);
    let unsampled = format!("00-bbbb2f3577b34da6a3ce929d0e0e4736-{SPAN}-00");
    soon(get(&order, &[("traceparent", &*unsampled)])).await;
    let (leave, left) = oneshot::channel::<()>();
    let leaving = async move { drop(left.await) };
    let running = tokio::spawn(order.run_until(leaving, std::future::pending()));
    drop(leave);
    running.await.unwrap();

    let spans = collector.trace(trace);
    assert!(
        spans.iter().all(|(service, _)| service == "order"),
        "{spans:?}"
    );
    let by = |name: &str, kind: SpanKind| -> Vec<Span> {
        let fits = |span: &&Span| span.name == name && span.kind == kind as i32;
        spans
            .iter()
            .map(|(_, span)| span)
            .filter(fits)
            .cloned()
            .collect()
    };
    let method = "echo.v1.Echo/Get";
    let [calling_span] = &by(method, SpanKind::Client)[..] else {
        panic!("{spans:?}")
    };
    let [asking] = &by("asking", SpanKind::Internal)[..] else {
        panic!("{spans:?}")
    };
    let servers = by(method, SpanKind::Server);
    let (order, user): (Vec<_>, Vec<_>) = servers
        .into_iter()
        .partition(|span| hex(&span.parent_span_id) == SPAN);
    assert_eq!((order.len(), user.len()), (1, 1), "{spans:?}");
    assert_eq!(hex(&calling_span.span_id), calling);
    assert_eq!(asking.parent_span_id, order[0].span_id);
    assert_eq!(calling_span.parent_span_id, asking.span_id);
    assert_eq!(user[0].parent_span_id, calling_span.span_id);
    assert!(order[0].end_time_unix_nano >= order[0].start_time_unix_nano);
    let code = order[0]
        .attributes
        .iter()
        .find(|one| one.key == "rpc.grpc.status_code");
    assert!(code.is_some(), "{order:?}");
    assert_eq!(collector.trace("bbbb2f3577b34da6a3ce929d0e0e4736").len(), 0);
}

#[tokio::test]
async fn a_collector_that_is_down_or_silent_costs_spans_and_nothing_else() {
    let _alone = ALONE.lock().await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    for endpoint in ["http://127.0.0.1:1", &silent] {
        let telemetry = Telemetry::new("order").endpoint(endpoint).start().unwrap();
        let world = World::new().await;
        let grpc = world.grpc().await;
        // More than the queue holds.
        for _ in 0..30 {
            let all = All::default();
            let calls = (0..100).map(|_| grpc.call("Get", &all, &[]));
            for called in futures::future::join_all(calls).await {
                assert_eq!(called.code, Code::Ok);
            }
        }
        // Far less than an export may take by itself.
        let ended = telemetry.shutdown(Duration::from_millis(200));
        tokio::time::timeout(Duration::from_secs(30), ended)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn without_an_endpoint_nothing_is_sent_and_a_bad_one_is_named() {
    let _alone = ALONE.lock().await;
    let error = Telemetry::new("order").endpoint("no url").start();
    let error = error.unwrap_err().to_string();
    assert!(error.contains("no url"), "{error}");
    if std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT").is_none() {
        assert!(!Telemetry::new("order").start().unwrap().is_on());
    }
}
