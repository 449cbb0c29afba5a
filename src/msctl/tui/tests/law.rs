//! The law of the console, read from its own sources: who may import whom.

use std::path::{Path, PathBuf};

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tui");
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                found.push((path.clone(), std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    let file = root.join(format!("{folder}.rs"));
    found.push((file.clone(), std::fs::read_to_string(file).unwrap()));
    found
}

fn nobody_in(folder: &str, forbidden: &[&str]) {
    for (path, text) in sources(folder) {
        for line in text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
        {
            for word in forbidden {
                assert!(!line.contains(word), "{}: {line}", path.display());
            }
        }
    }
}

#[test]
fn state_knows_neither_terminal_nor_runtime_nor_view() {
    nobody_in(
        "state",
        &[
            "ratatui",
            "tokio",
            "crossterm",
            "view::",
            "SystemTime",
            "session::",
            "Instant",
        ],
    );
}

#[test]
fn update_does_no_io_and_draws_nothing() {
    nobody_in(
        "update",
        &[
            "ratatui",
            "tokio",
            "crossterm",
            "view::",
            "std::fs",
            "std::env",
        ],
    );
}

#[test]
fn the_view_changes_no_state() {
    nobody_in("view", &["&mut State", "tokio", "std::fs", "std::env"]);
}

#[test]
fn effects_never_see_state() {
    nobody_in("effect", &["state::State", "&State", "&mut State"]);
}
