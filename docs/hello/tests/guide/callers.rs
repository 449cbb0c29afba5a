//! Who may call: health, gates, keys, tokens, limits, certificates.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hello::DESCRIPTORS;
use hello::pb::hello_service_client::HelloServiceClient;
use hello::pb::hello_service_server::{HelloService, HelloServiceServer};
use hello::pb::{GreetRequest, GreetResponse};
use platform::gateway::{Endpoint, GatewayOptions, Upstreams};
use platform::server::{
    Allowed, ApiKeys, Auth, Call, Cors, Credential, Deadline, Draining, Gate, Identity,
    JsonOptions, Jwt, PeerCertificate, Rate, Serving, Surface, Tls, UnknownFields,
};
use platform::{Gateway, Service};
use tonic::{Code, Request, Response, Status};

use super::{alone, get};

struct Maintenance(AtomicBool);

#[tonic::async_trait]
impl Gate for Maintenance {
    async fn admit(&self, call: &Call) -> Result<(), Status> {
        match call.surface() {
            Surface::Api if self.0.load(Ordering::Relaxed) => {
                Err(Status::unavailable("in maintenance; try again in a minute"))
            }
            _ => Ok(()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_gates_say_who_may_call() {
    let platform = alone("hello").start().await.unwrap();

    let service = Service::new().grpc(HelloServiceServer::new(Who));
    let health = service.health();
    health.report("hello.v1.HelloService", Serving::No);

    let service = service
        .descriptors(DESCRIPTORS)
        .gate(Maintenance(AtomicBool::new(true)))
        .most_in_flight(1_000)
        .default_timeout(Duration::from_secs(10));

    let serving = platform.bind(service).await.unwrap();
    let address = serving.local_addr();
    assert_eq!(get(address, "/v1/hello/Ada", &[]).await.0, 503);
    assert_eq!(get(address, "/readyz", &[]).await.0, 200);
    let one = "/healthz?service=hello.v1.HelloService";
    assert_eq!(get(address, one, &[]).await.0, 503);
    health.report("hello.v1.HelloService", Serving::Yes);
    assert_eq!(get(address, one, &[]).await.0, 200);
}

/// Tells callers who they are.
struct Who;

#[tonic::async_trait]
impl HelloService for Who {
    async fn greet(
        &self,
        request: Request<GreetRequest>,
    ) -> Result<Response<GreetResponse>, Status> {
        let caller = request.extensions().get::<Identity>();
        let deadline = request.extensions().get::<Deadline>();
        let draining = request.extensions().get::<Draining>();

        assert!(deadline.is_some() && draining.is_some());
        let text = caller.map_or("nobody", |caller| &caller.subject).to_owned();
        Ok(Response::new(GreetResponse { text }))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_check_guards_both_protocols() {
    let platform = alone("hello").start().await.unwrap();

    let check = |credential: Credential<'_>, call: &Call| match credential {
        Credential::ApiKey("k-42") => Ok(Identity {
            subject: "billing".into(),
            ..Identity::default()
        }),
        Credential::Absent => Err(Status::unauthenticated("send the header x-api-key")),
        _ => Err(Status::permission_denied(call.method().to_owned())),
    };
    let auth = Auth::new(check).open(&[Surface::Health, Surface::Metrics]);
    let service = Service::new()
        .grpc(HelloServiceServer::new(Who))
        .descriptors(DESCRIPTORS)
        .auth(auth);

    let service = service.default_timeout(Duration::from_secs(10));
    let serving = platform.bind(service).await.unwrap();
    let address = serving.local_addr();
    for (path, headers, status) in [
        ("/v1/hello/Ada", &[][..], 401),
        ("/v1/hello/Ada", &[("x-api-key", "k-1")], 403),
        ("/v1/hello/Ada", &[("x-api-key", "k-42")], 200),
        ("/readyz", &[], 200),
        ("/openapi.json", &[], 401),
    ] {
        assert_eq!(get(address, path, headers).await.0, status, "{path}");
    }
    let mut hello = HelloServiceClient::connect(format!("http://{address}"))
        .await
        .unwrap();
    let status = hello.greet(GreetRequest { name: "Ada".into() }).await;
    assert_eq!(status.unwrap_err().code(), Code::Unauthenticated);
    let mut request = Request::new(GreetRequest { name: "Ada".into() });
    request
        .metadata_mut()
        .insert("x-api-key", "k-42".parse().unwrap());
    let text = hello.greet(request).await.unwrap().into_inner().text;
    assert_eq!(text, "billing");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_tokens_limits_and_pages_are_settings_of_the_service() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("keys");
    fs::write(&file, "billing k-42\n")?;

    let keys = ApiKeys::file(&file, Duration::from_secs(10)).await?;
    let service = Service::new().auth(Auth::new(keys).open(&[Surface::Health]));

    let service = service
        .grpc(HelloServiceServer::new(Who))
        .descriptors(DESCRIPTORS);

    let service = service
        .rate(Rate::per_second(2_000.0))
        .rate(Rate::per_second(50.0).burst(200).each_caller())
        .rate(Rate::per_second(20.0).burst(100).each_address())
        .most_in_flight(500)
        .default_timeout(Duration::from_secs(10));

    let service = service
        .cors(Cors::origins(["https://shop.example"]).expose("grpc-metadata-cost"))
        .gzip_from(1024);

    let mut json = JsonOptions {
        max_request: 1 << 20,
        metadata: Allowed::only(["tenant", "trace-*"]),
        ..JsonOptions::default()
    };
    json.parse.unknown_fields = UnknownFields::Reject;
    json.parse.max_nesting = 50;
    let service = service.json(json);

    let serving = alone("hello").start().await?.bind(service).await?;
    let address = serving.local_addr();
    for (path, headers, status) in [
        ("/v1/hello/Ada", &[][..], 401),
        ("/v1/hello/Ada", &[("x-api-key", "k-42")], 200),
        ("/v1/hello/Ada?nobody=1", &[("x-api-key", "k-42")], 400),
        ("/healthz", &[], 200),
    ] {
        assert_eq!(get(address, path, headers).await.0, status, "{path}");
    }

    // Nobody is there to publish keys, which nobody waits for.
    let service = Service::new()
        .grpc(HelloServiceServer::new(Who))
        .descriptors(DESCRIPTORS);
    let tokens = Jwt::keys_from_url("https://id.example/.well-known/jwks.json")
        .issuer("https://id.example")
        .audience("hello")
        .start()
        .await?;
    let service = service.auth(Auth::new(tokens));
    let serving = alone("hello").start().await?.bind(service).await?;
    let (status, _) = get(serving.local_addr(), "/v1/hello/Ada", &[]).await;
    assert!(status == 401 || status == 503, "{status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_has_the_layers_of_a_service() -> anyhow::Result<()> {
    let upstreams = Upstreams::Addresses(vec![vec![Endpoint::parse("grpc://127.0.0.1:9100")?]]);
    let service = Service::new().rate(Rate::per_second(50.0).each_address());
    let gateway =
        Gateway::bind_with("127.0.0.1:0", upstreams, GatewayOptions::default(), service).await?;
    let (status, _) = get(gateway.local_addr(), "/healthz", &[]).await;
    assert_eq!(status, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_used_is_refused_before_the_port_is_open() {
    let platform = alone("hello").start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [certificates, key, callers] =
        ["tls.crt", "tls.key", "callers.crt"].map(|name| folder.path().join(name));

    let tls = Tls::files(&certificates, &key).clients(&callers);
    let service = Service::new().tls(tls);

    fn may_greet(request: &Request<GreetRequest>) -> bool {
        let caller = request.extensions().get::<PeerCertificate>();
        caller.is_some_and(|caller| caller.dns_names().any(|name| name == "order"))
    }

    assert!(!may_greet(&Request::new(GreetRequest::default())));
    let error = platform.bind(service).await.unwrap_err().to_string();
    assert!(error.contains("tls.crt"), "{error}");
}
