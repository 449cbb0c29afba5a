//! Writes a tree, and reads each value back before it is believed: the first notation that comes
//! back as the same text is taken, from the plainest to the one that always does.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{BINARY, Leaf, MASKED, RAW, from_yaml};
use crate::config::diff::Secrets;
use crate::config::{ConfigKey, Scope};
use crate::kv::{Entry, Key, Prefix};
use crate::safe::escape;

/// A written tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// The YAML text.
    pub text: String,
    /// How many keys stand in it.
    pub keys: usize,
    /// Secrets whose values were left out.
    pub masked: Vec<ConfigKey>,
    /// What stands under the prefix and is no config key.
    pub left_out: Vec<Key>,
}

/// Writes the entries of the config prefix as one tree.
#[must_use]
pub fn export(
    config: &Prefix,
    entries: &[Entry],
    secrets: Secrets,
    is_secret: impl Fn(&ConfigKey, &[u8]) -> bool,
) -> Export {
    let mut keys: BTreeMap<Scope, BTreeMap<ConfigKey, &Entry>> = BTreeMap::new();
    let mut export = Export {
        text: String::new(),
        keys: 0,
        masked: Vec::new(),
        left_out: Vec::new(),
    };
    for entry in entries {
        match ConfigKey::from_key(config, &entry.key) {
            Ok(key) => {
                let scope = keys.entry(key.scope.clone()).or_default();
                scope.insert(key, entry);
            }
            Err(_) => export.left_out.push(entry.key.clone()),
        }
    }
    for (scope, keys) in keys {
        let _ = writeln!(export.text, "{}:", quoted_name(&scope.to_string()));
        for (key, entry) in keys {
            export.keys += 1;
            if secrets == Secrets::Masked && is_secret(&key, &entry.value) {
                let path = quoted_name(key.path());
                let _ = writeln!(export.text, "  {path}: !{MASKED}");
                export.masked.push(key);
            } else {
                export.text.push_str(&member(&key, &entry.value));
            }
        }
    }
    export
}

/// One key with its value, as lines of a tree.
fn member(key: &ConfigKey, value: &[u8]) -> String {
    let path = quoted_name(key.path());
    let Ok(text) = std::str::from_utf8(value) else {
        return format!("  {path}: !{BINARY} \"{}\"\n", BASE64.encode(value));
    };
    let notations: [fn(&str, &str) -> Option<String>; 4] =
        [on_one_line, after_its_sign, below, literally];
    // What could move a terminal's cursor is never written as it is.
    let shows = text
        .split(['\n', '\t'])
        .all(|part| matches!(escape(part), Cow::Borrowed(_)));
    notations
        .iter()
        .filter(|_| shows)
        .filter_map(|notation| notation(&path, text))
        .find(|lines| comes_back(key, lines, text))
        .unwrap_or_else(|| format!("  {path}: !{RAW} {}\n", quoted(text)))
}

fn comes_back(key: &ConfigKey, lines: &str, text: &str) -> bool {
    // At the depth it has in the tree: under one scope.
    from_yaml(&format!(
        "{}:\n{lines}",
        quoted_name(&key.scope.to_string())
    ))
    .is_ok_and(|tree| matches!(tree.leaves.get(key), Some(Leaf::Text(read)) if read.text() == text))
}

fn on_one_line(path: &str, text: &str) -> Option<String> {
    (!text.is_empty() && !text.contains('\n')).then(|| format!("  {path}: {text}\n"))
}

/// `key: |` and its lines.
fn after_its_sign(path: &str, text: &str) -> Option<String> {
    let (sign, lines) = text.strip_suffix('\n')?.split_once('\n')?;
    sign.starts_with(['|', '>'])
        .then(|| format!("  {path}: {sign}\n{}", indented(lines)))
}

/// `key:` and the lines of its mapping or list.
fn below(path: &str, text: &str) -> Option<String> {
    let lines = text.strip_suffix('\n')?;
    (!lines.is_empty()).then(|| format!("  {path}:\n{}", indented(lines)))
}

/// `key: !raw |` and the text.
fn literally(path: &str, text: &str) -> Option<String> {
    if !text.contains('\n') {
        return None;
    }
    let (chomp, lines) = match text.strip_suffix('\n') {
        None => ("-", text),
        Some(lines) if lines.ends_with('\n') => ("+", lines),
        Some(lines) => ("", lines),
    };
    Some(format!("  {path}: !{RAW} |2{chomp}\n{}", indented(lines)))
}

fn indented(lines: &str) -> String {
    let mut text = String::with_capacity(lines.len() + 64);
    for line in lines.split('\n') {
        if !line.is_empty() {
            text.push_str("    ");
            text.push_str(line);
        }
        text.push('\n');
    }
    text
}

/// A name as a key of YAML: quoted where it would be read as something else than a text.
fn quoted_name(name: &str) -> String {
    let plain = matches!(
        serde_yaml::from_str::<serde_yaml::Value>(name),
        Ok(serde_yaml::Value::String(read)) if read == name
    );
    if plain {
        name.to_owned()
    } else {
        format!("\"{name}\"")
    }
}

/// A double-quoted YAML text: everything that is not plainly printable is escaped.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            ' '..='~' => quoted.push(character),
            '\u{a1}'..='\u{d7ff}' if !matches!(character, '\u{2000}'..='\u{206f}') => {
                quoted.push(character);
            }
            other => {
                let _ = write!(quoted, "\\U{:08X}", u32::from(other));
            }
        }
    }
    quoted.push('"');
    quoted
}
