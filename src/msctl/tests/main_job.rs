//! The main job end to end, from a script: a fleet of real processes is seen, called and configured,
//! over gRPC and HTTP alike, over the embedded etcd and a real one.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::world::{Done, PATIENCE, Running, World, until};

/// A demo with its etcd.
pub(crate) struct Demo {
    pub(crate) world: World,
    /// Ends with the test.
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

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
