//! The demo as a process tree: how it starts and ends, and what it leaves.

use std::fs;
use std::process::Command;
use std::sync::mpsc::Receiver;

use serde_json::{Value, json};

use crate::world::{Done, PATIENCE, Running, World, command, over_both, run, until};

/// A headless demo over a world's etcd.
pub(crate) struct Demo<'w> {
    world: &'w World,
    process: Running,
    pub(crate) instances: Vec<(String, String)>,
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
    pub(crate) fn of(world: &'w World, mut process: Running) -> Self {
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

    pub(crate) fn call(&self, arguments: &[&str], stdin: &[u8]) -> Done {
        let mut all = vec!["call"];
        all.extend(arguments);
        self.world.msctl_with(&all, stdin)
    }

    /// Its processes.
    pub(crate) fn children(&self) -> Vec<u32> {
        children_of(self.process.child.id())
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
fn a_killed_demo_leaves_no_child_and_a_stopped_one_no_lease() {
    over_both(|world| {
        let mut demo = Demo::start(world);
        let children = demo.children();
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
            let children = demo.children();
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
        let child = demo.children()[0];
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
        let children = demo.children();
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
