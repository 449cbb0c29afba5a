//! A call's status with its details, read from `grpc-status-details-bin` by hand: a detail of an
//! unknown type stays what it is and costs neither the others nor the status.

use std::error::Error as StdError;

use bytes::Bytes;
use tonic::Code;

use crate::json::{PrintOptions, quote, wire_to_json};
use crate::schema::Schema;
use crate::wire::{LEN, Reader, put_len};

/// One detail of a status: a packed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// `type.googleapis.com/google.rpc.BadRequest`.
    pub type_url: String,
    /// The message's wire bytes.
    pub value: Bytes,
}

/// A gRPC status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The code.
    pub code: Code,
    /// The message, with the cause of a transport's failure spelt out.
    pub message: String,
    /// What the server added.
    pub details: Vec<Detail>,
}

impl Status {
    /// From tonic's, details included.
    pub fn from_tonic(status: &tonic::Status) -> Status {
        Status {
            code: code(status),
            message: message(status),
            details: details(status.details()),
        }
    }

    /// Whether the call succeeded.
    pub fn is_ok(&self) -> bool {
        self.code == Code::Ok
    }

    /// The code's name as gRPC writes it: `NOT_FOUND`.
    pub fn code_name(&self) -> &'static str {
        match self.code {
            Code::Ok => "OK",
            Code::Cancelled => "CANCELLED",
            Code::Unknown => "UNKNOWN",
            Code::InvalidArgument => "INVALID_ARGUMENT",
            Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Code::NotFound => "NOT_FOUND",
            Code::AlreadyExists => "ALREADY_EXISTS",
            Code::PermissionDenied => "PERMISSION_DENIED",
            Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Code::FailedPrecondition => "FAILED_PRECONDITION",
            Code::Aborted => "ABORTED",
            Code::OutOfRange => "OUT_OF_RANGE",
            Code::Unimplemented => "UNIMPLEMENTED",
            Code::Internal => "INTERNAL",
            Code::Unavailable => "UNAVAILABLE",
            Code::DataLoss => "DATA_LOSS",
            Code::Unauthenticated => "UNAUTHENTICATED",
        }
    }

    /// Appends `{"code":5,"message":"…","details":[…]}`, on one line. Details of types that the
    /// schema lacks degrade to their type and base64; the `google.rpc` ones are always known.
    pub fn to_json(&self, schema: &Schema, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"code\":");
        out.extend_from_slice((self.code as i32).to_string().as_bytes());
        out.extend_from_slice(b",\"message\":");
        quote(&self.message, out);
        out.extend_from_slice(b",\"details\":[");
        for (at, detail) in self.details.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            detail.to_json(schema, &PrintOptions::default(), out);
        }
        out.extend_from_slice(b"]}");
    }
}

impl Detail {
    /// Appends the detail as the JSON of a `google.protobuf.Any`.
    pub fn to_json(&self, schema: &Schema, options: &PrintOptions, out: &mut Vec<u8>) {
        let mut any = Vec::with_capacity(self.value.len() + self.type_url.len() + 8);
        put_len(&mut any, 1, self.type_url.as_bytes());
        put_len(&mut any, 2, &self.value);
        let known = schema.message("google.protobuf.Any");
        let shown =
            known.is_some_and(|any_type| wire_to_json(&any_type, &any, options, out).is_ok());
        if !shown {
            out.extend_from_slice(b"{\"@type\":");
            quote(&self.type_url, out);
            out.push(b'}');
        }
    }
}

/// The code, also of what happened on this side: tonic calls a deadline that it kept CANCELLED, and
/// a connection that broke UNKNOWN, or CANCELLED where the request had not left yet.
fn code(status: &tonic::Status) -> Code {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::TimeoutExpired>() {
            return Code::DeadlineExceeded;
        }
        let unsent = |error: &hyper::Error| error.is_canceled();
        if error.downcast_ref::<hyper::Error>().is_some_and(unsent) {
            return Code::Unavailable;
        }
        cause = error.source();
    }
    match (status.code(), status.source()) {
        (Code::Unknown, Some(_)) => Code::Unavailable,
        (code, _) => code,
    }
}

/// The details of a serialised `google.rpc.Status`; empty where it is malformed.
fn details(bytes: &[u8]) -> Vec<Detail> {
    let mut found = Vec::new();
    let mut reader = Reader::new(bytes);
    while let Ok(Some(field)) = reader.next() {
        if (field.number, field.wire) != (3, LEN) {
            continue;
        }
        let any = field.payload(bytes);
        let mut detail = Detail {
            type_url: String::new(),
            value: Bytes::new(),
        };
        let mut parts = Reader::new(any);
        while let Ok(Some(part)) = parts.next() {
            match (part.number, part.wire) {
                (1, LEN) => {
                    detail.type_url = String::from_utf8_lossy(part.payload(any)).into_owned();
                }
                (2, LEN) => detail.value = Bytes::copy_from_slice(part.payload(any)),
                _ => {}
            }
        }
        found.push(detail);
    }
    found
}

/// tonic says "transport error" and keeps the cause behind it; people want the cause.
fn message(status: &tonic::Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = StdError::source(status);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !cause_text.is_empty() && !text.contains(&cause_text) {
            text = if text.is_empty() {
                cause_text
            } else {
                format!("{text}: {cause_text}")
            };
        }
        source = cause.source();
    }
    text
}

/// A transport that is not ready to take a call.
pub(super) fn unavailable(cause: &(dyn StdError + 'static)) -> tonic::Status {
    let mut text = cause.to_string();
    let mut source = cause.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    tonic::Status::unavailable(text)
}
