//! `google.api.HttpBody` in a request: the bytes of the HTTP body and their type, as they came, in place of JSON.

use super::Body;
use super::bind::{Match, wrap};
use crate::json::{JsonError, ParseOptions};
use crate::wire;

const HTTP_BODY: &str = "google.api.HttpBody";

impl Match {
    /// Whether the request's body is bytes of any type, for [`Match::bind_bytes`], and not JSON.
    pub fn takes_bytes(&self) -> bool {
        let input = self.method().input();
        match &self.rule().body {
            Body::None => false,
            Body::Whole => input.full_name() == HTTP_BODY,
            Body::Field(name) => input
                .field_at(&[name])
                .and_then(|field| field.message.filter(|_| !field.many))
                .is_some_and(|message| message.full_name() == HTTP_BODY),
        }
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
