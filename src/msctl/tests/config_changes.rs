//! Conflicts, history and rollback, from a script's side.

use serde_json::Value;

use crate::world::{World, over_both};

fn set(world: &World, key: &str, value: &str) -> i64 {
    let done = world
        .msctl(&["config", "set", key, value, "-o", "json"])
        .ok();
    done.json()["revision"].as_i64().unwrap()
}

fn get(world: &World, key: &str) -> String {
    let done = world.msctl(&["config", "get", key, "--reveal"]);
    if done.code == 4 {
        "none".into()
    } else {
        done.ok().out.trim().to_owned()
    }
}

fn history(world: &World, what: &str) -> Vec<Value> {
    let done = world.msctl(&["config", "history", what, "-o", "json"]).ok();
    done.json().as_array().unwrap().clone()
}

#[test]
fn a_release_is_taken_back_and_a_service_is_brought_back() {
    over_both(|world| {
        let first = set(world, "order/timeout.write", "2s");
        let second = set(world, "order/timeout.write", "5s");
        let third = set(world, "order/page.size", "50");
        let dry = world
            .msctl(&[
                "config",
                "rollback",
                "order",
                "--of",
                &second.to_string(),
                "--dry-run",
            ])
            .ok();
        assert!(dry.out.contains("5s → 2s"), "{dry:?}");
        assert_eq!(get(world, "order/timeout.write"), "5s");

        let back = world
            .msctl(&["config", "rollback", "order", "--of", &second.to_string()])
            .ok();
        assert!(back.out.starts_with("saved as revision "), "{back:?}");
        assert_eq!(
            (
                get(world, "order/timeout.write"),
                get(world, "order/page.size")
            ),
            ("2s".into(), "50".into())
        );
        let newest = &history(world, "order")[0];
        assert_eq!(newest["action"]["revert"], second);

        world
            .msctl(&["config", "rollback", "order", &first.to_string()])
            .ok();
        assert_eq!(
            (
                get(world, "order/timeout.write"),
                get(world, "order/page.size")
            ),
            ("2s".into(), "none".into())
        );
        world
            .msctl(&["config", "rollback", "order", &third.to_string()])
            .ok();
        assert_eq!(
            (
                get(world, "order/timeout.write"),
                get(world, "order/page.size")
            ),
            ("5s".into(), "50".into())
        );
        let again = world
            .msctl(&["config", "rollback", "order", &third.to_string()])
            .ok();
        assert!(again.out.starts_with("nothing to write"), "{again:?}");
        assert_eq!(
            world.msctl(&["config", "rollback", "order", "999999"]).code,
            4
        );
        assert_eq!(
            world
                .msctl(&["config", "rollback", "order", "--of", "1"])
                .code,
            4
        );
    });
}

#[test]
fn a_rollback_over_a_later_change_is_a_conflict_with_all_three_versions() {
    over_both(|world| {
        set(world, "order/timeout.write", "2s");
        let bad = set(world, "order/timeout.write", "5s");
        set(world, "order/timeout.write", "7s");
        let done = world.msctl(&[
            "config",
            "rollback",
            "order",
            "--of",
            &bad.to_string(),
            "-o",
            "json",
        ]);
        assert_eq!(done.code, 3, "{done:?}");
        let error: Value = serde_json::from_str(&done.err).unwrap();
        let conflict = &error["details"][0];
        assert_eq!(
            (
                &conflict["base"],
                &conflict["current"],
                &conflict["mine"],
                &conflict["seen_revision"]
            ),
            (&"5s".into(), &"7s".into(), &"2s".into(), &bad.into()),
        );
        assert_eq!(get(world, "order/timeout.write"), "7s");
    });
}

/// What happened to keys, the oldest first, as another tool left them.
fn left(world: &World, what: &str) -> Vec<String> {
    let mut all = history(world, what);
    all.reverse();
    let said = |one: &Value| {
        let change = &one["changes"][0];
        let whose = if one["foreign"] == true {
            "foreign"
        } else {
            "own"
        };
        format!(
            "{whose} {} {}",
            change["key"].as_str().unwrap(),
            change["after"]
        )
    };
    all.iter().map(said).collect()
}

#[test]
fn each_of_several_foreign_changes_in_a_row_stands_in_the_history_of_key_and_service() {
    over_both(|world| {
        set(world, "order/a", "1");
        world.etcdctl(&["put", "/config/order/a", "2"]);
        world.etcdctl(&["put", "/config/order/a", "3"]);
        world.etcdctl(&["put", "/config/user/a", "another service"]);
        world.etcdctl(&["del", "/config/order/a"]);
        world.etcdctl(&["put", "/config/order/b", "x"]);
        world.etcdctl(&["del", "/config/order/b"]);
        let of_a = [
            "own order/a \"1\"",
            "foreign order/a \"2\"",
            "foreign order/a \"3\"",
            "foreign order/a null",
        ];
        assert_eq!(left(world, "order/a"), of_a);
        let of_b = ["foreign order/b \"x\"", "foreign order/b null"];
        assert_eq!(left(world, "order"), [&of_a[..], &of_b].concat());
    });
}

#[test]
fn of_a_compacted_etcd_it_is_said_since_when_the_history_is_whole() {
    over_both(|world| {
        set(world, "order/a", "1");
        world.etcdctl(&["put", "/config/order/a", "2"]);
        world.etcdctl(&["put", "/config/order/a", "3"]);
        let whole = world.msctl(&["config", "history", "order"]).ok();
        assert_eq!(whole.err, "");
        let newest = history(world, "order")[0]["revision"].as_i64().unwrap();
        world.etcdctl(&["compact", &newest.to_string()]);
        world.etcdctl(&["put", "/config/order/a", "4"]);
        world.etcdctl(&["put", "/config/order/a", "5"]);
        let done = world.msctl(&["config", "history", "order"]).ok();
        assert!(
            done.err
                .contains(&format!("etcd was compacted at r{newest}")),
            "{done:?}"
        );
        // What still stood then, and everything since.
        let known = [
            "own order/a \"1\"",
            "foreign order/a \"3\"",
            "foreign order/a \"4\"",
            "foreign order/a \"5\"",
        ];
        assert_eq!(left(world, "order"), known);
    });
}

#[test]
fn changes_of_other_tools_stand_in_the_history() {
    over_both(|world| {
        let ours = set(world, "order/a", "1");
        world.etcdctl(&["put", "/config/order/a", "2"]);
        world.etcdctl(&["put", "/config/order/a", "3"]);
        set(world, "order/a", "4");
        world.etcdctl(&["put", "/config/order/b", "x"]);
        let of_key = history(world, "order/a");
        let said: Vec<_> = of_key
            .iter()
            .map(|one| (one["foreign"] == true, one["changes"][0]["after"].clone()))
            .collect();
        assert_eq!(
            said,
            [
                (false, "4".into()),
                (true, "3".into()),
                (true, "2".into()),
                (false, "1".into())
            ]
        );
        let of_service = history(world, "order");
        assert!(
            of_service
                .iter()
                .any(|one| one["foreign"] == true && one["changes"][0]["key"] == "order/b")
        );
        let text = world.msctl(&["config", "history", "order"]).ok().out;
        assert!(text.contains("another tool"), "{text}");
        // What another tool did is undone like the rest.
        world
            .msctl(&["config", "rollback", "order", &ours.to_string()])
            .ok();
        assert_eq!(
            (get(world, "order/a"), get(world, "order/b")),
            ("1".into(), "none".into())
        );
    });
}

#[test]
fn a_damaged_record_is_shown_and_hides_no_other() {
    over_both(|world| {
        let first = set(world, "order/a", "1");
        let second = set(world, "order/a", "2");
        let third = set(world, "order/a", "3");
        let records = world.etcdctl(&["get", "--prefix", "--keys-only", "/msctl/releases/order/"]);
        let records: Vec<_> = records.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(records.len(), 3);
        world.etcdctl(&["put", records[1], "{\u{1b}[2J"]);
        // A clock that was set back is no reason for another order.
        let old = world.etcdctl(&["get", "--print-value-only", records[2]]);
        let mut old: Value = serde_json::from_str(&old).unwrap();
        old["time"] = "1999-01-01T00:00:00Z".into();
        world.etcdctl(&["put", records[2], &old.to_string()]);
        let found = history(world, "order");
        let revisions: Vec<_> = found
            .iter()
            .map(|one| one["revision"].as_i64().unwrap())
            .collect();
        assert_eq!(revisions, [third, second, first]);
        assert!(found[1]["problem"].as_str().unwrap().contains("damaged"));
        let text = world.msctl(&["config", "history", "order"]).ok().out;
        assert!(
            !text.contains('\u{1b}') && text.contains("1999-01-01"),
            "{text}"
        );
        let refused = world.msctl(&["config", "rollback", "order", "--of", &second.to_string()]);
        assert_eq!(refused.code, 1);
        assert!(refused.err.contains("damaged"), "{refused:?}");
        // etcd's own history is the truth where the record is not.
        world
            .msctl(&["config", "rollback", "order", &first.to_string()])
            .ok();
        assert_eq!(get(world, "order/a"), "1");
    });
}

#[test]
fn a_secret_comes_back_without_having_stood_anywhere() {
    over_both(|world| {
        let first = set(world, "order/db.password", "hunter2");
        let second = set(world, "order/db.password", "hunter3");
        for arguments in [
            &["config", "history", "order", "-o", "json"][..],
            &["config", "history", "order", "--diff"],
            &["config", "export", "order"],
            &["config", "list", "order"],
            &["config", "explain", "order/db.password"],
            &[
                "config",
                "rollback",
                "order",
                "--of",
                &second.to_string(),
                "--dry-run",
            ],
            &["config", "set", "order/db.password", "hunter4", "--dry-run"],
        ] {
            let done = world.msctl(arguments).ok();
            assert!(
                !done.out.contains("hunter") && !done.err.contains("hunter"),
                "{arguments:?} {done:?}"
            );
        }
        let records = world.etcdctl(&["get", "--prefix", "/msctl/releases/"]);
        assert!(!records.contains("hunter"), "{records}");
        world
            .msctl(&["config", "rollback", "order", "--of", &second.to_string()])
            .ok();
        assert_eq!(get(world, "order/db.password"), "hunter2");

        // Once etcd has forgotten, nobody knows it any more.
        let third = set(world, "order/db.password", "hunter5");
        let now = set(world, "order/other", "1");
        world.etcdctl(&["compact", &now.to_string()]);
        let refused = world.msctl(&["config", "rollback", "order", "--of", &third.to_string()]);
        assert_eq!(refused.code, 1);
        assert!(
            refused.err.contains("compacted") && refused.err.contains("db.password"),
            "{refused:?}"
        );
        let refused = world.msctl(&["config", "rollback", "order", &first.to_string()]);
        assert_eq!(refused.code, 1, "{refused:?}");
    });
}

#[test]
fn records_alone_lead_back_where_etcd_has_forgotten() {
    over_both(|world| {
        let first = set(world, "order/a", "1");
        set(world, "order/a", "2");
        let now = set(world, "order/b", "3");
        world.etcdctl(&["compact", &now.to_string()]);
        world
            .msctl(&["config", "rollback", "order", &first.to_string()])
            .ok();
        assert_eq!(
            (get(world, "order/a"), get(world, "order/b")),
            ("1".into(), "none".into())
        );
    });
}

#[test]
fn what_the_schema_refuses_is_not_written() {
    over_both(|world| {
        let schema = r#"{"properties": {"timeout": {"properties": {"write": {"format": "duration", "minimum": "100ms", "maximum": "30s", "description": "How long."}}, "additionalProperties": false}, "level": {"enum": ["debug", "info"]}}}"#;
        world.etcdctl(&["put", "/schema/order", schema]);
        let refused = world.msctl(&["config", "set", "order/timeout.write", "45s", "-o", "json"]);
        assert_eq!(refused.code, 5, "{refused:?}");
        assert!(refused.err.contains("100ms … 30s"), "{refused:?}");
        assert_eq!(get(world, "order/timeout.write"), "none");
        let refused = world.msctl(&["config", "set", "order/timeout.wirte", "5s"]);
        assert_eq!(refused.code, 5);
        assert!(
            refused.err.contains("Did you mean 'timeout.write'?"),
            "{refused:?}"
        );
        let warned = world.msctl(&["config", "set", "order/levle", "info"]).ok();
        assert!(warned.err.contains("Did you mean 'level'?"), "{warned:?}");
        let dry = world
            .msctl(&["config", "set", "order/timeout.write", "5s", "--dry-run"])
            .ok();
        assert!(dry.out.contains("duration, 100ms … 30s"), "{dry:?}");
        world
            .msctl(&["config", "set", "order/timeout.write", "45s", "--no-check"])
            .ok();
        let found = world.msctl(&["config", "validate", "-o", "json"]);
        assert_eq!(found.code, 1, "{found:?}");
        assert!(found.out.contains("too high"), "{found:?}");
        world
            .msctl(&["config", "set", "order/timeout.write", "5s"])
            .ok();
        world.msctl(&["config", "validate"]).ok();
        // A schema that is none stands in nobody's way.
        world.etcdctl(&["put", "/schema/order", "{"]);
        let warned = world
            .msctl(&["config", "set", "order/timeout.write", "50s"])
            .ok();
        assert!(
            warned.err.contains("the schema of order is not used"),
            "{warned:?}"
        );
    });
}

#[test]
fn an_edit_in_the_editor_is_one_guarded_change() {
    over_both(|world| {
        set(world, "order/a", "1 # why");
        set(world, "order/b", "2");
        set(world, "order/db.password", "hunter2");
        let edit = |script: &str| {
            let mut command = world.command(&["config", "edit", "order", "-m", "by hand"]);
            crate::world::run(command.env("EDITOR", script).env_remove("VISUAL"), b"")
        };
        let same = edit("true").ok();
        assert!(same.err.contains("nothing was changed"), "{same:?}");
        edit("sed -i -e 's/a: 1/a: 5/' -e '/  b:/d'").ok();
        assert_eq!(
            world.etcdctl(&["get", "--print-value-only", "/config/order/a"]),
            "5 # why\n"
        );
        assert_eq!(
            (get(world, "order/b"), get(world, "order/db.password")),
            ("none".into(), "hunter2".into())
        );
        assert_eq!(history(world, "order")[0]["message"], "by hand");

        let broken = edit("sed -i 's/a: 5.*/a: [5/'");
        assert_eq!(broken.code, 2, "{broken:?}");
        let kept = broken
            .err
            .split("kept in ")
            .nth(1)
            .and_then(|rest| rest.split(';').next())
            .unwrap();
        assert!(
            std::fs::read_to_string(kept).unwrap().contains("a: [5"),
            "{broken:?}"
        );

        // Somebody else changes the key while the editor is open.
        let theirs = format!(
            "ETCDCTL_API=3 etcdctl --endpoints {} put /config/order/a 9 >/dev/null; sed -i 's/a: 5/a: 6/'",
            world.endpoint
        );
        let conflict = edit(&theirs);
        assert_eq!(conflict.code, 3, "{conflict:?}");
        assert!(conflict.err.contains("kept in "), "{conflict:?}");
        assert_eq!(get(world, "order/a"), "9");
    });
}

#[test]
fn where_no_variable_names_the_author_the_machine_does() {
    let world = World::embedded();
    let set = ["config", "set", "order/page.size", "20"];
    let mut set = world.command(&set);
    crate::world::run(set.env_remove("USER").env_remove("LOGNAME"), b"").ok();
    let me = std::process::Command::new("id")
        .arg("-un")
        .output()
        .unwrap();
    let me = String::from_utf8(me.stdout).unwrap();
    assert_eq!(history(&world, "order")[0]["author"], me.trim());
}
