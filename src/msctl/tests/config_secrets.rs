//! A secret that is stored is found in nothing that anybody is shown, unless they ask for it.

use std::path::Path;

use crate::world::{Running, World, command, over_both, run};

const SECRET: &str = "hunter2hunter2";

const SCHEMA: &str = r#"{"properties": {"pin": {"type": "string", "x-secret": true, "maxLength": 20}, "db": {}, "a": {}}}"#;

/// Runs a command in every format and looks for the secret in all it says.
#[track_caller]
fn check(world: &World, arguments: &[&str]) {
    for format in [&[][..], &["-o", "json"], &["-o", "yaml"], &["-v"]] {
        let done = world.msctl(&[arguments, format].concat());
        assert!(
            !done.out.contains(SECRET) && !done.err.contains(SECRET),
            "{arguments:?} {format:?}: {done:?}"
        );
    }
}

fn drafts(home: &Path) -> String {
    let files = std::fs::read_dir(home.join(".local/state/msctl/drafts")).unwrap();
    let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    texts.collect()
}

#[test]
fn no_command_no_record_and_no_draft_shows_a_secret() {
    over_both(|world| {
        let mapping = format!("{{host: h, password: {SECRET}}}");
        let listed = format!("[{{name: a, token: {SECRET}}}]");
        world.register("o-1");
        world.etcdctl(&[
            "put",
            "/config/order/torn",
            &format!("{{password: {SECRET}"),
        ]);
        // Recorded before its service says that it is a secret.
        world.set(&["order/pin", &format!("{SECRET}0")]);
        world.etcdctl(&["put", "/schema/order", SCHEMA]);
        for (at, value) in [(1, SECRET), (2, &format!("{SECRET}1"))] {
            check(world, &["config", "set", "order/db.password", value]);
            check(world, &["config", "set", "order/pin", value]);
            let mapping = mapping.replace(SECRET, value);
            check(world, &["config", "set", "order/db", &mapping]);
            check(
                world,
                &[
                    "config",
                    "set",
                    "order/users",
                    &listed.replace(SECRET, value),
                ],
            );
            check(
                world,
                &["config", "set", "global/pin", value, "-m", &at.to_string()],
            );
        }
        let long = SECRET.repeat(9);
        check(world, &["config", "set", "order/pin", &long]);
        check(
            world,
            &["config", "set", "order/pin", "1", "--if-revision", "1"],
        );
        check(
            world,
            &["config", "set", "order/db", "1", "--if-revision", "1"],
        );
        check(world, &["config", "set", "order/pin", "1", "--dry-run"]);
        let revision = world
            .msctl(&["config", "get", "order/db", "-o", "json"])
            .json()["revision"]
            .to_string();
        let file = world.home.path().join("order.yaml");
        std::fs::write(
            &file,
            format!("order:\n  pin: {SECRET}2\n  db: {{password: {SECRET}2}}\n"),
        )
        .unwrap();
        let file = file.to_str().unwrap();
        let flat = world.home.path().join("flat.yaml");
        std::fs::write(&flat, format!("pin: {SECRET}2\n")).unwrap();
        let flat = flat.to_str().unwrap();
        for arguments in [
            &["keys", "/"][..],
            &["config", "get", "order/db.password"],
            &["config", "get", "order/db"],
            &["config", "get", "order/pin"],
            &["config", "get", "order/users"],
            &["config", "get", "order/torn"],
            &["config", "get", "user/pin"],
            &["config", "list"],
            &["config", "list", "order"],
            &["config", "list", "global"],
            &["config", "history", "order"],
            &["config", "history", "order", "--diff"],
            &["config", "history", "order/db", "--diff"],
            &["config", "history", "order/pin"],
            &["config", "history", "global"],
            &["config", "diff", "order", "--revision", &revision],
            &["config", "diff", "order", "global"],
            &["config", "diff", "-f", file],
            &["config", "apply", "-f", file, "--dry-run"],
            &["config", "apply", "-f", file, "--prune", "--dry-run"],
            &["config", "import", "order", flat, "--dry-run"],
            &["config", "rollback", "order", &revision, "--dry-run"],
            &[
                "config",
                "rollback",
                "order",
                "--of",
                &revision,
                "--dry-run",
            ],
            &["config", "export"],
            &["config", "explain", "order/db"],
            &["config", "explain", "order/pin"],
            &["config", "status", "order"],
            &["config", "validate"],
            &["config", "validate", "-f", file],
            &["config", "unset", "order/db", "--dry-run"],
            &[
                "config",
                "set",
                "order/a",
                "1",
                "order/pin",
                SECRET,
                "--canary",
                "o-1",
            ],
            &["config", "list", "order"],
            &["config", "explain", "order/pin"],
            &["config", "status", "order"],
            &["config", "promote", "order", "--dry-run"],
            &["config", "abort", "order", "--dry-run"],
            &["keys", "/config/"],
            &["keys", "/msctl/"],
            &["doctor"],
        ] {
            check(world, arguments);
        }
        let revealed = world.msctl(&["keys", "/config/", "--reveal"]).ok();
        assert!(revealed.out.contains(SECRET), "{revealed:?}");
        // A canary in somebody's way, and a key that changed under it.
        check(
            world,
            &["config", "set", "order/pin", "7", "--canary", "o-1"],
        );
        world.etcdctl(&["put", "/config/order/pin", &format!("{SECRET}3")]);
        check(world, &["config", "promote", "order"]);
        world.msctl(&["config", "abort", "order"]).ok();
        check(world, &["config", "apply", "-f", file]);
        check(world, &["config", "unset", "order/db"]);

        // What is written down: records, those from before the schema too, and the editor's text.
        let records = world.etcdctl(&["get", "--prefix", "--print-value-only", "/msctl/releases/"]);
        assert!(!records.contains(SECRET), "{records}");
        let mut edit = command(world.home.path());
        edit.env_remove("XDG_STATE_HOME")
            .env("VISUAL", "")
            .env("EDITOR", "false");
        edit.args(["--endpoints", &world.endpoint, "config", "edit", "order"]);
        let done = run(&mut edit, b"");
        assert!(
            done.code == 1 && done.err.contains("Your text is kept in"),
            "{done:?}"
        );
        let text = drafts(world.home.path());
        assert!(text.contains("!masked") && !text.contains(SECRET), "{text}");
    });
}

#[test]
fn a_record_from_before_the_schema_is_masked_by_the_next_change_and_can_still_be_taken_back() {
    over_both(|world| {
        let records = || world.etcdctl(&["get", "--prefix", "/msctl/releases/order/"]);
        world.etcdctl(&["put", "/schema/order", r#"{"properties": {"pin": {}}}"#]);
        world.set(&["order/pin", SECRET, "order/a", "1", "-m", "first"]);
        let second = world.set(&["order/pin", "5678", "-m", "second"]);
        for number in 0..130 {
            world.etcdctl(&[
                "put",
                &format!("/msctl/releases/order/{number:04}"),
                &format!(
                    r#"{{"author":"old","time":"2026-01-01T00:00:00Z","changes":[{{"key":"order/pin","before":null,"after":"{SECRET}{number}","mod_revision":0}}]}}"#
                ),
            ]);
        }
        world.etcdctl(&["put", "/msctl/releases/order/damaged", "{"]);
        world.etcdctl(&["put", "/schema/order", SCHEMA]);
        assert!(records().contains(SECRET));
        // One transaction has room for so many, the next one takes the rest.
        world.set(&["order/a", "2", "-m", "third"]);
        let left = records().matches(SECRET).count();
        assert!((1..=6).contains(&left), "{left}");
        world.set(&["order/a", "3", "-m", "fourth"]);
        assert!(!records().contains(SECRET), "{}", records());
        let history = ["config", "history", "order", "-n", "1000", "-o", "json"];
        let history = world.msctl(&history).ok().json();
        let history = history.as_array().unwrap();
        let of = |message: &str| {
            let mut places = history.iter();
            let found = places.position(|one| one["message"] == message);
            found.unwrap_or_else(|| panic!("{message}: {history:?}"))
        };
        assert!(
            of("fourth") < of("third") && of("third") < of("second") && of("second") < of("first"),
            "{history:?}"
        );
        assert_eq!(history[of("first")]["author"], "tester");
        let changes = history[of("first")]["changes"].as_array().unwrap();
        let a = changes.iter().find(|one| one["key"] == "order/a").unwrap();
        assert_eq!(a["after"], "1");
        // What the record no longer says, etcd's own history does.
        let of = second.to_string();
        world
            .msctl(&["config", "rollback", "order", "--of", &of, "--yes"])
            .ok();
        let pin = world.etcdctl(&["get", "--print-value-only", "/config/order/pin"]);
        assert_eq!(pin.trim(), SECRET);
    });
}

#[test]
fn no_stream_of_changes_shows_a_secret() {
    over_both(|world| {
        world.etcdctl(&["put", "/schema/order", SCHEMA]);
        world.etcdctl(&["put", "/config/order/pin", SECRET]);
        let mut watch = Running::start(&mut world.command(&["config", "watch"]));
        let mut events = Running::start(&mut world.command(&["events", "-o", "ndjson"]));
        let present = watch.line();
        assert!(
            present.contains("order/pin") && !present.contains(SECRET),
            "{present}"
        );
        // Events tells nothing of what is there at first: changes are made until it has begun.
        let mut told = String::new();
        crate::world::until("a change is told", || {
            world.etcdctl(&[
                "put",
                "/config/order/db",
                &format!("{{password: {SECRET}}}"),
            ]);
            told = events.try_line().unwrap_or_default();
            told.contains("order/db")
        });
        let set = watch.line();
        for line in [&told, &set] {
            assert!(line.contains("••••••") && !line.contains(SECRET), "{line}");
        }
        // A service that says only now what is a secret of it.
        world.etcdctl(&["put", "/schema/user", SCHEMA]);
        crate::world::until("what it says is heard", || {
            world.etcdctl(&["put", "/config/user/pin", SECRET]);
            let line = watch.line();
            line.contains("user/pin") && !line.contains(SECRET)
        });
    });
}
