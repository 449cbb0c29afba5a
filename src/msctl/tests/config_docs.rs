//! docs/config.md: every command in it is run, and what it prints is what stands there.
//! `MSCTL_DOCS=write` writes the true output into the page.

use std::path::Path;
use std::process::Command;

use crate::world::{Running, World, over_both, run};

fn page() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/config.md")
}

/// Words of a line as a shell takes them apart: double quotes hold words together, `\n` in them is
/// a line end.
fn words(line: &str) -> Vec<String> {
    if let Some((command, json)) = line.split_once(" {") {
        let mut words = words(command);
        words.push(format!("{{{json}"));
        return words;
    }
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            other => words.last_mut().unwrap().push(other),
        }
    }
    words.iter().map(|word| word.replace("\\n", "\n")).collect()
}

fn true_output(world: &World, line: &str) -> String {
    // What does not end by itself is read as far as the page shows.
    if let Some((command, count)) = line.split_once(" | head -n ") {
        let words = words(command);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let mut running = Running::start(&mut world.command(&words[1..]));
        let lines = (0..count.parse().unwrap()).map(|_| format!("{}\n", running.line()));
        return lines.collect();
    }
    let words = words(line);
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let sets = |word: &str| {
        let name = word.split_once('=').map_or("", |(name, _)| name);
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase())
    };
    let set = words.iter().take_while(|word| sets(word));
    let variables: Vec<_> = set.filter_map(|word| word.split_once('=')).collect();
    let words = &words[variables.len()..];
    match words[0] {
        "printf" => {
            let [_, text, ">", file] = words else {
                panic!("printf TEXT > FILE: {line}")
            };
            std::fs::write(world.home.path().join(file), text).unwrap();
            String::new()
        }
        "etcdctl" => {
            let done = Command::new("etcdctl")
                .env("ETCDCTL_API", "3")
                .args(["--endpoints", &world.endpoint])
                .args(&words[1..])
                .output()
                .unwrap();
            String::from_utf8(done.stdout).unwrap()
        }
        _ => {
            let mut command = world.command(&words[1..]);
            command
                .current_dir(world.home.path())
                .env_remove("XDG_STATE_HOME");
            command.env("VISUAL", "").envs(variables);
            let done = run(&mut command, b"");
            let mut text = format!("{}{}", done.out, done.err);
            if done.code != 0 {
                text.push_str(&format!("[exit {}]\n", done.code));
            }
            timeless(&world.plain(&text))
        }
    }
}

/// Times of the day differ from run to run.
fn timeless(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("20") {
        let time = rest.get(at..at + 20).unwrap_or_default();
        let shape = |time: &str| {
            time.len() == 20
                && time
                    .bytes()
                    .zip(b"dddd-dd-dd dd:dd:ddZ")
                    .all(|(found, wanted)| match wanted {
                        b'd' => found.is_ascii_digit(),
                        other => found == *other,
                    })
        };
        if shape(time) {
            shown.push_str(&rest[..at]);
            shown.push_str("2026-11-22 10:00:00Z");
            rest = &rest[at + 20..];
        } else {
            shown.push_str(&rest[..at + 2]);
            rest = &rest[at + 2..];
        }
    }
    shown.push_str(rest);
    untimed(&shown)
}

/// How long something took differs too.
fn untimed(text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for line in &mut lines {
        if let Some(start) = line.find("applied it in ")
            && let Some(end) = line[start..].find(" ms")
        {
            line.replace_range(start..start + end, "applied it in 12");
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn with_true_output(world: &World, page: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for line in page.lines() {
        if line == "```console" {
            inside = true;
        } else if line == "```" {
            inside = false;
        } else if inside && !line.starts_with("$ ") {
            continue;
        }
        text.push_str(line);
        text.push('\n');
        if let Some(command) = line.strip_prefix("$ ").filter(|_| inside) {
            for line in true_output(world, command).lines() {
                text.push_str(line.trim_end());
                text.push('\n');
            }
        }
    }
    text
}

#[test]
fn the_page_on_config_shows_what_is_printed() {
    let written = std::fs::read_to_string(page()).unwrap();
    if std::env::var("MSCTL_DOCS").is_ok_and(|what| what == "write") {
        let text = with_true_output(&World::embedded(), &written);
        std::fs::write(page(), text).unwrap();
        return;
    }
    over_both(|world| assert_eq!(with_true_output(world, &written), written));
}
