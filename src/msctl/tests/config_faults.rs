//! A full etcd, an etcd that forbids, a context that forbids; and a whole session at a terminal.

use serde_json::json;

use crate::terminal::Terminal;
use crate::world::{World, over_both, until};

#[test]
fn a_full_etcd_is_named_and_nothing_is_half_written() {
    let world = World::real_with(&["--quota-backend-bytes=4194304"]);
    let large = world.home.path().join("large.yaml");
    std::fs::write(&large, "x".repeat(400_000)).unwrap();
    let value = format!("@{}", large.display());
    let mut refused = None;
    for step in 0..40 {
        let key = format!("order/large-{step}");
        let done = world.msctl(&["config", "set", &key, &value]);
        if done.code != 0 {
            refused = Some((key, done));
            break;
        }
    }
    let (key, refused) = refused.expect("a quota that is reached");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.err.contains("space") && refused.err.contains("etcdctl defrag"),
        "{refused:?}"
    );
    assert_eq!(world.msctl(&["config", "get", &key]).code, 4);
}

#[test]
fn one_key_that_is_forbidden_forbids_the_change() {
    let world = World::real();
    for command in [
        "user add root:secret",
        "role add root",
        "user grant-role root root",
        "role add ci",
        "role grant-permission ci readwrite /config/order/a",
        "role grant-permission ci read /config/order/b",
        "role grant-permission ci --prefix=true readwrite /msctl/releases/",
        "role grant-permission ci --prefix=true read /schema/",
        "user add ci:ci",
        "user grant-role ci ci",
        "auth enable",
    ] {
        world.etcdctl(&command.split(' ').collect::<Vec<_>>());
    }
    let ci = |arguments: &[&str]| {
        let mut all = vec!["--user", "ci:ci", "config"];
        all.extend(arguments);
        world.msctl(&all)
    };
    ci(&["set", "order/a", "1"]).ok();
    let refused = ci(&["set", "order/a", "2", "order/b", "2"]);
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.err.contains("permission"), "{refused:?}");
    assert_eq!(ci(&["get", "order/a"]).ok().out, "1\n");

    // The same of a file, and of a canary, whose own key is not among those that are allowed.
    let root = |arguments: &[&str]| {
        let all = [&["--user", "root:secret"], arguments].concat();
        world.etcdctl(&all)
    };
    root(&[
        "put",
        "/services/order/o-1",
        r#"{"service":"order","id":"o-1","version":"1","endpoints":[],"weight":100,"metadata":{}}"#,
    ]);
    for prefix in ["/services/", "/status/", "/config/"] {
        root(&[
            "role",
            "grant-permission",
            "ci",
            "--prefix=true",
            "read",
            prefix,
        ]);
    }
    let file = world.home.path().join("order.yaml");
    std::fs::write(&file, "order:\n  a: 3\n  b: 3\n").unwrap();
    for arguments in [
        &["apply", "-f", file.to_str().unwrap()][..],
        &["set", "order/a", "3", "--canary", "o-1"],
    ] {
        let refused = ci(arguments);
        assert_eq!(refused.code, 5, "{refused:?}");
        assert!(refused.err.contains("permission"), "{refused:?}");
    }
    assert_eq!(ci(&["get", "order/a"]).ok().out, "1\n");
    assert_eq!(
        root(&["get", "--prefix", "--keys-only", "/config/"]),
        "/config/order/a\n\n"
    );
}

#[test]
fn hostile_keys_and_values_are_refused_or_kept_as_they_are() {
    over_both(|world| {
        let long = format!("order/{}", "k".repeat(4096));
        let bomb: String = (0..9)
            .map(|level| {
                let last = (0..9).map(|_| format!("*a{level}")).collect::<Vec<_>>();
                format!("a{}: &a{} [{}]\n", level + 1, level + 1, last.join(", "))
            })
            .collect();
        let bomb = format!("a0: &a0 [x, x, x, x, x, x, x, x, x]\n{bomb}");
        let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
        let large = world.home.path().join("large.yaml");
        std::fs::write(&large, "x".repeat(1_600_000)).unwrap();
        let large = format!("@{}", large.display());
        let binary = world.home.path().join("binary");
        std::fs::write(&binary, [0xff, 0x00, 0xfe]).unwrap();
        let binary = format!("@{}", binary.display());
        for (key, value, why) in [
            (long.as_str(), "1", "at most 253"),
            ("order/schlüssel", "1", "not allowed"),
            ("order/a\u{202e}b", "1", "not allowed"),
            ("order//a", "1", "'/' is not allowed"),
            ("order/a..b", "1", "'a..b' has an empty part"),
            ("order/../user/a", "1", "not allowed"),
            ("order/a b", "1", "' ' is not allowed"),
            ("order/", "1", "empty"),
            ("/a", "1", "empty"),
            ("order", "1", "names no key"),
            ("", "1", "names no key"),
            ("order/torn", "{a: [1}", "order/torn: the value is not YAML"),
            ("order/empty", "", "order/empty: the value is empty"),
            ("order/bomb", &bomb, "order/bomb"),
            ("order/deep", &deep, "order/deep"),
            ("order/large", &large, "bytes"),
            ("order/binary", &binary, "UTF-8"),
        ] {
            let refused = world.msctl(&["config", "set", key, value]);
            assert_eq!(refused.code, 2, "{why}: {refused:?}");
            assert!(refused.err.contains(why), "{why}: {refused:?}");
            assert!(!refused.err.contains('\u{202e}'), "{refused:?}");
        }
        // What names no key is no prefix either: nothing is taken with it.
        world.etcdctl(&["put", "/config/order/stays", "1"]);
        for key in ["", "/", "order", "order/", "order/stays/", "global/"] {
            let refused = world.msctl(&["config", "unset", key, "--yes"]);
            assert_eq!(refused.code, 2, "{key}: {refused:?}");
        }
        assert_eq!(world.etcdctl(&["del", "/config/order/stays"]), "1\n");
        let bombs = world.home.path().join("bomb.yaml");
        let inside: String = bomb.lines().map(|line| format!("  {line}\n")).collect();
        std::fs::write(&bombs, format!("order:\n{inside}")).unwrap();
        for verb in [&["config", "apply", "-f"][..], &["config", "diff", "-f"]] {
            let refused = world.msctl(&[verb, &[bombs.to_str().unwrap()]].concat());
            assert_eq!(refused.code, 2, "{refused:?}");
        }
        assert_eq!(
            world.etcdctl(&["get", "--prefix", "--keys-only", "/config/"]),
            ""
        );
        // Text of any language is a value like any other, byte for byte.
        world.set(&["order/greeting", "Grüße, 你好 👋"]);
        assert_eq!(
            world.msctl(&["config", "get", "order/greeting"]).ok().out,
            "Grüße, 你好 👋\n"
        );
    });
}

#[test]
fn a_context_that_is_read_only_or_production_stops_before_a_write() {
    over_both(|world| {
        world.msctl(&["config", "set", "order/a", "1"]).ok();
        let contexts = format!(
            "contexts:\n  watch:\n    endpoints: [{0}]\n    read_only: true\n  prod:\n    endpoints: [{0}]\n    production: true\n",
            world.endpoint
        );
        let settings = world.home.path().join("msctl/config.yaml");
        std::fs::create_dir_all(settings.parent().unwrap()).unwrap();
        std::fs::write(&settings, contexts).unwrap();
        let tree = world.home.path().join("tree.yaml");
        std::fs::write(&tree, "order:\n  a: 2\n").unwrap();
        let tree = tree.to_str().unwrap();
        let within = |context: &str, arguments: &[&str]| {
            let mut command = crate::world::command(world.home.path());
            command
                .args(["--context", context, "config"])
                .args(arguments);
            crate::world::run(&mut command, b"")
        };
        for arguments in [
            &["set", "order/a", "2"][..],
            &["unset", "order/a"],
            &["apply", "-f", tree],
            &["import", "order", tree],
            &["rollback", "order", "1"],
            &["promote", "order"],
            &["abort", "order"],
            &["edit", "order"],
        ] {
            let refused = within("watch", arguments);
            assert_eq!(refused.code, 5, "{arguments:?} {refused:?}");
        }
        // What only shows is allowed.
        within("watch", &["set", "order/a", "2", "--dry-run"]).ok();
        assert_eq!(within("watch", &["apply", "-f", tree, "--dry-run"]).code, 1);
        let refused = within("prod", &["set", "order/a", "2"]);
        assert_eq!(refused.code, 5, "{refused:?}");
        assert_eq!(world.msctl(&["config", "get", "order/a"]).ok().out, "1\n");
        within("prod", &["set", "order/a", "2", "--yes"]).ok();
        assert_eq!(world.msctl(&["config", "get", "order/a"]).ok().out, "2\n");
    });
}

#[test]
fn a_session_at_a_terminal_from_edit_to_rollback() {
    over_both(|world| {
        world
            .msctl(&["config", "set", "order/timeout.write", "2s"])
            .ok();
        for id in ["o-1", "o-2", "o-3", "o-4"] {
            let record = json!({"service": "order", "id": id, "version": "1", "endpoints": [], "weight": 100, "metadata": {}});
            world.etcdctl(&["put", &format!("/services/order/{id}"), &record.to_string()]);
        }
        let home = world.home.path().to_str().unwrap();
        let variables = [
            ("HOME", home),
            ("XDG_CONFIG_HOME", home),
            ("XDG_STATE_HOME", home),
            ("USER", "tester"),
            ("VISUAL", ""),
            ("EDITOR", "sed -i 's/2s/5s/'"),
        ];
        let start = |arguments: &[&str]| {
            let mut all = vec!["--endpoints", &world.endpoint, "config"];
            all.extend(arguments);
            Terminal::start(env!("CARGO_BIN_EXE_msctl"), &all, &variables, (120, 40))
        };
        let mut terminal = start(&["edit", "order", "--wait", "60s", "-m", "slow disk"]);
        terminal.wait_for("the difference and the question", |text| {
            text.contains("2s → 5s")
                && text.contains("reaches 4 instances")
                && text.contains("[y/N]")
        });
        // Somebody else is faster.
        world
            .msctl(&["config", "set", "order/timeout.write", "3s"])
            .ok();
        terminal.keys("y\r");
        terminal.wait_for("the three versions", |text| {
            text.contains("changed meanwhile")
                && text.contains("base      2s")
                && text.contains("mine      5s")
                && text.contains("(m)ine")
        });
        terminal.keys("m\r");
        terminal.wait_for("the difference on the new revision", |text| {
            text.contains("3s → 5s")
        });
        terminal.keys("y\r");
        until("it is saved", || {
            world.etcdctl(&["get", "--print-value-only", "/config/order/timeout.write"]) == "5s\n"
        });
        let history = world
            .msctl(&["config", "history", "order", "-o", "json"])
            .ok()
            .json();
        let saved = history[0]["revision"].as_i64().unwrap();
        for id in ["o-1", "o-2", "o-3", "o-4"] {
            let status = json!({"revision": saved, "rejected": [], "liveness": {"alive": true}, "watch": {"revision": saved}, "written_at": "2026-11-22T10:00:00Z"});
            world.etcdctl(&["put", &format!("/status/order/{id}"), &status.to_string()]);
        }
        terminal.wait_for("the rollout", |text| {
            text.contains(&format!("saved as revision {saved}"))
                && text.contains("4 of 4 instances applied it")
        });
        let mut back = start(&["rollback", "order", "--of", &saved.to_string()]);
        back.wait_for("the way back", |text| {
            text.contains("5s → 3s") && text.contains("[y/N]")
        });
        back.keys("y\r");
        back.wait_for("it is back", |text| text.contains("saved as revision"));
        assert_eq!(
            world
                .msctl(&["config", "get", "order/timeout.write"])
                .ok()
                .out,
            "3s\n"
        );
    });
}
