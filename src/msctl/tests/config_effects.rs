//! What a change comes to is told before it is made: by layers, by schema, by instances.

use serde_json::json;

use crate::world::{World, over_both};

const SCHEMA: &str = r#"{"properties": {"timeout": {"format": "duration", "maximum": "30s"}, "dsn": {"type": "string"}, "mode": {"enum": ["fast", "safe"]}}, "required": ["dsn"], "additionalProperties": false}"#;

fn write(world: &World, name: &str, text: &str) -> String {
    let path = world.home.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_preview_says_which_value_counts_then_and_whom_it_reaches() {
    over_both(|world| {
        world.register("o-1");
        world.register("o-2");
        let user = json!({"service": "user", "id": "u-1", "version": "1", "endpoints": [], "weight": 100, "metadata": {}});
        world.etcdctl(&["put", "/services/user/u-1", &user.to_string()]);
        let at = world.set(&[
            "global/timeout",
            "3s",
            "order/timeout",
            "5s",
            "user/retry",
            "{n: 1}",
        ]);
        let dry = |arguments: &[&str]| {
            let all = [&["config"], arguments, &["--dry-run"]].concat();
            world.msctl(&all).ok().out
        };
        // A service that has its own value does not notice.
        let global = dry(&["set", "global/timeout", "4s"]);
        assert!(
            global.contains(&format!("global/timeout: order keeps 5s (service r{at})"))
                && global.contains("reaches 1 instance\n"),
            "{global}"
        );
        let through = dry(&["unset", "order/timeout"]);
        assert!(
            through.contains(&format!("order then runs 3s (global r{at})"))
                && through.contains("reaches 2 instances"),
            "{through}"
        );
        let nothing = dry(&["unset", "user/retry"]);
        assert!(
            nothing.contains("user then has it in no layer of etcd"),
            "{nothing}"
        );
        let over = dry(&["set", "user/timeout", "9s"]);
        assert!(
            over.contains(&format!("user runs 3s (global r{at}) until then")),
            "{over}"
        );
        // What is written is what was there, from a lower layer: nobody notices.
        let same = dry(&["set", "user/timeout", "3s"]);
        assert!(same.contains("reaches no running instance"), "{same}");
        let document = world
            .msctl(&[
                "config",
                "unset",
                "order/timeout",
                "--dry-run",
                "-o",
                "json",
            ])
            .ok()
            .json();
        assert_eq!(
            document["effects"],
            json!([{
                "service": "order", "key": "order/timeout",
                "before": {"value": "5s", "from": format!("service r{at}")},
                "after": {"value": "3s", "from": format!("global r{at}")},
            }])
        );
    });
}

#[test]
fn lines_stand_side_by_side_and_words_that_differ_stand_out() {
    let world = World::embedded();
    let rules = write(&world, "first.yaml", "- allow: a\n- deny: b\n- deny: c\n");
    world.set(&["order/rules", &format!("@{rules}")]);
    let rules = write(&world, "rules.yaml", "- allow: a\n- deny: x\n");
    let rules = format!("@{rules}");
    let set = |more: &[&str]| {
        let change = ["config", "set", "order/rules", &rules, "--dry-run"];
        world.msctl(&[&change[..], more].concat()).ok().out
    };
    let beside = set(&["--side-by-side"]);
    for line in [
        "- allow: a │ - allow: a",
        "~ - deny: b  │ - deny: x",
        "- - deny: c  │",
    ] {
        assert!(
            beside.lines().any(|found| found.trim() == line),
            "{line}: {beside}"
        );
    }
    let marked = set(&["--color", "always"]);
    assert!(
        marked.contains("\u{1b}[7m\u{1b}[32mx") || marked.contains("\u{1b}[7m\u{1b}[32m x"),
        "{marked:?}"
    );
}

#[test]
fn trees_and_texts_are_tried_first_too() {
    over_both(|world| {
        world.register("o-1");
        world.set(&["order/a", "1", "order/b", "1"]);
        let file = write(world, "order.yaml", "order:\n  a: 2\n  b: 2\n");
        let flat = write(world, "flat.json", r#"{"a": 3}"#);
        let begun = |arguments: &[&str]| {
            let done = world
                .msctl(&[arguments, &["--canary", "o-1"]].concat())
                .ok();
            assert!(done.out.starts_with("tried as revision"), "{done:?}");
            assert_eq!(world.msctl(&["config", "get", "order/a"]).out, "1\n");
            let ended = world
                .msctl(&["config", "abort", "order", "-o", "json"])
                .ok()
                .json();
            ended["changes"].as_array().unwrap().len()
        };
        assert_eq!(begun(&["config", "apply", "-f", &file]), 2);
        assert_eq!(begun(&["config", "import", "order", &flat]), 1);
        let many: String = (0..200).map(|i| format!("  k{i}: 1\n")).collect();
        let many = write(world, "many.yaml", &format!("order:\n{many}"));
        let refused = world.msctl(&["config", "apply", "-f", &many, "--canary", "o-1"]);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(
            refused.err.contains("too large for a canary"),
            "{refused:?}"
        );
        let mut edit = world.command(&["config", "edit", "order", "--canary", "o-1"]);
        edit.env_remove("XDG_STATE_HOME")
            .env("VISUAL", "")
            .env("EDITOR", "sed -i 's/a: 1/a: 7/'");
        let done = crate::world::run(&mut edit, b"").ok();
        assert!(done.out.starts_with("tried as revision"), "{done:?}");
        world.msctl(&["config", "promote", "order"]).ok();
        assert_eq!(world.msctl(&["config", "get", "order/a"]).out, "7\n");
    });
}

#[test]
fn what_a_service_says_is_asked_for_global_keys_removals_and_files_of_every_kind() {
    over_both(|world| {
        world.set(&["order/dsn", "x"]);
        world.etcdctl(&["put", "/schema/order", SCHEMA]);
        let refused = world.msctl(&["config", "set", "global/timeout", "45s"]);
        assert_eq!(refused.code, 5, "{refused:?}");
        assert!(
            refused.err.contains("order says: \"45s\" is too high"),
            "{refused:?}"
        );
        let gone = world
            .msctl(&["config", "unset", "order/dsn", "--dry-run"])
            .ok();
        assert!(gone.err.contains("order requires it"), "{gone:?}");
        world.set(&["global/timeout", "45s", "--no-check"]);
        let faults = |arguments: &[&str]| {
            let done = world.msctl(&[&["config", "validate", "-o", "json"], arguments].concat());
            let rows = done.json();
            let keys = rows.as_array().unwrap().iter();
            let errors = keys.filter(|row| row["severity"] == "error");
            let keys: Vec<_> = errors
                .map(|row| row["key"].as_str().unwrap().to_owned())
                .collect();
            assert_eq!(done.code, i32::from(!keys.is_empty()), "{done:?}");
            keys
        };
        assert_eq!(faults(&[]), ["global/timeout"]);
        world.set(&["global/timeout", "3s"]);
        assert_eq!(faults(&[]), [""; 0]);
        for (name, text) in [
            ("f/a.json", r#"{"order": {"timeout": "45s"}}"#),
            ("f/a.toml", "[order]\ntimeout = \"45s\"\n"),
            ("f/order.env", "TIMEOUT=45s\n"),
            ("f/order.properties", "timeout=45s\n"),
            ("f/a.yaml", "order:\n  timeout: 45s\n"),
        ] {
            let file = write(world, name, text);
            assert_eq!(faults(&["-f", &file]), ["order/timeout"], "{name}");
            std::fs::remove_file(&file).unwrap();
        }
        write(
            world,
            "f/deep/a.yaml",
            "order:\n  timeout: 45s\nglobal:\n  mode: slow\n",
        );
        let folder = world.home.path().join("f");
        assert_eq!(
            faults(&["-f", folder.to_str().unwrap()]),
            ["global/mode", "order/timeout"]
        );
    });
}

#[test]
fn a_damaged_canary_is_told_of_and_can_be_ended() {
    over_both(|world| {
        world.set(&["order/a", "1"]);
        world.etcdctl(&["put", "/config/order/@canary", "{"]);
        for arguments in [
            &["config", "status", "order"][..],
            &["config", "explain", "order/a"],
        ] {
            let shown = world.msctl(arguments);
            assert!(shown.err.contains("canary record is damaged"), "{shown:?}");
        }
        assert_eq!(world.msctl(&["config", "promote", "order"]).code, 1);
        world.msctl(&["config", "abort", "order"]).ok();
        assert_eq!(world.msctl(&["config", "status", "order"]).err, "");
    });
}
