//! `config` from a script's side.

use serde_json::json;

use crate::world::{Running, over_both};

#[test]
fn a_value_is_set_read_listed_changed_and_removed() {
    over_both(|world| {
        let set = world
            .msctl(&["config", "set", "order/timeout.write", "5s", "-m", "why"])
            .ok();
        assert!(set.out.starts_with("saved as revision "), "{set:?}");
        assert!(
            set.out
                .contains("undo: msctl config unset order/timeout.write"),
            "{set:?}"
        );
        assert_eq!(
            set.out.lines().count(),
            1,
            "one line without a terminal: {set:?}"
        );
        assert_eq!(set.err, "");
        assert_eq!(
            world.etcdctl(&["get", "--print-value-only", "/config/order/timeout.write"]),
            "5s\n"
        );

        assert_eq!(
            world
                .msctl(&["config", "get", "order/timeout.write"])
                .ok()
                .out,
            "5s\n"
        );
        let got = world
            .msctl(&["config", "get", "order/timeout.write", "-o", "json"])
            .ok()
            .json();
        assert_eq!(got["value"], "5s");

        world
            .msctl(&["config", "set", "global/page.size", "50"])
            .ok();
        world
            .msctl(&["config", "set", "order/retry", "{attempts: 3}"])
            .ok();
        let listed = world
            .msctl(&["config", "list", "order", "-o", "json"])
            .ok()
            .json();
        let rows: Vec<_> = listed
            .as_array()
            .unwrap()
            .iter()
            .map(|row| {
                (
                    row["key"].clone(),
                    row["value"].clone(),
                    row["from"].clone(),
                )
            })
            .collect();
        assert_eq!(
            rows,
            [
                (json!("order/page.size"), json!(50), json!("global")),
                (json!("order/retry.attempts"), json!(3), json!("service")),
                (json!("order/timeout.write"), json!("5s"), json!("service")),
            ]
        );

        let same = world
            .msctl(&["config", "set", "order/timeout.write", "5s"])
            .ok();
        assert!(same.out.starts_with("nothing to write"), "{same:?}");

        let changed = world
            .msctl(&["config", "set", "order/timeout.write", "7s", "-o", "json"])
            .ok()
            .json();
        assert_eq!(changed["changes"][0]["before"], "5s");
        let history = world
            .msctl(&["config", "history", "order/timeout.write", "-o", "json"])
            .ok()
            .json();
        assert_eq!(history[0]["revision"], changed["revision"]);
        assert_eq!(history[1]["message"], "why");
        assert_eq!(history[1]["author"], "tester");

        world
            .msctl(&["config", "unset", "order/timeout.write"])
            .ok();
        assert_eq!(
            world.msctl(&["config", "get", "order/timeout.write"]).code,
            4
        );
    });
}

#[test]
fn a_stale_revision_is_a_conflict_and_nothing_is_written() {
    over_both(|world| {
        let first = world
            .msctl(&["config", "set", "order/a", "1", "-o", "json"])
            .ok()
            .json();
        let seen = first["revision"].to_string();
        let good = world.msctl(&["config", "set", "order/a", "2", "--if-revision", &seen]);
        assert_eq!(good.code, 0, "{good:?}");
        let stale = world.msctl(&[
            "config",
            "set",
            "order/a",
            "3",
            "--if-revision",
            &seen,
            "-o",
            "json",
        ]);
        assert_eq!(stale.code, 3, "{stale:?}");
        let error: serde_json::Value = serde_json::from_str(&stale.err).unwrap();
        assert_eq!(error["code"], "conflict");
        assert_eq!(error["details"][0]["current"], "2");
        assert_eq!(world.msctl(&["config", "get", "order/a"]).out, "2\n");
        let absent = world.msctl(&["config", "set", "order/a", "3", "--if-revision", "0"]);
        assert_eq!(absent.code, 3, "{absent:?}");
    });
}

#[test]
fn several_keys_are_written_together_or_not_at_all() {
    over_both(|world| {
        let done = world
            .msctl(&[
                "config", "set", "order/a", "1", "order/b", "2", "-o", "json",
            ])
            .ok()
            .json();
        assert_eq!(done["changes"].as_array().unwrap().len(), 2);
        let bad = world.msctl(&[
            "config", "set", "order/a", "5", "order/b", "[", "-o", "json",
        ]);
        assert_eq!(bad.code, 2, "{bad:?}");
        assert_eq!(world.msctl(&["config", "get", "order/a"]).out, "1\n");
    });
}

#[test]
fn a_secret_is_masked_until_it_is_asked_for() {
    over_both(|world| {
        let set = world
            .msctl(&["config", "set", "order/db.password", "hunter2"])
            .ok();
        assert!(!set.out.contains("hunter2"), "{set:?}");
        for arguments in [
            &["config", "get", "order/db.password"][..],
            &["config", "list"],
            &["config", "list", "order", "-o", "yaml"],
            &["config", "history", "order", "-o", "json"],
            &["keys", "/config/"],
        ] {
            let done = world.msctl(arguments).ok();
            assert!(!done.out.contains("hunter2"), "{arguments:?} {done:?}");
        }
        let revealed = world
            .msctl(&["config", "get", "order/db.password", "--reveal"])
            .ok();
        assert_eq!(revealed.out, "hunter2\n");
    });
}

#[test]
fn a_difference_exits_1_and_none_exits_0() {
    over_both(|world| {
        let before = world
            .msctl(&["config", "set", "order/a", "1", "-o", "json"])
            .ok()
            .json();
        let before = before["revision"].to_string();
        let same = world.msctl(&["config", "diff", "order", "--revision", &before]);
        assert_eq!((same.code, same.out.as_str()), (0, ""), "{same:?}");
        world.msctl(&["config", "set", "order/a", "2"]).ok();
        let differs = world.msctl(&["config", "diff", "order", "--revision", &before]);
        assert_eq!(differs.code, 1, "{differs:?}");
        assert_eq!(differs.out, "  order/a   1 → 2\n");
        assert_eq!(differs.err, "");
        let file = world.home.path().join("order.yaml");
        std::fs::write(&file, "a: 2\nb: {c: 3}\n").unwrap();
        let file = world.msctl(&[
            "config",
            "diff",
            "order",
            "-f",
            file.to_str().unwrap(),
            "-o",
            "json",
        ]);
        assert_eq!(file.code, 1, "{file:?}");
        assert_eq!(
            file.json(),
            json!([{ "key": "order/b", "before": null, "after": "{c: 3}" }])
        );
    });
}

#[test]
fn a_watch_tells_what_is_there_and_then_each_change() {
    over_both(|world| {
        world.msctl(&["config", "set", "order/a", "1"]).ok();
        let mut watch = Running::start(&mut world.command(&["config", "watch", "order"]));
        let present = watch.json();
        assert_eq!(
            (&present["change"], &present["value"]),
            (&json!("present"), &json!(1))
        );
        world.msctl(&["config", "set", "user/a", "9"]).ok();
        world.msctl(&["config", "set", "order/a", "2"]).ok();
        let set = watch.json();
        assert_eq!(set["change"], "set");
        assert_eq!((&set["before"], &set["value"]), (&json!(1), &json!(2)));
        world.msctl(&["config", "unset", "order/a"]).ok();
        let unset = watch.json();
        assert_eq!(
            (&unset["change"], &unset["key"]),
            (&json!("unset"), &json!("order/a"))
        );
    });
}

#[test]
fn a_value_comes_from_a_file_or_stdin() {
    over_both(|world| {
        let rules = "# why\nrules:\n  - a\n  - b\n";
        let file = world.home.path().join("rules.yaml");
        std::fs::write(&file, rules).unwrap();
        let argument = format!("@{}", file.display());
        world
            .msctl(&["config", "set", "order/rules", &argument])
            .ok();
        assert_eq!(world.msctl(&["config", "get", "order/rules"]).out, rules);
        world
            .msctl_with(&["config", "set", "order/one", "-"], b"7s\n")
            .ok();
        assert_eq!(
            world.etcdctl(&["get", "--print-value-only", "/config/order/one"]),
            "7s\n"
        );
    });
}

#[test]
fn a_list_of_a_service_shows_the_defaults_its_schema_says() {
    over_both(|world| {
        let schema = r#"{"properties": {
            "page.size": {"type": "integer", "default": 10},
            "mode": {"enum": ["fast", "safe"], "default": "safe"}}}"#;
        world.etcdctl(&["put", "/schema/order", schema]);
        world.msctl(&["config", "set", "order/mode", "fast"]).ok();
        let rows = |arguments: &[&str]| {
            let listed = world.msctl(arguments).ok().json();
            let rows = listed.as_array().unwrap().clone();
            rows.iter()
                .map(|row| (row["key"].clone(), row["from"].clone()))
                .collect::<Vec<_>>()
        };
        let own = (json!("order/mode"), json!("service"));
        let default = (json!("order/page.size"), json!("default"));
        let now = rows(&["config", "list", "order", "-o", "json"]);
        assert_eq!(now, [own.clone(), default]);
        // What stands in etcd alone: nobody has set a default there.
        assert_eq!(rows(&["config", "list", "-o", "json"]), [own]);
        let refused = world.msctl(&["config", "set", "order/mode", "quick"]);
        assert_eq!(refused.code, 5, "{refused:?}");
    });
}
