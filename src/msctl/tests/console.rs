//! The console as a person meets it: in a real pseudo-terminal, over the embedded etcd and a real
//! one, with etcd killed under it.

use std::time::Instant;

use crate::main_job::{Demo, free_port, health, runs};
use crate::terminal::Terminal;
use crate::world::{Running, World, command, until};

const SIZE: (u16, u16) = (160, 45);

fn console(world: &World, arguments: &[&str], size: (u16, u16)) -> Terminal {
    let home = world.home.path().to_str().unwrap();
    let mut all = vec!["--endpoints", world.endpoint.as_str()];
    all.extend(arguments);
    let variables = [
        ("HOME", home),
        ("XDG_CONFIG_HOME", home),
        ("USER", "tester"),
    ];
    Terminal::start(env!("CARGO_BIN_EXE_msctl"), &all, &variables, size)
}

#[test]
fn an_edit_in_the_console_is_previewed_saved_and_run_by_both_processes() {
    for world in [World::embedded(), World::real()] {
        let demo = Demo::headless(world);
        let mut screen = console(&demo.world, &["tui"], SIZE);
        screen.wait_for_texts(&["order", "user", "2/2"]);
        screen.keys("2");
        screen.wait_for_texts(&["order"]);
        // The cursor stands on the first service that has config or instances.
        screen.keys("/order\r\r");
        screen.wait_for_texts(&["timeout.write", "default"]);
        screen.keys("/timeout\r");
        screen.wait_for("the filtered keys", |text| !text.contains("page.size"));
        screen.keys("\r");
        screen.wait_for_texts(&["order/timeout.write"]);
        // ctrl-u takes away what stands in the editor.
        screen.keys("\u{15}");
        screen.keys("7s\r");
        screen.wait_for_texts(&["1 change"]);
        assert_eq!(stored(&demo), None, "nothing is written before the save");
        screen.keys("\u{13}");
        screen.wait_for_texts(&["Save 1 change"]);
        screen.keys("y");
        let saved = Instant::now();
        for (service, _, address) in &demo.instances {
            if service == "order" {
                until("the instance runs it", || {
                    runs(address, "timeout.write").as_deref() == Some("7s")
                });
            }
        }
        println!(
            "both processes run the edit {:?} after the key",
            saved.elapsed()
        );
        assert_eq!(stored(&demo).as_deref(), Some("7s"));
        screen.keys("q");
        assert_eq!(screen.wait_for_end(), 0);
        screen.wait_for_given_back();
    }
}

fn stored(demo: &Demo) -> Option<String> {
    let text = demo
        .world
        .etcdctl(&["get", "--print-value-only", "/config/order/timeout.write"]);
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[test]
fn the_demo_opens_the_console_and_everything_ends_with_it() {
    let home = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let home_text = home.path().to_str().unwrap();
    let variables = [("HOME", home_text), ("XDG_CONFIG_HOME", home_text)];
    let mut screen = Terminal::start(
        env!("CARGO_BIN_EXE_msctl"),
        &["demo", "--listen", &address],
        &variables,
        SIZE,
    );
    screen.wait_for_texts(&["order", "user", "2/2"]);
    let mut list = command(home.path());
    list.args([
        "--endpoints",
        &address,
        "services",
        "-o",
        "json",
        "--probe",
        "always",
    ]);
    assert_eq!(health(&crate::world::run(&mut list, b"").ok()).len(), 4);
    screen.keys("q");
    screen.wait_for_end();
    screen.wait_for_given_back();
    let gone = crate::world::run(&mut list, b"");
    assert_eq!(gone.code, 6, "{gone:?}");
}

#[test]
fn a_hung_instance_is_shown_as_hung() {
    let demo = Demo::headless(World::embedded());
    let address = demo.address_of("user").to_owned();
    let screen = console(&demo.world, &["tui"], SIZE);
    screen.wait_for_texts(&["order", "user", "2/2"]);
    let request = [
        "call",
        "--address",
        &address,
        "fault.v1.FaultService/Set",
        "-d",
        r#"{"mode":"HANG"}"#,
    ];
    demo.world.msctl(&request).ok();
    screen.wait_for_texts(&["⧗", "hung"]);
}

#[test]
fn after_a_suspension_the_fleet_is_asked_again() {
    let demo = Demo::headless(World::embedded());
    let address = demo.address_of("user").to_owned();
    let mut screen = console(&demo.world, &["tui"], SIZE);
    screen.wait_for_texts(&["order", "user", "2/2"]);
    screen.keys("\u{1a}");
    screen.wait_for_given_back();
    let pid = screen.pid().to_string();
    let stopped = || {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
            stat.rsplit(')')
                .next()
                .is_some_and(|rest| rest.trim().starts_with('T'))
        })
    };
    until("the console is stopped", stopped);
    let resumed = std::process::Command::new("kill")
        .args(["-CONT", &pid])
        .status();
    assert!(resumed.unwrap().success());
    screen.wait_for_texts(&["order", "user", "2/2"]);
    let request = [
        "call",
        "--address",
        &address,
        "fault.v1.FaultService/Set",
        "-d",
        r#"{"mode":"HANG"}"#,
    ];
    demo.world.msctl(&request).ok();
    screen.wait_for_texts(&["⧗", "hung"]);
}

#[test]
fn the_console_stays_usable_without_etcd_and_comes_back_by_itself() {
    let home = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let etcd = || {
        let mut command = command(home.path());
        let mut server = Running::start(command.args(["etcd", "--listen", &address]));
        server.line();
        server
    };
    let record = r#"{"service":"order","id":"order-1","endpoints":[],"weight":100,"metadata":{}}"#;
    let put = || {
        let mut put = std::process::Command::new("etcdctl");
        put.env("ETCDCTL_API", "3").args([
            "--endpoints",
            &address,
            "put",
            "/services/order/order-1",
            record,
        ]);
        assert!(put.output().unwrap().status.success());
    };
    let server = etcd();
    put();
    let home_text = home.path().to_str().unwrap();
    let variables = [("HOME", home_text), ("XDG_CONFIG_HOME", home_text)];
    let all = ["--endpoints", &address, "tui"];
    let mut screen = Terminal::start(env!("CARGO_BIN_EXE_msctl"), &all, &variables, SIZE);
    screen.wait_for_texts(&["order", "1"]);
    drop(server);
    screen.wait_for_texts(&["stale", "order"]);
    screen.keys("5");
    screen.wait_for_texts(&["stale"]);
    screen.keys("1");
    let _server = etcd();
    put();
    screen.wait_for("freshness", |text| {
        !text.contains("stale") && text.contains("order")
    });
    screen.keys("q");
    screen.wait_for_end();
}

#[test]
fn a_terminal_too_small_says_so_and_recovers_when_it_grows() {
    let world = World::embedded();
    let mut screen = console(&world, &["tui"], (20, 5));
    screen.wait_for("the notice", |text| {
        text.lines().filter(|line| !line.is_empty()).count() == 1
    });
    screen.resize(120, 40);
    screen.wait_for_texts(&["1 Services", "2 Config"]);
    screen.keys("q");
    screen.wait_for_end();
}

#[test]
fn a_signal_gives_the_terminal_back() {
    for signal in ["-TERM", "-INT"] {
        let world = World::embedded();
        let mut screen = console(&world, &["tui"], SIZE);
        screen.wait_for_texts(&["1 Services"]);
        let pid = screen.pid().to_string();
        assert!(
            std::process::Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
        screen.wait_for_end();
        screen.wait_for_given_back();
    }
}

#[test]
fn without_a_terminal_the_console_says_so() {
    let world = World::embedded();
    let done = world.msctl(&["tui"]);
    assert_ne!(done.code, 0, "{done:?}");
    assert!(done.err.contains("terminal"), "{done:?}");
}
