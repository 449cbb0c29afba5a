//! `msctl gateway` as a process, in front of the demo's services.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::main_job::{Demo, http};
use crate::world::{PATIENCE, Running, World, command, until};

/// A gateway, and where it listens.
struct Gateway {
    process: Running,
    address: String,
}

impl Gateway {
    fn start(world: &World, arguments: &[&str]) -> Self {
        let mut all = vec!["-o", "ndjson", "gateway", "--listen", "127.0.0.1:0"];
        all.extend(["--refresh", "500ms"]);
        all.extend(arguments);
        let mut process = Running::start(&mut world.command(&all));
        let address = process.json()["address"].as_str().unwrap().to_owned();
        Self { process, address }
    }

    fn get(&self, path: &str) -> (u16, String) {
        http(&self.address, "GET", path, "")
    }

    /// The status and the whole answer for a caller with this key.
    fn with_key(&self, path: &str, key: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: gateway\r\nx-api-key: {key}\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        (answer[9..12].parse().unwrap(), answer)
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path).1).unwrap()
    }

    #[track_caller]
    fn answers(&self, path: &str, status: u16) {
        until(&format!("{path} answers {status}"), || {
            self.get(path).0 == status
        });
    }

    /// Begins to read an answer that has no end.
    fn stream(&self, path: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: gateway\r\n\r\n").unwrap();
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while !line.contains(r#"{"result":"#) {
            line.clear();
            assert_ne!(stream.read_line(&mut line).unwrap(), 0, "the answer ended");
        }
        stream
    }
}

#[test]
fn a_gateway_before_the_fleet_serves_it_when_it_comes_and_spares_who_dies() {
    for world in [World::embedded(), World::real()] {
        let gateway = Gateway::start(&world, &[]);
        // Nothing is registered, and that is known.
        gateway.answers("/v1/users/1", 404);
        assert_eq!(gateway.get("/healthz").0, 200);

        let demo = Demo::headless(world);
        gateway.answers("/v1/users/1", 200);
        gateway.answers("/v1/orders", 200);
        for path in ["/v1/users/1", "/v1/users/777", "/v1/users?pageSize=x"] {
            let own = http(demo.address_of("user"), "GET", path, "");
            assert_eq!(gateway.get(path), own, "{path}");
        }

        let created = r#"{"userId":"1","items":[{"sku":"a","quantity":2}]}"#;
        let (status, order) = http(&gateway.address, "POST", "/v1/orders", created);
        assert_eq!(status, 200, "{order}");
        assert!(order.contains(r#""userName":"Ada""#), "{order}");
        let (status, chat) = http(
            &gateway.address,
            "POST",
            "/v1/orders:chat",
            r#"{"text":"one"} {"text":"two"}"#,
        );
        assert_eq!((status, chat.matches("result").count()), (200, 2), "{chat}");

        let (status, unknown) = gateway.get("/v1/nothing");
        assert_eq!(status, 404);
        let unknown: Value = serde_json::from_str(&unknown).unwrap();
        assert_eq!(unknown["code"], 5);
        assert_eq!(http(&gateway.address, "DELETE", "/v1/users/1", "").0, 405);

        let document = gateway.json("/openapi.json");
        for path in ["/v1/users/{id}", "/v1/orders/{id}"] {
            assert!(document["paths"][path].is_object(), "{path}: {document}");
        }
        let (_, metrics) = gateway.get("/metrics");
        assert!(metrics.contains("gateway_upstreams 2"), "{metrics}");

        // One of two is killed: reading goes on as if nothing had happened.
        let id = &demo.instances[0].1;
        assert_eq!(demo.instances[0].0, "order", "{:?}", demo.instances);
        let listed = Command::new("pgrep")
            .args(["-P", &demo.process.child.id().to_string(), "-f"])
            .arg(format!("instance {id} "))
            .output()
            .unwrap();
        let pid = String::from_utf8(listed.stdout).unwrap();
        let killed = Command::new("kill").args(["-9", pid.trim()]).status();
        assert!(killed.unwrap().success(), "{pid:?}");
        for _ in 0..50 {
            let (status, body) = gateway.get("/v1/orders");
            assert_eq!(status, 200, "{body}");
        }
        // By now it is known to be dead, so that not even a write fails.
        for _ in 0..10 {
            let (status, body) = http(&gateway.address, "POST", "/v1/orders", created);
            assert_eq!(status, 200, "{body}");
        }
    }
}

#[test]
fn a_server_by_its_address_answers_as_its_own_port() {
    let demo = Demo::headless(World::embedded());
    let own = demo.address_of("user");
    let gateway = Gateway::start(&demo.world, &["--address", own]);
    gateway.answers("/v1/users/1", 200);
    for (verb, path, body) in [
        ("GET", "/v1/users/1", ""),
        ("GET", "/v1/users?page_size=1", ""),
        ("GET", "/v1/users/777", ""),
        ("POST", "/v1/users", r#"{"name":""}"#),
        ("POST", "/v1/users", "{"),
        ("PATCH", "/v1/users/1", r#"{"email":"no address"}"#),
        ("PUT", "/v1/users/1", ""),
        ("GET", "/v1/orders", ""),
    ] {
        let through = http(&gateway.address, verb, path, body);
        assert_eq!(through, http(own, verb, path, body), "{verb} {path}");
    }
    let patch = r#"{"email":"ada@example.org"}"#;
    let (status, patched) = http(&gateway.address, "PATCH", "/v1/users/1", patch);
    assert_eq!(status, 200, "{patched}");
    assert_eq!(gateway.json("/v1/users/1")["email"], "ada@example.org");
    let seen = http(own, "GET", "/v1/users/1", "");
    assert_eq!(gateway.get("/v1/users/1"), seen);
}

#[test]
fn a_gateway_lets_in_who_has_a_key_and_says_which_settings_make_no_sense() {
    let demo = Demo::headless(World::embedded());
    let keys = demo.world.home.path().join("keys");
    std::fs::write(&keys, "ann k1\n").unwrap();
    let keys = keys.to_str().unwrap();
    let own = demo.address_of("user");
    let flags = [
        "--address",
        own,
        "--token-file",
        keys,
        "--max-in-flight",
        "5",
        "--gzip",
    ];
    let gateway = Gateway::start(&demo.world, &flags);
    until("a caller with a key is served", || {
        gateway.with_key("/v1/users/1", "k1").0 == 200
    });
    for (key, status) in [("", 401), ("k2", 401), ("k1", 200)] {
        let answer = gateway.with_key("/v1/users/1", key);
        assert_eq!(answer.0, status, "{key}: {}", answer.1);
    }
    assert_eq!(gateway.get("/healthz").0, 200);
    let (_, document) = gateway.with_key("/openapi.json", "k1");
    assert!(document.contains("x-api-key"), "{document}");
    for (flags, said) in [
        (&["--token-file", "/nowhere/keys"][..], "/nowhere/keys"),
        (&["--rate", "0"], "rate: 0 calls"),
        (&["--cors-origin", "*"], "CORS"),
        (&["--reflection-header", "s3cret"], "'NAME: VALUE'"),
        (&["--jwks", "k.json"], "--issuer"),
        (&["--serve-cert", "c.pem"], "--serve-key"),
        (&["--protoset", "x.bin"], "--address"),
    ] {
        let mut all = vec!["gateway", "--listen", "127.0.0.1:0"];
        all.extend(flags);
        let refused = demo.world.command(&all).output().unwrap();
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success(), "{flags:?}");
        assert!(text.contains(said), "{flags:?}: {text}");
        assert!(!text.contains("s3cret"), "{text}");
    }
}

#[test]
fn an_etcd_that_is_not_there_is_named_until_it_comes() {
    let home = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let etcd = free.local_addr().unwrap().to_string();
    drop(free);
    let mut process = Running::start(
        command(home.path())
            .args(["--endpoints", &etcd, "-o", "ndjson", "gateway"])
            .args(["--listen", "127.0.0.1:0"]),
    );
    let gateway = Gateway {
        address: process.json()["address"].as_str().unwrap().to_owned(),
        process,
    };
    until("etcd is named", || {
        let (status, body) = gateway.get("/v1/users/1");
        status == 503 && body.contains("etcd was never reached")
    });
    // It comes, and knows of nobody.
    let _etcd = Running::start(command(home.path()).args(["etcd", "--listen", &etcd]));
    gateway.answers("/v1/users/1", 404);
}

#[test]
fn a_gateway_lets_calls_finish_and_a_second_signal_does_not() {
    let demo = Demo::headless(World::embedded());
    let mut gateway = Gateway::start(&demo.world, &["--drain", "60s"]);
    gateway.answers("/v1/users/1", 200);
    let mut open = gateway.stream("/v1/users:watch?includeExisting=true");
    gateway.process.signal("-INT");
    until("nobody is let in", || {
        TcpStream::connect(&gateway.address).is_err()
    });
    assert!(gateway.process.child.try_wait().unwrap().is_none());
    gateway.process.signal("-INT");
    assert_eq!(gateway.process.end(), 0);
    // Cut off, which may be an error or an end.
    let _ = open.read_to_end(&mut Vec::new());
}

#[test]
fn another_address_than_this_machines_is_said_to_be_open() {
    let home = tempfile::tempdir().unwrap();
    let mut child = command(home.path())
        .args(["gateway", "--listen", "0.0.0.0:0", "--address", ":1"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    while !line.contains("open to the network") {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "it was not said");
    }
    assert!(line.contains("every method of 127.0.0.1:1"), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
    let refused = command(home.path())
        .args(["-o", "json", "gateway", "--address", "nonsense"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert_ne!(json!(String::from_utf8(refused.stderr).unwrap()), json!(""));
}
