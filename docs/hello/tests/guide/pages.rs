//! The pages against the code: the guide's blocks are compiled, and every metric is told.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Each fenced block of these languages.
fn blocks(text: &str, languages: &[&str]) -> Vec<Vec<String>> {
    let mut blocks = Vec::new();
    let mut open: Option<(bool, Vec<String>)> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), open.as_mut()) {
            (Some(language), None) => open = Some((languages.contains(&language), Vec::new())),
            (Some(_), Some(_)) => {
                if let Some((true, block)) = open.take() {
                    blocks.push(block);
                }
            }
            (None, Some((_, block))) => block.push(line.trim().to_owned()),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

#[test]
fn every_code_block_of_the_guide_stands_in_a_file_that_is_compiled() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = fs::read_to_string(here.join("../platform.md")).unwrap();
    let files = [
        "Cargo.toml",
        "build.rs",
        "hello.proto",
        "lib.rs",
        "main.rs",
        "tests/guide/main.rs",
        "tests/guide/service.rs",
        "tests/guide/config.rs",
        "tests/guide/callers.rs",
    ]
    .map(|file| fs::read_to_string(here.join(file)).unwrap())
    .map(|text| {
        text.lines()
            .map(|line| line.trim().to_owned())
            .collect::<Vec<_>>()
    });
    let blocks = blocks(&guide, &["rust", "toml", "proto"]);
    assert!(blocks.len() > 8, "{}", blocks.len());
    for block in blocks {
        let stands = |file: &Vec<String>| file.windows(block.len()).any(|part| part == block);
        assert!(
            files.iter().any(stands),
            "in no file:\n{}",
            block.join("\n")
        );
    }
}

/// Every Rust file below a folder, read.
fn sources(folder: &Path, found: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

/// Kind and name of every metric that code makes.
fn made(source: &str) -> BTreeSet<(&str, &str)> {
    let mut found = BTreeSet::new();
    for kind in ["counter", "gauge", "histogram"] {
        let call = format!("{kind}!(");
        for (at, _) in source.match_indices(&call) {
            // Those of describe_counter! are no metrics.
            if source[..at].ends_with('_') {
                continue;
            }
            let mut quoted = source[at + call.len()..].splitn(3, '"');
            let (between, name) = (quoted.next().unwrap(), quoted.next().unwrap());
            if between.trim().is_empty() {
                found.insert((kind, name));
            }
        }
    }
    found
}

/// Kind and name of every metric in a table.
fn told(text: &str) -> BTreeSet<(&str, &str)> {
    let rows = text.lines().filter_map(|row| row.strip_prefix("| `"));
    rows.filter_map(|row| {
        let (name, rest) = row.split_once('`')?;
        let kind = rest.split('|').nth(1)?.trim();
        Some((kind, name.split('{').next()?))
    })
    .filter(|(kind, _)| ["counter", "gauge", "histogram"].contains(kind))
    .collect()
}

#[test]
fn every_metric_of_the_library_is_told_with_its_kind_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut source = String::new();
    sources(&root.join("src/platform"), &mut source);
    sources(&root.join("src/etcd"), &mut source);
    let table = fs::read_to_string(root.join("docs/metrics.md")).unwrap();
    let (made, told) = (made(&source), told(&table));
    assert!(made.len() > 30, "{made:?}");
    assert_eq!(made, told);
}

#[test]
fn the_set_up_takes_less_than_fifteen_lines() {
    let main = include_str!("../../main.rs");
    let set_up = main.split("async fn main()").nth(1).unwrap();
    let lines = set_up
        .lines()
        .skip(1)
        .filter(|line| line.trim() != "}")
        .count();
    assert!(lines < 15, "{lines}");
}
