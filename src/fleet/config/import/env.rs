//! `.env` files: `NAME=value` lines, quotes as in a shell, `export` allowed. No substitution: what
//! stands there is what is meant.

use super::TreeError;
use crate::config::{Scope, environment_prefix};

/// Reads names and values, in order.
pub(super) fn read(text: &str) -> Result<Vec<(String, String)>, TreeError> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while !rest.is_empty() {
        let fault = |cause: &str| Err(TreeError::syntax(".env", &format!("line {line}: {cause}")));
        let end = rest.find('\n').unwrap_or(rest.len());
        let head = rest[..end].trim();
        if head.is_empty() || head.starts_with('#') {
            rest = rest.get(end + 1..).unwrap_or_default();
            line += 1;
            continue;
        }
        let Some(equals) = rest[..end].find('=') else {
            return fault("no '='; write NAME=value");
        };
        let name = rest[..equals].trim();
        let name = name.strip_prefix("export ").unwrap_or(name).trim();
        if name.is_empty()
            || !name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
        {
            return fault("what stands before the '=' is no name");
        }
        let after = rest[equals + 1..].trim_start_matches([' ', '\t']);
        let (value, used) = match after.chars().next() {
            Some(quote @ ('"' | '\'')) => match quoted(&after[1..], quote) {
                Some((value, used)) => (value, used + 1),
                None => return fault("the quote is not closed"),
            },
            _ => {
                let end = after.find('\n').unwrap_or(after.len());
                (bare(&after[..end]).to_owned(), end)
            }
        };
        let tail = &after[used..];
        let end = tail.find('\n').unwrap_or(tail.len());
        let left = tail[..end].trim();
        if !left.is_empty() && !left.starts_with('#') {
            return fault("something stands after the closing quote");
        }
        line += 1 + after[..used].matches('\n').count();
        found.push((name.to_owned(), value));
        rest = tail.get(end + 1..).unwrap_or_default();
    }
    Ok(found)
}

/// A value without quotes ends where a comment begins.
fn bare(text: &str) -> &str {
    let text = text.trim();
    if text.starts_with('#') {
        return "";
    }
    text.find(" #").map_or(text, |at| text[..at].trim_end())
}

/// The text up to the closing quote, and how many bytes that took, the quote included.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            c if c == quote => return Some((value, at + 1)),
            '\\' if quote == '"' => match characters.next()?.1 {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                'r' => value.push('\r'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

/// The path of a variable: with or without the prefix of the scope's own variables, `__` for a dot.
pub(super) fn path_of(scope: &Scope, name: &str, known: &[&str]) -> String {
    let own = match scope {
        Scope::Service(service) => name.strip_prefix(&environment_prefix(service)),
        Scope::Global => name.strip_prefix("GLOBAL__"),
    };
    let path = own.unwrap_or(name).replace("__", ".").to_ascii_lowercase();
    let folded = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    known
        .iter()
        .find(|known| folded(known) == folded(&path))
        .map_or(path, |known| (*known).to_owned())
}
