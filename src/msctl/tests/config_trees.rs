//! Config as trees: out, in, and applied.

use crate::world::{World, over_both};

fn write(world: &World, name: &str, text: &str) -> String {
    let path = world.home.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn what_is_exported_is_applied_already_and_byte_for_byte_the_same() {
    over_both(|world| {
        let values: [(&str, &str); 6] = [
            ("/config/order/timeout.write", "5s # slow disk"),
            (
                "/config/order/rules",
                "# in this order\n- allow: a\n\n- deny: b\n",
            ),
            ("/config/order/odd", "a: 1\nb: 2 # no line end"),
            ("/config/order/retry", "{attempts: 3}"),
            ("/config/global/log.level", "info"),
            ("/config/user/db.password", "hunter2"),
        ];
        for (key, value) in values {
            world.etcdctl(&["put", key, "--", value]);
        }
        let whole = world.msctl(&["config", "export", "--reveal"]).ok().out;
        assert_eq!(
            world.msctl(&["config", "export", "--reveal"]).ok().out,
            whole
        );
        let file = write(world, "whole.yaml", &whole);
        let nothing = world
            .msctl(&["config", "apply", "-f", &file, "--prune", "--yes"])
            .ok();
        assert!(nothing.out.starts_with("nothing to write"), "{nothing:?}");

        world.etcdctl(&["del", "--prefix", "/config/"]);
        let dry = world.msctl(&["config", "apply", "-f", &file, "--dry-run"]);
        assert_eq!(dry.code, 1, "{dry:?}");
        world.msctl(&["config", "apply", "-f", &file, "--yes"]).ok();
        assert_eq!(
            world
                .msctl(&["config", "apply", "-f", &file, "--dry-run"])
                .code,
            0
        );
        for (key, value) in values {
            assert_eq!(
                world.etcdctl(&["get", "--print-value-only", key]),
                format!("{value}\n")
            );
        }
        assert_eq!(
            world.msctl(&["config", "export", "--reveal"]).ok().out,
            whole
        );

        // Without secrets, applying leaves them alone.
        let masked = world.msctl(&["config", "export"]).ok().out;
        assert!(masked.contains("db.password: !masked") && !masked.contains("hunter2"));
        let file = write(world, "masked.yaml", &masked);
        world
            .msctl(&["config", "apply", "-f", &file, "--prune", "--yes"])
            .ok();
        assert_eq!(
            world.msctl(&["config", "export", "--reveal"]).ok().out,
            whole
        );
    });
}

#[test]
fn keys_are_deleted_only_when_asked_and_confirmed() {
    over_both(|world| {
        world
            .msctl(&[
                "config", "set", "order/a", "1", "order/b", "2", "user/x", "1",
            ])
            .ok();
        let file = write(world, "tree/order.yaml", "order:\n  a: 5\n");
        write(world, "tree/user.env", "export X=7 # why\n");
        write(world, "tree/README.md", "no config");
        let folder = world.home.path().join("tree");
        let folder = folder.to_str().unwrap();
        world.msctl(&["config", "apply", "-f", &file]).ok();
        assert_eq!(
            world.etcdctl(&["get", "--print-value-only", "/config/order/b"]),
            "2\n"
        );
        let refused = world.msctl(&["config", "apply", "-f", folder, "--prune"]);
        assert_eq!(refused.code, 5, "{refused:?}");
        let done = world
            .msctl(&[
                "config", "apply", "-f", folder, "--prune", "--yes", "-o", "json",
            ])
            .ok();
        assert_eq!(
            done.json()["changes"].as_array().unwrap().len(),
            2,
            "{done:?}"
        );
        assert_eq!(
            world.etcdctl(&["get", "--prefix", "--keys-only", "/config/order/"]),
            "/config/order/a\n\n"
        );
        assert_eq!(
            world.etcdctl(&["get", "--print-value-only", "/config/user/x"]),
            "7\n"
        );
        for (text, why) in [
            ("order:\n  a: [1", "not YAML"),
            ("order:\n  a b: 1", "is not allowed"),
            ("- x", "is a list"),
        ] {
            let file = write(world, "bad.yaml", text);
            let refused = world.msctl(&["config", "apply", "-f", &file]);
            assert_eq!(refused.code, 2, "{refused:?}");
            assert!(refused.err.contains(why), "{refused:?}");
        }
    });
}

#[test]
fn other_notations_become_keys() {
    over_both(|world| {
        for (name, text) in [
            (
                "a.json",
                r#"{"timeout": {"write": "5s"}, "tags": ["a", "b"]}"#,
            ),
            (
                "a.toml",
                "tags = [\"a\", \"b\"]\n[timeout]\nwrite = \"5s\"\n",
            ),
            ("a.env", "TIMEOUT__WRITE=5s\nTAGS=[a, b]\n"),
            ("a.properties", "timeout.write=5s\ntags=[a, b]\n"),
        ] {
            world.etcdctl(&["del", "--prefix", "/config/"]);
            let file = write(world, name, text);
            world.msctl(&["config", "import", "order", &file]).ok();
            let listed = world
                .msctl(&["config", "list", "order", "-o", "json"])
                .ok()
                .json();
            let values: Vec<_> = listed
                .as_array()
                .unwrap()
                .iter()
                .map(|row| row["value"].clone())
                .collect();
            assert_eq!(
                values,
                [serde_json::json!(["a", "b"]), "5s".into()],
                "{name}"
            );
            let again = world.msctl(&["config", "import", "order", &file]).ok();
            assert!(
                again.out.starts_with("nothing to write"),
                "{name} {again:?}"
            );
        }
        let piped = world
            .msctl_with(
                &["config", "import", "order", "-", "--format", "json"],
                br#"{"x": 1}"#,
            )
            .ok();
        assert!(piped.out.starts_with("saved as revision"), "{piped:?}");
    });
}

#[test]
fn a_tree_of_many_keys_is_written_in_several_transactions() {
    over_both(|world| {
        let keys: String = (0..300).map(|i| format!("  key-{i}: {i}\n")).collect();
        let file = write(world, "many.yaml", &format!("order:\n{keys}"));
        world.register("o-1");
        world.set(&["global/key-7", "old"]);
        let dry = ["config", "apply", "-f", &file, "--dry-run"];
        let shown = world.msctl(&dry);
        assert_eq!(shown.code, 1, "{shown:?}");
        assert!(
            shown.out.contains("order runs old (global r")
                && shown
                    .out
                    .ends_with("  reaches 1 instance\n  300 keys in 3 transactions\n"),
            "{shown:?}"
        );
        let told = world.msctl(&[&dry[..], &["-o", "json"]].concat()).json();
        assert_eq!(
            (&told["reaches"], told["effects"].as_array().unwrap().len()),
            (&1.into(), 300)
        );
        let done = world
            .msctl(&["config", "apply", "-f", &file, "-m", "all", "-o", "json"])
            .ok();
        assert_eq!(
            (&done.json()["keys"], &done.json()["transactions"]),
            (&300.into(), &3.into())
        );
        assert_eq!(done.err, "", "no bar without a terminal");
        let again = world.msctl(&["config", "apply", "-f", &file]).ok();
        assert!(again.out.starts_with("nothing to write"), "{again:?}");
        let history = world
            .msctl(&["config", "history", "order", "-o", "json"])
            .ok()
            .json();
        // Several are on their way at once, in no order.
        let messages = history.as_array().unwrap().iter();
        let mut messages: Vec<_> = messages
            .map(|one| one["message"].as_str().unwrap())
            .collect();
        messages.sort_unstable();
        assert_eq!(messages, ["all (1 of 3)", "all (2 of 3)", "all (3 of 3)"]);
        let too_many: Vec<String> = (0..200)
            .flat_map(|i| [format!("user/k{i}"), "1".into()])
            .collect();
        let mut arguments = vec!["config", "set"];
        arguments.extend(too_many.iter().map(String::as_str));
        let refused = world.msctl(&arguments);
        assert_eq!(refused.code, 2);
        assert!(refused.err.contains("config apply"), "{refused:?}");
    });
}

#[test]
fn files_are_compared_with_the_store_as_apply_reads_them() {
    over_both(|world| {
        world.set(&["order/a", "1", "order/db.password", "x", "user/x", "{n: 1}"]);
        world.etcdctl(&["put", "/config/order/torn", "{a: ["]);
        let whole = world.msctl(&["config", "export"]).ok().out;
        let file = write(world, "whole.yaml", &whole);
        let same = world.msctl(&["config", "diff", "-f", &file]);
        assert_eq!((same.code, same.out.as_str()), (0, ""), "{same:?}");
        let own = world.msctl(&["config", "export", "order"]).ok().out;
        let own = write(world, "own.yaml", &own);
        assert_eq!(
            world.msctl(&["config", "diff", "order", "-f", &own]).code,
            0
        );

        write(
            world,
            "tree/deep/er/order.json",
            r#"{"order": {"a": 2, "b": 3, "torn": "{a: ["}}"#,
        );
        write(world, "tree/user.env", "X=7\n");
        // A person's own, a version control's, an editor's: no config of the fleet.
        write(world, "tree/.env", "SECRET=1\n");
        write(world, "tree/.git/order.yaml", "order:\n  a: 9\n");
        write(world, "tree/.order.yaml", "order:\n  a: 9\n");
        std::os::unix::fs::symlink(".", world.home.path().join("tree/self")).unwrap();
        let folder = world.home.path().join("tree");
        let folder = folder.to_str().unwrap();
        let differs = world.msctl(&["config", "diff", "-f", folder, "-o", "json"]);
        assert_eq!(differs.code, 1, "{differs:?}");
        let found: Vec<_> = differs
            .json()
            .as_array()
            .unwrap()
            .iter()
            .map(|one| {
                let text = |side: &str| one[side].as_str().unwrap_or("-").to_owned();
                format!("{} {} {}", text("key"), text("before"), text("after"))
            })
            .collect();
        assert_eq!(
            found,
            [
                "order/a 1 2",
                "order/b - 3",
                "order/db.password •••••• -",
                "order/torn {a: [ '{a: ['",
                "user/x {n: 1} 7",
            ]
        );
        let env = format!("{folder}/.env");
        let refused = world.msctl(&["config", "apply", "-f", &env]);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.err.contains("config import SERVICE"), "{refused:?}");
    });
}

#[test]
fn a_rollback_of_many_keys_goes_in_several_transactions_and_waits_for_all() {
    over_both(|world| {
        world.register("o-1");
        let first = world.set(&["order/a", "1"]);
        let keys: String = (0..200).map(|i| format!("  key-{i}: {i}\n")).collect();
        let file = write(world, "many.yaml", &format!("order:\n{keys}"));
        world.says("o-1", 1, &serde_json::json!([]));
        let late = world.msctl(&[
            "config", "apply", "-f", &file, "--wait", "100ms", "-o", "json",
        ]);
        assert_eq!(late.code, 1, "{late:?}");
        assert_eq!(late.json()["rollout"]["waiting"][0], "o-1", "{late:?}");
        world.says("o-1", 1_000_000, &serde_json::json!([]));
        let done = world
            .msctl(&[
                "config",
                "rollback",
                "order",
                &first.to_string(),
                "--wait",
                "60s",
            ])
            .ok();
        assert!(
            done.out.starts_with("saved 200 keys in 2 transactions")
                && done.out.contains("1 of 1 instances"),
            "{done:?}"
        );
        assert_eq!(
            world.etcdctl(&["get", "--prefix", "--keys-only", "/config/order/"]),
            "/config/order/a\n\n"
        );
        // Where etcd forgot how it was, the records tell, and it is said that they may not tell all.
        let now = world.set(&["order/a", "2"]).to_string();
        world.etcdctl(&["compact", &now]);
        let blind = world
            .msctl(&["config", "rollback", "order", &first.to_string()])
            .ok();
        assert!(blind.err.contains("another tool deleted"), "{blind:?}");
        assert_eq!(world.msctl(&["config", "get", "order/a"]).out, "1\n");
    });
}
