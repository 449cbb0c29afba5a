//! The console's one error: what failed and why, what to do next, and the exit code that tells a
//! script which kind it was.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use crate::report::{Format, Palette, Tone, json as safe_json, lines_safe};

/// Kinds of failure, by which scripts decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It was tried and did not work.
    Failed,
    /// The command line or its input makes no sense.
    Usage,
    /// Somebody else changed it meanwhile.
    Conflict,
    /// There is no such thing.
    NotFound,
    /// It is not allowed here: a read-only context, a schema.
    Refused,
    /// No etcd member answered.
    Unreachable,
    /// A called method answered with this gRPC status code.
    Grpc(i32),
    /// A comparison found differences, which were printed; nothing more is said.
    Differs,
    /// Who read our output went away; nothing is wrong and nothing is said.
    Closed,
}

impl Kind {
    /// The process's exit code.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Failed | Self::Differs => 1,
            Self::Usage => 2,
            Self::Conflict => 3,
            Self::NotFound => 4,
            Self::Refused => 5,
            Self::Unreachable => 6,
            Self::Grpc(code) => u8::try_from(code).map_or(1, |code| code.saturating_add(64)),
        }
    }

    /// The kind as a word, for machine-readable errors.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Conflict => "conflict",
            Self::NotFound => "not_found",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Grpc(_) => "grpc",
            Self::Differs => "differs",
            Self::Closed => "closed",
        }
    }
}

/// Why a command did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    kind: Kind,
    message: String,
    next: Option<String>,
    status: Option<Box<Value>>,
    details: Option<Box<Details>>,
}

#[derive(Debug, Clone)]
struct Details {
    value: Value,
    audience: Audience,
}

/// Whom details are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Audience {
    Everyone,
    Machines,
}

impl Failure {
    /// A failure of a kind; the message names the thing and the cause.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            next: None,
            status: None,
            details: None,
        }
    }

    /// Kind [`Kind::Failed`].
    #[must_use]
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    /// Kind [`Kind::Usage`].
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// Kind [`Kind::NotFound`].
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// Kind [`Kind::Refused`].
    #[must_use]
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, message)
    }

    /// With the next step, a sentence of its own.
    #[must_use]
    pub fn next(mut self, step: impl Into<String>) -> Self {
        self.next = Some(step.into());
        self
    }

    /// With the code and message of a gRPC status as machines expect them.
    #[must_use]
    pub fn with_status(mut self, code: i32, message: &str) -> Self {
        self.status = Some(Box::new(json!({ "code": code, "message": message })));
        self
    }

    /// With details, which people see indented under the message.
    #[must_use]
    pub fn with_details(mut self, value: Value) -> Self {
        self.details = Some(Box::new(Details {
            value,
            audience: Audience::Everyone,
        }));
        self
    }

    /// With details that the message tells people already.
    #[must_use]
    pub fn with_machine_details(mut self, value: Value) -> Self {
        self.details = Some(Box::new(Details {
            value,
            audience: Audience::Machines,
        }));
        self
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What failed and why.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    #[must_use]
    pub fn next_step(&self) -> Option<&str> {
        self.next.as_deref()
    }

    /// The machine-readable form: `{"code","message","next","details"}`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        match self.status.as_deref() {
            Some(Value::Object(status)) => object.extend(status.clone()),
            _ => {
                object.insert("code".into(), json!(self.kind.name()));
                object.insert("message".into(), json!(self.message));
            }
        }
        if let Some(next) = &self.next {
            object.insert("next".into(), json!(next));
        }
        if let Some(details) = &self.details {
            object.insert("details".into(), details.value.clone());
        }
        Value::Object(object)
    }

    /// Prints the failure on stderr, as text or as one JSON object.
    pub fn print(&self, format: Format, palette: Palette) {
        if matches!(self.kind, Kind::Closed | Kind::Differs) {
            return;
        }
        let mut out = Vec::new();
        match format {
            Format::Json | Format::Ndjson => {
                // Writing to memory does not fail.
                let _ = safe_json::write(&mut out, &self.to_json());
            }
            Format::Table | Format::Yaml => {
                out.extend(self.to_text(palette).into_bytes());
            }
        }
        out.push(b'\n');
        let _ = io::stderr().write_all(&out);
    }

    fn to_text(&self, palette: Palette) -> String {
        let mut text = palette.paint("error:", Tone::Bad);
        text.push(' ');
        text.push_str(&lines_safe(&self.message));
        if let Some(next) = &self.next {
            let ended = self.message.ends_with(['.', '?', '!']);
            text.push_str(if ended { " " } else { ". " });
            text.push_str(&lines_safe(next));
        }
        if let Some(details) = &self.details
            && details.audience == Audience::Everyone
        {
            let items: Vec<&Value> = match &details.value {
                Value::Array(items) => items.iter().collect(),
                other => vec![other],
            };
            for item in items {
                text.push_str("\n  ");
                text.push_str(&safe_json::safe_text(&item.to_string()));
            }
        }
        text
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Kind::Closed, "the reader of the output went away");
        }
        Self::failed(format!("the output cannot be written: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_exit_code_scripts_rely_on() {
        for (kind, code) in [
            (Kind::Closed, 0),
            (Kind::Failed, 1),
            (Kind::Usage, 2),
            (Kind::Conflict, 3),
            (Kind::NotFound, 4),
            (Kind::Refused, 5),
            (Kind::Unreachable, 6),
            (Kind::Grpc(5), 69),
            (Kind::Grpc(16), 80),
            (Kind::Grpc(1_000), 1),
        ] {
            assert_eq!(kind.exit_code(), code, "{kind:?}");
        }
    }

    #[test]
    fn a_message_its_next_step_and_hostile_text_are_one_safe_line() {
        let failure = Failure::failed("etcd \u{1b}[2J: refused").next("Start one.");
        assert_eq!(
            failure.to_text(Palette::Plain),
            "error: etcd \\u{1b}[2J: refused. Start one."
        );
    }
}
