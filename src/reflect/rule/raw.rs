//! `google.api.HttpBody` in a request or an answer: the bytes of the HTTP body and their type, as they are, in place
//! of JSON.

use std::borrow::Cow;

use super::Body;
use super::bind::{Match, text_error, wrap};
use crate::json::{JsonError, ParseOptions};
use crate::schema::Message;
use crate::wire::{self, LEN, Reader};

const HTTP_BODY: &str = "google.api.HttpBody";

impl Match {
    /// Whether the request's body is bytes of any type, for [`Match::bind_bytes`], and not JSON.
    pub fn takes_bytes(&self) -> bool {
        let field = match &self.rule().body {
            Body::None => return false,
            Body::Whole => None,
            Body::Field(name) => Some(name.as_str()),
        };
        is_bytes(&self.method().input(), field)
    }

    /// Whether the answer's body is bytes of any type, those of [`Match::response_bytes`], and not JSON.
    pub fn gives_bytes(&self) -> bool {
        is_bytes(
            &self.method().output(),
            self.rule().response_body.as_deref(),
        )
    }

    /// The wire bytes of the `google.api.HttpBody` in an answer: of the field that `response_body` names, or all.
    ///
    /// # Errors
    /// As [`Match::response`].
    pub fn response_bytes<'a>(&self, wire: &'a [u8]) -> Result<Cow<'a, [u8]>, JsonError> {
        let output = self.method().output();
        let field = self.rule().response_body.as_deref();
        let Some(field) = field.and_then(|name| output.table().field(name)) else {
            return Ok(Cow::Borrowed(wire));
        };
        let mut found = Cow::Borrowed(&wire[..0]);
        let mut reader = Reader::new(wire);
        while let Some(raw) = reader
            .next()
            .map_err(|cause| text_error("", &cause.to_string()))?
        {
            if raw.number == field.number && raw.wire == LEN {
                // A message in parts merges as if its bytes stood together.
                match raw.payload(wire) {
                    payload if found.is_empty() => found = Cow::Borrowed(payload),
                    payload => found.to_mut().extend_from_slice(payload),
                }
            }
        }
        Ok(found)
    }

    /// As [`Match::bind`], for a body that is bytes of the content type `kind`.
    ///
    /// # Errors
    /// As [`Match::bind`].
    pub fn bind_bytes(
        &self,
        query: &str,
        kind: &str,
        body: &[u8],
        options: &ParseOptions,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonError> {
        let before = out.len();
        let mut payload = Vec::with_capacity(kind.len() + body.len() + 12);
        for (number, part) in [(1, kind.as_bytes()), (2, body)] {
            if !part.is_empty() {
                wire::put_len(&mut payload, number, part);
            }
        }
        let input = self.method().input();
        match self.body_slot() {
            Some(slot) => wrap(&[&input.table().fields[slot]], &payload, out),
            None => out.extend_from_slice(&payload),
        }
        self.bind_address(query, &[], options, out)
            .inspect_err(|_| out.truncate(before))
    }
}

/// Whether the message, or this field of it, is an `HttpBody`.
fn is_bytes(message: &Message, field: Option<&str>) -> bool {
    let Some(name) = field else {
        return message.full_name() == HTTP_BODY;
    };
    message
        .field_at(&[name])
        .and_then(|field| field.message.filter(|_| !field.many))
        .is_some_and(|message| message.full_name() == HTTP_BODY)
}
