//! Completion that asks the fleet: what a shell would be given, and what it would not.

use std::net::TcpListener;
use std::process::Command;
use std::time::Instant;

use crate::demo::Demo;
use crate::world::{Done, PATIENCE, World, command, over_both, run};

const SCHEMA: &str = r#"{"type":"object","properties":{
    "mode":{"type":"string","enum":["fast","slow","$(reboot)"],"description":"How."},
    "strict":{"type":"boolean"},
    "pin":{"type":"string","enum":["1234","5678"],"x-secret":true},
    "timeout":{"type":"object","properties":{"write":{"type":"string"},"read":{"type":"string"}}}}}"#;

/// Asks as bash does, with the cursor behind the last word.
fn asking(home: &std::path::Path, words: &[&str]) -> Command {
    let mut command = command(home);
    command
        .env("MSCTL_COMPLETE", "bash")
        .env("_CLAP_IFS", "\n")
        .env("_CLAP_COMPLETE_INDEX", words.len().to_string())
        .args(["--", "msctl"])
        .args(words);
    command
}

fn ask(world: &World, words: &[&str]) -> Done {
    let mut command = asking(world.home.path(), words);
    let done = run(command.env("MSCTL_ENDPOINTS", &world.endpoint), b"").ok();
    assert_eq!(done.err, "", "{words:?}");
    done
}

/// What is offered, once a busy machine lets the answer come in time.
#[track_caller]
fn offers(world: &World, words: &[&str], wanted: &[&str]) {
    let begun = Instant::now();
    loop {
        let done = ask(world, words);
        let offered: Vec<_> = done.out.lines().collect();
        if offered == wanted {
            return;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{words:?}: {offered:?}, not {wanted:?}"
        );
    }
}

#[test]
fn keys_values_services_and_instances_are_those_of_the_fleet() {
    over_both(|world| {
        world.etcdctl(&["put", "/schema/order", SCHEMA]);
        world.etcdctl(&["put", "/config/order/extra", "hidden-value"]);
        world.etcdctl(&["put", "/config/order/a;reboot", "1"]);
        world.etcdctl(&["put", "/config/user/limit", "1"]);
        world.register("order-7f3a-1");
        world.register("order-7f3a-2");
        let all = [
            "extra",
            "mode",
            "pin",
            "strict",
            "timeout.read",
            "timeout.write",
        ];
        let all = all.map(|path| format!("order/{path}"));
        let all: Vec<_> = all.iter().map(String::as_str).collect();

        offers(world, &["config", "get", "order/"], &all);
        offers(world, &["config", "get", "order/timeout."], &all[4..]);
        // One scope that fits is as good as named; of several the names.
        offers(world, &["config", "get", "or"], &all);
        offers(
            world,
            &["config", "get", ""],
            &["global/", "order/", "user/"],
        );
        offers(
            world,
            &["config", "history", ""],
            &["global", "order", "user"],
        );
        offers(
            world,
            &["config", "unset", "user/limit", "order/m"],
            &["order/mode"],
        );
        offers(world, &["config", "set", "order/mo"], &["order/mode"]);
        offers(
            world,
            &["config", "set", "order/mode", ""],
            &["fast", "slow"],
        );
        offers(
            world,
            &["config", "set", "-m", "why", "order/mode", "s"],
            &["slow"],
        );
        offers(
            world,
            &["config", "set", "order/mode", "slow", "order/strict", ""],
            &["false", "true"],
        );
        offers(
            world,
            &["config", "set", "order/mode", "slow", "order/st"],
            &["order/strict"],
        );
        offers(world, &["services", "or"], &["order"]);
        let ids = ["order/order-7f3a-1", "order/order-7f3a-2"];
        offers(world, &["services", "drain", "order/"], &ids);
        let ids = ["order-7f3a-1", "order-7f3a-2"];
        offers(
            world,
            &["config", "set", "order/mode", "slow", "--canary", ""],
            &ids,
        );

        // Of a secret no value is told, and of no key the one it has.
        for key in ["order/pin", "order/extra"] {
            let told = ask(world, &["config", "set", key, ""]).out;
            let bare = |word: &&str| !word.starts_with('-');
            assert_eq!(told.lines().find(bare), None, "{told}");
        }
        // What is typed names the fleet too, and bash takes it apart at each colon.
        let (host, port) = world.endpoint.rsplit_once(':').unwrap();
        let host = host.trim_start_matches("http://");
        let words = ["--endpoints", host, ":", port, "config", "get", "order/mo"];
        let begun = Instant::now();
        loop {
            let done = run(&mut asking(world.home.path(), &words), b"").ok();
            if done.out == "order/mode" {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{done:?}");
        }
    });
}

#[test]
fn methods_are_those_the_servers_tell_and_nothing_is_written() {
    over_both(|world| {
        let demo = Demo::start(world);
        offers(world, &["call", ""], &["order.", "user."]);
        let begun = Instant::now();
        let told = loop {
            let told = ask(world, &["call", "user."]).out;
            if told.contains("user.Get") {
                break told;
            }
            assert!(begun.elapsed() < PATIENCE, "{told:?}");
        };
        assert!(told.lines().all(|line| line.starts_with("user.")), "{told}");
        offers(
            world,
            &["call", "user.v1.UserService/Ge"],
            &["user.v1.UserService/Get"],
        );
        let (host, port) = demo.address("user").rsplit_once(':').unwrap();
        let address = [
            "call",
            "--address",
            host,
            ":",
            port,
            "user.v1.UserService/Ge",
        ];
        offers(world, &address, &["user.v1.UserService/Get"]);
        assert!(!world.home.path().join(".cache").exists());
    });
}

#[test]
fn contexts_are_offered_and_no_password_command_is_run() {
    let home = tempfile::tempdir().unwrap();
    let ran = home.path().join("ran");
    let folder = home.path().join("msctl");
    std::fs::create_dir(&folder).unwrap();
    let text = format!(
        "current: prod\ncontexts:\n  prod: {{endpoints: [http://127.0.0.1:1], user: me, password_command: [touch, {}]}}\n  staging: {{endpoints: [http://127.0.0.1:1]}}\n",
        ran.display()
    );
    std::fs::write(folder.join("config.yaml"), text).unwrap();
    for (words, wanted) in [
        (&["context", "use", ""][..], "prod\nstaging"),
        (&["--context", "st"], "staging"),
        (&["--context=st"], "--context=staging"),
        (&["--context", "=", "st"], "staging"),
        (&["--context", "staging", "serv"], "services"),
        (&["--context", "staging", "config", "get", "order/"], ""),
        (&["config", "get", "order/"], ""),
    ] {
        let done = run(&mut asking(home.path(), words), b"").ok();
        let bare = |line: &&str| {
            words.last().is_some_and(|last| last.starts_with('-')) || !line.starts_with('-')
        };
        let offered: Vec<_> = done.out.lines().filter(bare).collect();
        assert_eq!(
            (offered.join("\n").as_str(), &*done.err),
            (wanted, ""),
            "{words:?}"
        );
    }
    assert!(!ran.exists());
}

#[test]
fn an_etcd_that_answers_nothing_costs_little_and_is_not_spoken_of() {
    // Accepts connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = silent.local_addr().unwrap().to_string();
    let home = tempfile::tempdir().unwrap();
    for words in [
        &["--timeout", "10m", "config", "get", "order/"][..],
        &["--timeout", "10m", "call", "user."],
        &[
            "call",
            "--address",
            &at,
            "--connect-timeout",
            "10m",
            "user.",
        ],
    ] {
        let begun = Instant::now();
        let mut command = asking(home.path(), words);
        let done = run(command.env("MSCTL_ENDPOINTS", &at), b"").ok();
        println!("{words:?}: {:.0?}", begun.elapsed());
        // Less than any of the times that were asked for.
        assert!(begun.elapsed() < PATIENCE);
        let bare = done.out.lines().find(|line| !line.starts_with('-'));
        assert_eq!((bare, &*done.err), (None, ""), "{words:?}");
    }
}

#[test]
fn a_variable_that_was_left_set_disturbs_no_command() {
    let home = tempfile::tempdir().unwrap();
    let mut command = command(home.path());
    let done = run(command.env("MSCTL_COMPLETE", "bash").arg("--version"), b"").ok();
    assert!(done.out.starts_with("msctl "), "{done:?}");
}

/// As readline calls it: the line in words, and the word that is completed.
const BASH: &str = r#"
    source "$1" || exit 1
    function=$(complete -p msctl | sed 's/.*-F \([^ ]*\).*/\1/')
    read -ra COMP_WORDS <<< "$2"
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_TYPE=9 COMP_LINE=$2 COMP_POINT=${#2}
    "$function" msctl "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
    printf '%s\n' "${COMPREPLY[@]}"
"#;

/// A person at a terminal: the line, a tab, and what the line is then.
const ZSH: &str = r#"
    zmodload zsh/zpty
    zpty shell zsh -f -i
    zpty -w shell "autoload -Uz compinit; compinit -u -D; source $1; echo set''up"
    zpty -r shell out '*setup*'
    zpty -n -w shell "$2"$'\t'
    zpty -n -w shell $'\C-a: \C-e\n'
    zpty -w shell "echo do''ne"
    zpty -r shell out '*done*'
    print -r -- "$out"
"#;

const FISH: &str = "source $argv[1]; and complete -C $argv[2]";

/// Completes a line in a real shell with the script of a file.
fn completed(world: &World, shell: &str, script: &std::path::Path, line: &str) -> String {
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_msctl"))
        .parent()
        .unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let arguments: &[&str] = match shell {
        "bash" => &["--norc", "-c", BASH, "bash"],
        "zsh" => &["-f", "-c", ZSH, "zsh"],
        _ => &["--no-config", "-c", FISH],
    };
    let done = Command::new(shell)
        .args(arguments)
        .arg(script)
        .arg(line)
        .env("PATH", path)
        .env("HOME", world.home.path())
        .env("XDG_CONFIG_HOME", world.home.path())
        .env("MSCTL_ENDPOINTS", &world.endpoint)
        .output()
        .unwrap_or_else(|error| panic!("{shell}: {error}; scripts/need.sh test installs it"));
    format!(
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    )
}

#[test]
fn each_shell_completes_with_its_scripts() {
    let world = World::embedded();
    world.etcdctl(&["put", "/config/order/timeout.write", "5s"]);
    for shell in ["bash", "zsh", "fish"] {
        for (live, line, wanted) in [
            (&[][..], "msctl config hist", "history"),
            (&[], "msctl --tim", "--timeout"),
            (&["--live"], "msctl config hist", "history"),
            (
                &["--live"],
                "msctl config get order/ti",
                "order/timeout.write",
            ),
        ] {
            let script = [&["completions", shell], live].concat();
            let file = world.home.path().join(format!("script.{shell}"));
            std::fs::write(&file, world.msctl(&script).ok().out).unwrap();
            let begun = Instant::now();
            loop {
                let out = completed(&world, shell, &file, line);
                if out.contains(wanted) {
                    break;
                }
                // A busy machine may not answer in the time that a tab has.
                assert!(begun.elapsed() < PATIENCE, "{shell} {live:?} {line}: {out}");
            }
        }
    }
    for shell in ["elvish", "powershell"] {
        let script = world.msctl(&["completions", shell, "--live"]).ok().out;
        assert!(script.contains("MSCTL_COMPLETE"), "{shell}");
    }
}
