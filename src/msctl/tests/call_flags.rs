//! The flags of `call` and `describe` that a server must be made for: TLS both ways, authority,
//! headers, descriptors from elsewhere, a socket file, and answers that are too large.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::Value;
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service};
use tonic::server::NamedService;
use tonic::transport::server::Router;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Status};
use tonic_health::pb::health_server::HealthServer;

use crate::demo::Demo;
use crate::world::{Done, World, command, run};

const HEALTH: &str = "grpc.health.v1.Health/Check";

/// Answers with what it was sent in its headers: `seen-authority`, `seen-x-token`, ….
#[derive(Clone)]
struct Telling<S>(S);

impl<S: NamedService> NamedService for Telling<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Telling<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let mut seen = Vec::new();
        if let Some(authority) = request.uri().authority() {
            seen.push(("seen-authority".to_owned(), authority.to_string()));
        }
        for (name, value) in request.headers() {
            if name.as_str().starts_with("x-") {
                let value = value.to_str().unwrap().to_owned();
                seen.push((format!("seen-{name}"), value));
            }
        }
        let answer = self.0.call(request);
        Box::pin(async move {
            let mut answer = answer.await?;
            for (name, value) in seen {
                let name = http::HeaderName::try_from(name).unwrap();
                answer.headers_mut().append(name, value.parse().unwrap());
            }
            Ok(answer)
        })
    }
}

/// What a server has beside health.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reflection {
    None,
    /// For who sends `x-reflect: please`.
    Guarded,
}

fn router(mut builder: Server, reflection: Reflection) -> Router {
    let (_, health) = tonic_health::server::health_reporter();
    let router = builder.add_service(Telling(health));
    if reflection == Reflection::None {
        return router;
    }
    let service = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .unwrap();
    let guard = |request: Request<()>| match request.metadata().get("x-reflect") {
        Some(value) if value == "please" => Ok(request),
        _ => Err(Status::permission_denied("say please")),
    };
    router.add_service(tonic::service::interceptor::InterceptedService::new(
        service, guard,
    ))
}

// The health server's type is part of the signature above.
const _: fn() = || {
    fn named<T: NamedService>() {}
    named::<Telling<HealthServer<tonic_health::server::HealthService>>>();
};

/// A server, an authority that signed its certificate, and a home.
struct Bench {
    runtime: tokio::runtime::Runtime,
    home: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self {
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap(),
            home: tempfile::tempdir().unwrap(),
        }
    }

    fn serve(&self, builder: Server, reflection: Reflection) -> String {
        let _within = self.runtime.enter();
        let listener = self
            .runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let served = router(builder, reflection);
        self.runtime
            .spawn(served.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }

    fn path(&self, name: &str) -> String {
        self.home.path().join(name).to_str().unwrap().to_owned()
    }

    fn msctl(&self, arguments: &[&str]) -> Done {
        let mut command = command(self.home.path());
        command.env("MSCTL_TEST_TOKEN", "t0k").args(arguments);
        run(&mut command, b"")
    }

    /// The headers of the answer to a health check.
    fn seen(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["call", HEALTH, "-d", "{}", "--envelope"];
        all.extend(arguments);
        let done = self.msctl(&all).ok();
        let envelope = done.json();
        assert_eq!(envelope["messages"][0]["status"], "SERVING", "{envelope}");
        envelope["headers"].clone()
    }

    /// The descriptors of health, as a server with reflection gives them.
    fn protoset(&self) -> String {
        let server = self.serve(Server::builder(), Reflection::Guarded);
        let file = self.path("health.binpb");
        let wrote = self.msctl(&[
            "describe",
            "--address",
            &server,
            "-H",
            "x-reflect: please",
            "--protoset-out",
            &file,
        ]);
        let wrote = wrote.ok();
        assert!(
            wrote.out.contains("grpc.health.v1.Health/Check"),
            "{wrote:?}"
        );
        file
    }
}

/// An authority, and what it signed, as files.
struct Authority {
    ca: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(folder: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = folder.join("ca.pem");
        std::fs::write(&ca, params.self_signed(&key).unwrap().pem()).unwrap();
        Self {
            ca,
            issuer: Issuer::new(params, key),
        }
    }

    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

#[test]
fn tls_is_spoken_with_the_named_authority_and_the_clients_certificate() {
    let bench = Bench::new();
    let authority = Authority::new(bench.home.path());
    let (certificate, key) = authority.sign("inner.test");
    let ca = std::fs::read(&authority.ca).unwrap();
    let tls = || ServerTlsConfig::new().identity(Identity::from_pem(&certificate, &key));
    let mutual = tls().client_ca_root(Certificate::from_pem(&ca));
    let file = bench.protoset();
    let with = |address: &str, more: &[&str]| {
        let mut all = vec![
            "call",
            HEALTH,
            "-d",
            "{}",
            "--address",
            address,
            "--protoset",
            &file,
        ];
        all.extend(more);
        bench.msctl(&all)
    };
    let ca = authority.ca.to_str().unwrap();

    let one_way = bench.serve(
        Server::builder().tls_config(tls()).unwrap(),
        Reflection::None,
    );
    with(&one_way, &["--cacert", ca, "--server-name", "inner.test"]).ok();
    for wrong in [
        // Another name, and an authority that is not trusted.
        &["--cacert", ca, "--server-name", "other.test"][..],
        &["--cacert", ca],
        &["--tls"],
    ] {
        let done = with(&one_way, wrong);
        assert_eq!(done.code, 64 + 14, "{wrong:?} {done:?}");
        assert!(done.err.starts_with("error: "), "{done:?}");
    }

    // Without TLS the connection ends as a broken one or as one that speaks no HTTP/2, as it happens;
    // what it is told as is always one.
    for _ in 0..8 {
        let plain = with(&one_way, &[]);
        assert_eq!(plain.code, 64 + 14, "{plain:?}");
        let told = format!("error: {one_way}: the server speaks TLS: add --tls");
        assert!(plain.err.starts_with(&told), "{plain:?}");
    }
    let described = bench.msctl(&["describe", "--address", &one_way]);
    assert_eq!(described.code, 64 + 14, "{described:?}");
    assert!(described.err.contains("add --tls"), "{described:?}");

    let both_ways = bench.serve(
        Server::builder().tls_config(mutual).unwrap(),
        Reflection::None,
    );
    let (certificate, key) = authority.sign("client.test");
    let (cert, key_file) = (bench.path("client.pem"), bench.path("client.key"));
    std::fs::write(&cert, certificate).unwrap();
    std::fs::write(&key_file, key).unwrap();
    let trusted = ["--cacert", ca, "--server-name", "inner.test"];
    let anonymous = with(&both_ways, &trusted);
    assert_eq!(anonymous.code, 64 + 14, "{anonymous:?}");
    let mut known = trusted.to_vec();
    known.extend(["--cert", &cert, "--key", &key_file]);
    with(&both_ways, &known).ok();
    let half = with(&both_ways, &["--cert", &cert]);
    assert_eq!(half.code, 2, "{half:?}");
    let missing = with(&both_ways, &["--cacert", "/nowhere"]);
    assert_eq!(
        (missing.code, missing.err.starts_with("error: /nowhere: ")),
        (2, true)
    );
}

#[test]
fn headers_authority_and_the_environment_reach_the_server_as_they_were_given() {
    let bench = Bench::new();
    let file = bench.protoset();
    let server = bench.serve(Server::builder(), Reflection::None);
    let seen = bench.seen(&[
        "--address",
        &server,
        "--protoset",
        &file,
        "--authority",
        "inner.test:99",
        "-H",
        "x-token: Bearer ${MSCTL_TEST_TOKEN}",
        "-H",
        "x-many: a",
        "-H",
        "x-many: b",
        "-H",
        "x-raw-bin: AAEC",
    ]);
    assert_eq!(seen["seen-authority"], "inner.test:99");
    assert_eq!(seen["seen-x-token"], "Bearer t0k");
    assert_eq!(seen["seen-x-many"], serde_json::json!(["a", "b"]));
    assert_eq!(seen["seen-x-raw-bin"], "AAEC");
    let plain = bench.seen(&["--address", &server, "--protoset", &file]);
    assert_eq!(plain["seen-authority"], server.as_str());
}

#[test]
fn headers_for_reflection_go_with_reflection_alone() {
    let bench = Bench::new();
    let server = bench.serve(Server::builder(), Reflection::Guarded);
    let refused = bench.msctl(&["call", HEALTH, "--address", &server, "-d", "{}"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("say please"), "{refused:?}");
    let seen = bench.seen(&[
        "--address",
        &server,
        "--reflection-header",
        "x-reflect: please",
    ]);
    assert_eq!(seen.get("seen-x-reflect"), None, "{seen}");
    let seen = bench.seen(&[
        "--address",
        &server,
        "--no-cache",
        "-H",
        "x-reflect: please",
    ]);
    assert_eq!(seen["seen-x-reflect"], "please");
    assert_eq!(bench.msctl(&["describe", "--address", &server]).code, 1);
    let described = [
        "describe",
        "Health",
        "--address",
        &server,
        "-H",
        "x-reflect: please",
    ];
    assert!(
        bench
            .msctl(&described)
            .ok()
            .out
            .contains("service grpc.health.v1.Health")
    );
}

#[test]
fn a_server_without_reflection_is_called_by_descriptor_files() {
    let bench = Bench::new();
    let server = bench.serve(Server::builder(), Reflection::None);
    let refused = bench.msctl(&["call", HEALTH, "--address", &server, "-d", "{}"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("--protoset"), "{refused:?}");

    let folder = bench.home.path().join("inc/part");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(
        folder.join("answer.proto"),
        "syntax = \"proto3\"; package grpc.health.v1;\nmessage HealthCheckResponse { enum S { UNKNOWN = 0; SERVING = 1; } S status = 1; }\n",
    )
    .unwrap();
    let proto = bench.path("health.proto");
    std::fs::write(
        &proto,
        "syntax = \"proto3\"; package grpc.health.v1;\nimport \"part/answer.proto\";\nmessage HealthCheckRequest { string service = 1; }\nservice Health { rpc Check(HealthCheckRequest) returns (HealthCheckResponse); }\n",
    )
    .unwrap();
    let include = bench.path("inc");
    let home = bench.home.path().to_str().unwrap();
    let call = [
        "call",
        HEALTH,
        "--address",
        &server,
        "-d",
        "{}",
        "--proto",
        &proto,
    ];
    let with = |more: &[&str]| bench.msctl(&[&call[..], more].concat());
    let answer = with(&["-I", &include, "-I", home]).ok().json();
    assert_eq!(answer["status"], "SERVING");
    let answer = with(&["-I", &include, "-I", home, "--enum-numbers"])
        .ok()
        .json();
    assert_eq!(answer["status"], 1);
    let missing = with(&["-I", home]);
    assert_eq!(missing.code, 2, "{missing:?}");
    assert!(missing.err.contains("part/answer.proto"), "{missing:?}");

    let file = bench.protoset();
    let broken = bench.path("broken.binpb");
    std::fs::write(&broken, b"\xff\xff").unwrap();
    let call = [
        "call",
        HEALTH,
        "--address",
        &server,
        "-d",
        "{}",
        "--protoset",
    ];
    bench.msctl(&[&call[..], &[&file]].concat()).ok();
    let refused = bench.msctl(&[&call[..], &[&broken]].concat());
    assert_eq!(refused.code, 2, "{refused:?}");
}

#[test]
fn a_socket_file_is_called_like_any_address() {
    let bench = Bench::new();
    let file = bench.protoset();
    let path = bench.path("sock");
    let listener = {
        let _within = bench.runtime.enter();
        UnixListener::bind(&path).unwrap()
    };
    let served = router(Server::builder(), Reflection::None);
    bench
        .runtime
        .spawn(served.serve_with_incoming(UnixListenerStream::new(listener)));
    let address = format!("unix:{path}");
    bench.seen(&["--address", &address, "--protoset", &file]);
    let gone = format!("unix:{path}-gone");
    let done = bench.msctl(&["call", HEALTH, "--address", &gone, "--protoset", &file]);
    assert_eq!(done.code, 64 + 14, "{done:?}");
}

#[test]
fn a_server_that_accepts_and_never_speaks_ends_in_the_time_that_was_given() {
    let bench = Bench::new();
    let file = bench.protoset();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let call = ["call", HEALTH, "--address", &address, "-d", "{}"];
    let with = |more: &[&str]| bench.msctl(&[&call[..], more].concat());
    let done = with(&["--tls", "--connect-timeout", "200ms"]);
    assert_eq!(done.code, 64 + 14, "{done:?}");
    assert!(done.err.contains("no connection within 200ms"), "{done:?}");
    // Whatever it waits for: an answer, descriptors, a handshake.
    for more in [
        &["--protoset", &file][..],
        &[],
        &["--tls", "--connect-timeout", "1h"],
    ] {
        let done = with(&[more, &["--max-time", "300ms"]].concat());
        assert_eq!(done.code, 64 + 4, "{more:?} {done:?}");
        assert!(
            done.err.starts_with("error: DEADLINE_EXCEEDED (4): "),
            "{done:?}"
        );
    }
}

#[test]
fn a_message_beyond_the_limit_is_refused_by_its_size() {
    let world = World::embedded();
    let _demo = Demo::start(&world);
    let whole = world.msctl(&["call", "user.List", "-d", "{}"]).ok();
    assert!(whole.out.len() > 400, "{whole:?}");
    let done = world.msctl(&[
        "call",
        "user.List",
        "-d",
        "{}",
        "--max-message-size",
        "100B",
    ]);
    assert_eq!(done.code, 64 + 11, "{done:?}");
    assert!(done.err.contains("OUT_OF_RANGE"), "{done:?}");
    let done = world.msctl(&["call", "user.List", "--max-message-size", "none"]);
    assert_eq!(done.code, 2, "{done:?}");
}

#[test]
fn a_registered_service_may_be_called_by_files_too_and_is_then_not_asked() {
    let world = World::embedded();
    let demo = Demo::start(&world);
    let file = world.home.path().join("user.binpb");
    let file = file.to_str().unwrap();
    world
        .msctl(&["describe", "user", "--protoset-out", file])
        .ok();
    let called = [
        "-v",
        "call",
        "user.Get",
        "-d",
        "{\"id\":\"1\"}",
        "--protoset",
        file,
    ];
    let done = world.msctl(&called).ok();
    assert_eq!(done.json()["name"], "Ada");
    assert!(done.err.contains("descriptors from files"), "{done:?}");
    // What the files do not have is not there, whatever the server has.
    let missing = ["call", "order.Import", "-d", "{}", "--protoset", file];
    assert_eq!(world.msctl(&missing).code, 4);
    let everywhere = world.msctl(&["describe", "--protoset-out", file]);
    assert_eq!(everywhere.code, 2, "{everywhere:?}");
    drop(demo);
}
