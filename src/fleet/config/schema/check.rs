//! A value against a schema: every fault with its path, what was found and what is allowed.

use std::fmt;

use serde_yaml::Value;

use super::field::range;
use super::node::{Node, Type, Unit};
use super::{MAX_DEPTH, Schema, Steps};
use crate::config::Effective;
use crate::config::tree::kind;
use crate::config::value::one_line;
use crate::safe::escape;
use crate::suggest::closest;

/// The most faults that are told of one value.
const MAX_FAULTS: usize = 50;

/// A fault of a value. Safe to show; the value of a secret is not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Where: `retry.attempts`.
    pub path: String,
    /// What is wrong and what is allowed.
    pub message: String,
    /// Whether the service would refuse it.
    pub weight: Weight,
}

/// What a fault means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Nobody would read it; the change may still be meant.
    Warning,
    /// The service would refuse it.
    Error,
}

/// The faults so far, and how much may still be looked at.
#[derive(Default)]
struct Checking {
    found: Vec<Violation>,
    steps: Steps,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl Schema {
    /// Checks what one key would become.
    #[must_use]
    pub fn check(&self, path: &str, value: &Value) -> Vec<Violation> {
        let mut checking = Checking::default();
        match (self.find(path), value) {
            (Some(node), _) => self.check_node(node, path, value, 0, &mut checking),
            // The schema may name the members with dots: `page.size` beside `page: {size: 50}`.
            (None, Value::Mapping(members)) if self.names_below(path) => {
                for (name, member) in members {
                    checking
                        .found
                        .extend(self.check(&format!("{path}.{}", one_line(name)), member));
                }
            }
            (None, _) => checking.found.push(self.unknown(path)),
        }
        checking.found
    }

    /// Checks a service's whole config: every leaf, and that nothing required is missing.
    #[must_use]
    pub fn check_all(&self, effective: &Effective) -> Vec<Violation> {
        let mut found = Vec::new();
        for (path, leaf) in effective.leaves() {
            found.extend(self.check(path, &leaf.value));
        }
        for field in self.fields() {
            if field.required && field.default.is_none() && effective.get(&field.path).is_none() {
                found.push(Violation {
                    message: format!("it is required and no layer has it{}", of_kind(&field.kind)),
                    path: field.path,
                    weight: Weight::Error,
                });
            }
        }
        found
    }

    fn names_below(&self, path: &str) -> bool {
        let below = format!("{path}.");
        let mut names = self.root.properties.keys();
        path.split('.').count() < MAX_DEPTH && names.any(|name| name.starts_with(&below))
    }

    fn unknown(&self, path: &str) -> Violation {
        let closed = self.closed(path);
        let fields = self.fields();
        let near = closest(path, fields.iter().map(|field| field.path.as_str()));
        let near = near.map_or_else(String::new, |near| format!(". Did you mean '{near}'?"));
        Violation {
            path: escape(path).into_owned(),
            message: format!("the service has no such key{near}"),
            weight: if closed {
                Weight::Error
            } else {
                Weight::Warning
            },
        }
    }

    /// Whether the deepest known place on the way to a path allows no other names.
    fn closed(&self, path: &str) -> bool {
        let ends = path.rmatch_indices('.').map(|(at, _)| at);
        let deepest = ends.filter_map(|end| self.find(&path[..end])).next();
        let node = self.resolved(deepest.unwrap_or(&self.root));
        matches!(node.others, Some(None))
    }

    fn check_node(
        &self,
        node: &Node,
        path: &str,
        value: &Value,
        depth: usize,
        found: &mut Checking,
    ) {
        if depth > MAX_DEPTH || found.found.len() >= MAX_FAULTS || !found.steps.take() {
            return;
        }
        let node = self.resolved(node);
        for part in &node.all_of {
            self.check_node(part, path, value, depth + 1, found);
        }
        if !node.any_of.is_empty() {
            self.check_any(node, path, value, depth, found);
        }
        if let Some(message) = self.fault_of_scalar(node, path, value) {
            found.found.push(Violation {
                path: escape(path).into_owned(),
                message,
                weight: Weight::Error,
            });
            return;
        }
        match value {
            Value::Sequence(items) => {
                if let Some(of) = &node.items {
                    for (i, item) in items.iter().enumerate() {
                        self.check_node(of, &format!("{path}[{i}]"), item, depth + 1, found);
                    }
                }
            }
            Value::Mapping(members) => self.check_members(node, path, members, depth, found),
            _ => {}
        }
    }

    fn check_any(
        &self,
        node: &Node,
        path: &str,
        value: &Value,
        depth: usize,
        found: &mut Checking,
    ) {
        let mut nearest: Option<Vec<Violation>> = None;
        let before = std::mem::take(&mut found.found);
        for part in &node.any_of {
            self.check_node(part, path, value, depth + 1, found);
            let faults = std::mem::take(&mut found.found);
            if faults.iter().all(|fault| fault.weight == Weight::Warning) {
                found.found = before;
                return;
            }
            let is_null = self.resolved(part).types == [Type::Null];
            if !is_null
                && nearest
                    .as_ref()
                    .is_none_or(|so_far| faults.len() < so_far.len())
            {
                nearest = Some(faults);
            }
        }
        found.found = before;
        found.found.extend(nearest.into_iter().flatten());
    }

    fn check_members(
        &self,
        node: &Node,
        path: &str,
        members: &serde_yaml::Mapping,
        depth: usize,
        found: &mut Checking,
    ) {
        for (name, member) in members {
            let name = one_line(name);
            let at = format!("{path}.{name}");
            match (node.properties.get(&name), &node.others) {
                (Some(node), _) => self.check_node(node, &at, member, depth + 1, found),
                (None, Some(Some(others))) => {
                    self.check_node(others, &at, member, depth + 1, found);
                }
                (None, others) => {
                    if node.properties.is_empty() && others.is_none() {
                        continue;
                    }
                    let near = closest(&name, node.properties.keys().map(String::as_str));
                    let near = near.map_or_else(String::new, |n| format!(". Did you mean '{n}'?"));
                    found.found.push(Violation {
                        path: escape(&at).into_owned(),
                        message: format!("the service has no such key{near}"),
                        weight: match others {
                            Some(None) => Weight::Error,
                            _ => Weight::Warning,
                        },
                    });
                }
            }
        }
        for wanted in &node.required {
            if !members.contains_key(wanted.as_str()) {
                found.found.push(Violation {
                    path: escape(&format!("{path}.{wanted}")).into_owned(),
                    message: "it is required and missing".into(),
                    weight: Weight::Error,
                });
            }
        }
    }

    /// What is wrong with the value itself, whatever stands in it.
    fn fault_of_scalar(&self, node: &Node, path: &str, value: &Value) -> Option<String> {
        let shown = || {
            let named = crate::config::secret::is_secret(path);
            if named || node.secret || self.is_secret(path) {
                return "the value".to_owned();
            }
            match value {
                Value::Mapping(_) | Value::Sequence(_) => kind(value).to_owned(),
                scalar => shortened(&one_line(scalar)),
            }
        };
        if !node.allowed.is_empty() {
            if node.allowed.contains(value) {
                return None;
            }
            let choices: Vec<_> = node.allowed.iter().map(one_line).collect();
            let near = value
                .as_str()
                .and_then(|text| closest(text, choices.iter().map(String::as_str)));
            let near = near.map_or_else(String::new, |near| format!(". Did you mean '{near}'?"));
            return Some(format!(
                "{} is none of {}{near}",
                shown(),
                choices.join(", ")
            ));
        }
        if let Some(unit) = node.format {
            let measured = match unit.measure(value) {
                Ok(measured) => measured,
                Err(_) if value.is_null() && node.types.contains(&Type::Null) => return None,
                Err(_) => {
                    let wanted = match unit {
                        Unit::Duration => "duration (like 250ms, 5s or 1m30s)",
                        Unit::Size => "size (like 512KiB or 10MB)",
                    };
                    return Some(format!("{} is no {wanted}", shown()));
                }
            };
            return out_of_bounds(node, measured, &shown);
        }
        if !node.types.is_empty() && !node.types.iter().any(|of| is_of(*of, value)) {
            let wanted: Vec<_> = node.types.iter().map(|of| of.name()).collect();
            return Some(format!("{} is no {}", shown(), wanted.join(" or ")));
        }
        if let Some(number) = value.as_f64() {
            return out_of_bounds(node, number, &shown);
        }
        let (count, bounds, of) = match value {
            Value::String(text) => (text.chars().count() as u64, node.length, "characters"),
            Value::Sequence(items) => (items.len() as u64, node.items_count, "items"),
            _ => return None,
        };
        match bounds {
            (Some(min), _) if count < min => {
                return Some(format!(
                    "{} has {count} {of}, at least {min} are wanted",
                    shown()
                ));
            }
            (_, Some(max)) if count > max => {
                return Some(format!(
                    "{} has {count} {of}, at most {max} are allowed",
                    shown()
                ));
            }
            _ => {}
        }
        let (text, pattern) = (value.as_str()?, node.pattern.as_ref()?);
        let matches = pattern
            .regex
            .as_ref()
            .is_none_or(|regex| regex.is_match(text));
        (!matches).then(|| format!("{} does not match {}", shown(), escape(&pattern.text)))
    }
}

fn out_of_bounds(node: &Node, number: f64, shown: &dyn Fn() -> String) -> Option<String> {
    let below = node
        .minimum
        .as_ref()
        .is_some_and(|min| number < min.at || (min.exclusive && number <= min.at));
    let above = node
        .maximum
        .as_ref()
        .is_some_and(|max| number > max.at || (max.exclusive && number >= max.at));
    (below || above || number.is_nan()).then(|| {
        let allowed = range(node);
        format!(
            "{} is too {}, allowed is {allowed}",
            shown(),
            if below { "low" } else { "high" }
        )
    })
}

fn is_of(of: Type, value: &Value) -> bool {
    match of {
        Type::Null => value.is_null(),
        Type::Boolean => value.is_bool(),
        Type::Integer => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0)
        }
        Type::Number => value.is_number(),
        // Texts are read from numbers and truth values too: nobody has to quote a version.
        Type::Text => value.is_string() || value.is_number() || value.is_bool(),
        Type::Array => value.is_sequence(),
        Type::Object => value.is_mapping(),
    }
}

fn of_kind(kind: &str) -> String {
    if kind.is_empty() {
        String::new()
    } else {
        format!(" ({kind})")
    }
}

fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("\"{}\"", short.trim_matches(['"', '\'']))
}
