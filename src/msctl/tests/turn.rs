//! An operator's hand on registrations: drain, undrain, deregister, revoke.

use serde_json::{Value, json};

use crate::demo::Demo;
use crate::main_job::http;
use crate::world::{World, over_both, until};

/// How many calls of `user` an instance has answered, by its own metrics.
fn answered(address: &str) -> u64 {
    let (_, metrics) = http(address, "GET", "/metrics", "");
    metrics
        .lines()
        .filter(|line| line.starts_with("server_requests_total") && line.contains("UserService"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum::<f64>() as u64
}

fn rows(world: &World, service: &str) -> Vec<Value> {
    let done = world.msctl(&["services", service, "-o", "json", "--probe", "never"]);
    done.ok().json().as_array().unwrap().clone()
}

fn address(row: &Value) -> &str {
    row["endpoints"][0]["address"].as_str().unwrap()
}

/// Makes orders, each of which asks some `user` for a name; gives how many of those calls each of
/// the instances answered.
fn orders(demo: &Demo, users: &[Value]) -> Vec<u64> {
    let before: Vec<u64> = users.iter().map(|row| answered(address(row))).collect();
    let order = r#"{"userId":"1","items":[{"sku":"a","quantity":2}]}"#;
    for _ in 0..10 {
        let (status, body) = http(demo.address("order"), "POST", "/v1/orders", order);
        assert_eq!(status, 200, "{body}");
    }
    let after = users.iter().map(|row| answered(address(row)));
    after
        .zip(before)
        .map(|(after, before)| after - before)
        .collect()
}

#[test]
fn a_drained_instance_gets_no_new_call_keeps_its_mark_over_a_lost_lease_and_comes_back() {
    over_both(|world| {
        let demo = Demo::start(world);
        let users = rows(world, "user");
        until("orders know their user", || {
            let order = r#"{"userId":"1","items":[{"sku":"a","quantity":2}]}"#;
            http(demo.address("order"), "POST", "/v1/orders", order).0 == 200
        });
        // Whoever gets the calls is turned away from them.
        let counts = orders(&demo, &users);
        let busy = usize::from(counts[1] > counts[0]);
        assert!(counts[busy] > 0, "{counts:?}");
        let victim = users[busy]["instance"].as_str().unwrap();
        let drained = world.msctl(&["services", "drain", victim]).ok();
        assert!(
            drained
                .out
                .starts_with(&format!("drained user/{victim} (revision ")),
            "{drained:?}"
        );
        let weight = || {
            let rows = rows(world, "user");
            let row = rows.iter().find(|row| row["instance"] == victim);
            row.map(|row| (row["weight"].clone(), row["lease"]["id"].clone()))
        };
        let (now, lease) = weight().unwrap();
        assert_eq!(now, 0);
        assert_ne!(lease, Value::Null, "the lease is kept");
        until("the news has spread", || orders(&demo, &users)[busy] == 0);
        for _ in 0..3 {
            let counts = orders(&demo, &users);
            assert_eq!((counts[busy], counts[1 - busy]), (0, 10), "{counts:?}");
        }
        assert!(
            world
                .msctl(&["services", "user"])
                .ok()
                .out
                .contains("drained"),
            "it is shown"
        );
        let again = world.msctl(&["services", "drain", victim]).ok();
        assert!(again.err.contains("already drained"), "{again:?}");

        // The process registers anew when its lease is lost, and does not forget.
        let lease = lease.as_str().unwrap();
        let revoked = world.msctl(&["leases", "revoke", lease, "--yes"]).ok();
        assert!(
            revoked.out.starts_with(&format!("revoked {lease}: ")),
            "{revoked:?}"
        );
        until("it is back under another lease", || {
            weight().is_some_and(|(_, id)| id.is_string() && id != lease)
        });
        assert_eq!(weight().unwrap().0, 0);

        world
            .msctl(&["services", "undrain", &format!("user/{victim}")])
            .ok();
        assert_eq!(weight().unwrap().0, 100);
        let other = users[1 - busy]["instance"].as_str().unwrap();
        world
            .msctl(&["services", "drain", other, "-o", "json"])
            .ok();
        until("the calls are back", || {
            orders(&demo, &users)[1 - busy] == 0
        });
        assert_eq!(orders(&demo, &users)[busy], 10);
        // With nobody left, calls are answered all the same, and that is said.
        let last = world.msctl(&["services", "drain", victim]).ok();
        assert!(last.err.contains("user has no other instance"), "{last:?}");
        assert_eq!(orders(&demo, &users).iter().sum::<u64>(), 10);
    });
}

#[test]
fn what_destroys_needs_yes_and_a_process_that_lives_is_not_deregistered_by_hand() {
    over_both(|world| {
        world.etcdctl(&[
            "put",
            "/services/old/old-1",
            r#"{"service":"old","id":"old-1"}"#,
        ]);
        let granted = world.etcdctl(&["lease", "grant", "600"]);
        let lease = granted
            .split_whitespace()
            .nth(1)
            .unwrap()
            .trim_start_matches('0')
            .to_owned();
        world.etcdctl(&["put", "--lease", &lease, "/held", "1"]);
        for arguments in [
            &["services", "deregister", "old/old-1"][..],
            &["leases", "revoke", &lease],
        ] {
            let done = world.msctl(arguments);
            assert_eq!(done.code, 5, "{done:?}");
            assert_eq!(
                done.err,
                "error: this destroys, and nobody is here to confirm. Give --yes if you mean it.\n"
            );
        }
        assert!(world.etcdctl(&["get", "/held"]).contains("/held"));
        world
            .msctl(&["services", "deregister", "old/old-1", "--yes"])
            .ok();
        world.msctl(&["leases", "revoke", &lease, "--yes"]).ok();
        assert_eq!(
            world
                .etcdctl(&["get", "--prefix", "/", "--keys-only"])
                .trim(),
            ""
        );
        assert_eq!(world.msctl(&["leases", "revoke", &lease, "--yes"]).code, 4);
        assert_eq!(world.msctl(&["leases", "revoke", "xyz"]).code, 2);

        let missing = world.msctl(&["services", "drain", "old/old-1"]);
        assert_eq!(missing.code, 4, "{missing:?}");
        world.etcdctl(&["put", "/services/a/x-1", r#"{"service":"a","id":"x-1"}"#]);
        world.etcdctl(&["put", "/services/b/x-1", r#"{"service":"b","id":"x-1"}"#]);
        let ambiguous = world.msctl(&["services", "drain", "x-1"]);
        assert_eq!(
            ambiguous.err,
            "error: 'x-1' is ambiguous: a/x-1, b/x-1. Name the service in front.\n"
        );
        let near = world.msctl(&["services", "undrain", "a/x-2"]);
        assert_eq!(
            near.err,
            "error: no instance 'a/x-2' is registered. Did you mean 'a/x-1'?\n"
        );

        let _demo = Demo::start(world);
        let living = rows(world, "user")[0]["instance"]
            .as_str()
            .unwrap()
            .to_owned();
        let done = world.msctl(&["services", "deregister", &living, "--yes"]);
        assert_eq!(done.code, 1, "{done:?}");
        assert!(
            done.err
                .contains("wrote its record again: its process lives"),
            "{done:?}"
        );
    });
}

#[test]
fn a_production_context_wants_yes_for_each_and_a_read_only_one_refuses() {
    let world = World::embedded();
    world.etcdctl(&["put", "/services/a/x-1", r#"{"service":"a","id":"x-1"}"#]);
    for (name, flag) in [("prod", "--production"), ("look", "--read-only")] {
        let mut command = crate::world::command(world.home.path());
        command.args(["context", "set", name, "--endpoint", &world.endpoint, flag]);
        crate::world::run(&mut command, b"").ok();
    }
    let within = |context: &str, arguments: &[&str]| {
        let mut command = crate::world::command(world.home.path());
        command.args(["--context", context]).args(arguments);
        crate::world::run(&mut command, b"")
    };
    let asked = within("prod", &["services", "drain", "x-1"]);
    assert_eq!(asked.code, 5, "{asked:?}");
    assert!(asked.err.contains("production"), "{asked:?}");
    within("prod", &["services", "drain", "x-1", "--yes"]).ok();
    let refused = within("look", &["services", "undrain", "x-1", "--yes"]);
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.err.contains("read-only"), "{refused:?}");
    let row = &rows(&world, "a")[0];
    assert_eq!(
        (&row["weight"], &row["metadata"]),
        (&json!(0), &json!({ "drained.weight": "100" }))
    );
}
