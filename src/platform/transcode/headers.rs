//! Headers across the two protocols. Towards gRPC: `Grpc-Metadata-X` is `x`, the permanent HTTP headers are
//! `grpcgateway-…`, authorization, the timeout and the trace context pass. Back: `Grpc-Metadata-…`, binary as base64.

use std::net::SocketAddr;

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use tonic::Status;

use super::Allowed;

const METADATA: &str = "grpc-metadata-";
const TRAILER: &str = "grpc-trailer-";
const PERMANENT: &str = "grpcgateway-";
const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_HOST: &str = "x-forwarded-host";

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

/// With and without padding: both are in use.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Where a request came from, for those behind us who cannot see it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Origin<'a> {
    pub(crate) peer: Option<SocketAddr>,
    /// The host that it was meant for, where no header says so.
    pub(crate) authority: Option<&'a str>,
}

/// The metadata of the gRPC call for the headers of an HTTP request. What may not be set from outside, such as
/// `grpc-status` or a second credential by way of `Grpc-Metadata-`, is left out.
///
/// # Errors
/// INVALID_ARGUMENT for a `-bin` header that is not base64.
pub(crate) fn to_grpc(
    headers: &HeaderMap,
    origin: Origin<'_>,
    allowed: &Allowed,
) -> Result<HeaderMap, Status> {
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
            && allowed.lets(inner)
        {
            if inner.ends_with("-bin") && !is_base64(value) {
                return Err(Status::invalid_argument(format!(
                    "the header {text} is not base64, which the name's end asks for"
                )));
            }
            append(&mut metadata, inner, value);
        }
    }
    forward(headers, origin, &mut metadata);
    Ok(metadata)
}

fn is_base64(value: &HeaderValue) -> bool {
    // Several values may be joined into one header.
    let mut parts = value.as_bytes().split(|byte| *byte == b',');
    parts.all(|part| BASE64.decode(part.trim_ascii()).is_ok())
}

/// Adds this hop to what earlier ones have said.
fn forward(headers: &HeaderMap, origin: Origin<'_>, metadata: &mut HeaderMap) {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(peer) = origin.peer {
        let peer = peer.ip().to_canonical();
        let hops = headers.get_all(FORWARDED_FOR).iter();
        let hops: Vec<&str> = hops.filter_map(|hop| hop.to_str().ok()).collect();
        let hops = match hops.join(", ") {
            before if before.is_empty() => peer.to_string(),
            before => format!("{before}, {peer}"),
        };
        if let Ok(hops) = HeaderValue::from_str(&hops) {
            metadata.insert(FORWARDED_FOR, hops);
        }
    }
    let host = text(FORWARDED_HOST)
        .or_else(|| text(header::HOST.as_str()))
        .or(origin.authority);
    if let Some(host) = host.and_then(|host| HeaderValue::from_str(host).ok()) {
        metadata.insert(FORWARDED_HOST, host);
    }
}

/// Whether `Grpc-Metadata-<name>` may become `<name>`: never what the protocol, a proxy or this library says, nor what
/// passes under its own name: a second credential behind the one that was checked would be another caller's word.
fn may_be_set(name: &str) -> bool {
    const OWN: [&str; 8] = [
        "content-type",
        "te",
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "proxy-authorization",
        "cookie",
    ];
    !name.is_empty()
        && !name.starts_with("grpc-")
        && !name.starts_with(PERMANENT)
        && !name.starts_with("x-forwarded-")
        && !OWN.contains(&name)
        && !PASSED.contains(&name)
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
        let table: [(Pairs, Pairs); 10] = [
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
                    ("grpc-metadata-authorization", "Bearer other"),
                    ("grpc-metadata-x-api-key", "other"),
                    ("grpc-metadata-traceparent", "00-1-2-01"),
                    ("grpc-metadata-cookie", "a=b"),
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
            let metadata = to_grpc(&map(given), Origin::default(), &Allowed::Any);
            assert_eq!(metadata.unwrap(), expected, "{given:?}");
        }
    }

    #[test]
    fn a_list_bounds_what_callers_may_set() {
        let allowed = Allowed::only(["Tenant", "trace-*"]);
        for (name, passes) in [
            ("grpc-metadata-tenant", true),
            ("grpc-metadata-tenant-id", false),
            ("grpc-metadata-trace-bin", true),
            ("grpc-metadata-trace-", true),
            ("grpc-metadata-colour", false),
            ("grpc-metadata-authorization", false),
        ] {
            let metadata = to_grpc(&map(&[(name, "AAEC")]), Origin::default(), &allowed).unwrap();
            let inner = name.trim_start_matches(METADATA);
            assert_eq!(metadata.contains_key(inner), passes, "{name}");
        }
        let all = Allowed::only(["*"]);
        let given = map(&[("grpc-metadata-x-api-key", "k")]);
        let metadata = to_grpc(&given, Origin::default(), &all).unwrap();
        assert!(!metadata.contains_key("x-api-key"), "no list opens these");
    }

    #[test]
    fn binary_metadata_is_base64_or_refused() {
        for (value, is_good) in [
            ("AAE=", true),
            ("AAE", true),
            ("", true),
            ("AAE=,AAE", true),
            ("AA=E", false),
            ("-_==", false),
            ("not base64", false),
        ] {
            let given = map(&[("grpc-metadata-trace-bin", value)]);
            let metadata = to_grpc(&given, Origin::default(), &Allowed::Any);
            assert_eq!(metadata.is_ok(), is_good, "{value:?}");
        }
    }

    #[test]
    fn each_hop_adds_itself_to_where_a_call_came_from() {
        let origin = Origin {
            peer: Some("[::ffff:10.0.0.9]:4000".parse().unwrap()),
            authority: Some("by.authority"),
        };
        type Pairs = &'static [(&'static str, &'static str)];
        let table: [(Pairs, &str, &str); 3] = [
            (&[], "10.0.0.9", "by.authority"),
            (&[("host", "shop")], "10.0.0.9", "shop"),
            (
                &[
                    ("x-forwarded-for", "1.2.3.4"),
                    ("x-forwarded-host", "front"),
                    ("host", "shop"),
                ],
                "1.2.3.4, 10.0.0.9",
                "front",
            ),
        ];
        for (given, hops, host) in table {
            let metadata = to_grpc(&map(given), origin, &Allowed::Any).unwrap();
            assert_eq!(metadata[FORWARDED_FOR], hops, "{given:?}");
            assert_eq!(metadata[FORWARDED_HOST], host, "{given:?}");
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
