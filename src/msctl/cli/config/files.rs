//! Files and folders of config, read as trees.
//!
//! A folder is all its files together, at any depth. What begins with a dot is left out: `.git`, an
//! editor's swap file, and `.env`, which is a person's own and names no service.

use std::io::Read;
use std::path::{Path, PathBuf};

use fleet::Entry;
use fleet::config::import::{Notation, read_scope, read_tree};
use fleet::config::tree::{MAX_TREE, Tree, TreeError};
use fleet::config::{ConfigKey, Scope};

use super::scope;
use crate::report::Failure;

/// The largest number of files one folder may hold.
const MAX_FILES: usize = 10_000;

/// How deep folders may nest.
const MAX_DEPTH: usize = 32;

/// The keys that stand already: variables of `.env` have no case, and these say which is meant.
pub(super) fn keys(config: &fleet::Prefix, entries: &[Entry]) -> Vec<ConfigKey> {
    let keys = entries.iter();
    keys.filter_map(|entry| ConfigKey::from_key(config, &entry.key).ok())
        .collect()
}

/// The tree of a file, of all files of a folder, or of stdin for `-`.
pub(super) fn tree(path: &Path, known: &[ConfigKey]) -> Result<Tree, Failure> {
    read(path)?.tree(known)
}

/// A file or a folder that was read: whose keys it has is known, and of `.env` files not yet which
/// keys they are.
pub(super) struct Source {
    path: PathBuf,
    parts: Vec<Part>,
}

enum Part {
    Tree(Tree),
    Keys {
        file: PathBuf,
        notation: Notation,
        text: String,
        scope: Scope,
    },
}

/// Reads a file, all files of a folder, or stdin for `-`.
pub(super) fn read(path: &Path) -> Result<Source, Failure> {
    let parts = files(path)?
        .into_iter()
        .map(part_of)
        .collect::<Result<_, _>>()?;
    Ok(Source {
        path: path.to_owned(),
        parts,
    })
}

impl Source {
    /// Whose keys it has; some may come twice.
    pub(super) fn scopes(&self) -> impl Iterator<Item = &Scope> {
        self.parts.iter().flat_map(|part| match part {
            Part::Tree(tree) => &tree.scopes[..],
            Part::Keys { scope, .. } => std::slice::from_ref(scope),
        })
    }

    /// Its keys, beside those that stand already.
    pub(super) fn tree(self, known: &[ConfigKey]) -> Result<Tree, Failure> {
        let tree = |part| match part {
            Part::Tree(tree) => Ok(tree),
            Part::Keys {
                file,
                notation,
                text,
                scope,
            } => keys_of(&file, notation, &text, &scope, known),
        };
        let trees: Vec<_> = self.parts.into_iter().map(tree).collect::<Result<_, _>>()?;
        Tree::merge(trees).map_err(|error| failure(&self.path, &error))
    }
}

/// The keys of one scope in a file: a tree that speaks of nothing else, or the keys themselves.
pub(super) fn scope_of(path: &Path, scope: &Scope, known: &[ConfigKey]) -> Result<Tree, Failure> {
    let text = read_text(path)?;
    let notation = Notation::of(path).unwrap_or(Notation::Yaml);
    if let Some(Ok(tree)) = read_tree(notation, &text)
        && tree.scopes == [scope.clone()]
    {
        return Ok(tree);
    }
    keys_of(path, notation, &text, scope, known)
}

/// The keys of one scope in a text.
pub(super) fn keys_of(
    path: &Path,
    notation: Notation,
    text: &str,
    scope: &Scope,
    known: &[ConfigKey],
) -> Result<Tree, Failure> {
    let own = known.iter().filter(|key| key.scope == *scope);
    read_scope(notation, text, scope, own.map(ConfigKey::path))
        .map_err(|error| failure(path, &error))
}

fn files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let fault = |error: std::io::Error| Failure::usage(format!("{}: {error}", path.display()));
    if path == Path::new("-") || !std::fs::metadata(path).map_err(fault)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let mut folders = vec![(path.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(fault)? {
            let entry = entry.map_err(fault)?;
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            // A link to a file is that file; one to a folder may lead back here.
            if entry.file_type().map_err(fault)?.is_dir() {
                if depth < MAX_DEPTH {
                    folders.push((entry.path(), depth + 1));
                }
            } else if Notation::of(&entry.path()).is_some() && entry.path().is_file() {
                found.push(entry.path());
            }
        }
        if found.len() + folders.len() > MAX_FILES {
            return Err(Failure::usage(format!(
                "{} has more than {MAX_FILES} files",
                path.display()
            )));
        }
    }
    if found.is_empty() {
        return Err(
            Failure::usage(format!("{} has no config file", path.display()))
                .next("Files end in .yaml, .json, .toml, .env or .properties."),
        );
    }
    found.sort();
    Ok(found)
}

fn part_of(file: PathBuf) -> Result<Part, Failure> {
    let text = read_text(&file)?;
    let notation = Notation::of(&file).unwrap_or(Notation::Yaml);
    if let Some(read) = read_tree(notation, &text) {
        let tree = read.map_err(|error| failure(&file, &error))?;
        return Ok(Part::Tree(tree));
    }
    let name = file.file_stem().and_then(|stem| stem.to_str());
    let name = name.unwrap_or_default();
    if name.starts_with('.') {
        return Err(
            Failure::usage(format!("{}: its name tells no service", file.display())).next(format!(
                "Say whose it is: msctl config import SERVICE {}",
                file.display()
            )),
        );
    }
    let scope = scope(name)?;
    Ok(Part::Keys {
        file,
        notation,
        text,
        scope,
    })
}

/// The text of a file, or of stdin for `-`.
pub(super) fn read_text(path: &Path) -> Result<String, Failure> {
    let fault = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    let mut bytes = Vec::new();
    let limit = MAX_TREE as u64 + 1;
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        let file = std::fs::File::open(path).map_err(|error| fault(error.to_string()))?;
        file.take(limit).read_to_end(&mut bytes)
    };
    read.map_err(|error| fault(error.to_string()))?;
    String::from_utf8(bytes).map_err(|_| fault("it is not UTF-8".into()))
}

/// What is wrong with a file.
pub(super) fn failure(file: &Path, error: &TreeError) -> Failure {
    Failure::usage(format!("{}: {error}", file.display()))
}
