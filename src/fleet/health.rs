//! What was found out about an instance from outside: whether it serves, and if not, how not.

use std::fmt;

use serde::Serialize;

/// How an instance answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It says that it serves.
    Serving,
    /// It answers and says that it does not serve: it starts or drains.
    NotServing,
    /// Its port accepts and nothing answers: alive to its lease, dead to its callers.
    Hung,
    /// No connection is to be had.
    Unreachable,
    /// Nobody asked, or it does not say.
    #[default]
    Unknown,
}

impl Health {
    /// All, the best first.
    pub const ALL: [Self; 5] = [
        Self::Serving,
        Self::NotServing,
        Self::Hung,
        Self::Unreachable,
        Self::Unknown,
    ];

    /// The glyph that stands for it beside its colour.
    #[must_use]
    pub const fn glyph(self) -> char {
        match self {
            Self::Serving => '●',
            Self::NotServing => '◐',
            Self::Hung => '⧗',
            Self::Unreachable => '✗',
            Self::Unknown => '○',
        }
    }

    /// The glyph where only ASCII is shown.
    #[must_use]
    pub const fn ascii(self) -> char {
        match self {
            Self::Serving => '+',
            Self::NotServing => '~',
            Self::Hung => '!',
            Self::Unreachable => 'x',
            Self::Unknown => '?',
        }
    }

    /// The word for it, as JSON has it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::NotServing => "not_serving",
            Self::Hung => "hung",
            Self::Unreachable => "unreachable",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NotServing => "not serving",
            other => other.word(),
        })
    }
}
