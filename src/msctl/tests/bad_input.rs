//! What a person gets wrong, and what the answer is: exit code and message, the same over both.

use std::fmt::Write as _;
use std::net::TcpListener;

use crate::world::{Done, Running, World, command, over_both, run};

fn told(world: &World, arguments: &[&str], stdin: &[u8]) -> String {
    let done = world.msctl_with(arguments, stdin);
    let mut text = String::new();
    let line = arguments.join(" ").replace('\u{202e}', "\\u{202e}");
    writeln!(text, "$ msctl {line}").unwrap();
    text.push_str(&world.plain(&done.out));
    text.push_str(&world.plain(&done.err));
    writeln!(text, "[{}]\n", done.code).unwrap();
    text
}

#[test]
fn each_mistake_gets_a_clear_answer_and_its_exit_code() {
    over_both(|world| {
        world.etcdctl(&["put", "/config/order/timeout.write", "2s"]);
        world.etcdctl(&["put", "/config/global/timeout.read", "1s"]);
        world.etcdctl(&[
            "put",
            "/services/order/order-1",
            "{\"service\":\"order\",\"id\":\"order-1\"}",
        ]);
        let huge = vec![b'x'; 2 << 20];
        let mut all = String::new();
        for arguments in [
            &["config", "set", "timeout", "5s"][..],
            &["config", "set", "order//timeout", "5s"],
            &["config", "set", "order/time out", "5s"],
            &["config", "set", "order/../x", "5s"],
            &["config", "set", "or\u{202e}der/x", "5s"],
            &["config", "set", "order/timeout..write", "5s"],
            &["config", "set", "/x", "5s"],
            &["config", "set", "order/x", ""],
            &["config", "set", "order/x", "[1, 2"],
            &["config", "set", "order/x", "a: b: c"],
            &["config", "set", "order/x"],
            &["config", "set", "order/x", "1", "order/x", "2"],
            &["config", "set", "order/x", "@/nowhere/at.all"],
            &[
                "config",
                "set",
                "order/timeout.write",
                "5s",
                "--if-revision",
                "999",
            ],
            &["config", "unset", "order/timeout.wrte"],
            &["config", "unset", ""],
            &["config", "get", "order/timeout.wirte"],
            &["config", "get", "order/timeout.read"],
            &["config", "get", "nobody/x"],
            &["config", "list", "no/body"],
            &["config", "diff", "order"],
            &["services", "ordr"],
            &["services", "nobody-at-all"],
            &["services", "a b"],
            &["keys", ""],
            &["--timeout", "5", "services"],
            &["--endpoints", "nowhere", "services"],
            &["--context", "prod", "services"],
            &["frobnicate"],
        ] {
            all.push_str(&told(world, arguments, b""));
        }
        all.push_str(&told(world, &["config", "set", "order/huge", "-"], &huge));
        all.push_str(&told(
            world,
            &["config", "set", "order/binary", "-"],
            b"\xff\xfe",
        ));
        insta::with_settings!({ prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!("mistakes", all);
        });
        // Nothing of it was written.
        assert_eq!(
            world
                .etcdctl(&["get", "--prefix", "/config/order/", "--keys-only"])
                .trim(),
            "/config/order/timeout.write"
        );
    });
}

fn unreachable(endpoint: &str, arguments: &[&str]) -> Done {
    let home = tempfile::tempdir().unwrap();
    let mut command = command(home.path());
    command
        .args(["--endpoints", endpoint, "--timeout", "2s"])
        .args(arguments);
    run(&mut command, b"")
}

#[test]
fn an_etcd_that_is_away_ends_each_command_with_6_and_the_next_step() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = listener.local_addr().unwrap().to_string();
    drop(listener);
    for arguments in [
        &["services"][..],
        &["services", "--watch"],
        &["services", "--probe", "never", "--ttl", "never"],
        &["leases"],
        &["leases", "--watch"],
        &["keys"],
        &["cluster"],
        &["doctor"],
        &["events"],
        &["config", "list"],
        &["config", "get", "order/x"],
        &["config", "set", "order/x", "5s"],
        &["config", "unset", "order/x"],
        &["config", "watch"],
        &["config", "history", "order"],
        &["call", "user.Get"],
        &["describe"],
        &["demo", "--headless"],
    ] {
        let done = unreachable(&refused, arguments);
        assert_eq!(done.code, 6, "{arguments:?} {done:?}");
        assert_eq!(
            done.err,
            format!(
                "error: etcd {refused}: connection refused. Start one with 'msctl etcd', or name yours with --endpoints\n"
            ),
            "{arguments:?}"
        );
    }
}

#[test]
fn an_etcd_that_is_away_is_told_to_machines_as_an_object() {
    let done = unreachable(
        "127.0.0.1:1",
        &[
            "services", "-o", "json", "--probe", "never", "--ttl", "never",
        ],
    );
    assert_eq!(done.code, 6);
    let error: serde_json::Value = serde_json::from_str(&done.err).unwrap();
    assert_eq!(error["code"], "unreachable");
    assert_eq!(error["message"], "etcd 127.0.0.1:1: connection refused");
}

#[test]
fn an_etcd_that_accepts_and_never_answers_ends_in_its_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = listener.local_addr().unwrap().to_string();
    for arguments in [
        &["services"][..],
        &["services", "--watch"],
        &["leases"],
        &["leases", "--watch"],
        &["doctor"],
        &["call", "user.Get"],
        &["describe"],
        &["demo", "--headless"],
        &["config", "set", "order/x", "5s"],
        &["cluster"],
    ] {
        let done = unreachable(&silent, arguments);
        assert_eq!(done.code, 6, "{arguments:?} {done:?}");
        assert!(
            done.err.starts_with(&format!("error: etcd {silent}: ")),
            "{done:?}"
        );
    }
}

#[test]
fn a_port_in_use_is_said_with_what_to_do() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let home = tempfile::tempdir().unwrap();
    for arguments in [
        &["etcd", "--listen", &taken][..],
        &["demo", "--headless", "--listen", &taken],
    ] {
        let done = run(command(home.path()).args(arguments), b"");
        assert_eq!(done.code, 1, "{done:?}");
        assert_eq!(
            done.err,
            format!(
                "error: {taken} is in use. Stop what listens there, or choose another address\n"
            )
        );
    }
}

#[test]
fn a_reader_that_goes_away_ends_a_command_quietly() {
    over_both(|world| {
        for number in 0..300 {
            world.etcdctl(&["put", &format!("/k/{number:05}"), &"x".repeat(1000)]);
        }
        let mut child = world
            .command(&["keys", "/k/", "-o", "ndjson"])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let done = child.wait_with_output().unwrap();
        assert_eq!(done.status.code(), Some(0), "{done:?}");
        assert!(done.stderr.is_empty(), "{done:?}");
    });
}

#[test]
fn an_etcd_that_falls_silent_under_a_watch_is_told_and_its_return_too() {
    use tests::proxy::{Mode, Proxy};
    over_both(|world| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let proxy = runtime.block_on(Proxy::start(world.endpoint.parse().unwrap()));
        let home = tempfile::tempdir().unwrap();
        world.etcdctl(&["lease", "grant", "3600"]);
        world.etcdctl(&[
            "put",
            "/services/order/order-1",
            "{\"service\":\"order\",\"id\":\"order-1\"}",
        ]);
        let mut watches: Vec<_> = ["services", "leases"]
            .into_iter()
            .map(|verb| {
                let mut command = command(home.path());
                command.args([
                    "--endpoints",
                    &proxy.endpoint(),
                    "--timeout",
                    "2s",
                    verb,
                    "--watch",
                ]);
                let mut watch = Running::start(&mut command);
                assert_eq!(watch.json()["change"], "present", "{verb}");
                (verb, watch)
            })
            .collect();
        for mode in [Mode::BlackHole, Mode::Refuse] {
            proxy.set(mode);
            for (verb, watch) in &mut watches {
                let told = watch.json();
                assert_eq!(told["change"], "stale", "{verb} {mode:?} {told}");
                assert!(
                    told["cause"]
                        .as_str()
                        .is_some_and(|cause| !cause.is_empty())
                );
            }
            proxy.set(Mode::Forward);
            for (verb, watch) in &mut watches {
                assert_eq!(watch.json()["change"], "fresh", "{verb} {mode:?}");
            }
        }
    });
}
