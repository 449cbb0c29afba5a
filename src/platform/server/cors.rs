//! CORS: which web pages may read answers over HTTP/JSON. A preflight is answered before authentication, as it
//! carries no credential. gRPC is not touched: browsers do not speak it.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use tonic::body::Body;
use tower::Layer as _;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::{ServerError, Stack, call::Protocol, fork::fork};

/// How long a browser may remember the answer to a preflight. Some cap it at two hours.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);

/// Which pages may call.
///
/// ```
/// use platform::server::{Cors, Service};
///
/// let service = Service::new().cors(Cors::origins(["https://shop.example"]).credentials());
/// # let _ = service;
/// ```
#[derive(Clone, Debug)]
pub struct Cors {
    /// None for every page.
    origins: Option<Vec<String>>,
    with_credentials: bool,
    exposed: Vec<String>,
}

impl Cors {
    /// Pages of these origins, `https://host` or `https://host:port`, as a browser writes them.
    pub fn origins(origins: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            origins: Some(origins.into_iter().map(Into::into).collect()),
            with_credentials: false,
            exposed: Vec::new(),
        }
    }

    /// Every page there is: for public data alone.
    pub fn any_origin() -> Self {
        Self {
            origins: None,
            with_credentials: false,
            exposed: Vec::new(),
        }
    }

    /// Lets pages send cookies and client certificates along. A bearer token needs no such leave. Refused
    /// together with [`Cors::any_origin`].
    #[must_use]
    pub fn credentials(mut self) -> Self {
        self.with_credentials = true;
        self
    }

    /// Lets pages read this header of an answer as well, `grpc-metadata-cost` for one.
    #[must_use]
    pub fn expose(mut self, header: impl Into<String>) -> Self {
        self.exposed.push(header.into());
        self
    }

    /// Puts itself in front of `stack`.
    pub(super) fn before(self, stack: Stack) -> Result<Stack, ServerError> {
        let layer = self.layer().map_err(|cause| ServerError::Setting {
            what: "CORS",
            cause,
        })?;
        let through = Stack::new(layer.layer(stack.clone()));
        Ok(fork(may_come_from_a_page, through, stack))
    }

    fn layer(self) -> Result<CorsLayer, String> {
        let origin = match &self.origins {
            None if self.with_credentials => {
                return Err("credentials() for every page would let any page act for its visitor. Name the pages with origins()".into());
            }
            None => AllowOrigin::any(),
            Some(origins) if origins.is_empty() => {
                return Err("no origin. Name the pages with origins()".into());
            }
            Some(origins) => AllowOrigin::list(
                origins
                    .iter()
                    .map(|origin| read_origin(origin))
                    .collect::<Result<Vec<_>, _>>()?,
            ),
        };
        let exposed = self
            .exposed
            .iter()
            .map(|name| {
                HeaderName::from_bytes(name.as_bytes())
                    .map_err(|_| format!("{name:?} is no name of a header"))
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(CorsLayer::new()
            .allow_origin(origin)
            .allow_credentials(self.with_credentials)
            .allow_methods([
                Method::GET,
                Method::HEAD,
                Method::POST,
                Method::PUT,
                Method::PATCH,
                Method::DELETE,
            ])
            // The page's origin is what is checked; which headers it sends is between it and the service.
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(exposed)
            .max_age(REMEMBERED))
    }
}

/// What a browser would send for that origin, or why it never would.
fn read_origin(origin: &str) -> Result<HeaderValue, String> {
    let wrong =
        || format!("{origin:?} is no origin. Write it as https://host or https://host:port");
    let uri: Uri = origin.parse().map_err(|_| wrong())?;
    let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(wrong());
    };
    let plain = format!("{}://{authority}", uri.scheme_str().unwrap_or_default());
    // A slash at the end, a path, a password or a capital letter would never match.
    if origin != plain || plain.contains('@') || plain != plain.to_ascii_lowercase() {
        return Err(wrong());
    }
    HeaderValue::from_str(origin).map_err(|_| wrong())
}

fn may_come_from_a_page(request: &Request<Body>) -> bool {
    // OPTIONS that is no preflight is a question to the API.
    let is_other_options = request.method() == Method::OPTIONS
        && !request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    Protocol::of(request) == Protocol::Http && !is_other_options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_taken_only_as_a_browser_writes_them() {
        for (origin, is_one) in [
            ("https://shop.example", true),
            ("http://localhost:3000", true),
            ("https://[::1]:8443", true),
            ("https://shop.example/", false),
            ("https://shop.example/app", false),
            ("https://Shop.example", false),
            ("shop.example", false),
            ("*", false),
            ("null", false),
            ("ftp://shop.example", false),
            ("https://a:b@shop.example", false),
            ("", false),
        ] {
            assert_eq!(read_origin(origin).is_ok(), is_one, "{origin}");
        }
    }
}
