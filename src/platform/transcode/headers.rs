//! Headers across the two protocols. Towards gRPC: `Grpc-Metadata-X` is `x`, the permanent HTTP headers are
//! `grpcgateway-…`, authorization, the timeout and the trace context pass. Back: `Grpc-Metadata-…`, binary as base64.

use http::{HeaderMap, HeaderName, HeaderValue, header};

const METADATA: &str = "grpc-metadata-";
const TRAILER: &str = "grpc-trailer-";
const PERMANENT: &str = "grpcgateway-";

/// Headers that pass under their own name.
const PASSED: [&str; 6] = [
    "authorization",
    "x-api-key",
    "traceparent",
    "tracestate",
    "baggage",
    "x-request-id",
];

/// The permanent headers of the IANA registry that mean something beyond this hop.
const PERMANENT_NAMES: [&str; 26] = [
    "accept",
    "accept-charset",
    "accept-language",
    "accept-ranges",
    "authorization",
    "cache-control",
    "content-type",
    "cookie",
    "date",
    "expect",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-schedule-tag-match",
    "if-unmodified-since",
    "max-forwards",
    "origin",
    "pragma",
    "referer",
    "user-agent",
    "via",
    "warning",
    "x-forwarded-for",
    "x-forwarded-host",
];

/// The metadata of the gRPC call for the headers of an HTTP request. What may not be set from outside, such as
/// `grpc-status` or `te` by way of `Grpc-Metadata-`, is left out.
pub(crate) fn to_grpc(headers: &HeaderMap) -> HeaderMap {
    let mut metadata = HeaderMap::with_capacity(headers.len() + 2);
    metadata.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    metadata.insert(header::TE, HeaderValue::from_static("trailers"));
    for (name, value) in headers {
        let text = name.as_str();
        if text == "grpc-timeout" || PASSED.contains(&text) {
            metadata.append(name.clone(), value.clone());
        }
        if PERMANENT_NAMES.contains(&text) {
            append(&mut metadata, &format!("{PERMANENT}{text}"), value);
        } else if let Some(inner) = text.strip_prefix(METADATA)
            && may_be_set(inner)
        {
            append(&mut metadata, inner, value);
        }
    }
    metadata
}

/// Whether `Grpc-Metadata-<name>` may become `<name>`: never what the protocol, a proxy or this library says.
fn may_be_set(name: &str) -> bool {
    const OWN: [&str; 6] = [
        "content-type",
        "te",
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
    ];
    !name.is_empty()
        && !name.starts_with("grpc-")
        && !name.starts_with(PERMANENT)
        && !name.starts_with("x-forwarded-")
        && !OWN.contains(&name)
}

/// The headers of the HTTP answer for the metadata of a gRPC answer.
pub(crate) fn to_http(metadata: &HeaderMap, into: &mut HeaderMap) {
    copy(metadata, METADATA, into);
}

/// The trailing metadata of a gRPC answer, as headers where the whole answer is known, as trailers elsewhere.
pub(crate) fn trailers_to_http(trailers: &HeaderMap, into: &mut HeaderMap) {
    copy(trailers, TRAILER, into);
}

fn copy(from: &HeaderMap, prefix: &str, into: &mut HeaderMap) {
    for (name, value) in from {
        let text = name.as_str();
        let is_protocol = [
            "grpc-status",
            "grpc-message",
            "grpc-status-details-bin",
            "grpc-encoding",
            "grpc-accept-encoding",
        ]
        .contains(&text)
            || [
                header::CONTENT_TYPE,
                header::TRAILER,
                header::DATE,
                header::CONTENT_LENGTH,
            ]
            .contains(name);
        // Binary metadata is base64 in HTTP/2 headers already.
        if !is_protocol {
            append(into, &format!("{prefix}{text}"), value);
        }
    }
}

fn append(headers: &mut HeaderMap, name: &str, value: &HeaderValue) {
    // A name made of valid names is valid; were it not, the header is better lost than the call.
    if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
        headers.append(name, value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|&(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn request_headers_become_metadata() {
        type Pairs = &'static [(&'static str, &'static str)];
        let table: [(Pairs, Pairs); 9] = [
            (&[("grpc-metadata-tenant", "a")], &[("tenant", "a")]),
            (
                &[("grpc-metadata-trace-bin", "AAE=")],
                &[("trace-bin", "AAE=")],
            ),
            (
                &[("authorization", "Bearer t")],
                &[
                    ("authorization", "Bearer t"),
                    ("grpcgateway-authorization", "Bearer t"),
                ],
            ),
            (&[("grpc-timeout", "5S")], &[("grpc-timeout", "5S")]),
            (
                &[("user-agent", "curl")],
                &[("grpcgateway-user-agent", "curl")],
            ),
            (
                &[("traceparent", "00-1-2-01")],
                &[("traceparent", "00-1-2-01")],
            ),
            (&[("x-other", "1")], &[]),
            (
                &[
                    ("grpc-metadata-x-forwarded-for", "1.2.3.4"),
                    ("grpc-metadata-te", "x"),
                ],
                &[],
            ),
            (
                &[
                    ("grpc-metadata-grpc-status", "0"),
                    ("grpc-metadata-grpcgateway-host", "x"),
                ],
                &[],
            ),
        ];
        for (given, expected) in table {
            let mut expected = map(expected);
            expected.insert("content-type", HeaderValue::from_static("application/grpc"));
            expected.insert("te", HeaderValue::from_static("trailers"));
            assert_eq!(to_grpc(&map(given)), expected, "{given:?}");
        }
    }

    #[test]
    fn response_metadata_becomes_headers() {
        let mut headers = HeaderMap::new();
        to_http(
            &map(&[
                ("content-type", "application/grpc"),
                ("grpc-status", "0"),
                ("x-timeout-write", "5s"),
                ("a-bin", "AAE"),
            ]),
            &mut headers,
        );
        trailers_to_http(&map(&[("grpc-message", "m"), ("cost", "3")]), &mut headers);
        let expected = [
            ("grpc-metadata-x-timeout-write", "5s"),
            ("grpc-metadata-a-bin", "AAE"),
            ("grpc-trailer-cost", "3"),
        ];
        assert_eq!(headers, map(&expected));
    }
}
