//! `services`, `leases`, `keys`, `cluster` and `events` over records that tests write.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::world::{Running, World, over_both, until};

/// Registers an instance under a lease of its own and gives the lease.
fn register(world: &World, service: &str, id: &str, endpoint: &str) -> String {
    let granted = world.etcdctl(&["lease", "grant", "600"]);
    let lease = granted.split_whitespace().nth(1).unwrap().to_owned();
    let record = json!({
        "service": service, "id": id, "version": "1.4.2", "endpoints": [endpoint],
        "metadata": { "zone": "a" }, "started_at": "2026-01-01T00:00:00Z",
    });
    let key = format!("/services/{service}/{id}");
    world.etcdctl(&["put", "--lease", &lease, &key, &record.to_string()]);
    lease
}

fn row<'a>(rows: &'a Value, id: &str) -> &'a Value {
    rows.as_array()
        .unwrap()
        .iter()
        .find(|row| row["instance"] == id)
        .unwrap()
}

#[test]
fn an_instance_is_shown_with_lease_health_and_findings() {
    over_both(|world| {
        // It accepts and never answers.
        let hung = TcpListener::bind("127.0.0.1:0").unwrap();
        let hung_at = hung.local_addr().unwrap().to_string();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap();
        let refused_at = closed.local_addr().unwrap().to_string();
        drop(closed);
        let lease = register(world, "order", "order-1", &format!("grpc://{hung_at}"));
        register(world, "order", "order-2", &format!("grpc://{refused_at}"));
        world.etcdctl(&["put", "/services/order/poison", "{\"service\":7\u{1b}[2J"]);

        let done = world.msctl(&["services", "-o", "json"]).ok();
        let rows = done.json();
        assert_eq!(rows.as_array().unwrap().len(), 3);
        let first = row(&rows, "order-1");
        assert_eq!(
            first.as_object().unwrap().keys().collect::<Vec<_>>(),
            [
                "service",
                "instance",
                "format",
                "key",
                "version",
                "weight",
                "endpoints",
                "metadata",
                "lease",
                "health",
                "findings"
            ]
        );
        assert_eq!(first["format"], "native");
        assert_eq!(first["key"], "/services/order/order-1");
        assert_eq!(first["weight"], 100);
        assert_eq!(
            first["endpoints"],
            json!([{ "protocol": "grpc", "address": hung_at, "secure": false }])
        );
        assert_eq!(first["lease"]["id"], lease.trim_start_matches('0'));
        assert_eq!(first["lease"]["granted"], 600);
        assert!(first["lease"]["ttl"].as_i64().unwrap() > 500);
        assert_eq!(first["health"]["status"], "hung");
        assert_eq!(first["findings"][0]["code"], "hung");
        assert_eq!(first["findings"][0]["severity"], "error");
        assert_eq!(row(&rows, "order-2")["health"]["status"], "unreachable");
        assert_eq!(
            row(&rows, "order-2")["health"]["detail"],
            "connection refused"
        );
        let poison = rows
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["instance"].is_null())
            .unwrap();
        assert_eq!(poison["key"], "/services/order/poison");
        assert_eq!(poison["findings"][0]["code"], "poison_record");
        assert!(
            done.err
                .starts_with("warning: /services/order/poison holds no instance"),
            "{done:?}"
        );
        assert!(
            !done.err.contains('\u{1b}') && !done.out.contains('\u{1b}'),
            "{done:?}"
        );

        let table = world.msctl(&["services"]).ok();
        assert!(table.out.contains("order    0/2 ⧗✗"), "{table:?}");
        let one = world.msctl(&["services", "order"]).ok();
        assert!(
            one.out.contains("⧗ hung") && one.out.contains("✗ unreachable"),
            "{one:?}"
        );

        let bare = world
            .msctl(&[
                "services", "-o", "json", "--probe", "never", "--ttl", "never",
            ])
            .ok()
            .json();
        assert_eq!(
            row(&bare, "order-1")["health"],
            json!({ "status": "unknown", "detail": "not asked" })
        );
        assert_eq!(row(&bare, "order-1")["lease"]["ttl"], Value::Null);
        for format in ["yaml", "ndjson"] {
            let done = world.msctl(&["services", "-o", format]).ok();
            assert!(done.out.contains("order-1"), "{done:?}");
        }
        drop(hung);
    });
}

#[test]
fn a_watch_tells_of_each_instance_that_comes_changes_and_goes() {
    over_both(|world| {
        let lease = register(world, "user", "user-1", "grpc://127.0.0.1:1");
        world.etcdctl(&["put", "/services/user/bad", "nonsense"]);
        let mut watch = Running::start(&mut world.command(&["services", "--watch"]));
        let present = watch.json();
        assert_eq!(present["change"], "present");
        assert_eq!(present["instance"]["instance"], "user-1");
        let unreadable = watch.json();
        assert_eq!(
            (&unreadable["change"], &unreadable["key"]),
            (&json!("unreadable"), &json!("/services/user/bad"))
        );
        register(world, "order", "order-1", "grpc://127.0.0.1:1");
        let came = watch.json();
        assert_eq!(
            (&came["change"], &came["key"]),
            (&json!("registered"), &json!("/services/order/order-1"))
        );
        world.etcdctl(&["put", "/services/order/bad", "nonsense"]);
        assert_eq!(watch.json()["change"], "unreadable");
        world.etcdctl(&["lease", "revoke", &lease]);
        let gone = watch.json();
        assert_eq!(
            (&gone["change"], &gone["instance"]["instance"]),
            (&json!("deregistered"), &json!("user-1"))
        );
        // One that comes back again and again is told as such.
        let mut flapping = Value::Null;
        for _ in 0..3 {
            let lease = register(world, "user", "user-1", "grpc://127.0.0.1:1");
            flapping = watch.json();
            world.etcdctl(&["lease", "revoke", &lease]);
            watch.json();
        }
        assert_eq!(
            flapping["instance"]["findings"][0]["code"], "lease_flaps",
            "{flapping}"
        );
    });
}

#[test]
fn more_leases_than_are_asked_by_themselves_are_listed_and_that_is_said() {
    over_both(|world| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            use futures::StreamExt as _;
            let client =
                etcd::Client::new(etcd::Settings::new(vec![world.endpoint.clone()])).unwrap();
            let granted = futures::stream::iter(0..1_001)
                .map(|_| client.lease_grant(std::time::Duration::from_secs(600)))
                .buffer_unordered(64);
            granted
                .for_each(|lease| async {
                    lease.unwrap();
                })
                .await;
        });
        let done = world.msctl(&["leases", "-o", "json"]).ok();
        let leases = done.json();
        assert_eq!(leases.as_array().unwrap().len(), 1_001);
        assert!(
            leases[0]["id"].is_string() && leases[0]["ttl"].is_null(),
            "{}",
            leases[0]
        );
        assert!(
            done.err
                .contains("did not ask 1001 leases for their time; --ttl always asks them all"),
            "{done:?}"
        );
        let asked = world
            .msctl(&["leases", "-o", "json", "--ttl", "always"])
            .ok();
        assert!(
            asked
                .json()
                .as_array()
                .unwrap()
                .iter()
                .all(|lease| lease["granted"] == 600)
        );
        let none = world
            .msctl(&["leases", "-o", "json", "--ttl", "never"])
            .ok();
        assert_eq!(
            (none.json()[0]["ttl"].clone(), none.err.as_str()),
            (Value::Null, "")
        );

        // Followed, 64 a second are asked; what ends is told all the same.
        let mut watch = Running::start(&mut world.command(&["leases", "--watch"]));
        let mut with_time = 0;
        for _ in 0..1_001 {
            let told = watch.json();
            assert_eq!(told["change"], "present");
            with_time += usize::from(told["ttl"].is_i64());
        }
        assert_eq!(with_time, 64);
        let first = leases[0]["id"].as_str().unwrap();
        world.msctl(&["leases", "revoke", first, "--yes"]).ok();
        let ended = watch.json();
        assert_eq!(
            (&ended["change"], &ended["id"]),
            (&json!("ended"), &json!(first))
        );
    });
}

#[test]
fn leases_keys_and_cluster_are_shown_for_people_and_machines() {
    over_both(|world| {
        let lease = register(world, "user", "user-1", "grpc://127.0.0.1:1");
        let id = lease.trim_start_matches('0');
        let leases = world.msctl(&["leases", "-o", "json"]).ok().json();
        assert_eq!(leases[0]["id"], id);
        assert_eq!(leases[0]["keys"], json!(["/services/user/user-1"]));
        assert!(
            world
                .msctl(&["leases"])
                .ok()
                .out
                .contains("/services/user/user-1")
        );

        let keys = world
            .msctl(&["keys", "/services/", "-o", "json"])
            .ok()
            .json();
        assert_eq!(keys[0]["key"], "/services/user/user-1");
        assert_eq!(keys[0]["lease"], id);
        assert!(
            world
                .msctl(&["keys"])
                .ok()
                .out
                .contains("/services/user/user-1")
        );

        let cluster = world.msctl(&["cluster", "-o", "json"]).ok().json();
        assert_eq!(cluster["members"][0]["leader"], true);
        assert!(world.msctl(&["cluster"]).ok().out.contains("● leader"));

        let mut watch = Running::start(&mut world.command(&["leases", "--watch"]));
        assert_eq!(watch.json()["change"], "present");
        world.etcdctl(&["lease", "revoke", &lease]);
        assert_eq!(watch.json()["change"], "ended");
    });
}

#[test]
fn the_journal_tells_what_happens() {
    over_both(|world| {
        let mut events = Running::start(&mut world.command(&["events", "-o", "ndjson"]));
        // It begins when it begins; what is written until then is not told.
        let mut number = 0;
        let mut first = String::new();
        let (send, lines) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| send.send(events.json()).unwrap());
            until("the journal has begun", || {
                number += 1;
                world
                    .msctl(&["config", "set", "order/n", &number.to_string()])
                    .ok();
                match lines.try_recv() {
                    Ok(line) => {
                        first = line.to_string();
                        true
                    }
                    Err(_) => false,
                }
            });
        });
        assert!(first.contains("order/n"), "{first}");
        register(world, "user", "user-1", "grpc://127.0.0.1:1");
        until("the registration is told", || {
            events.json()["event"] == "registered"
        });
    });
}
