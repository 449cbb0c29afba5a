//! Help, version, manual and completions: what needs no etcd, and what must stay readable.

use crate::world::{command, run};

#[test]
fn every_help_text_is_as_it_was_reviewed() {
    let home = tempfile::tempdir().unwrap();
    let mut all = String::new();
    for verb in [
        "",
        "demo",
        "tui",
        "etcd",
        "services",
        "services drain",
        "services deregister",
        "leases",
        "leases revoke",
        "keys",
        "cluster",
        "doctor",
        "events",
        "config",
        "config get",
        "config list",
        "config set",
        "config unset",
        "config diff",
        "config watch",
        "config history",
        "call",
        "describe",
        "gateway",
        "context",
        "context set",
        "completions",
        "man",
    ] {
        let mut command = command(home.path());
        command
            .args(verb.split_whitespace())
            .arg("--help")
            .env("COLUMNS", "100");
        let done = run(&mut command, b"").ok();
        assert_eq!(done.err, "");
        all.push_str(&format!("──── msctl {verb}\n{}\n", done.out));
    }
    insta::with_settings!({ prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("help", all);
    });
}

#[test]
fn version_completions_and_manual_need_nothing() {
    let home = tempfile::tempdir().unwrap();
    let ask = |arguments: &[&str]| run(command(home.path()).args(arguments), b"").ok().out;
    assert_eq!(
        ask(&["--version"]),
        format!("msctl {}\n", env!("CARGO_PKG_VERSION"))
    );
    assert!(ask(&["completions", "bash"]).contains("_msctl()"));
    assert!(ask(&["completions", "zsh"]).starts_with("#compdef msctl"));
    assert!(ask(&["man"]).contains(".TH msctl 1"));
    let folder = home.path().join("man");
    ask(&["man", "--dir", folder.to_str().unwrap()]);
    assert!(folder.join("msctl-config-set.1").exists());
}
