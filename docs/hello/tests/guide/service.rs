//! The service's life: as a process with a real etcd, without one, draining, and not starting.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hello::pb::hello_service_server::HelloServiceServer;
use hello::{DESCRIPTORS, Hello};
use platform::channel::{Connector, Hedge, TlsFiles};
use platform::telemetry::Telemetry;
use platform::{ChannelOptions, Credentials, EtcdSettings, Platform, Service, TlsSettings};
use serde_json::Value;
use tests::realetcd::RealEtcd;
use tonic::Code;

use super::{PATIENCE, alone, call, eventually, get, record};

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
        let status = super::record(&etcd, "/status/hello/").await?;
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
        let gone = super::record(&etcd, "/services/hello/").await.is_none();
        gone.then_some(())
    })
    .await;
    let ended = eventually("the end", || {
        std::future::ready(process.0.try_wait().unwrap())
    })
    .await;
    assert!(ended.success());
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
