//! A value's text together with what it means: read once, however many ask.

use serde_yaml::Value;

use super::{ValueError, parse};

/// A text and what it means, or why it is no value. The two always belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueText {
    text: String,
    read: Result<Value, ValueError>,
}

impl ValueText {
    /// Reads a text as [`parse`] does; a text that is no value is kept with the reason.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            read: parse(text.as_bytes()),
            text,
        }
    }

    /// For a value that was read from just this text.
    pub(crate) fn of(text: &str, read: Value) -> Self {
        debug_assert_eq!(parse(text.as_bytes()).as_ref(), Ok(&read));
        Self {
            text: text.to_owned(),
            read: Ok(read),
        }
    }

    /// The text as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it means.
    ///
    /// # Errors
    /// Why it is no value.
    pub fn value(&self) -> Result<&Value, &ValueError> {
        self.read.as_ref()
    }

    /// The text alone.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }
}
