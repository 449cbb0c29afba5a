//! What a schema tells people about one key.

use serde_yaml::Value;

use super::Schema;
use super::node::{Bound, Node, Type, Unit};
use crate::config::value::one_line;
use crate::safe::escape;

/// What is shown beside a key; safe to show.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The dotted path.
    pub path: String,
    /// `duration, 100ms … 30s`; empty where the schema does not say.
    pub kind: String,
    /// The docs, on one line.
    pub description: Option<String>,
    /// What counts where no layer says anything.
    pub default: Option<Value>,
    /// The values it may have, as they would be typed; empty for any.
    pub choices: Vec<String>,
    /// Whether its value is masked.
    pub secret: bool,
    /// Whether some layer has to give it.
    pub required: bool,
}

impl Field {
    pub(super) fn of(schema: &Schema, path: &str, node: &Node) -> Self {
        // What stands beside a reference describes its use here and goes first.
        let target = schema.resolved(node);
        let first = |pick: &dyn Fn(&Node) -> Option<String>| pick(node).or_else(|| pick(target));
        let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
        let parent = if parent.is_empty() {
            Some(&schema.root)
        } else {
            schema.find(parent)
        };
        let required = |node: &Node| node.required.iter().any(|wanted| wanted == name);
        Self {
            path: path.to_owned(),
            kind: kind(schema, target, 0),
            description: first(&|node| {
                let text = node.description.as_deref()?;
                Some(escape(&text.split_whitespace().collect::<Vec<_>>().join(" ")).into_owned())
            }),
            default: node.default.clone().or_else(|| target.default.clone()),
            choices: choices(schema, target),
            secret: schema.is_secret(path),
            required: parent.is_some_and(|parent| required(schema.resolved(parent)))
                || schema.root.required.iter().any(|wanted| wanted == path),
        }
    }
}

fn choices(schema: &Schema, node: &Node) -> Vec<String> {
    let parts = node.any_of.iter().map(|part| schema.resolved(part));
    let values = node
        .allowed
        .iter()
        .chain(parts.flat_map(|part| &part.allowed));
    let mut choices: Vec<_> = values.map(one_line).collect();
    if choices.is_empty() && node.types == [Type::Boolean] {
        choices = vec!["true".into(), "false".into()];
    }
    choices
}

/// Lists of lists are told so far.
const MAX_KIND: usize = 4;

fn kind(schema: &Schema, node: &Node, depth: usize) -> String {
    if depth > MAX_KIND {
        return String::new();
    }
    let name = match node.format {
        Some(Unit::Duration) => "duration".to_owned(),
        Some(Unit::Size) => "size".to_owned(),
        None => {
            let inner = node
                .items
                .as_ref()
                .map(|items| kind(schema, schema.resolved(items), depth + 1));
            let names = node.types.iter().filter(|of| **of != Type::Null);
            let names: Vec<_> = names
                .map(|of| match (of, &inner) {
                    (Type::Array, Some(inner)) if !inner.is_empty() => format!("list of {inner}"),
                    (other, _) => other.name().to_owned(),
                })
                .collect();
            if names.is_empty() {
                // `Option<T>` comes as anyOf of T and null.
                let parts = node.any_of.iter().chain(&node.all_of).take(8);
                let parts = parts.map(|part| kind(schema, schema.resolved(part), depth + 1));
                parts
                    .filter(|part| !part.is_empty())
                    .collect::<Vec<_>>()
                    .join(" or ")
            } else {
                names.join(" or ")
            }
        }
    };
    let choices = node
        .allowed
        .iter()
        .map(one_line)
        .collect::<Vec<_>>()
        .join(", ");
    let unit = node
        .unit
        .as_deref()
        .map(|unit| format!(" in {}", escape(unit)))
        .unwrap_or_default();
    let detail = if choices.is_empty() {
        range(node)
    } else {
        choices
    };
    match (name.is_empty(), detail.is_empty()) {
        (_, true) => format!("{name}{unit}"),
        (true, false) => detail,
        (false, false) => format!("{name}{unit}, {detail}"),
    }
}

/// `100ms … 30s`, `at least 1`, `at most 10`; empty where there is no bound.
pub(super) fn range(node: &Node) -> String {
    let low = |bound: &Bound| {
        if bound.exclusive {
            "more than"
        } else {
            "at least"
        }
    };
    let high = |bound: &Bound| {
        if bound.exclusive {
            "less than"
        } else {
            "at most"
        }
    };
    match (&node.minimum, &node.maximum) {
        (Some(min), Some(max)) => format!("{} … {}", min.text, max.text),
        (Some(min), None) => format!("{} {}", low(min), min.text),
        (None, Some(max)) => format!("{} {}", high(max), max.text),
        (None, None) => match node.length {
            (Some(min), Some(max)) => format!("{min} … {max} characters"),
            (Some(min), None) => format!("at least {min} characters"),
            (None, Some(max)) => format!("at most {max} characters"),
            (None, None) => String::new(),
        },
    }
}
