//! What an operator sees of a server.

use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt as _, Full};
use platform::channel::breaker::Policy;
use platform::{Channel, ChannelOptions};
use prost::Message as _;
use tonic::{Code, body::Body};
use tower::Service as _;

use crate::{
    echo::{All, framed},
    world::{World, eventually},
};

/// The value of a counter or gauge without labels on `/metrics`.
fn value(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| {
        let (found, value) = line.rsplit_once(' ')?;
        (found == name).then(|| value.parse().unwrap())
    })
}

/// The value of a metric with this one label.
fn of_service(page: &str, name: &str, service: &str) -> f64 {
    value(page, &format!("{name}{{service=\"{service}\"}}")).unwrap_or(0.0)
}

#[tokio::test]
async fn a_channel_shows_its_endpoints_and_leaves_nothing_behind() {
    let world = World::new().await;
    let at = |address: &str| fleet::Endpoint::parse(&format!("grpc://{address}")).unwrap();
    let endpoints = [at(&world.addr().to_string()), at("127.0.0.1:1")];
    let options = ChannelOptions {
        breaker: Policy {
            ejection: Duration::from_secs(3_600),
            longest: Duration::from_secs(3_600),
            ..Policy::default()
        },
        ..ChannelOptions::default()
    };
    let channel = Channel::fixed("shown", endpoints, options);
    channel.ready(Duration::from_secs(60)).await.unwrap();
    let figures = async || {
        let page = world.get("/metrics").await;
        ["endpoints", "endpoints_ready", "endpoints_ejected"]
            .map(|name| of_service(page.text(), &format!("platform_channel_{name}"), "shown"))
    };
    eventually("one of two is ready", async || {
        (figures().await == [2.0, 1.0, 0.0]).then_some(())
    })
    .await;
    let all = All {
        number: Code::Unavailable as i32,
        ..All::default()
    };
    for _ in 0..5 {
        let request = Request::post("http://t/echo.v1.Echo/Fail")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Body::new(Full::new(framed(&all.encode_to_vec()))));
        let answer = channel.clone().call(request.unwrap()).await.unwrap();
        let body = answer.into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["grpc-status"], "14");
    }
    assert_eq!(figures().await, [2.0, 0.0, 1.0]);
    let page = world.get("/metrics").await;
    let page = page.text();
    for (name, expected) in [
        ("calls_total", 5.0),
        ("failures_total", 5.0),
        ("ejections_total", 1.0),
    ] {
        let found = of_service(page, &format!("platform_channel_{name}"), "shown");
        assert_eq!(found, expected, "{name}");
    }
    assert!(page.contains("# HELP platform_channel_ejections_total times a breaker opened"));
    // The request for this page is one.
    assert!(value(page, "server_requests_in_flight") >= Some(1.0));
    drop(channel);
    eventually("nothing is left", async || {
        (figures().await == [0.0, 0.0, 0.0]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn histograms_are_summed_up_though_nobody_asks_for_them() {
    let world = World::new().await;
    // Asking does not count: only the rounds that come by themselves do.
    let rounds = async || {
        let page = world.get("/metrics").await;
        value(page.text(), "server_metrics_upkeeps_total").unwrap_or(0.0)
    };
    let before = rounds().await;
    eventually("a round", async || {
        (rounds().await >= before + 2.0).then_some(())
    })
    .await;
    drop(world);
}
