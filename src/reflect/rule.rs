//! `google.api.http` rules: read from method options, matched against request paths, bound into
//! requests. Among rules that match a path the more specific one wins, in whatever order they
//! were declared; paths are split before they are decoded.
//! Deliberately absent: HTTP itself. A transcoder brings requests and sends responses.

mod bind;
mod mask;
mod raw;
mod router;
mod template;

pub use bind::Match;
pub use router::{Lookup, Router, Unbound};
pub use template::{Segment, Template, TemplateError, Variable};

use crate::schema::Method;
use crate::wire::{LEN, Raw, Reader};

/// The extension of `google.protobuf.MethodOptions` that holds a rule.
const HTTP: u32 = 72_295_728;

/// One binding of a method, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRule {
    /// `GET`, `POST`, … or a custom verb.
    pub verb: String,
    /// The path template as text.
    pub template: String,
    /// What the request body fills.
    pub body: Body,
    /// The field that is the response body; `None` for the whole message.
    pub response_body: Option<String>,
}

/// What the request body fills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing: there is no body, and all that the path does not say comes from the query.
    None,
    /// The whole request; the query says nothing.
    Whole,
    /// This field.
    Field(String),
}

impl Method {
    /// The method's HTTP bindings, additional ones included; empty where it has none.
    pub fn http_rules(&self) -> Vec<HttpRule> {
        let options = self.options();
        // A message in parts merges as if its bytes stood together.
        let mut rule = Vec::new();
        each(&options, |raw| {
            if raw.number == HTTP && raw.wire == LEN {
                rule.extend_from_slice(raw.payload(&options));
            }
        });
        let mut rules = Vec::new();
        read(&rule, true, &mut rules);
        rules
    }
}

fn each(data: &[u8], mut field: impl FnMut(&Raw)) {
    let mut reader = Reader::new(data);
    while let Ok(Some(raw)) = reader.next() {
        field(&raw);
    }
}

/// Reads an `HttpRule`; nested ones only below the outermost, as the format has it.
fn read(data: &[u8], outermost: bool, rules: &mut Vec<HttpRule>) {
    let mut rule = HttpRule {
        verb: String::new(),
        template: String::new(),
        body: Body::None,
        response_body: None,
    };
    let mut additional = Vec::new();
    each(data, |raw| {
        if raw.wire != LEN {
            return;
        }
        let payload = raw.payload(data);
        let text = || String::from_utf8_lossy(payload).into_owned();
        let verb = match raw.number {
            2 => "GET",
            3 => "PUT",
            4 => "POST",
            5 => "DELETE",
            6 => "PATCH",
            7 => {
                rule.body = match text().as_str() {
                    "" => Body::None,
                    "*" => Body::Whole,
                    field => Body::Field(field.to_owned()),
                };
                return;
            }
            8 => {
                each(payload, |raw| {
                    let text = String::from_utf8_lossy(raw.payload(payload)).into_owned();
                    match raw.number {
                        1 => rule.verb = text.to_ascii_uppercase(),
                        2 => rule.template = text,
                        _ => {}
                    }
                });
                return;
            }
            11 => return additional.push(payload.to_vec()),
            12 => {
                rule.response_body = Some(text()).filter(|field| !field.is_empty());
                return;
            }
            _ => return,
        };
        rule.verb = verb.to_owned();
        rule.template = text();
    });
    if !rule.verb.is_empty() {
        rules.push(rule);
    }
    if outermost {
        for nested in additional {
            read(&nested, false, rules);
        }
    }
}
