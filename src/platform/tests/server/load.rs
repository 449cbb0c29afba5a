//! Too many calls, or too fast: both protocols are refused and told when to come again.

use http::Request;
use http_body_util::Full;
use platform::server::{Auth, Call, Credential, Identity, Rate, Server, Service, Surface};
use tonic::{Code, Status};

use crate::{
    echo::{All, until},
    world::{Answer, World, soon},
};

async fn get(world: &World, path: &str, token: &str) -> Answer {
    let request = Request::get(path)
        .header("host", "t")
        .header("authorization", format!("Bearer {token}"));
    world.http(request.body(Full::default()).unwrap()).await
}

#[tokio::test]
async fn calls_that_come_too_fast_are_refused_to_both_protocols_and_told_when_to_come_again() {
    // Slow enough that no busy machine makes room meanwhile.
    let world = World::with(|service| service.rate(Rate::per_second(0.001).burst(3))).await;
    let grpc = world.grpc().await;
    assert_eq!(grpc.call("Get", &All::default(), &[]).await.code, Code::Ok);
    assert_eq!(world.get("/v1/all/1").await.status, 200);
    assert_eq!(grpc.call("Get", &All::default(), &[]).await.code, Code::Ok);
    let answer = world.get("/v1/all/1").await;
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert_eq!(answer.json()["code"], 8);
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((900..=1000).contains(&wait), "{wait} s");
    let called = grpc.call("Get", &All::default(), &[]).await;
    assert_eq!(called.code, Code::ResourceExhausted);
    assert!(
        called.message.contains("Try%20again%20in"),
        "{}",
        called.message
    );
    assert!(called.headers.contains_key("grpc-retry-pushback-ms"));
    assert_eq!(
        world.get("/readyz").await.status,
        200,
        "probes are no calls"
    );
    let metrics = world.get("/metrics").await;
    assert!(
        metrics
            .text()
            .contains("server_shed_total{reason=\"rate\"}")
    );
}

#[tokio::test]
async fn a_rate_for_each_caller_goes_by_who_it_is() {
    let by_token = |credential: Credential<'_>, _: &Call| match credential {
        Credential::Bearer(name) => Ok(Identity {
            subject: name.to_owned(),
            ..Identity::default()
        }),
        _ => Err(Status::unauthenticated("who?")),
    };
    let world = World::with(|service| {
        service
            .auth(Auth::new(by_token))
            .rate(Rate::per_second(0.001).burst(1).each_caller())
    })
    .await;
    for (caller, expected) in [("ann", 200), ("ann", 429), ("bob", 200), ("ann", 429)] {
        assert_eq!(get(&world, "/v1/all/1", caller).await.status, expected);
    }
}

#[tokio::test]
async fn those_who_are_refused_have_a_rate_as_well() {
    let world = World::with(|service| {
        service
            .auth(Auth::token("s3cret").open(&[Surface::Health]))
            .rate(Rate::per_second(0.001).burst(3).each_address())
    })
    .await;
    let grpc = world.grpc().await;
    let called = grpc.call("Get", &All::default(), &[]).await;
    assert_eq!(called.code, Code::Unauthenticated);
    assert_eq!(get(&world, "/v1/all/1", "wrong").await.status, 401);
    assert_eq!(get(&world, "/metrics", "wrong").await.status, 401);
    for path in ["/v1/all/1", "/metrics", "/openapi.json"] {
        let answer = get(&world, path, "s3cret").await;
        assert_eq!(answer.status, 429, "{path}: {}", answer.text());
        assert!(answer.header("retry-after").is_some());
    }
    let called = grpc.call("Get", &All::default(), &[]).await;
    assert_eq!(called.code, Code::ResourceExhausted);
    assert_eq!(world.get("/readyz").await.status, 200, "health is open");
}

#[tokio::test]
async fn watches_of_health_take_no_place_of_a_call() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let world = World::with(|service| service.most_in_flight(1)).await;
    let mut health = HealthClient::new(world.channel().await);
    let mut watches = Vec::new();
    for _ in 0..3 {
        let watch = health.watch(HealthCheckRequest::default()).await.unwrap();
        watches.push(watch.into_inner());
        watches.last_mut().unwrap().message().await.unwrap();
    }
    // Every client keeps one open: they are not what keeps a server busy.
    assert_eq!(world.handle.in_flight(), 0);
    assert_eq!(world.get("/v1/all/1").await.status, 200);
    // A stream keeps its place until it ends.
    let mut sender = crate::world::http1(world.addr()).await;
    let request = Request::get("/v1/stall").header("host", "t");
    let stalled = sender.send_request(request.body(Full::default()).unwrap());
    let stalled = soon(stalled).await.unwrap();
    assert_eq!(world.get("/v1/all/1").await.status, 429);
    drop((stalled, sender));
    until("the place is free again", || world.handle.in_flight() == 0).await;
    assert_eq!(world.get("/v1/all/1").await.status, 200);
}

#[tokio::test]
async fn calls_beyond_the_most_in_flight_are_shed_and_told_to_come_again() {
    let world = World::with(|service| service.most_in_flight(1)).await;
    let grpc = world.grpc().await;
    let waiting = {
        let grpc = grpc.clone();
        tokio::spawn(async move { grpc.call("Wait", &All::default(), &[]).await.code })
    };
    until("a call is in flight", || world.handle.in_flight() == 1).await;
    let answer = world.get("/v1/all/1").await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.header("retry-after"), Some("1"));
    let called = grpc.call("Get", &All::default(), &[]).await;
    assert_eq!(called.code, Code::ResourceExhausted);
    world.echo.waiting.notify_waiters();
    assert_eq!(soon(waiting).await.unwrap(), Code::Ok);
    until("nothing is in flight", || world.handle.in_flight() == 0).await;
    assert_eq!(world.get("/v1/all/1").await.status, 200);
}

#[tokio::test]
async fn bounds_that_let_nothing_in_are_refused() {
    for (service, said) in [
        (Service::new().most_in_flight(0), "most_in_flight"),
        (Service::new().rate(Rate::per_second(0.0)), "rate: 0 calls"),
        (
            Service::new().rate(Rate::per_second(5.0).burst(0)),
            "a burst of 0",
        ),
    ] {
        let error = Server::bind("127.0.0.1:0", service).await.unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
}
