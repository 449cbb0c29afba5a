//! `doctor`, and the findings that `services` shows: what is wrong is found by both, over both.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::world::{World, over_both, until};

fn put(world: &World, key: &str, value: &Value) {
    world.etcdctl(&["put", key, &value.to_string()]);
}

fn record(service: &str, id: &str, endpoint: &str) -> Value {
    json!({ "service": service, "id": id, "endpoints": [endpoint] })
}

/// Something that accepts and never answers.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

fn said(revision: i64, alive: bool) -> Value {
    json!({
        "revision": revision,
        "rejected": [{ "key": "order/timeout.write", "revision": 2, "error": "\"1x\" is no duration" }],
        "liveness": { "alive": alive, "detail": if alive { "" } else { "the queue is stuck" } },
        "watch": { "revision": revision, "stale": "etcd is away" },
        "written_at": "2026-11-22T10:00:00Z",
    })
}

fn codes(found: &Value, subject: &str) -> Vec<String> {
    let mut codes: Vec<String> = found
        .as_array()
        .unwrap()
        .iter()
        .filter(|found| found["subject"] == subject)
        .map(|found| found["code"].as_str().unwrap().to_owned())
        .collect();
    codes.sort();
    codes
}

#[test]
fn each_fault_of_a_fleet_is_found_by_doctor_and_by_services_with_what_to_do() {
    over_both(|world| {
        let (_hung, at) = silent();
        put(
            world,
            "/services/order/order-1",
            &record("order", "order-1", &format!("grpc://{at}")),
        );
        put(
            world,
            "/services/order/order-2",
            &record("order", "order-2", "grpc://127.0.0.1:1"),
        );
        put(
            world,
            "/services/order/order-3",
            &record("order", "order-3", "grpc://127.0.0.1:1"),
        );
        put(
            world,
            "/services/user/user-1",
            &json!({ "service": "user", "id": "user-1", "weight": 0 }),
        );
        put(world, "/services/order/poison", &json!(7));
        put(world, "/config/order/timeout.write", &json!("1x"));
        put(world, "/config/order/page.size", &json!(7));
        put(world, "/status/order/order-1", &said(2, false));
        put(world, "/status/order/order-2", &said(1_000_000, true));

        let done = world.msctl(&["doctor", "-o", "json"]);
        assert_eq!(done.code, 1, "{done:?}");
        let document = done.json();
        let found = &document["findings"];
        assert_eq!(
            codes(found, "order/order-1"),
            [
                "config_behind",
                "config_rejected",
                "hung",
                "no_lease",
                "not_alive",
                "stale_view"
            ]
        );
        assert_eq!(
            codes(found, "order/order-2"),
            [
                "config_rejected",
                "no_lease",
                "shared_address",
                "stale_view",
                "unreachable"
            ]
        );
        assert_eq!(
            codes(found, "order/order-3"),
            ["no_lease", "shared_address", "unreachable"]
        );
        assert_eq!(
            codes(found, "user/user-1"),
            ["drained", "no_endpoint", "no_lease"]
        );
        assert_eq!(codes(found, "/services/order/poison"), ["poison_record"]);
        let rank = |found: &Value| match found["severity"].as_str().unwrap() {
            "error" => 0,
            "warning" => 1,
            _ => 2,
        };
        assert!(found.as_array().unwrap().is_sorted_by_key(rank), "{found}");
        assert!(
            found
                .as_array()
                .unwrap()
                .iter()
                .all(|found| found["next"] != ""),
            "{found}"
        );
        assert_eq!(document["instances"], 4);
        assert_eq!(document["asked_for_health"], 4);
        assert_eq!(document["not_asked"], json!([]));

        // The other face says the same.
        let rows = world.msctl(&["services", "-o", "json"]).ok().json();
        for row in rows
            .as_array()
            .unwrap()
            .iter()
            .filter(|row| row["instance"].is_string())
        {
            let subject = format!(
                "{}/{}",
                row["service"].as_str().unwrap(),
                row["instance"].as_str().unwrap()
            );
            let mut shown: Vec<String> = row["findings"]
                .as_array()
                .unwrap()
                .iter()
                .map(|finding| finding["code"].as_str().unwrap().to_owned())
                .collect();
            shown.sort();
            assert_eq!(shown, codes(found, &subject), "{subject}");
        }

        let text = world.msctl(&["doctor"]);
        assert_eq!((text.code, text.err.lines().count()), (1, 0), "{text:?}");
        assert!(
            text.out
                .contains("next: msctl services drain order/order-1"),
            "{text:?}"
        );
        assert!(
            text.out.contains("in 2 services, 4 instances (revision "),
            "{text:?}"
        );
        let lines = world.msctl(&["doctor", "-o", "ndjson"]).out;
        let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
        assert_eq!(last["summary"]["findings"], Value::Null);
        assert_eq!(
            lines.lines().count(),
            found.as_array().unwrap().len() + 1,
            "{lines}"
        );
        assert!(
            world
                .msctl(&["doctor", "-o", "yaml"])
                .out
                .contains("code: hung")
        );

        let unasked = world.msctl(&["doctor", "-o", "json", "--probe", "never"]);
        assert_eq!(unasked.json()["asked_for_health"], 0);
        assert_eq!(
            unasked.json()["not_asked"],
            json!(["no instance was asked for its health"])
        );
        assert!(!unasked.out.contains("\"hung\""));
    });
}

#[test]
fn a_fleet_that_is_well_is_called_so_with_0() {
    over_both(|world| {
        let empty = world.msctl(&["doctor"]).ok();
        assert!(
            empty
                .out
                .starts_with("nothing is wrong, as far as it was asked, in 0 services"),
            "{empty:?}"
        );
        let demo = crate::demo::Demo::start(world);
        until("nothing is wrong", || {
            let done = world.msctl(&["doctor", "-o", "json"]);
            done.code == 0 && done.json()["findings"] == json!([])
        });
        drop(demo);
    });
}

#[test]
fn a_full_cluster_is_found_with_what_to_do() {
    let world = World::real_with(&["--quota-backend-bytes", "4194304"]);
    let value = "x".repeat(1 << 20);
    let mut full = false;
    for number in 0..16 {
        let mut child = std::process::Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args([
                "--endpoints",
                &world.endpoint,
                "put",
                &format!("/fill/{number}"),
            ])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // One that is refused may not read it to the end.
        let _ = std::io::Write::write_all(&mut stdin, value.as_bytes());
        drop(stdin);
        full |= !child.wait().unwrap().success();
    }
    assert!(full, "the quota was never reached");
    let done = world.msctl(&["doctor", "-o", "json"]);
    assert_eq!(done.code, 1, "{done:?}");
    let document = done.json();
    let alarm = document["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|found| found["code"] == "alarm")
        .unwrap_or_else(|| panic!("{document}"));
    assert!(
        alarm["message"].as_str().unwrap().starts_with("NOSPACE"),
        "{alarm}"
    );
    assert!(
        alarm["next"].as_str().unwrap().contains("disarm"),
        "{alarm}"
    );
    let cluster = world.msctl(&["cluster"]).ok();
    assert!(cluster.err.contains("NOSPACE"), "{cluster:?}");
}

#[test]
fn the_page_for_operators_lists_each_code_there_is() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operating.md");
    let page = std::fs::read_to_string(page).unwrap();
    let findings = page.split("\n## ").nth(1).unwrap();
    let told: std::collections::BTreeSet<&str> = findings
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let known = fleet::finding::Code::ALL.map(fleet::finding::Code::word);
    assert_eq!(told, known.into_iter().collect());
}
