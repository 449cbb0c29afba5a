//! The console as a person meets it: in a real pseudo-terminal, over the embedded etcd and a real
//! one, with etcd killed under it.

use std::time::{Duration, Instant};

use tests::proxy::{Mode, Proxy};

use crate::demo::children_of;
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

/// An editor that leaves this text, whatever it was given.
fn editor_writing(world: &World, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let path = world.home.path().join("editor");
    std::fs::write(&path, format!("#!/bin/sh\nprintf '{text}' > \"$1\"\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

const CTRL_S: &str = "\u{13}";
/// Takes away what stands in an editor of one line.
const CTRL_U: &str = "\u{15}";
const CTRL_E: &str = "\u{5}";
const ESC: &str = "\u{1b}";
const F5: &str = "\u{1b}[15~";

#[test]
fn the_readmes_tour_and_a_change_from_edit_to_rollback_work_over_both_kinds_of_etcd() {
    std::thread::scope(|scope| {
        let real = scope.spawn(|| tour(World::real()));
        let embedded = tour(World::embedded());
        let real = real.join().expect("over a real etcd");
        println!("both processes run an edit {embedded:?} and {real:?} after the key");
    });
}

/// One console over one demo: each part begins where the one before left it. Gives the time from the
/// save to the value in both processes.
fn tour(world: World) -> Duration {
    let demo = Demo::headless(world);
    let editor = editor_writing(&demo.world, "3s");
    let home = demo.world.home.path().to_str().unwrap().to_owned();
    let variables = [
        ("HOME", home.as_str()),
        ("XDG_CONFIG_HOME", &home),
        ("USER", "tester"),
        ("VISUAL", &editor),
    ];
    let all = ["--endpoints", demo.world.endpoint.as_str(), "tui"];
    let mut screen = Terminal::start(env!("CARGO_BIN_EXE_msctl"), &all, &variables, SIZE);
    screen.wait_for_texts(&["order", "user", "2/2"]);
    let took = edit_and_save(&demo, &mut screen);
    resolve_a_conflict(&demo, &mut screen);
    take_the_save_back(&demo, &mut screen);
    edit_outside(&mut screen);
    call(&mut screen);
    look_at_leases_and_events(&mut screen);
    drain_and_undrain(&demo, &mut screen);
    hang_and_kill(&demo, &mut screen);
    screen.keys("q");
    assert_eq!(screen.wait_for_end(), 0);
    screen.wait_for_given_back();
    took
}

fn edit_and_save(demo: &Demo, screen: &mut Terminal) -> Duration {
    screen.keys("2");
    screen.wait_for_texts(&["SERVICE", "KEYS", "order"]);
    // The cursor stands on the first service that has config or instances.
    screen.keys("/order\r\r");
    screen.wait_for_texts(&["timeout.write", "default"]);
    screen.keys("/timeout.write\r");
    screen.wait_for("the filtered keys", |text| !text.contains("page.size"));
    screen.keys("\r");
    screen.wait_for_texts(&["order/timeout.write", "Nothing is written before the save"]);
    screen.keys(&format!("{CTRL_U}7s\r"));
    screen.wait_for_texts(&["1 change"]);
    assert_eq!(stored(demo), None, "nothing is written before the save");
    screen.keys(CTRL_S);
    screen.wait_for_texts(&["+ 7s", "reaches 2 instances", "side by side"]);
    screen.keys("slow disk");
    screen.wait_for_texts(&["message  slow disk"]);
    screen.keys(CTRL_S);
    let saved = Instant::now();
    for (service, _, address) in &demo.instances {
        if service == "order" {
            until("the instance runs it", || {
                runs(address, "timeout.write").as_deref() == Some("7s")
            });
        }
    }
    let took = saved.elapsed();
    assert_eq!(stored(demo).as_deref(), Some("7s"));
    screen.wait_for_texts(&["saved as r", "2/2 applied", "tester"]);
    took
}

fn resolve_a_conflict(demo: &Demo, screen: &mut Terminal) {
    screen.keys("\r");
    screen.wait_for_texts(&["Nothing is written before the save"]);
    screen.keys(&format!("{CTRL_U}8s\r"));
    screen.wait_for_texts(&["7s → 8s"]);
    demo.world
        .etcdctl(&["put", "/config/order/timeout.write", "9s"]);
    screen.wait_for_texts(&["changed meanwhile"]);
    screen.keys(CTRL_S);
    screen.wait_for_texts(&["side by side"]);
    screen.keys(CTRL_S);
    screen.wait_for_texts(&["nothing was written", "base", "theirs", "mine"]);
    assert_eq!(stored(demo).as_deref(), Some("9s"), "nothing is clobbered");
    screen.keys("m");
    screen.wait_for_texts(&["mine is written"]);
    screen.keys(CTRL_S);
    screen.wait_for_texts(&["- 9s", "+ 8s", "side by side"]);
    screen.keys(CTRL_S);
    until("mine is written on top", || {
        stored(demo).as_deref() == Some("8s")
    });
    screen.wait_for_texts(&["saved as r", "2/2 applied"]);
}

fn take_the_save_back(demo: &Demo, screen: &mut Terminal) {
    screen.keys("h");
    screen.wait_for_texts(&["REVISION", "another tool", "slow disk", "9s → 8s"]);
    // A key sent together with escape would be one with alt.
    screen.keys(ESC);
    screen.wait_for("the keys", |text| !text.contains("REVISION"));
    screen.keys("u");
    screen.wait_for_texts(&["reverts r", "- 8s", "+ 9s"]);
    screen.keys(CTRL_S);
    until("what was before is back", || {
        stored(demo).as_deref() == Some("9s")
    });
    screen.wait_for_texts(&["saved as r", "2/2 applied"]);
}

fn edit_outside(screen: &mut Terminal) {
    screen.keys(CTRL_E);
    screen.wait_for("what the editor left", |text| {
        text.lines().any(|line| line.trim() == "3s")
    });
    screen.keys("\r");
    screen.wait_for_texts(&["9s → 3s"]);
    screen.keys("u");
    screen.wait_for("no draft", |text| !text.contains("→ 3s"));
}

fn call(screen: &mut Terminal) {
    screen.keys("3");
    screen.wait_for_texts(&["order", "user"]);
    screen.keys("/user\r");
    screen.wait_for("the filtered services", |text| !text.contains("  order"));
    screen.keys("\r");
    screen.wait_for_texts(&["user.v1.UserService", "Get", "Watch"]);
    screen.keys(&format!("/{CTRL_U}userservice/get\r"));
    screen.wait_for("the one method", |text| !text.contains("Watch"));
    screen.keys("G\r");
    screen.wait_for_texts(&["REQUEST", "\"id\": \"\""]);
    screen.keys("1");
    screen.wait_for_texts(&["\"id\": \"1\""]);
    screen.keys(F5);
    screen.wait_for_texts(&["Ada", "OK"]);
    screen.keys(ESC);
    screen.wait_for_texts(&["? help"]);
}

fn look_at_leases_and_events(screen: &mut Terminal) {
    screen.keys("4");
    screen.wait_for_texts(&["LEASE", "GRANTED", "/services/order/", "/services/user/"]);
    screen.keys("5");
    screen.wait_for_texts(&["order/timeout.write", "7s → 9s", "8s → 9s"]);
}

/// A drain and its undoing, as etcd has them.
fn drain_and_undrain(demo: &Demo, screen: &mut Terminal) {
    let (_, id, _) = &demo
        .instances
        .iter()
        .find(|(name, ..)| name == "user")
        .unwrap();
    let weight = || {
        let key = format!("/services/user/{id}");
        let value = demo.world.etcdctl(&["get", "--print-value-only", &key]);
        let record: serde_json::Value = serde_json::from_str(value.trim()).unwrap();
        record["weight"].as_u64().unwrap()
    };
    screen.keys("1/user\r\r");
    screen.keys(&format!("/{id}\rd"));
    screen.wait_for_texts(&[&format!("Drain {id} in"), "the process goes on"]);
    assert_eq!(weight(), 100);
    screen.keys("y");
    screen.wait_for_texts(&["drained, revision", "its weight is 0"]);
    assert_eq!(weight(), 0);
    screen.keys("u");
    screen.wait_for_texts(&["back in"]);
    screen.keys("y");
    screen.wait_for_texts(&["undrained, revision"]);
    screen.wait_for("no finding", |text| !text.contains("its weight is 0"));
    assert_eq!(weight(), 100);
    screen.keys(&format!("/{CTRL_U}\r"));
    screen.keys(ESC);
    screen.wait_for("the services", |text| {
        let path = text.lines().next().unwrap_or_default();
        !path.contains("user")
    });
    screen.keys(&format!("/{CTRL_U}\r"));
}

fn hang_and_kill(demo: &Demo, screen: &mut Terminal) {
    screen.keys("1");
    screen.wait_for_texts(&["order", "user", "2/2"]);
    let address = demo.address_of("user").to_owned();
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
    let victim = demo.instances.iter().find(|(name, ..)| name == "order");
    let (_, victim, _) = victim.unwrap();
    let pid = children_of(demo.process.child.id())
        .into_iter()
        .find(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(victim.as_str())
        })
        .expect("the child of this instance");
    let killed = std::process::Command::new("kill")
        .args(["-9", &pid.to_string()])
        .status();
    assert!(killed.unwrap().success());
    screen.keys("/order\r");
    screen.wait_for("one instance of order", |text| {
        text.contains("1/1") && !text.contains(victim.as_str())
    });
}

fn stored(demo: &Demo) -> Option<String> {
    let text = demo
        .world
        .etcdctl(&["get", "--print-value-only", "/config/order/timeout.write"]);
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[test]
fn ctrl_c_ends_a_demo_at_any_moment_and_leaves_nothing() {
    let world = World::embedded();
    for children in [1, 4] {
        let mut screen = console(&world, &["demo"], SIZE);
        let parent = screen.pid();
        let mut known = Vec::new();
        until("it has so many children", || {
            known = children_of(parent);
            known.len() >= children
        });
        if children == 4 {
            screen.wait_for_texts(&["order", "user", "2/2"]);
        }
        screen.keys("\u{3}");
        let code = screen.wait_for_end();
        assert_eq!(code, 0, "with {children} children");
        screen.wait_for_given_back();
        until("the children are gone", || {
            !known.iter().any(|pid| crate::demo::alive(*pid))
        });
        until("no lease is left", || {
            world.msctl(&["leases", "-o", "json"]).ok().json() == serde_json::json!([])
        });
    }
}

#[test]
fn an_etcd_that_is_silent_or_not_there_is_told_and_its_return_is_seen() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = World::embedded();
    world.register("order-1");
    let target = world.endpoint.parse().unwrap();
    let proxy = runtime.block_on(Proxy::start_in(target, Mode::Refuse));
    let home = world.home.path().to_str().unwrap();
    let variables = [("HOME", home), ("XDG_CONFIG_HOME", home)];
    let endpoint = proxy.endpoint();
    let all = ["--endpoints", &endpoint, "tui"];
    let mut screen = Terminal::start(env!("CARGO_BIN_EXE_msctl"), &all, &variables, SIZE);
    screen.wait_for_texts(&["etcd does not answer"]);
    // Every page can be gone to without it.
    for (key, title) in [("4", "LEASE"), ("5", "SUBJECT"), ("1", "Services")] {
        screen.keys(key);
        screen.wait_for_texts(&[title]);
    }
    proxy.set(Mode::Forward);
    screen.wait_for("the fleet", |text| {
        text.contains("order") && text.contains("fresh") && !text.contains("stale")
    });
    let silent = Instant::now();
    proxy.set(Mode::BlackHole);
    screen.wait_for_texts(&["stale", "order"]);
    println!("a silent etcd is told after {:?}", silent.elapsed());
    proxy.set(Mode::Forward);
    screen.wait_for("freshness", |text| {
        text.contains("fresh") && text.contains("order") && !text.contains("stale")
    });
    screen.keys("q");
    assert_eq!(screen.wait_for_end(), 0);
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
