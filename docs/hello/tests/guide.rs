//! The guide, `docs/platform.md`, held true: each of its code blocks stands in a file that compiles,
//! and what it says of the service is tried on the service as a process, with a real etcd.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::collections::BTreeSet;
use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hello::pb::hello_service_client::HelloServiceClient;
use hello::pb::hello_service_server::{HelloService, HelloServiceServer};
use hello::pb::{GreetRequest, GreetResponse};
use hello::{DESCRIPTORS, Hello};
use http::Request as HttpRequest;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use platform::channel::{Connector, Hedge, TlsFiles};
use platform::config::Size;
use platform::gateway::{Endpoint, GatewayOptions, Upstreams};
use platform::server::{
    Allowed, ApiKeys, Auth, Call, Cors, Credential, Deadline, Draining, Gate, Identity,
    JsonOptions, Jwt, PeerCertificate, Rate, Serving, Surface, Tls, UnknownFields,
};
use platform::telemetry::Telemetry;
use platform::{
    Builder, ChannelOptions, Credentials, EtcdSettings, Gateway, Platform, Service, TlsSettings,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tests::realetcd::RealEtcd;
use tonic::{Code, Request, Response, Status};

/// Far longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut found: impl FnMut() -> F,
) -> T {
    let begun = Instant::now();
    loop {
        if let Some(it) = found().await {
            return it;
        }
        assert!(begun.elapsed() < PATIENCE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A builder that touches nothing of the machine's own.
fn alone(service: &str) -> Builder {
    Platform::builder(service)
        .environment([])
        .no_config_cache()
        .lease_ttl(Duration::from_secs(2))
        .drain_spread(Duration::from_millis(50))
}

async fn record(etcd: &RealEtcd, prefix: &str) -> Option<Value> {
    let text = etcd
        .etcdctl(&["get", "--prefix", "--print-value-only", prefix])
        .await;
    serde_json::from_str(text.lines().next()?).ok()
}

/// Status and body of a GET.
async fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let mut request = HttpRequest::get(path).header("host", "hello");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = sender
        .send_request(request.body(Empty::new()).unwrap())
        .await
        .unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    connection.abort();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// The service as a process; killed in the end.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_registers_follows_its_config_answers_both_protocols_and_drains() {
    let etcd = RealEtcd::start().await;
    let home = tempfile::tempdir().unwrap();
    let process = Command::new(env!("CARGO_BIN_EXE_hello"))
        .env("LISTEN", "127.0.0.1:0")
        .env("ETCD", etcd.endpoint())
        .env("XDG_CACHE_HOME", home.path())
        .spawn()
        .unwrap();
    let mut process = Process(process);
    let record = eventually("registered", || record(&etcd, "/services/hello/")).await;
    let endpoints = record["endpoints"].as_array().unwrap();
    let address = |protocol: &str| {
        let found = endpoints.iter().filter_map(Value::as_str);
        let mut found = found.filter_map(|one| one.strip_prefix(protocol));
        found.next().unwrap().parse::<SocketAddr>().unwrap()
    };
    let http = address("http://");
    assert_eq!(http, address("grpc://"), "one port");

    let answer = get(http, "/v1/hello/Ada", &[]).await;
    assert_eq!(answer, (200, r#"{"text":"Hello Ada"}"#.to_owned()));
    assert_eq!(get(http, "/v1/hello/", &[]).await.0, 404);
    let other = alone("other")
        .etcd([etcd.endpoint()])
        .start()
        .await
        .unwrap();
    assert_eq!(call(&other).await.unwrap(), "Hello Ada");
    for path in ["/healthz", "/readyz", "/metrics", "/openapi.json"] {
        assert_eq!(get(http, path, &[]).await.0, 200, "{path}");
    }

    etcd.etcdctl(&["put", "/config/hello/greeting", "Howdy"])
        .await;
    eventually("the change", || async {
        let (_, text) = get(http, "/v1/hello/Ada", &[]).await;
        (text == r#"{"text":"Howdy Ada"}"#).then_some(())
    })
    .await;
    etcd.etcdctl(&["put", "/config/hello/greeting", "[no, text]"])
        .await;
    let status = eventually("the refusal is told", || async {
        let status = self::record(&etcd, "/status/hello/").await?;
        (!status["rejected"].as_array()?.is_empty()).then_some(status)
    })
    .await;
    assert_eq!(status["rejected"][0]["key"], "hello/greeting");
    assert_eq!(call(&other).await.unwrap(), "Howdy Ada");
    etcd.etcdctl(&["del", "/config/hello/greeting"]).await;
    eventually("the layer below", || async {
        (call(&other).await.ok()? == "Hello Ada").then_some(())
    })
    .await;

    let pid = process.0.id().to_string();
    assert!(Command::new("kill").arg(&pid).status().unwrap().success());
    eventually("deregistered", || async {
        let gone = self::record(&etcd, "/services/hello/").await.is_none();
        gone.then_some(())
    })
    .await;
    let ended = eventually("the end", || {
        std::future::ready(process.0.try_wait().unwrap())
    })
    .await;
    assert!(ended.success());
}

async fn call(platform: &Platform) -> Result<String, Status> {
    let mut hello = HelloServiceClient::new(platform.channel("hello"));
    let mut request = Request::new(GreetRequest { name: "Ada".into() });
    request.set_timeout(Duration::from_secs(5));
    Ok(hello.greet(request).await?.into_inner().text)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_etcd_a_call_fails_saying_why_and_the_service_serves() {
    let platform = alone("hello")
        .default("greeting", "Hello")
        .etcd(["127.0.0.1:1"])
        .start()
        .await
        .unwrap();
    let service = HelloServiceServer::new(Hello::new(platform.config()).unwrap());
    let service = Service::new().grpc(service).descriptors(DESCRIPTORS);
    let serving = platform.bind(service).await.unwrap();
    assert_eq!(get(serving.local_addr(), "/readyz", &[]).await.0, 200);
    let status = call(&platform).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Retry {
    attempts: u32,
    hosts: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn config_is_layers_and_typed_values_that_change() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("config.yaml");
    fs::write(
        &path,
        "timeout: {write: 5s}\nretry: {attempts: 3, hosts: [a, b]}\n",
    )?;
    let platform = alone("hello")
        .default("timeout.write", "2s")
        .default("upload.max", "10MiB")
        .config_file(&path)
        .environment([("HELLO__UPLOAD__MAX".to_owned(), "20MiB".to_owned())])
        // Not there, and nothing waits for it.
        .etcd(["127.0.0.1:1"])
        .start()
        .await?;

    let config = platform.config();
    let timeout = config.live::<Duration>("timeout.write")?;
    let upload = config.live::<Size>("upload.max")?;
    let page = config.live_or("page.size", 50_u64)?;
    let retry = config.live_as::<Retry>("retry")?;
    let hosts: Vec<String> = config.read("retry.hosts")?;

    assert_eq!(timeout.get(), Duration::from_secs(5));
    assert_eq!(upload.get(), Size(20 << 20));
    assert_eq!(page.get(), 50);
    assert_eq!((retry.get().attempts, hosts.len()), (3, 2));

    let mut changes = timeout.changes();
    let _subscription = page.on_change(|size| tracing::info!(size, "another page size"));

    fs::write(&path, "timeout: {write: 1m30s}\n")?;
    let newest = tokio::time::timeout(PATIENCE, changes.next()).await?;
    assert_eq!(newest, Some(Duration::from_secs(90)));
    fs::write(&path, "timeout: {write: soon}\n")?;
    let mut standing = config.standing();
    let refused = standing.wait_for(|standing| !standing.rejected.is_empty());
    tokio::time::timeout(PATIENCE, refused).await??;
    assert_eq!(timeout.get(), Duration::from_secs(90));

    for (layer, found) in config.explain("upload.max") {
        tracing::info!(?layer, origin = %found.origin, "upload.max");
    }
    assert_eq!(config.explain("upload.max").len(), 2);
    let error = config
        .live::<Duration>("nothing.here")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("msctl config set hello/nothing.here"),
        "{error}"
    );
    Ok(())
}

#[derive(Debug, Serialize, JsonSchema)]
struct Settings {
    /// What people are greeted with.
    greeting: String,
    limits: Limits,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Limits {
    /// Names on one page.
    #[schemars(range(min = 1, max = 500))]
    page: u64,
    /// The largest request.
    #[schemars(extend("x-maximum" = "64MiB"))]
    upload: Size,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            greeting: "Hello".into(),
            limits: Limits {
                page: 50,
                upload: Size(10 << 20),
            },
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_type_of_the_config_is_its_defaults_its_check_and_its_published_schema()
-> anyhow::Result<()> {
    let etcd = RealEtcd::start().await;

    let builder = Platform::builder("hello").schema::<Settings>();

    let builder = builder.environment([]).no_config_cache();
    let platform = builder.etcd([etcd.endpoint()]).start().await?;
    let page = platform.config().live::<u64>("limits.page")?;
    assert_eq!(page.get(), 50);
    eventually("published", || record(&etcd, "/schema/hello")).await;
    etcd.etcdctl(&["put", "/config/hello/limits.page", "501"])
        .await;
    let mut standing = platform.config().standing();
    let refused = standing.wait_for(|standing| !standing.rejected.is_empty());
    tokio::time::timeout(PATIENCE, refused).await??;
    assert_eq!(page.get(), 50);
    Ok(())
}

#[derive(Clone, Default)]
struct Database(Arc<AtomicBool>);

impl Database {
    async fn ping(&self) -> Result<(), String> {
        let lost = self.0.load(Ordering::Relaxed);
        if lost {
            Err("connection lost".into())
        } else {
            Ok(())
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_not_alive_leaves_the_registry_and_comes_back() {
    let etcd = RealEtcd::start().await;
    let database = Database::default();
    let broken = database.0.clone();
    let platform = alone("hello")
        .etcd([etcd.endpoint()])
        .start()
        .await
        .unwrap();

    platform.liveness_check("database", move || {
        let database = database.clone();
        async move { database.ping().await }
    });

    let _serving = platform.bind(Service::new()).await.unwrap();
    eventually("registered", || record(&etcd, "/services/hello/")).await;
    broken.store(true, Ordering::Relaxed);
    eventually("out", || async {
        record(&etcd, "/services/hello/")
            .await
            .is_none()
            .then_some(())
    })
    .await;
    broken.store(false, Ordering::Relaxed);
    eventually("back", || record(&etcd, "/services/hello/")).await;
}

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

#[tokio::test(flavor = "multi_thread")]
async fn a_process_with_signals_of_its_own_drains_when_it_says() -> anyhow::Result<()> {
    let platform = alone("hello").start().await?;
    let service = Service::new();
    let (leave, left) = tokio::sync::oneshot::channel::<()>();
    let stop_now = std::future::pending();

    let serving = platform.bind(service).await?;
    let handle = serving.handle();
    let leave_when = async move { drop(left.await) };
    let run = tokio::spawn(serving.run_until(leave_when, stop_now));

    assert!(leave.send(()).is_ok());
    tokio::time::timeout(PATIENCE, run).await??;
    assert!(handle.stage().is_draining());
    Ok(())
}

#[test]
fn files_for_calls_over_tls_that_cannot_be_used_are_errors_at_the_start() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let [authority, certificate, key] =
        ["ca.pem", "tls.crt", "tls.key"].map(|name| folder.path().join(name));
    let asked = || -> Result<ChannelOptions, platform::Error> {
        let (authority, certificate, key) = (authority.clone(), certificate.clone(), key.clone());

        let files = TlsFiles {
            ca: Some(authority),
            identity: Some((certificate, key)),
            server_name: None,
        };
        let options = ChannelOptions {
            connector: Connector::default().tls_files(files)?,
            ..ChannelOptions::default()
        };

        Ok(options)
    };
    let error = asked().unwrap_err().to_string();
    assert!(error.contains("tls.crt"), "{error}");
    let signed = rcgen::generate_simple_self_signed(["hello".to_owned()])?;
    fs::write(&authority, signed.cert.pem())?;
    fs::write(&certificate, signed.cert.pem())?;
    fs::write(&key, signed.signing_key.serialize_pem())?;
    asked()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_be_used_are_errors_at_the_start() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, "no certificate")?;
    let password = String::from("secret");

    let mut settings = EtcdSettings::new(["https://etcd-1:2379", "https://etcd-2:2379"]);
    settings.user = Some(Credentials::new("hello", password));
    settings.tls = Some(TlsSettings {
        ca: Some(fs::read(&ca)?),
        ..TlsSettings::default()
    });
    let options = ChannelOptions {
        timeout: Some(Duration::from_secs(3)),
        idempotent: Arc::new(["/hello.v1.HelloService/Greet".to_owned()].into()),
        hedge_after: Some(Hedge::Percentile(0.95)),
        ..ChannelOptions::default()
    };
    let builder = Platform::builder("hello")
        .etcd_settings(settings)
        .channel_options(options)
        .instance_id("hello-a")
        .version("1.4.2")
        .metadata("zone", "eu-1")
        .listen("0.0.0.0:9100")
        .advertise("grpc://10.0.0.4:9100")
        .advertise("http://10.0.0.4:9100")
        .lease_ttl(Duration::from_secs(10));

    let error = builder.start().await.unwrap_err().to_string();
    assert!(error.starts_with("etcd settings: "), "{error}");
    assert!(!error.contains("secret"), "{error}");
    Ok(())
}

/// Each fenced block of these languages.
fn blocks(text: &str, languages: &[&str]) -> Vec<Vec<String>> {
    let mut blocks = Vec::new();
    let mut open: Option<(bool, Vec<String>)> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), open.as_mut()) {
            (Some(language), None) => open = Some((languages.contains(&language), Vec::new())),
            (Some(_), Some(_)) => {
                if let Some((true, block)) = open.take() {
                    blocks.push(block);
                }
            }
            (None, Some((_, block))) => block.push(line.trim().to_owned()),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

#[test]
fn every_code_block_of_the_guide_stands_in_a_file_that_is_compiled() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = fs::read_to_string(here.join("../platform.md")).unwrap();
    let files = [
        "Cargo.toml",
        "build.rs",
        "hello.proto",
        "lib.rs",
        "main.rs",
        "tests/guide.rs",
    ]
    .map(|file| fs::read_to_string(here.join(file)).unwrap())
    .map(|text| {
        text.lines()
            .map(|line| line.trim().to_owned())
            .collect::<Vec<_>>()
    });
    let blocks = blocks(&guide, &["rust", "toml", "proto"]);
    assert!(blocks.len() > 8, "{}", blocks.len());
    for block in blocks {
        let stands = |file: &Vec<String>| file.windows(block.len()).any(|part| part == block);
        assert!(
            files.iter().any(stands),
            "in no file:\n{}",
            block.join("\n")
        );
    }
}

/// Every Rust file below a folder, read.
fn sources(folder: &Path, found: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

/// Kind and name of every metric that code makes.
fn made(source: &str) -> BTreeSet<(&str, &str)> {
    let mut found = BTreeSet::new();
    for kind in ["counter", "gauge", "histogram"] {
        let call = format!("{kind}!(");
        for (at, _) in source.match_indices(&call) {
            // Those of describe_counter! are no metrics.
            if source[..at].ends_with('_') {
                continue;
            }
            let mut quoted = source[at + call.len()..].splitn(3, '"');
            let (between, name) = (quoted.next().unwrap(), quoted.next().unwrap());
            if between.trim().is_empty() {
                found.insert((kind, name));
            }
        }
    }
    found
}

/// Kind and name of every metric in a table.
fn told(text: &str) -> BTreeSet<(&str, &str)> {
    let rows = text.lines().filter_map(|row| row.strip_prefix("| `"));
    rows.filter_map(|row| {
        let (name, rest) = row.split_once('`')?;
        let kind = rest.split('|').nth(1)?.trim();
        Some((kind, name.split('{').next()?))
    })
    .filter(|(kind, _)| ["counter", "gauge", "histogram"].contains(kind))
    .collect()
}

#[test]
fn every_metric_of_the_library_is_told_with_its_kind_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut source = String::new();
    sources(&root.join("src/platform"), &mut source);
    sources(&root.join("src/etcd"), &mut source);
    let table = fs::read_to_string(root.join("docs/metrics.md")).unwrap();
    let (made, told) = (made(&source), told(&table));
    assert!(made.len() > 30, "{made:?}");
    assert_eq!(made, told);
}

/// As the guide has it; compiled, and begun without a collector.
#[tokio::test]
async fn a_service_without_a_collector_starts_with_telemetry_all_the_same() {
    use tracing_subscriber::prelude::*;
    let begin = async || -> anyhow::Result<Platform> {
        let telemetry = Telemetry::new("hello").attribute("service.version", "1.4.2");
        let telemetry = telemetry.start()?;
        tracing_subscriber::registry()
            .with(tracing_subscriber::fmt::layer())
            .with(telemetry.layer())
            .init();
        let builder = Platform::builder("hello").telemetry(telemetry);
        Ok(builder.environment([]).no_config_cache().start().await?)
    };
    let platform = begin().await.unwrap();
    assert_eq!(platform.service().as_str(), "hello");
}

#[test]
fn the_set_up_takes_less_than_fifteen_lines() {
    let main = include_str!("../main.rs");
    let set_up = main.split("async fn main()").nth(1).unwrap();
    let lines = set_up
        .lines()
        .skip(1)
        .filter(|line| line.trim() != "}")
        .count();
    assert!(lines < 15, "{lines}");
}
