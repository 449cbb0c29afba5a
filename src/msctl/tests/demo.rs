//! The main job end to end, from scripts: a fleet of real processes, seen, configured, called,
//! made sick, killed and ended, over the embedded etcd and a real one.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::world::{Done, PATIENCE, Running, World, run, until};

/// A demo with its etcd.
pub(crate) struct Demo {
    pub(crate) world: World,
    pub(crate) process: Running,
    /// The instances it announced: `(service, id, address)`.
    pub(crate) instances: Vec<(String, String, String)>,
}

impl Demo {
    /// A headless demo in a world whose etcd it does not own.
    pub(crate) fn headless(world: World) -> Self {
        let mut command = world.command(&["-o", "json", "demo", "--headless"]);
        let mut process = Running::start(command.stdin(Stdio::null()));
        let mut text = process.line();
        let document: Value = loop {
            if let Ok(document) = serde_json::from_str(&text) {
                break document;
            }
            text.push_str(&process.line());
        };
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let instances = document["instances"]
            .as_array()
            .unwrap()
            .iter()
            .map(|instance| {
                (
                    text(&instance["service"]),
                    text(&instance["instance"]),
                    text(&instance["address"]),
                )
            });
        Self {
            instances: instances.collect(),
            process,
            world,
        }
    }

    pub(crate) fn address_of(&self, service: &str) -> &str {
        let found = self.instances.iter().find(|(name, ..)| name == service);
        &found.expect("the service is part of the demo").2
    }

    fn health(&self) -> Vec<(String, String)> {
        health(
            &self
                .world
                .msctl(&["services", "-o", "json", "--probe", "always"])
                .ok(),
        )
    }
}

/// Each instance with its health, in order.
pub(crate) fn health(done: &Done) -> Vec<(String, String)> {
    let instances = done.json();
    let of = |instance: &Value| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (
            text(&instance["instance"]),
            text(&instance["health"]["status"]),
        )
    };
    instances.as_array().unwrap().iter().map(of).collect()
}

/// A plain HTTP/1.1 request, as curl makes it: status and body.
pub(crate) fn http(address: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

/// The config an instance says that it runs.
pub(crate) fn runs(address: &str, path: &str) -> Option<String> {
    let (_, body) = http(address, "GET", "/v1/fault", "");
    let state: Value = serde_json::from_str(&body).ok()?;
    Some(state["config"][path].as_str()?.to_owned())
}

/// The processes that a process has started.
fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    // Threads other than the first have children of their own.
    let mut all = Vec::new();
    if let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) {
        for task in tasks.flatten() {
            let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(
                text.split_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
    }
    assert!(!all.is_empty(), "{path}");
    all
}

fn is_running(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .trim_start()
            .starts_with('Z')
    })
}

fn over_both(test: impl Fn(Demo) + Sync) {
    test(Demo::headless(World::embedded()));
    test(Demo::headless(World::real()));
}

#[test]
fn a_script_sees_calls_and_configures_the_fleet() {
    over_both(|demo| {
        let seen = demo.health();
        assert_eq!(seen.len(), 4, "{seen:?}");
        until("all instances serve", || {
            demo.health().iter().all(|(_, status)| status == "serving")
        });

        let user =
            demo.world
                .msctl(&["call", "user.Get", "-d", r#"{"id":"1"}"#, "--emit-defaults"]);
        let user = user.ok().json();
        assert_eq!(user["name"], "Ada");
        let (status, body) = http(demo.address_of("user"), "GET", "/v1/users/1", "");
        assert_eq!(status, 200, "{body}");
        assert_eq!(
            serde_json::from_str::<Value>(&body).unwrap(),
            user,
            "gRPC and HTTP say the same"
        );

        let set = [
            "config",
            "set",
            "order/timeout.write",
            "5s",
            "-m",
            "slow disk on b",
        ];
        let set = demo.world.msctl(&set).ok();
        assert_eq!(set.out.lines().count(), 1, "{set:?}");
        for (service, _, address) in &demo.instances {
            if service == "order" {
                until("the instance runs it", || {
                    runs(address, "timeout.write").as_deref() == Some("5s")
                });
            }
        }
    });
}

#[test]
fn an_order_with_nested_items_is_made_over_http_and_knows_its_user_through_discovery() {
    over_both(|demo| {
        let order = json!({"userId": "1", "items": [{"sku": "a-1", "quantity": 2}, {"sku": "b-2", "quantity": 1}]});
        let made = |order: &Value| {
            http(
                demo.address_of("order"),
                "POST",
                "/v1/orders",
                &order.to_string(),
            )
        };
        let mut last = (0, String::new());
        until("order has discovered user", || {
            last = made(&order);
            last.0 != 503
        });
        assert_eq!(last.0, 200, "{}", last.1);
        let answer: Value = serde_json::from_str(&last.1).unwrap();
        assert_eq!(answer["items"][1]["sku"], "b-2", "{answer}");
        let nobody = json!({"userId": "nobody", "items": [{"sku": "a-1", "quantity": 2}]});
        let (status, body) = made(&nobody);
        assert!((400..500).contains(&status), "{status} {body}");
    });
}

#[test]
fn all_four_kinds_of_stream_are_called() {
    over_both(|demo| {
        let call = |target: &str, requests: &[u8]| {
            demo.world
                .msctl_with(&["call", target, "-d", "@-", "--max-time", "30s"], requests)
        };
        let items = r#""items":[{"sku":"a","quantity":1}]"#;
        let two = format!("{{\"userId\":\"1\",{items}}}\n{{\"userId\":\"2\",{items}}}\n");
        let imported = call("order.Import", two.as_bytes());
        assert_eq!(imported.code, 0, "{imported:?}");
        let chat = demo
            .world
            .msctl(&["describe", "order.v1.OrderService"])
            .ok();
        assert!(chat.out.contains("rpc Chat(stream"), "{}", chat.out);
        let listed = call("user.List", b"{}").ok();
        assert!(
            listed.json()["users"]
                .as_array()
                .is_some_and(|users| !users.is_empty()),
            "{listed:?}"
        );
    });
}

#[test]
fn a_hanging_instance_is_shown_as_hung_and_recovers() {
    over_both(|demo| {
        let (_, sick, address) = demo
            .instances
            .iter()
            .find(|(name, ..)| name == "order")
            .unwrap();
        let fault = |mode: &str| {
            let request = json!({ "mode": mode }).to_string();
            let call = [
                "call",
                "--address",
                address,
                "fault.v1.FaultService/Set",
                "-d",
                &request,
            ];
            run(&mut demo.world.command(&call), b"").ok();
        };
        let status = || {
            let seen = demo.health();
            seen.into_iter()
                .find(|(id, _)| id == sick)
                .map(|(_, status)| status)
        };
        fault("HANG");
        until("it is shown as hung", || {
            status().as_deref() == Some("hung")
        });
        fault("NOT_SERVING");
        until("it is shown as not serving", || {
            status().as_deref() == Some("not_serving")
        });
        fault("NONE");
        until("it is shown as serving", || {
            status().as_deref() == Some("serving")
        });
    });
}

#[test]
fn a_killed_process_leaves_the_list_when_its_lease_ends() {
    over_both(|demo| {
        let victim = children(demo.process.child.id())[0];
        let killed = Command::new("kill")
            .args(["-9", &victim.to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
        let list = [
            "services", "-o", "json", "--probe", "never", "--ttl", "never",
        ];
        until("it is gone", || {
            demo.world
                .msctl(&list)
                .ok()
                .json()
                .as_array()
                .is_some_and(|all| all.len() == 3)
        });
    });
}

#[test]
fn the_end_of_a_demo_leaves_neither_processes_nor_registrations() {
    over_both(|mut demo| {
        let children = children(demo.process.child.id());
        assert_eq!(children.len(), 4);
        demo.process.signal("-INT");
        assert_eq!(demo.process.end(), 0);
        assert!(
            !children.iter().any(|pid| is_running(*pid)),
            "children are left"
        );
        let left = demo
            .world
            .etcdctl(&["get", "--prefix", "/services/", "--keys-only"]);
        assert_eq!(left.trim(), "", "leases were not revoked");
    });
}

#[test]
fn children_end_when_the_demo_is_killed() {
    let demo = Demo::headless(World::embedded());
    let children = children(demo.process.child.id());
    demo.process.signal("-9");
    until("they are gone", || {
        !children.iter().any(|pid| is_running(*pid))
    });
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
