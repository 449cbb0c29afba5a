//! Canaries: what their preview, their end and their watch say and do.

use std::net::TcpListener;
use std::process::{Child, Stdio};

use serde_json::json;

use crate::terminal::Terminal;
use crate::world::{Done, World, over_both, until};

/// A command that goes on while the test does.
fn start(world: &World, arguments: &[&str]) -> Child {
    let mut command = world.command(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn end(child: Child) -> Done {
    let done = child.wait_with_output().unwrap();
    Done {
        code: done.status.code().unwrap_or(-1),
        out: String::from_utf8(done.stdout).unwrap(),
        err: String::from_utf8(done.stderr).unwrap(),
    }
}

/// Waits for a canary, and gives its revision.
fn stands(world: &World) -> i64 {
    let mut revision = None;
    until("a canary stands", || {
        let found = world.etcdctl(&["get", "-w", "json", "/config/order/@canary"]);
        let found: serde_json::Value = serde_json::from_str(&found).unwrap();
        revision = found["kvs"][0]["mod_revision"].as_i64();
        revision.is_some()
    });
    revision.unwrap()
}

fn value(world: &World) -> String {
    world.etcdctl(&["get", "--print-value-only", "/config/order/timeout.write"])
}

#[test]
fn the_preview_of_a_canary_says_what_changes_for_whom() {
    over_both(|world| {
        for id in ["o-1", "o-2"] {
            world.register(id);
        }
        let before = world.set(&["order/timeout.write", "2s"]);
        let tries = [
            "config",
            "set",
            "order/timeout.write",
            "5s",
            "--canary",
            "o-1",
        ];
        let with = |more: &[&str]| world.msctl(&[&tries[..], more].concat());
        let shown = with(&["--dry-run"]).ok().out;
        for part in ["for o-1 alone", "2s → 5s", "reaches 1 instance"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        let document = with(&["--dry-run", "-o", "json"]).ok().json();
        assert_eq!(
            (&document["changes"], &document["reaches"]),
            (
                &json!([{"key": "order/timeout.write", "before": "2s", "after": "5s", "seen_revision": before}]),
                &json!(1)
            )
        );
        let begun = with(&["-o", "json"]).ok().json();
        assert_eq!(begun["changes"][0]["after"], "5s", "{begun}");

        let shown = world
            .msctl(&["config", "abort", "order", "--dry-run"])
            .ok()
            .out;
        for part in ["for o-1 alone", "5s → 2s", "reaches 1 instance"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        // Whoever ran it has to fall back, and only they.
        world.says("o-1", 1, &json!([]));
        let late = world.msctl(&["config", "abort", "order", "--wait", "100ms", "-o", "json"]);
        assert_eq!(late.code, 1, "{late:?}");
        let rollout = &late.json()["rollout"];
        assert_eq!(rollout["waiting"], json!(["o-1"]), "{late:?}");
        assert_eq!(rollout["instances"], 1, "{late:?}");
    });
}

#[test]
fn a_promotion_in_conflict_shows_what_stood_there_when_the_canary_began() {
    over_both(|world| {
        world.register("o-1");
        world.set(&["order/retry", "{n: 1, b: 1}"]);
        world.set(&["order/retry", "{n: 5, b: 1}", "--canary", "o-1"]);
        world.etcdctl(&["put", "/config/order/retry", "{n: 1, b: 7}"]);
        let refused = world.msctl(&["config", "promote", "order", "-o", "json"]);
        assert_eq!(refused.code, 3, "{refused:?}");
        for side in ["{n: 1, b: 1}", "{n: 1, b: 7}", "{n: 5, b: 1}"] {
            assert!(refused.err.contains(side), "{side}: {refused:?}");
        }
    });
}

#[test]
fn a_watched_canary_that_another_ended_leaves_the_next_one_alone() {
    over_both(|world| {
        world.register("o-1");
        world.set(&["order/timeout.write", "2s"]);
        let tries = [
            "config",
            "set",
            "order/timeout.write",
            "5s",
            "--canary",
            "o-1",
        ];
        let watching = start(world, &[&tries[..], &["--auto", "10m"]].concat());
        let first = stands(world);
        world.msctl(&["config", "abort", "order"]).ok();
        world.msctl(&tries).ok();
        let done = end(watching);
        assert_eq!(done.code, 1, "{done:?}");
        assert!(done.err.contains("was ended by another"), "{done:?}");
        assert!(stands(world) > first);
        assert_eq!(value(world), "2s\n");
    });
}

#[test]
fn an_instance_that_refuses_disappears_or_is_lost_ends_a_watched_canary() {
    over_both(|world| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
        let mut listener = Some(listener);
        world.set(&["order/timeout.write", "2s"]);
        for (what, wanted) in [
            ("refuses", "o-1 refused order/timeout.write: too slow"),
            ("is lost", "o-1 is unreachable"),
            ("disappears", "o-1 disappeared"),
        ] {
            world.register_at("o-1", std::slice::from_ref(&endpoint));
            world.says("o-1", 1, &json!([]));
            // --wait alone would end with exit code 1 and leave the canary standing.
            let watching = start(
                world,
                &[
                    "config",
                    "set",
                    "order/timeout.write",
                    "5s",
                    "--canary",
                    "o-1",
                    "--auto",
                    "10m",
                    "--wait",
                    "1ms",
                ],
            );
            let at = stands(world);
            match what {
                "refuses" => world.says(
                    "o-1",
                    at,
                    &json!([{"key": "order/timeout.write", "revision": at, "error": "too slow"}]),
                ),
                "is lost" => {
                    world.says("o-1", at, &json!([]));
                    drop(listener.take());
                }
                _ => {
                    world.etcdctl(&["del", "/services/order/o-1"]);
                }
            }
            let done = end(watching);
            assert_eq!(done.code, 1, "{what}: {done:?}");
            assert!(done.err.contains(wanted), "{what}: {done:?}");
            assert_eq!(value(world), "2s\n", "{what}");
            assert_eq!(world.msctl(&["config", "abort", "order"]).code, 4, "{what}");
        }
    });
}

#[test]
fn an_instance_that_could_not_be_reached_before_is_believed_by_its_word() {
    over_both(|world| {
        let closed = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        world.register_at("o-1", &[format!("tcp://{closed}")]);
        let at = world.set(&["order/timeout.write", "2s"]);
        world.says("o-1", at + 1000, &json!([]));
        let tries = [
            "config",
            "set",
            "order/timeout.write",
            "5s",
            "--canary",
            "o-1",
        ];
        let done = world
            .msctl(&[&tries[..], &["--auto", "10ms"]].concat())
            .ok();
        assert!(
            done.err.contains("o-1 cannot be reached from here"),
            "{done:?}"
        );
        assert_eq!(value(world), "5s\n");
        // The same when somebody else began it.
        let tries = [
            "config",
            "set",
            "order/timeout.write",
            "6s",
            "--canary",
            "o-1",
        ];
        world.msctl(&tries).ok();
        let shown = world.msctl(&["config", "promote", "order", "--auto", "10ms", "--dry-run"]);
        assert!(shown.ok().out.contains("5s → 6s"));
        assert_eq!(value(world), "5s\n", "a dry run writes nothing");
        world
            .msctl(&["config", "promote", "order", "--auto", "10ms"])
            .ok();
        assert_eq!(value(world), "6s\n");
    });
}

#[test]
fn what_was_tried_past_the_schema_is_promoted_past_it_too() {
    over_both(|world| {
        world.etcdctl(&[
            "put",
            "/schema/order",
            r#"{"properties":{"timeout":{"properties":{"write":{"format":"duration","maximum":"30s"}}}}}"#,
        ]);
        world.register("o-1");
        let at = world.set(&["order/timeout.write", "2s"]);
        world.says("o-1", at + 1000, &json!([]));
        let tries = [
            "config",
            "set",
            "order/timeout.write",
            "45s",
            "--canary",
            "o-1",
        ];
        let watched = ["--auto", "10ms"];
        let refused = world.msctl(&[&tries[..], &watched].concat());
        assert_eq!(refused.code, 5, "{refused:?}");
        world
            .msctl(&[&tries[..], &watched, &["--no-check"]].concat())
            .ok();
        assert_eq!(value(world), "45s\n");
    });
}

#[test]
fn a_canary_whose_etcd_went_away_is_said_to_stand() {
    let world = World::embedded();
    world.register("o-1");
    world.set(&["order/timeout.write", "2s"]);
    world.set(&["order/timeout.write", "5s", "--canary", "o-1"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let target = world.endpoint.parse().unwrap();
    let proxy = runtime.block_on(tests::proxy::Proxy::start(target));
    let through = format!("127.0.0.1:{}", proxy.address().port());
    let mut command = crate::world::command(world.home.path());
    command.args([
        "--endpoints",
        &through,
        "config",
        "promote",
        "order",
        "--auto",
        "10m",
        "-v",
    ]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut watching = command.spawn().unwrap();
    let mut lines = {
        use std::io::BufRead as _;
        std::io::BufReader::new(watching.stderr.take().unwrap()).lines()
    };
    let mut line = |wanted: &str| {
        let found = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains(wanted)));
        found
            .unwrap_or_else(|| panic!("no line with {wanted}"))
            .unwrap()
    };
    line("0 of 1 instance");
    proxy.set(tests::proxy::Mode::Refuse);
    proxy.cut();
    // It is heard again: the watch goes on where it was.
    line("etcd");
    proxy.set(tests::proxy::Mode::Forward);
    line("0 of 1 instance");
    world.etcdctl(&["del", "/services/order/o-1"]);
    line("o-1 disappeared");
    assert_eq!(watching.wait().unwrap().code(), Some(1));
    assert_eq!(value(&world), "2s\n");
}

#[test]
fn at_a_terminal_a_promotion_is_merged_with_what_was_changed_under_the_canary() {
    over_both(|world| {
        world.register("o-1");
        world.set(&["order/retry", "{n: 1, b: 2}"]);
        world
            .msctl(&[
                "config",
                "set",
                "order/retry",
                "{n: 5, b: 2}",
                "--canary",
                "o-1",
            ])
            .ok();
        world.etcdctl(&["put", "/config/order/retry", "{n: 1, b: 7}"]);
        let home = world.home.path().to_str().unwrap();
        let variables = [
            ("HOME", home),
            ("XDG_CONFIG_HOME", home),
            ("USER", "tester"),
        ];
        let arguments = ["--endpoints", &world.endpoint, "config", "promote", "order"];
        let binary = env!("CARGO_BIN_EXE_msctl");
        let mut terminal = Terminal::start(binary, &arguments, &variables, (120, 40));
        terminal.wait_for("the question", |text| text.contains("[y/N]"));
        terminal.keys("y\r");
        terminal.wait_for_texts(&[
            "base      {n: 1, b: 2}",
            "mine      {n: 5, b: 2}",
            "(b)oth merged",
        ]);
        terminal.keys("b\r");
        terminal.wait_for("both changes and the question", |text| {
            text.matches("[y/N]").count() == 2
        });
        terminal.keys("y\r");
        terminal.wait_for_texts(&["saved as revision"]);
        assert_eq!(terminal.wait_for_end(), 0);
        let get = ["config", "get", "order/retry", "-o", "json"];
        let value = world.msctl(&get).ok().json()["value"].clone();
        assert_eq!(value, serde_json::json!({"n": 5, "b": 7}));
        assert_eq!(world.etcdctl(&["get", "/config/order/@canary"]), "");
    });
}
