//! Every loop of a process is ended by a panic, while a real process lives on it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use etcd::{Client, Settings};
use fleet::{Edit, Key, LeaseRule, Plan, Seen, Write};
use schemars::JsonSchema;
use serde::Serialize;
use tokio_util::task::AbortOnDropHandle;

use super::{fault::strike, *};
use crate::server::{
    ApiKeys, Authenticate as _, Call, Credential, Jwt, Protocol, Server, Surface, Tls,
};
use crate::telemetry::Telemetry;
use crate::{Platform, Service, ServiceName};

/// One figure of the process; 0 before it was counted.
fn figure(line: &str) -> f64 {
    let text = crate::server::recorder().unwrap().text();
    let found = text.lines().find_map(|one| one.strip_prefix(line));
    found.map_or(0.0, |value| value.trim().parse().unwrap())
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_loop_that_ends_falls_in_its_gauge_is_told_and_begins_anew() {
    let line = "platform_loop_running{loop=\"a test's\"} ";
    let recorder = crate::server::recorder();
    assert!(recorder.is_some());
    let told = Arc::new(Mutex::new(Vec::new()));
    let (kept, mut runs) = (told.clone(), 0);
    let failed = move |cause: &str| kept.lock().unwrap().push((cause.to_owned(), figure(line)));
    let begin = move || {
        runs += 1;
        let run = runs;
        async move {
            match run {
                1 => panic!("in the {run}st run"),
                2 => {}
                _ => std::future::pending().await,
            }
        }
    };
    let _task = AbortOnDropHandle::new(tokio::spawn(supervise("a test's", failed, begin)));
    until("the third run", async || {
        told.lock().unwrap().len() == 2 && figure(line) == 1.0
    })
    .await;
    let expected = [
        ("it panicked: in the 1st run".to_owned(), 0.0),
        ("it ended by itself".to_owned(), 0.0),
    ];
    assert_eq!(*told.lock().unwrap(), expected);
    assert_eq!(
        figure("platform_loop_faults_total{loop=\"a test's\"} "),
        2.0
    );
}

#[tokio::test]
async fn the_export_of_metrics_goes_on_after_a_panic_and_ends_when_it_is_to() {
    let exports = || figure("telemetry_metric_exports_total{outcome=\"failed\"} ");
    let loops = |what: &str| figure(&format!("platform_loop_{what}{{loop=\"metrics export\"}} "));
    let every = ("OTEL_METRIC_EXPORT_INTERVAL".to_owned(), "10".to_owned());
    // Nobody listens there.
    let telemetry = Telemetry::new("struck").endpoint("http://127.0.0.1:1");
    let exporter = telemetry.environment([every]).start().unwrap();
    until("exports", async || exports() >= 2.0).await;
    assert_eq!(loops("running"), 1.0);
    let faults = loops("faults_total");
    strike("metrics export");
    until("the panic", async || loops("faults_total") > faults).await;
    let before = exports();
    until("exports after it", async || exports() >= before + 2.0).await;
    exporter.shutdown(Duration::from_secs(30)).await;
    assert_eq!(loops("running"), 0.0);
    assert_eq!(loops("faults_total"), faults + 1.0, "leaving is no fault");
}

#[derive(Serialize, JsonSchema)]
struct Shape {
    /// Records on a page.
    size: u64,
    /// From the file.
    depth: u64,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape { size: 1, depth: 1 }
    }
}

async fn put(client: &Client, key: &str, value: &str) {
    let key = Key::from(key);
    let (found, _) = client.get(&key).await.unwrap();
    let write = Write::Put {
        value: value.as_bytes().into(),
        lease: LeaseRule::None,
    };
    let seen = Seen::from(found);
    client
        .commit(&Plan::new([Edit { key, seen, write }]).unwrap())
        .await
        .unwrap();
}

async fn delete(client: &Client, key: &str) {
    let key = Key::from(key);
    if let Some(found) = client.get(&key).await.unwrap().0 {
        let plan = Plan::new([Edit::delete(key, Seen::At(found))]).unwrap();
        client.commit(&plan).await.unwrap();
    }
}

async fn stands(client: &Client, key: &str) -> bool {
    client.get(&Key::from(key)).await.unwrap().0.is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_loop_of_a_process_panics_it_does_its_work_again() {
    let server =
        etcdlite::Server::bind("127.0.0.1:0".parse().unwrap(), etcdlite::Options::default())
            .await
            .unwrap();
    let endpoint = server.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, "depth: 2\n").unwrap();
    let builder = Platform::builder("struck").schema::<Shape>();
    let builder = builder.config_file(&file).environment([]).no_config_cache();
    let builder = builder.etcd([&endpoint]).instance_id("s-1");
    let platform = builder
        .lease_ttl(Duration::from_secs(2))
        .start()
        .await
        .unwrap();
    let serving = platform.bind(Service::new()).await.unwrap();
    let client = Client::new(Settings::new([&endpoint])).unwrap();
    let name = ServiceName::new("struck").unwrap();
    let view = platform.instances(&name).unwrap();
    let (record, status, schema) = (
        "/services/struck/s-1",
        "/status/struck/s-1",
        "/schema/struck",
    );
    let size = platform.config().live::<u64>("size").unwrap();
    let depth = platform.config().live::<u64>("depth").unwrap();
    until("all at work", async || {
        stands(&client, record).await
            && stands(&client, status).await
            && stands(&client, schema).await
            && view.borrow().instances.len() == 1
            && depth.get() == 2
    })
    .await;

    for hit in [
        "config",
        "config file",
        "registration",
        "status",
        "schema",
        "discovery of struck",
    ] {
        let faults = format!("platform_loop_faults_total{{loop=\"{hit}\"}} ");
        let runs = format!("platform_loop_running{{loop=\"{hit}\"}} ");
        let (before, ran) = (figure(&faults), figure(&runs));
        assert!(ran >= 1.0, "{hit}");
        if hit == "schema" {
            // Gone without a word of etcd's being away: only a start sees it.
            delete(&client, schema).await;
        }
        strike(hit);
        until(hit, async || {
            figure(&faults) > before && figure(&runs) >= ran
        })
        .await;
    }

    put(&client, "/config/struck/size", "7").await;
    std::fs::write(&file, "depth: 33\n").unwrap();
    delete(&client, record).await;
    delete(&client, status).await;
    put(
        &client,
        "/services/struck/s-2",
        r#"{"service":"struck","id":"s-2","endpoints":["grpc://127.0.0.1:1"]}"#,
    )
    .await;
    until("the config of etcd", async || size.get() == 7).await;
    until("that of the file", async || depth.get() == 33).await;
    until("the record", async || stands(&client, record).await).await;
    until("the report", async || stands(&client, status).await).await;
    until("the schema", async || stands(&client, schema).await).await;
    until("both instances", async || {
        view.borrow().instances.len() == 2
    })
    .await;
    until("config that is fresh", async || {
        platform.config().standing().borrow().stale.is_none()
    })
    .await;
    drop(serving);
    server.shutdown().await;
}

/// A public key that everybody knows.
const JWKS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_loop_of_a_server_panics_it_looks_at_its_files_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    for (name, content) in [
        ("keys", "ann k1\n".to_owned()),
        ("jwks", JWKS.to_owned()),
        ("certificate", pair.cert.pem()),
        ("key", pair.signing_key.serialize_pem()),
    ] {
        std::fs::write(file(name), content).unwrap();
    }
    let check = Duration::from_millis(10);
    let keys = ApiKeys::file(file("keys"), check).await.unwrap();
    let tokens = Jwt::keys_from_file(file("jwks")).issuer("i").audience("a");
    let tokens = tokens.refresh_every(check).start().await.unwrap();
    let tls = Tls::files(file("certificate"), file("key")).check_every(check);
    let server = Server::bind("127.0.0.1:0", Service::new().tls(tls));
    let server = server.await.unwrap();
    for hit in ["API keys", "keys for tokens", "certificates"] {
        let faults = format!("platform_loop_faults_total{{loop=\"{hit}\"}} ");
        let runs = format!("platform_loop_running{{loop=\"{hit}\"}} ");
        let (before, ran) = (figure(&faults), figure(&runs));
        until(hit, async || figure(&runs) >= 1.0).await;
        strike(hit);
        until(hit, async || {
            figure(&faults) > before && figure(&runs) >= ran.max(1.0)
        })
        .await;
    }
    let request = http::Request::new(());
    let call = Call::new(&request, Protocol::Http, Surface::Api, "x".into());
    std::fs::write(file("keys"), "bob k2\n").unwrap();
    until("the changed keys", async || {
        keys.authenticate(Credential::ApiKey("k2"), &call).is_ok()
    })
    .await;
    drop((tokens, server));
}
