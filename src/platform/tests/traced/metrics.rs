//! What `/metrics` shows reaches a collector by itself, and one that is away costs nothing but a count.

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use platform::{Platform, telemetry::Telemetry};
use tonic::Code;

use crate::{
    collector::{Collector, Export, text},
    echo::All,
    stories::{ALONE, platform},
    world::{World, eventually},
};

fn environment<'a>(
    variables: &'a [(&'a str, &'a str)],
) -> impl Iterator<Item = (String, String)> + 'a {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    variables.iter().map(owned)
}

/// The first export in which this holds.
async fn export(collector: &Collector, holds: impl Fn(&Export) -> bool) -> Export {
    eventually("an export of it", async || {
        collector.exports().into_iter().find(|one| holds(one))
    })
    .await
}

/// One figure on `/metrics`.
async fn shown(world: &World, name: &str) -> f64 {
    let page = world.get("/metrics").await.text().to_owned();
    let line = page.lines().find(|line| line.starts_with(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in {page}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

const GET: [(&str, &str); 3] = [
    ("method", "/echo.v1.Echo/Get"),
    ("protocol", "grpc"),
    ("code", "OK"),
];

#[tokio::test]
async fn all_that_metrics_shows_is_at_the_collector_in_each_interval() {
    let _alone = ALONE.lock().await;
    let collector = Collector::start().await;
    let telemetry = Telemetry::new("as-written").environment(environment(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a%20b"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "20"),
        ("OTEL_SERVICE_NAME", "order"),
        ("OTEL_RESOURCE_ATTRIBUTES", "zone=eu-1,service.version=2"),
    ]));
    let telemetry = telemetry.attribute("service.version", "1");
    let telemetry = telemetry.start().unwrap();
    let world = World::new().await;
    let grpc = world.grpc().await;
    for _ in 0..3 {
        assert_eq!(grpc.call("Get", &All::default(), &[]).await.code, Code::Ok);
    }
    let counted =
        "server_requests_total{method=\"/echo.v1.Echo/Get\",protocol=\"grpc\",code=\"OK\"}";
    let page = world.get("/metrics").await.text().to_owned();
    assert!(page.contains(counted), "{page}");
    let calls = shown(&world, counted).await;
    let found = export(&collector, |one| {
        one.value("server_requests_total", &GET) == Some(calls)
    })
    .await;
    for (name, expected) in [
        ("service.name", "order"),
        ("zone", "eu-1"),
        ("service.version", "2"),
    ] {
        assert_eq!(
            text(&found.resource, name).as_deref(),
            Some(expected),
            "{name}"
        );
    }
    assert_eq!(found.headers["x-tenant"], "a b");
    // Each family of the page, by kind, with what its help says.
    let page = world.get("/metrics").await.text().to_owned();
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let missing = |export: &Export| {
        let is_there = |line: &&str| {
            let (name, kind) = line.split_once(' ').unwrap();
            let sent = export.metrics.iter().find(|metric| metric.name == name);
            let sent = sent.and_then(|metric| metric.data.as_ref());
            match kind {
                "counter" => matches!(sent, Some(Data::Sum(sum)) if sum.is_monotonic),
                "gauge" => matches!(sent, Some(Data::Gauge(_))),
                "histogram" => matches!(sent, Some(Data::Histogram(_))),
                _ => matches!(sent, Some(Data::Summary(_))),
            }
        };
        let missing: Vec<&str> = types.clone().filter(|line| !is_there(line)).collect();
        missing
    };
    let all = export(&collector, |one| missing(one).is_empty()).await;
    let requests = all
        .metrics
        .iter()
        .find(|one| one.name == "server_requests_total");
    assert!(requests.unwrap().description.contains("requests answered"));
    let took = all
        .metrics
        .iter()
        .find(|one| one.name == "server_request_seconds")
        .unwrap();
    let Some(Data::Histogram(took_points)) = &took.data else {
        panic!("{took:?}")
    };
    assert_eq!(took.unit, "s");
    for point in &took_points.data_points {
        assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        assert!(
            0 < point.start_time_unix_nano && point.start_time_unix_nano < point.time_unix_nano
        );
    }
    export(&collector, |one| {
        one.value("telemetry_metric_exports_total", &[("outcome", "sent")]) > Some(1.0)
    })
    .await;
    telemetry.shutdown(Duration::from_secs(5)).await;
    let sent = collector.exports().len();
    assert!(sent > 2);
    telemetry.shutdown(Duration::from_secs(5)).await;
    assert_eq!(collector.exports().len(), sent, "it has ended");
}

#[tokio::test]
async fn what_was_counted_last_is_sent_when_the_service_has_drained() {
    let _alone = ALONE.lock().await;
    let collector = Collector::start().await;
    let telemetry = Telemetry::new("order")
        .endpoint(&collector.url)
        .environment(environment(&[("OTEL_METRIC_EXPORT_INTERVAL", "3600000")]));
    let telemetry = telemetry.start().unwrap();
    let platform = platform(Platform::builder("order").telemetry(telemetry)).await;
    let serving = platform.bind(platform::Service::new()).await.unwrap();
    assert!(collector.exports().is_empty(), "its time has not come");
    serving
        .run_until(std::future::ready(()), std::future::pending())
        .await;
    let exports = collector.exports();
    assert_eq!(exports.len(), 1);
    assert!(exports[0].value("server_requests_in_flight", &[]).is_some());
}

#[tokio::test]
async fn traces_and_metrics_go_each_where_it_is_said_or_nowhere() {
    let _alone = ALONE.lock().await;
    let (one, other) = (Collector::start().await, Collector::start().await);
    let trace = "cccc2f3577b34da6a3ce929d0e0e4736";
    let sent = format!("00-{trace}-00f067aa0ba902b7-01");
    let off = "OTEL_METRICS_EXPORTER";
    for (switched, metrics) in [(None, true), (Some((off, "none")), false)] {
        let variables = [
            Some(("OTEL_EXPORTER_OTLP_ENDPOINT", &*one.url)),
            Some(("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", &*other.url)),
            Some(("OTEL_METRIC_EXPORT_INTERVAL", "3600000")),
            switched,
        ];
        let variables: Vec<_> = variables.into_iter().flatten().collect();
        let telemetry = Telemetry::new("order").environment(environment(&variables));
        let telemetry = telemetry.start().unwrap();
        let world = World::new().await;
        let headers = [("traceparent", &*sent)];
        world
            .grpc()
            .await
            .call("Get", &All::default(), &headers)
            .await;
        let before = (one.trace(trace).len(), other.exports().len());
        telemetry.shutdown(Duration::from_secs(5)).await;
        assert!(one.trace(trace).len() > before.0);
        assert_eq!(other.exports().len() - before.1, usize::from(metrics));
        assert_eq!((one.exports().len(), other.trace(trace).len()), (0, 0));
    }
    let disabled = [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*one.url),
    ];
    let telemetry = Telemetry::new("order").environment(environment(&disabled));
    assert!(!telemetry.start().unwrap().is_on());
}

#[tokio::test]
async fn a_collector_that_is_down_or_silent_delays_neither_start_nor_calls_nor_the_end() {
    let _alone = ALONE.lock().await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    for endpoint in ["http://127.0.0.1:1", &silent] {
        let begun = Instant::now();
        let telemetry = Telemetry::new("order").environment(environment(&[
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", endpoint),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "200"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "10"),
        ]));
        let telemetry = telemetry.start().unwrap();
        assert!(
            begun.elapsed() < Duration::from_millis(500),
            "{:?}",
            begun.elapsed()
        );
        let world = World::new().await;
        let failures = "telemetry_metric_exports_total{outcome=\"failed\"}";
        let before = shown(&world, failures).await;
        assert_eq!(
            world
                .grpc()
                .await
                .call("Get", &All::default(), &[])
                .await
                .code,
            Code::Ok
        );
        eventually("failures, counted", async || {
            (shown(&world, failures).await > before).then_some(())
        })
        .await;
        let begun = Instant::now();
        telemetry.shutdown(Duration::from_millis(100)).await;
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{:?}",
            begun.elapsed()
        );
    }
}

#[tokio::test]
async fn points_that_the_collector_refuses_are_counted() {
    let _alone = ALONE.lock().await;
    let collector = Collector::refusing(3).await;
    let telemetry = Telemetry::new("order").endpoint(&collector.url);
    let telemetry = telemetry.environment(environment(&[("OTEL_METRIC_EXPORT_INTERVAL", "20")]));
    let telemetry = telemetry.start().unwrap();
    export(&collector, |one| {
        one.value("telemetry_metric_points_refused_total", &[]) >= Some(6.0)
    })
    .await;
    telemetry.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_collector_that_is_no_url_or_whose_certificate_is_missing_is_named() {
    let _alone = ALONE.lock().await;
    for (endpoint, certificate, expected) in [
        ("no url", "", "no url"),
        ("ftp://127.0.0.1:1", "", "http://"),
        ("https://127.0.0.1:1", "/missing/ca.pem", "/missing/ca.pem"),
    ] {
        let variables = [
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", endpoint),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", certificate),
        ];
        let telemetry = Telemetry::new("order").environment(environment(&variables));
        let error = telemetry.start().unwrap_err().to_string();
        assert!(
            error.contains(endpoint) && error.contains(expected),
            "{error}"
        );
    }
}
