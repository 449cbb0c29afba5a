//! What a service says of its own config: JSON Schema under `/schema/<service>`, read for checking
//! values before they are written and for the docs, units and defaults shown beside a key.
//!
//! Checked are the keywords that config types come to: types, bounds, lengths, enum, const,
//! pattern, required, properties, additionalProperties, items, local `$ref`, allOf, anyOf, oneOf;
//! `format` `duration` and `size`, with bounds written in units. Other keywords are let through: a
//! schema of a newer service never blocks a change. Nothing is fetched, patterns run in linear
//! time, and depth is bounded.

use std::cell::Cell;
use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value as Json;

use crate::safe::escape;

mod check;
mod field;
mod node;

pub use check::{Violation, Weight};
pub use field::Field;
use node::Node;

/// The largest schema that is read.
pub const MAX_SCHEMA: usize = 1_048_576;

/// How deep a schema may nest, references followed.
const MAX_DEPTH: usize = 32;

/// How many places one question visits: references make a small schema as large as they like.
const MAX_STEPS: usize = 2_000;

/// The most keys that are listed of one schema.
const MAX_FIELDS: usize = 5_000;

/// A service's schema.
#[derive(Debug, Clone)]
pub struct Schema {
    root: Node,
    /// `$defs` and `definitions`, by their pointer.
    definitions: BTreeMap<String, Node>,
}

/// What was published is no schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// More than is read.
    #[error("the schema has {0} bytes, at most {MAX_SCHEMA} are read")]
    TooLarge(usize),
    /// No JSON.
    #[error("the schema is not JSON: {0}")]
    NotJson(String),
    /// JSON that describes nothing.
    #[error("at {place} of the schema: {what}")]
    Place {
        /// Where, as a JSON pointer.
        place: String,
        /// What is wrong there.
        what: String,
    },
}

impl Schema {
    /// Reads a schema.
    ///
    /// # Errors
    /// [`SchemaError`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, SchemaError> {
        if bytes.len() > MAX_SCHEMA {
            return Err(SchemaError::TooLarge(bytes.len()));
        }
        let json: Json = serde_json::from_slice(bytes)
            .map_err(|error| SchemaError::NotJson(escape(&error.to_string()).into_owned()))?;
        let root = Node::read(&json, "#", 0)?;
        let mut definitions = BTreeMap::new();
        for place in ["$defs", "definitions"] {
            let Some(members) = json.get(place).and_then(Json::as_object) else {
                continue;
            };
            for (name, member) in members {
                let at = format!("#/{place}/{name}");
                let node = Node::read(member, &at, 0)?;
                definitions.insert(at, node);
            }
        }
        Ok(Self { root, definitions })
    }

    /// What it says of a path; `None` where it knows no such key.
    #[must_use]
    pub fn field(&self, path: &str) -> Option<Field> {
        self.find(path).map(|node| Field::of(self, path, node))
    }

    /// All keys it names that are no mappings of named keys themselves, in order. A type that
    /// contains itself is listed once.
    #[must_use]
    pub fn fields(&self) -> Vec<Field> {
        let mut paths = Vec::new();
        let steps = Steps::default();
        self.leaves(
            &self.root,
            String::new(),
            &mut Vec::new(),
            &steps,
            &mut paths,
        );
        paths.sort();
        paths.dedup();
        paths.iter().filter_map(|path| self.field(path)).collect()
    }

    /// Whether it marks a key, one the key stands in or one that stands in it as a secret's.
    #[must_use]
    pub fn is_secret(&self, path: &str) -> bool {
        let steps = Steps::default();
        let ends = path.match_indices('.').map(|(at, _)| at);
        ends.filter_map(|end| self.find(&path[..end]))
            .any(|node| node.secret || self.resolved(node).secret)
            || self
                .find(path)
                .is_some_and(|node| self.any_secret(node, 0, &steps))
    }

    /// Whether it says of any key that its value is a secret.
    #[must_use]
    pub fn has_secrets(&self) -> bool {
        self.any_secret(&self.root, 0, &Steps::default())
    }

    /// The node a reference leads to, itself where it is none.
    fn resolved<'s>(&'s self, node: &'s Node) -> &'s Node {
        let mut node = node;
        for _ in 0..MAX_DEPTH {
            match &node.reference {
                Some(at) if at == "#" => node = &self.root,
                Some(at) => match self.definitions.get(at) {
                    Some(next) => node = next,
                    None => return node,
                },
                None => return node,
            }
        }
        node
    }

    fn find(&self, path: &str) -> Option<&Node> {
        self.walk(&self.root, path, 0, &Steps::default())
    }

    /// A property may be named by one part of the path or, written dotted, by several.
    fn walk<'s>(
        &'s self,
        node: &'s Node,
        path: &str,
        depth: usize,
        steps: &Steps,
    ) -> Option<&'s Node> {
        if depth > MAX_DEPTH || !steps.take() {
            return None;
        }
        let node = self.resolved(node);
        let ends = path
            .match_indices('.')
            .map(|(at, _)| at)
            .chain([path.len()]);
        let mut named = ends.filter_map(|end| {
            let member = node.properties.get(&path[..end])?;
            match path.get(end + 1..) {
                None => Some(member),
                Some(rest) => self.walk(member, rest, depth + 1, steps),
            }
        });
        let parts = || {
            let mut parts = node.all_of.iter().chain(&node.any_of);
            parts.find_map(|part| self.walk(part, path, depth + 1, steps))
        };
        let others = || {
            let others = node.others.as_ref()?.as_deref()?;
            match path.split_once('.') {
                None => Some(others),
                Some((_, rest)) => self.walk(others, rest, depth + 1, steps),
            }
        };
        named.next().or_else(parts).or_else(others)
    }

    fn leaves<'s>(
        &'s self,
        node: &'s Node,
        path: String,
        inside: &mut Vec<&'s str>,
        steps: &Steps,
        found: &mut Vec<String>,
    ) {
        let again = node
            .reference
            .as_deref()
            .is_some_and(|at| inside.contains(&at));
        if inside.len() > MAX_DEPTH || found.len() >= MAX_FIELDS || !steps.take() {
            return;
        }
        let members = found.len();
        if !again {
            inside.push(node.reference.as_deref().unwrap_or_default());
            let node = self.resolved(node);
            for (name, member) in &node.properties {
                let at = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                self.leaves(member, at, inside, steps, found);
            }
            for part in node.all_of.iter().chain(&node.any_of) {
                if self.has_properties(part, inside.len(), steps) {
                    self.leaves(part, path.clone(), inside, steps, found);
                }
            }
            inside.pop();
        }
        if found.len() == members && !path.is_empty() {
            found.push(path);
        }
    }

    fn has_properties(&self, node: &Node, depth: usize, steps: &Steps) -> bool {
        if depth > MAX_DEPTH || !steps.take() {
            return false;
        }
        let node = self.resolved(node);
        let mut parts = node.all_of.iter().chain(&node.any_of);
        !node.properties.is_empty() || parts.any(|part| self.has_properties(part, depth + 1, steps))
    }

    fn any_secret(&self, node: &Node, depth: usize, steps: &Steps) -> bool {
        if depth > MAX_DEPTH || !steps.take() {
            return false;
        }
        let target = self.resolved(node);
        let members = target.properties.values().chain(&target.all_of);
        let members = members.chain(target.items.as_deref());
        node.secret
            || target.secret
            || members
                .chain(&target.any_of)
                .any(|member| self.any_secret(member, depth + 1, steps))
    }
}

/// How many places may still be visited.
struct Steps(Cell<usize>);

impl Default for Steps {
    fn default() -> Self {
        Self(Cell::new(MAX_STEPS))
    }
}

impl Steps {
    fn take(&self) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        left > 0
    }
}

/// A pattern with the text it was made of.
#[derive(Debug, Clone)]
struct Pattern {
    text: String,
    /// `None` where this build cannot read it (look-around, back references): not checked.
    regex: Option<Regex>,
}

#[cfg(test)]
mod tests;
