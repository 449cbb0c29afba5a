//! A gRPC status as HTTP says it: the status line, and `{"code":5,"message":"…","details":[…]}` as the body.
//! Also the answers for requests that reach no method at all. Every error is JSON.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use prost::Message as _;
use reflect::{PrintOptions, Schema, wire_to_json};
use tonic::{Code, Status, body::Body};

use crate::server::Answered;

/// An error, ready to be sent.
#[derive(Debug)]
pub(crate) struct JsonStatus {
    pub(crate) code: Code,
    pub(crate) http: StatusCode,
    pub(crate) json: Vec<u8>,
}

/// `google.rpc.Status`, its details kept as they came: a type that is unknown here must not lose the rest.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    details: Vec<Bytes>,
}

impl JsonStatus {
    /// A status of our own making, without details.
    pub(crate) fn bare(status: &Status) -> Self {
        Self::new(status, &Schema::builtin())
    }

    /// A status from a service; the types of its details are looked up in `schema`.
    pub(crate) fn new(status: &Status, schema: &Schema) -> Self {
        let code = status.code();
        // Malformed details are the service's fault and worth less than the status itself.
        let details = RpcStatus::decode(status.details())
            .map(|decoded| decoded.details)
            .unwrap_or_default();
        let wire = RpcStatus {
            code: code.into(),
            message: status.message().to_owned(),
            details,
        }
        .encode_to_vec();
        let options = PrintOptions {
            emit_defaults: true,
            ..PrintOptions::default()
        };
        let mut json = Vec::new();
        let printed = schema
            .message("google.rpc.Status")
            .map(|message| wire_to_json(&message, &wire, &options, &mut json));
        if !matches!(printed, Some(Ok(()))) {
            json.clear();
            json.extend_from_slice(
                format!(r#"{{"code":{},"message":"","details":[]}}"#, code as i32).as_bytes(),
            );
        }
        Self {
            code,
            http: http_of(code),
            json,
        }
    }

    /// The same error under another HTTP status, where gRPC has no code of its own for the case.
    pub(crate) fn with_http(mut self, http: StatusCode) -> Self {
        self.http = http;
        self
    }
}

/// The HTTP status of a gRPC code.
pub(crate) fn http_of(code: Code) -> StatusCode {
    let number = match code {
        Code::Ok => 200,
        Code::Cancelled => 499,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => 400,
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        Code::NotFound => 404,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::ResourceExhausted => 429,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::DeadlineExceeded => 504,
        Code::Unknown | Code::Internal | Code::DataLoss => 500,
    };
    StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The answer that carries an error.
pub(crate) fn refusal(status: &JsonStatus) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(Bytes::copy_from_slice(&status.json))));
    *response.status_mut() = status.http;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response.extensions_mut().insert(Answered(status.code));
    response
}

/// The answer to a path that no rule has.
pub(crate) fn no_such_path(path: &str) -> Response<Body> {
    refusal(&JsonStatus::bare(&Status::not_found(format!(
        "no method answers to {path}"
    ))))
}

/// The answer to a path that exists, for other verbs than the one used.
pub(crate) fn wrong_verb(allowed: &[Method]) -> Response<Body> {
    let allow = allowed
        .iter()
        .map(Method::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    let status = JsonStatus::bare(&Status::unimplemented(format!(
        "this path answers to {allow} only"
    )));
    let mut response = refusal(&status.with_http(StatusCode::METHOD_NOT_ALLOWED));
    if let Ok(value) = HeaderValue::from_str(&allow) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: &Status, http: u16, expected: &serde_json::Value) {
        let status = JsonStatus::bare(status);
        assert_eq!(status.http.as_u16(), http);
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(&status.json).unwrap(),
            *expected
        );
    }

    #[test]
    fn every_code_has_its_http_status() {
        let expected = [
            200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401,
        ];
        for (code, expected) in (0..).zip(expected) {
            assert_eq!(
                http_of(Code::from_i32(code)).as_u16(),
                expected,
                "code {code}"
            );
        }
    }

    #[test]
    fn details_are_decoded_and_an_unknown_one_degrades_alone() {
        let any = |url: &str, value: &[u8]| {
            let any = prost_types::Any {
                type_url: url.to_owned(),
                value: value.to_vec(),
            };
            Bytes::from(any.encode_to_vec())
        };
        let details = vec![
            any("type.googleapis.com/google.rpc.ErrorInfo", b"\x0a\x05STALE"),
            any("type.googleapis.com/nobody.Knows", b"\x08\x01"),
        ];
        let wire = RpcStatus {
            code: 3,
            message: "bad".into(),
            details,
        }
        .encode_to_vec();
        let status = Status::with_details(Code::InvalidArgument, "bad", wire.into());
        let json = JsonStatus::bare(&status).json;
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["code"], 3);
        assert_eq!(json["details"][0]["reason"], "STALE");
        assert_eq!(
            json["details"][1]["@type"],
            "type.googleapis.com/nobody.Knows"
        );
        check(
            &Status::not_found("x \"y\""),
            404,
            &serde_json::json!({"code": 5, "message": "x \"y\"", "details": []}),
        );
    }

    #[test]
    fn malformed_details_cost_only_themselves() {
        let status = Status::with_details(Code::NotFound, "gone", Bytes::from_static(b"\xff\xff"));
        check(
            &status,
            404,
            &serde_json::json!({"code": 5, "message": "gone", "details": []}),
        );
    }
}
