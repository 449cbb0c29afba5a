//! The demo as a process tree, and everything that can be done to its services.

use std::fs;
use std::process::Command;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use serde_json::{Value, json};

use crate::main_job::{http, runs};
use crate::world::{Done, PATIENCE, Running, World, command, over_both, run, until};

/// A headless demo over a world's etcd.
pub(crate) struct Demo<'w> {
    world: &'w World,
    process: Running,
    instances: Vec<(String, String)>,
}

impl<'w> Demo<'w> {
    pub(crate) fn start(world: &'w World) -> Self {
        Self::of(
            world,
            Running::start(&mut world.command(&["demo", "--headless", "-o", "ndjson"])),
        )
    }

    /// The same, with what it tells on stderr.
    fn start_telling(world: &'w World) -> (Self, Receiver<String>) {
        let (process, told) =
            Running::start_telling(&mut world.command(&["demo", "--headless", "-o", "ndjson"]));
        (Self::of(world, process), told)
    }

    /// One that was started already.
    fn of(world: &'w World, mut process: Running) -> Self {
        let started = process.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let instances: Vec<_> = started["instances"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| (text(&row["service"]), text(&row["address"])))
            .collect();
        assert_eq!(instances.len(), 4, "{started}");
        Self {
            world,
            process,
            instances,
        }
    }

    fn call(&self, arguments: &[&str], stdin: &[u8]) -> Done {
        let mut all = vec!["call"];
        all.extend(arguments);
        self.world.msctl_with(&all, stdin)
    }

    pub(crate) fn address(&self, service: &str) -> &str {
        &self
            .instances
            .iter()
            .find(|(name, _)| name == service)
            .unwrap()
            .1
    }
}

/// The processes whose parent is this one.
pub(crate) fn children_of(parent: u32) -> Vec<u32> {
    let listed = Command::new("ps")
        .args(["-o", "pid=", "--ppid", &parent.to_string()])
        .output()
        .unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    text.split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

pub(crate) fn alive(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn every_kind_of_call_answers_in_json_and_with_the_status_as_exit_code() {
    over_both(|world| {
        let demo = Demo::start(world);
        for target in [
            "user.Get",
            "user.get",
            "user/Get",
            "user.v1.UserService/Get",
            "user/user.v1.UserService.Get",
        ] {
            let done = demo.call(&[target, "-d", "{\"id\":\"1\"}"], b"").ok();
            assert_eq!(done.json()["name"], "Ada", "{target}");
        }
        let address = demo.address("user");
        let done = demo
            .call(
                &["--address", address, "UserService/Get", "-o", "ndjson"],
                b"{\"id\":\"1\"}",
            )
            .ok();
        assert_eq!(done.json()["id"], "1");
        assert_eq!(done.out.lines().count(), 1);

        let order = b"{\"userId\":\"1\",\"items\":[{\"sku\":\"a\",\"quantity\":2}]}\n";
        let created = demo.call(&["order.Create"], order).ok().json();
        assert_eq!(created["userName"], "Ada");
        let imported = demo
            .call(&["order.Import"], &[&order[..], order, order].concat())
            .ok()
            .json();
        assert!(imported.to_string().contains('3'), "{imported}");

        let chat = demo
            .call(
                &["order.Chat", "-o", "ndjson"],
                b"{\"text\":\"one\"} {\"text\":\"two\"}",
            )
            .ok();
        assert_eq!(chat.out.lines().count(), 2, "{chat:?}");

        let watch = demo.call(
            &[
                "user.Watch",
                "-d",
                "{\"includeExisting\":true}",
                "--max-time",
                "2s",
                "-o",
                "ndjson",
                "--drop-unknown",
            ],
            b"",
        );
        assert_eq!(
            watch.code,
            64 + 4,
            "a stream without end ends with its deadline: {watch:?}"
        );

        let missing = demo.call(&["user.Get", "-d", "{\"id\":\"777\"}"], b"");
        assert_eq!(missing.code, 64 + 5, "{missing:?}");
        assert!(
            missing.err.starts_with("error: NOT_FOUND (5): "),
            "{missing:?}"
        );
        let missing = demo.call(&["user.Get", "-d", "{\"id\":\"777\"}", "-o", "json"], b"");
        let error: Value = serde_json::from_str(&missing.err).unwrap();
        assert_eq!(error["code"], 5);
        assert!(error["details"].is_array());

        let envelope = demo
            .call(&["user.Get", "-d", "{\"id\":\"1\"}", "--envelope"], b"")
            .ok()
            .json();
        assert_eq!(envelope["status"]["name"], "OK");
        assert_eq!(envelope["messages"][0]["name"], "Ada");
        assert!(envelope["timings_ms"]["total"].as_f64().unwrap() > 0.0);

        let names = demo
            .call(
                &[
                    "user.Get",
                    "-d",
                    "{\"id\":\"1\"}",
                    "--proto-names",
                    "--emit-defaults",
                ],
                b"",
            )
            .ok()
            .json();
        assert!(
            names["created_at"].is_string() && names["tags"].is_array(),
            "{names}"
        );
    });
}

#[test]
fn a_wrong_call_is_told_where_it_is_wrong_before_it_is_sent() {
    over_both(|world| {
        let demo = Demo::start(world);
        for (arguments, code, message) in [
            (
                &["user.Gte"][..],
                4,
                "error: user.v1.UserService has no method 'Gte'. Did you mean 'Get'?",
            ),
            (
                &["usr.Get"],
                4,
                "error: no service 'usr' is registered. Did you mean 'user'?",
            ),
            (
                &["nobody.at.all/Get"],
                4,
                "error: no service 'nobody' is registered. Registered: order, user.",
            ),
            (
                &["Get"],
                2,
                "error: 'Get' is ambiguous: order/order.v1.OrderService/Get, user/user.v1.UserService/Get.",
            ),
            (&["user."], 2, "error: 'user.' names no method."),
            (
                &["user.Get", "-d", "{\"id\":"],
                2,
                "error: the request is no user.v1.GetRequest: id: ",
            ),
            (
                &["user.Get", "-d", "nonsense"],
                2,
                "error: the request is no user.v1.GetRequest: ",
            ),
            (
                &["user.Get", "-d", "{\"idd\":\"1\"}"],
                2,
                "error: the request is no user.v1.GetRequest: idd: ",
            ),
            (
                &["user.Get", "-d", "{\"id\":7}"],
                2,
                "error: the request is no user.v1.GetRequest: id: ",
            ),
            (
                &["user.Get", "-d", "{} {}"],
                2,
                "error: user.v1.UserService/Get takes one request",
            ),
            (
                &[
                    "order.Create",
                    "-d",
                    "{\"items\":[{},{\"quantity\":\"x\"}]}",
                ],
                2,
                "error: the request is no order.v1.CreateRequest: items[1].quantity: ",
            ),
            (
                &["order.Import", "-d", "{} {\"userId\":1}"],
                2,
                "error: request 2 is no order.v1.CreateRequest: userId: ",
            ),
            (
                &["user.Get", "-H", "nonsense"],
                2,
                "error: header 'nonsense' has no colon",
            ),
            (
                &["user.Get", "-H", "a: ${MSCTL_TEST_UNSET}"],
                2,
                "error: environment variable MSCTL_TEST_UNSET is not set",
            ),
            (
                &["user.Get", "-H", "grpc-timeout: 1S"],
                2,
                "error: header \"grpc-timeout\": ",
            ),
            (&["user.Get", "-d", "@/nowhere"], 2, "error: /nowhere: "),
            (
                &["user.Get", "--instance", "nobody"],
                4,
                "error: user has no instance 'nobody'.",
            ),
            (
                &["--address", "127.0.0.1:1", "a.B/C"],
                64 + 14,
                "error: 127.0.0.1:1: connection refused.",
            ),
            (&["--address", "nonsense", "a.B/C"], 2, "error: nonsense: "),
            (
                &["user.Get", "--max-time", "soon"],
                2,
                "error: invalid value 'soon'",
            ),
        ] {
            let done = demo.call(arguments, b"");
            assert_eq!(done.code, code, "{arguments:?} {done:?}");
            assert!(done.err.starts_with(message), "{arguments:?} {done:?}");
            assert_eq!(done.out, "", "{arguments:?}");
        }
        let described = world.msctl(&["describe", "user", "-o", "json"]).ok().json();
        assert!(described.to_string().contains("user.v1.UserService/Watch"));
        let message = world.msctl(&["describe", "user.v1.User"]).ok().out;
        assert!(message.contains("message user.v1.User {"), "{message}");
        let template = world
            .msctl(&["describe", "order.Create", "--template"])
            .ok()
            .json();
        assert!(template["items"][0].get("sku").is_some(), "{template}");
        assert_eq!(world.msctl(&["describe", "user.v1.Usr"]).code, 4);
    });
}

#[test]
fn a_change_of_config_is_seen_by_every_process_and_a_bad_value_is_named() {
    over_both(|world| {
        let _demo = Demo::start(world);
        let set = world
            .msctl(&[
                "config",
                "set",
                "order/timeout.write",
                "5s",
                "--wait",
                "30s",
                "-o",
                "json",
            ])
            .ok()
            .json();
        assert_eq!(set["rollout"]["instances"], 2);
        assert_eq!(set["rollout"]["applied"], 2);
        let refused = world.msctl(&[
            "config",
            "set",
            "order/timeout.write",
            "soon",
            // The published schema refuses it before; here the processes are to.
            "--no-check",
            "--wait",
            "30s",
        ]);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(
            refused.err.contains("refused order/timeout.write"),
            "{refused:?}"
        );
    });
}

#[test]
fn an_instance_that_hangs_is_shown_as_hung_and_calls_go_past_it() {
    over_both(|world| {
        let demo = Demo::start(world);
        let rows = world.msctl(&["services", "user", "-o", "json"]).ok().json();
        let victim = rows[0]["instance"].as_str().unwrap().to_owned();
        demo.call(
            &[
                "user/FaultService.Set",
                "--instance",
                &victim,
                "-d",
                "{\"mode\":\"HANG\"}",
            ],
            b"",
        )
        .ok();
        until("it is shown as hung", || {
            let rows = world.msctl(&["services", "user", "-o", "json"]).ok().json();
            rows.as_array().unwrap().iter().any(|row| {
                row["instance"] == victim.as_str()
                    && row["health"]["status"] == "hung"
                    && row["findings"][0]["code"] == "hung"
            })
        });
        for _ in 0..5 {
            demo.call(&["user.Get", "-d", "{\"id\":\"1\"}"], b"").ok();
        }
    });
}

#[test]
fn a_killed_demo_leaves_no_child_and_a_stopped_one_no_lease() {
    over_both(|world| {
        let mut demo = Demo::start(world);
        let children = children_of(demo.process.child.id());
        assert_eq!(children.len(), 4);
        demo.process.signal("-9");
        demo.process.end();
        until("the children are gone", || {
            !children.iter().any(|pid| alive(*pid))
        });
        until("their records are gone", || {
            world.msctl(&["services", "-o", "json"]).ok().json() == json!([])
        });

        for signal in ["-INT", "-TERM", "-HUP"] {
            let mut demo = Demo::start(world);
            let children = children_of(demo.process.child.id());
            demo.process.signal(signal);
            assert_eq!(demo.process.end(), 0);
            assert!(!children.iter().any(|pid| alive(*pid)), "{signal}");
            assert_eq!(
                world.msctl(&["leases", "-o", "json"]).ok().json(),
                json!([]),
                "{signal}"
            );
        }
    });
}

#[test]
fn a_demo_that_is_stopped_while_it_starts_leaves_nothing() {
    over_both(|world| {
        for (wait, signal) in [
            (0, "-INT"),
            (1, "-TERM"),
            (2, "-INT"),
            (3, "-HUP"),
            (4, "-TERM"),
            (4, "-INT"),
        ] {
            let mut process = Running::start(&mut world.command(&["demo", "--headless"]));
            let parent = process.child.id();
            let mut children = Vec::new();
            until("it has so many children", || {
                children = children_of(parent);
                children.len() >= wait
            });
            // Without a child yet it may not have its signals; the system then ends it, with nothing to
            // leave behind.
            process.signal(signal);
            process.end();
            until("the children are gone", || {
                !children.iter().any(|pid| alive(*pid))
            });
            // A lease that was being granted at that moment has no key and ends by its time.
            until("no lease is left", || {
                world.msctl(&["leases", "-o", "json"]).ok().json() == json!([])
            });
        }
    });
}

#[test]
fn a_child_that_is_killed_is_told_and_falls_out_after_its_lease() {
    over_both(|world| {
        let (demo, told) = Demo::start_telling(world);
        let rows = || {
            world
                .msctl(&[
                    "services", "-o", "json", "--probe", "never", "--ttl", "never",
                ])
                .ok()
                .json()
        };
        let child = children_of(demo.process.child.id())[0];
        let arguments = fs::read(format!("/proc/{child}/cmdline")).unwrap();
        let arguments: Vec<&[u8]> = arguments.split(|byte| *byte == 0).collect();
        let at = arguments
            .iter()
            .position(|word| *word == b"--instance")
            .unwrap();
        let id = std::str::from_utf8(arguments[at + 1]).unwrap().to_owned();
        let row = |rows: &Value| {
            let all = rows.as_array().unwrap();
            all.iter()
                .find(|row| row["instance"] == id.as_str())
                .cloned()
        };
        let lease = row(&rows()).unwrap()["lease"]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let killed = Command::new("kill")
            .args(["-9", &child.to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
        let note = told.recv_timeout(PATIENCE).unwrap();
        assert!(
            note.starts_with(&format!("{id} ended (signal: 9")),
            "{note}"
        );
        // It is there for as long as its lease: nobody deletes the record, and nobody keeps it.
        until("it is gone", || {
            let there = row(&rows()).is_some();
            let leases = world.msctl(&["leases", "-o", "json"]).ok().json();
            let held = leases
                .as_array()
                .unwrap()
                .iter()
                .any(|one| one["id"] == lease.as_str());
            assert!(there || !held, "the record went before its lease");
            !there
        });
        assert_eq!(rows().as_array().unwrap().len(), 3);
    });
}

#[test]
fn a_demo_over_an_etcd_of_others_leaves_there_what_its_services_publish_and_nothing_else() {
    over_both(|world| {
        world.etcdctl(&["put", "/mine", "stays"]);
        let mut demo = Demo::start(world);
        let children = children_of(demo.process.child.id());
        let keys = || world.etcdctl(&["get", "--prefix", "/", "--keys-only"]);
        until("they have said how they are", || {
            keys().matches("/status/").count() == 4
        });
        demo.process.signal("-TERM");
        assert_eq!(demo.process.end(), 0);
        assert!(!children.iter().any(|pid| alive(*pid)));
        let left = keys();
        let left: Vec<&str> = left.split_whitespace().collect();
        // A schema is a service's, not an instance's: it has no lease.
        assert_eq!(left, ["/mine", "/schema/order", "/schema/user"]);
        assert_eq!(
            world.msctl(&["leases", "-o", "json"]).ok().json(),
            json!([])
        );
    });
}

#[test]
fn an_edit_is_run_by_both_processes_and_how_soon_is_printed() {
    over_both(|world| {
        let demo = Demo::start(world);
        let orders: Vec<&str> = demo
            .instances
            .iter()
            .filter(|(service, _)| service == "order")
            .map(|(_, address)| address.as_str())
            .collect();
        assert_eq!(orders.len(), 2);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let client = {
            let _within = runtime.enter();
            etcd::Client::new(etcd::Settings::new(vec![world.endpoint.clone()])).unwrap()
        };
        let mut slowest = Vec::new();
        for round in 1..=10_u64 {
            let wanted = format!("{round}s");
            let key: fleet::Key = "/config/order/timeout.write".into();
            let (seen, _) = runtime.block_on(client.get(&key)).unwrap();
            let edit = fleet::Edit::put(key, seen.into(), wanted.clone().into_bytes());
            let plan = fleet::Plan::new([edit]).unwrap();
            let begun = Instant::now();
            runtime.block_on(client.commit(&plan)).unwrap();
            let took = std::thread::scope(|scope| {
                let waits: Vec<_> = orders
                    .iter()
                    .map(|address| {
                        scope.spawn(|| {
                            // No pause between two looks: each is a request that takes its time.
                            while runs(address, "timeout.write").as_ref() != Some(&wanted) {
                                assert!(begun.elapsed() < PATIENCE, "it never ran {wanted}");
                            }
                            begun.elapsed()
                        })
                    })
                    .collect();
                waits
                    .into_iter()
                    .map(|wait| wait.join().unwrap())
                    .max()
                    .unwrap()
            });
            slowest.push(took);
        }
        slowest.sort();
        println!(
            "an edit runs in both processes, the slower of them, over {}: median {:.1?}, slowest {:.1?}",
            world.endpoint, slowest[5], slowest[9]
        );
    });
}

#[test]
fn with_a_token_both_protocols_want_it_and_answer_the_same_with_it() {
    over_both(|world| {
        let file = world.home.path().join("token");
        fs::write(&file, "s3cret\n").unwrap();
        let mut started = world.command(&[
            "demo",
            "--headless",
            "-o",
            "ndjson",
            "--token-file",
            file.to_str().unwrap(),
        ]);
        let demo = Demo::of(world, Running::start(&mut started));
        let at = demo.address("user");
        let get = ["user.Get", "-d", "{\"id\":\"1\"}", "--emit-defaults"];
        let refused = demo.call(&get, b"");
        assert_eq!(refused.code, 64 + 16, "{refused:?}");
        let (status, body) = http(at, "GET", "/v1/users/1", "");
        assert_eq!(status, 401, "{body}");
        assert_eq!(
            serde_json::from_str::<Value>(&body).unwrap()["code"],
            16,
            "{body}"
        );

        let with = [&get[..], &["-H", "authorization: Bearer s3cret"]].concat();
        let user = demo.call(&with, b"").ok().json();
        let curl = Command::new("curl")
            .args(["-s", "-H", "authorization: Bearer s3cret"])
            .arg(format!("http://{at}/v1/users/1"))
            .output()
            .unwrap();
        assert!(curl.status.success(), "{curl:?}");
        assert_eq!(serde_json::from_slice::<Value>(&curl.stdout).unwrap(), user);
        // The services carry it to each other, and health is open to those who look.
        let order = "{\"userId\":\"1\",\"items\":[{\"sku\":\"a\",\"quantity\":2}]}";
        let made = [
            "order.Create",
            "-d",
            order,
            "-H",
            "authorization: Bearer s3cret",
        ];
        assert_eq!(demo.call(&made, b"").ok().json()["userName"], "Ada");
        until("all serve", || {
            let rows = world.msctl(&["services", "-o", "json"]).ok().json();
            let mut rows = rows.as_array().unwrap().iter();
            rows.all(|row| row["health"]["status"] == "serving")
        });
        let children = children_of(demo.process.child.id());
        for child in children {
            let words = fs::read(format!("/proc/{child}/cmdline")).unwrap();
            assert!(!String::from_utf8_lossy(&words).contains("s3cret"));
        }
    });
    let world = World::embedded();
    let empty = world.home.path().join("empty");
    fs::write(&empty, "\n").unwrap();
    for (file, told) in [
        ("/nowhere", "/nowhere: "),
        (empty.to_str().unwrap(), "holds no token"),
    ] {
        let done = world.msctl(&["demo", "--headless", "--token-file", file]);
        assert_eq!(done.code, 2, "{done:?}");
        assert!(done.err.contains(told), "{done:?}");
    }
}

#[test]
fn the_environment_does_not_lead_a_demo_into_a_fleet_that_is_worked_on() {
    let world = World::embedded();
    let mut command = command(world.home.path());
    command.env("MSCTL_ENDPOINTS", &world.endpoint).args([
        "demo",
        "--headless",
        "-o",
        "ndjson",
        "--listen",
        "127.0.0.1:0",
    ]);
    let mut demo = Running::start(&mut command);
    let started = demo.json();
    assert_ne!(started["etcd"], world.endpoint.as_str());
    let there = run(&mut world.command(&["services", "-o", "json"]), b"").ok();
    assert_eq!(there.json(), json!([]));
}
