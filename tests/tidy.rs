//! The architecture's rules, held by reading the tree: headers, crate edges, the TUI law, names.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

/// Every Rust file below the folders, with its text.
fn sources(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path.strip_prefix(root()).unwrap().to_path_buf(), text));
        }
    }
    found.sort();
    assert!(!found.is_empty());
    found
}

/// The part of a file before its unit tests.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

#[test]
fn every_module_says_what_it_is_for() {
    for (path, text) in sources(&["src", "tests"]) {
        // A file of tests is named after what it tests.
        let place = path.to_str().unwrap();
        if place.contains("/tests/") || place.ends_with("/tests.rs") {
            continue;
        }
        let header = text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .count();
        assert!(header >= 1, "{}: no //! header", path.display());
    }
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    for (path, _) in sources(&["src", "tests"]) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let empty = [
            "mod", "utils", "util", "common", "misc", "helpers", "manager", "types",
        ];
        assert!(
            !empty.contains(&name),
            "{}: name it after its concept",
            path.display()
        );
    }
}

/// Which of our crates a crate may use outside its tests.
const EDGES: [(&str, &[&str]); 7] = [
    ("fleet", &[]),
    ("etcd", &["fleet"]),
    ("reflect", &[]),
    ("platform", &["fleet", "etcd", "reflect"]),
    ("demo", &["platform"]),
    ("etcdlite", &[]),
    (
        "msctl",
        &["fleet", "etcd", "reflect", "platform", "demo", "etcdlite"],
    ),
];

#[test]
fn crates_use_only_what_the_map_allows() {
    for (name, allowed) in EDGES {
        let manifest =
            fs::read_to_string(root().join("src").join(name).join("Cargo.toml")).unwrap();
        let section = manifest.split("[dependencies]").nth(1).unwrap_or("");
        let section = section.split("\n[").next().unwrap_or("");
        for (other, _) in EDGES {
            let uses = section.lines().any(|line| {
                line.strip_prefix(other)
                    .is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
            });
            assert!(
                !uses || allowed.contains(&other),
                "{name} must not depend on {other}"
            );
        }
    }
}

/// Where the wall clock may be read outside tests: to tell people when something was, never to
/// decide anything. Clocks jump.
const WALL_CLOCK: [&str; 7] = [
    "src/etcd/figures.rs",
    "src/platform/platform/builder.rs",
    "src/platform/status.rs",
    "src/platform/server/metrics.rs",
    "src/platform/telemetry/push.rs",
    "src/platform/telemetry/span.rs",
    // An expiry in a token is a time of the wall clock.
    "src/platform/server/jwt.rs",
];

#[test]
fn nothing_a_service_does_depends_on_the_wall_clock() {
    for (path, text) in sources(&["src/platform", "src/etcd", "src/fleet"]) {
        let place = path.to_str().unwrap();
        if place.contains("/tests") || place.contains("/benches/") || WALL_CLOCK.contains(&place) {
            continue;
        }
        for clock in ["SystemTime::now", "Timestamp::now", "Zoned::now"] {
            assert!(
                !code(&text).contains(clock),
                "{place}: {clock} jumps with the clock; take Instant::now"
            );
        }
    }
}

/// `docs/faults.md` says which test holds what.
#[test]
fn every_test_that_is_said_to_hold_a_story_is_there() {
    let page = fs::read_to_string(root().join("docs/faults.md")).unwrap();
    let (_, stories) = page.split_once("## Which test holds what").unwrap();
    let stories = stories.split("\n## ").next().unwrap();
    let tests: String = sources(&["src", "tests"])
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    let named: Vec<&str> = stories
        .lines()
        .filter(|line| line.starts_with('|'))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .collect();
    assert!(named.len() > 40, "{}", named.len());
    for name in named {
        assert!(
            tests.contains(&format!("fn {name}(")),
            "no test is called {name}"
        );
    }
}

#[test]
fn versions_stand_in_the_workspace_alone() {
    for (name, _) in EDGES {
        let manifest =
            fs::read_to_string(root().join("src").join(name).join("Cargo.toml")).unwrap();
        for line in manifest.lines().filter(|line| line.contains("version")) {
            assert!(line.contains(".workspace = true"), "{name}: {line}");
        }
    }
}

#[test]
fn fleet_is_pure() {
    for (path, text) in sources(&["src/fleet"]) {
        for banned in [
            "tokio",
            "std::fs",
            "std::net",
            "std::env",
            "SystemTime",
            "Instant::now",
        ] {
            assert!(
                !code(&text).contains(banned),
                "{}: {banned}",
                path.display()
            );
        }
    }
}

#[test]
fn the_console_state_knows_neither_terminal_nor_tasks_nor_views() {
    for (path, text) in sources(&["src/msctl/tui"]) {
        let place = path.to_str().unwrap();
        let is_state = place.ends_with("tui/state.rs") || place.contains("tui/state/");
        if is_state {
            for banned in [
                "ratatui::",
                "crossterm::",
                "tokio::",
                "tui::view",
                "super::view",
            ] {
                assert!(!code(&text).contains(banned), "{place}: {banned}");
            }
        }
        if place.ends_with("tui/view.rs") || place.contains("tui/view/") {
            assert!(
                !code(&text).contains("&mut State"),
                "{place}: a view only reads"
            );
        }
    }
}

#[test]
fn the_library_never_knows_the_console() {
    for (path, text) in sources(&["src/fleet", "src/etcd", "src/reflect", "src/platform"]) {
        for banned in ["ratatui", "crossterm", "clap::"] {
            assert!(
                !code(&text).contains(banned),
                "{}: {banned}",
                path.display()
            );
        }
    }
}

#[test]
fn the_console_uses_of_the_platform_the_channel_and_the_gateway_alone() {
    for (path, text) in sources(&["src/msctl"]) {
        let place = path.to_str().unwrap();
        if place.contains("/tests/") {
            continue;
        }
        for line in code(&text).lines() {
            let line = line.trim_start();
            let Some(used) = line.strip_prefix("use platform::") else {
                continue;
            };
            // What serves the gateway is a service's server, with its layers.
            let gateway = place.contains("cli/gateway");
            let server = gateway && (used.starts_with("server::") || used.starts_with("Service"));
            assert!(
                used.starts_with("channel::") || used.starts_with("gateway::") || server,
                "{place}: {line}"
            );
        }
    }
}

#[test]
fn every_page_says_first_what_it_is() {
    let mut pages = 0;
    for page in fs::read_dir(root().join("docs")).unwrap() {
        let path = page.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        pages += 1;
        let text = fs::read_to_string(&path).unwrap();
        let mut lines = text.lines();
        let title = lines.next().unwrap_or("");
        assert!(title.starts_with("# "), "{}: no title", path.display());
        let says = lines.find(|line| !line.is_empty()).unwrap_or("");
        assert!(
            says.starts_with(|first: char| first.is_alphabetic() || first == '`'),
            "{}: after its title a page says in a sentence what it is",
            path.display()
        );
    }
    assert!(pages > 0);
}

#[test]
fn no_test_is_switched_off() {
    for (path, text) in sources(&["src", "tests"]) {
        let off = ["#[igno", "re"].concat();
        assert!(
            !text.contains(&off),
            "{}: a test is ignored",
            path.display()
        );
    }
}
