//! Descriptors that are kept between calls: used, checked, and never believed against the server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;

use crate::demo::Demo;
use crate::world::{Done, World, command, over_both, run};

fn kept(world: &World) -> Vec<PathBuf> {
    let folder = world.home.path().join(".cache/msctl/schema");
    let Ok(files) = fs::read_dir(folder) else {
        return Vec::new();
    };
    files.map(|file| file.unwrap().path()).collect()
}

#[test]
fn the_second_call_of_a_server_asks_it_for_nothing_but_the_call() {
    over_both(|world| {
        let demo = Demo::start(world);
        let at = demo.address("user");
        let call = |target: &str, more: &[&str]| {
            let mut all = vec![
                "-v",
                "call",
                target,
                "--address",
                at,
                "-d",
                "{\"id\":\"1\"}",
            ];
            all.extend(more);
            let done = world.msctl(&all).ok();
            assert_eq!(done.json()["name"], "Ada");
            done.err
        };
        assert!(call("UserService/Get", &[]).contains("descriptors from the server"));
        assert!(call("UserService/Get", &[]).contains("descriptors kept"));
        assert!(call("user.v1.UserService/Get", &[]).contains("descriptors kept"));
        assert!(call("Get", &["--no-cache"]).contains("descriptors from the server"));
        let files = kept(world);
        assert_eq!(files.len(), 1, "{files:?}");
        let mode = fs::metadata(&files[0]).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        // A file that was spoilt is asked for anew and mended.
        fs::write(&files[0], b"spoilt").unwrap();
        assert!(call("UserService/Get", &[]).contains("descriptors from the server"));
        assert!(call("UserService/Get", &[]).contains("descriptors kept"));

        // Of a service that was asked for alone, nothing is said about other names.
        fs::remove_file(&files[0]).unwrap();
        assert!(call("user.v1.UserService/Get", &[]).contains("descriptors from the server"));
        assert!(call("user.v1.UserService/Get", &[]).contains("descriptors kept"));
        assert!(call("Get", &[]).contains("descriptors from the server"));
        assert!(call("Get", &[]).contains("descriptors kept"));
        let unknown = world.msctl(&["call", "Gte", "--address", at, "-d", "{}"]);
        assert_eq!(unknown.code, 4, "{unknown:?}");

        // A registered instance is known by its registration.
        for told in ["descriptors from the server", "descriptors kept"] {
            let instance = world
                .msctl(&["services", "order", "-o", "json"])
                .ok()
                .json();
            let id = instance[0]["instance"].as_str().unwrap().to_owned();
            let done = world.msctl(&["-v", "call", "order.List", "--instance", &id, "-d", "{}"]);
            assert!(done.err.contains(told), "{done:?}");
        }
    });
}

/// A server whose descriptors say what they are told to, at a fixed address.
fn serve(
    runtime: &tokio::runtime::Runtime,
    listener: std::net::TcpListener,
    descriptors: &[u8],
) -> tokio::task::JoinHandle<()> {
    let _within = runtime.enter();
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(descriptors)
        .build_v1()
        .unwrap();
    let (_, health) = tonic_health::server::health_reporter();
    let server = tonic::transport::Server::builder()
        .add_service(reflection)
        .add_service(health);
    runtime.spawn(async move {
        // Ends with the test or its abort.
        let _ = server
            .serve_with_incoming(TcpListenerStream::new(listener))
            .await;
    })
}

/// The descriptors of health with these names of fields.
fn descriptors(folder: &std::path::Path, request: &str, response: &str) -> Vec<u8> {
    let proto = folder.join("health.proto");
    let text = format!(
        "syntax = \"proto3\"; package grpc.health.v1;\nmessage HealthCheckRequest {{ string {request} = 1; }}\nmessage HealthCheckResponse {{ int32 {response} = 1; }}\nservice Health {{ rpc Check(HealthCheckRequest) returns (HealthCheckResponse); }}\n"
    );
    fs::write(&proto, text).unwrap();
    let out = folder.join("health.binpb");
    let made = std::process::Command::new("protoc")
        .args(["-I", folder.to_str().unwrap(), "--descriptor_set_out"])
        .args([&out, &proto])
        .status()
        .unwrap();
    assert!(made.success());
    fs::read(out).unwrap()
}

#[test]
fn a_server_that_says_otherwise_by_now_is_believed_and_not_what_was_kept() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let home = tempfile::tempdir().unwrap();
    let first = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = first.local_addr().unwrap();
    let call = |data: &str| calling(home.path(), &address.to_string(), data);
    let server = serve(
        &runtime,
        first,
        &descriptors(home.path(), "service", "status"),
    );
    assert_eq!(call("{}").ok().json()["status"], 1);
    assert!(
        call("{\"service\":\"\"}")
            .ok()
            .err
            .contains("descriptors kept")
    );

    server.abort();
    let again = bound_again(address);
    let renamed = descriptors(home.path(), "name", "state");
    let _server = serve(&runtime, again, &renamed);
    // The answer is read by what the server says now, although the request went out by what was kept.
    let done = call("{}").ok();
    assert_eq!(done.json()["state"], 1, "{done:?}");
    assert!(
        done.err.contains("have changed since they were kept"),
        "{done:?}"
    );
    let done = call("{\"name\":\"\"}").ok();
    assert_eq!(done.json()["state"], 1, "{done:?}");
    let refused = call("{\"service\":\"\"}");
    assert_eq!(refused.code, 2, "{refused:?}");
}

#[test]
fn a_field_that_is_not_among_what_was_kept_is_asked_for_before_it_is_refused() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let home = tempfile::tempdir().unwrap();
    let first = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = first.local_addr().unwrap();
    let server = serve(
        &runtime,
        first,
        &descriptors(home.path(), "service", "status"),
    );
    let call = |data: &str| calling(home.path(), &address.to_string(), data);
    call("{\"service\":\"\"}").ok();
    server.abort();
    let again = bound_again(address);
    let _server = serve(&runtime, again, &descriptors(home.path(), "name", "state"));
    let done = call("{\"name\":\"\"}").ok();
    assert_eq!(done.json()["state"], 1, "{done:?}");
}

fn calling(home: &std::path::Path, at: &str, data: &str) -> Done {
    let mut command = command(home);
    command.args(["-v", "call", "Health/Check", "--address", at, "-d", data]);
    run(&mut command, b"")
}

fn bound_again(address: std::net::SocketAddr) -> std::net::TcpListener {
    let mut again = None;
    crate::world::until("the port is free again", || {
        again = std::net::TcpListener::bind(address).ok();
        again.is_some()
    });
    again.unwrap()
}
