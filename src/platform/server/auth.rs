//! Authentication for both protocols at once: a check sees the credential, and what it answers, an identity,
//! is in the extensions of the request for handlers of either. Off unless asked for; what stays open is listed.

use std::{collections::BTreeMap, sync::Arc};

use http::{HeaderMap, Request, header};
use tonic::{Status, body::Body};

use super::{
    call::{Call, Protocol, Surface},
    keys::ApiKeys,
    layer::{Answer, Layer, Next, at_once},
};

/// What a caller presents. `Debug` hides it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credential<'a> {
    /// `authorization: Bearer …`
    Bearer(&'a str),
    /// `x-api-key: …`
    ApiKey(&'a str),
    /// Neither.
    Absent,
}

impl std::fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bearer(_) => "Bearer(hidden)",
            Self::ApiKey(_) => "ApiKey(hidden)",
            Self::Absent => "Absent",
        })
    }
}

/// Who calls. In the extensions of every request that passed a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The caller's name.
    pub subject: String,
    /// What else the credential says.
    pub claims: BTreeMap<String, String>,
}

/// Decides who may call. Must not block: keys that change are fetched elsewhere and read here. The [`Call`] tells
/// where from and with which certificate, for those who are known by these.
pub trait Authenticate: Send + Sync + 'static {
    /// The caller's identity, or why the call is refused: UNAUTHENTICATED (401) when the credential is absent or
    /// wrong, PERMISSION_DENIED (403) when it is right and not enough. The message reaches the caller.
    fn authenticate(&self, credential: Credential<'_>, call: &Call) -> Result<Identity, Status>;
}

impl<F> Authenticate for F
where
    F: Fn(Credential<'_>, &Call) -> Result<Identity, Status> + Send + Sync + 'static,
{
    fn authenticate(&self, credential: Credential<'_>, call: &Call) -> Result<Identity, Status> {
        self(credential, call)
    }
}

/// A check, and the surfaces that stay open without one.
#[derive(Clone)]
pub struct Auth {
    check: Arc<dyn Authenticate>,
    open: Vec<Surface>,
}

impl Auth {
    /// Every surface needs `check`: health checks, reflection and metrics as well.
    pub fn new(check: impl Authenticate) -> Self {
        Self {
            check: Arc::new(check),
            open: Vec::new(),
        }
    }

    /// One shared token, as a bearer token or an API key. Compared in a time that does not tell how much of it
    /// was right. An empty token lets nobody in.
    pub fn token(token: impl Into<String>) -> Self {
        let token = token.into();
        Self::new(
            move |credential: Credential<'_>, _: &Call| match credential {
                Credential::Bearer(given) | Credential::ApiKey(given)
                    if equal(given.as_bytes(), token.as_bytes()) =>
                {
                    Ok(Identity {
                        subject: "token".to_owned(),
                        claims: BTreeMap::new(),
                    })
                }
                Credential::Absent => Err(Status::unauthenticated(
                    "no credential. Send 'authorization: Bearer TOKEN'",
                )),
                _ => Err(Status::unauthenticated("the credential is not valid")),
            },
        )
    }

    /// Several keys and whose they are, as [`ApiKeys::of`].
    pub fn keys<N: Into<String>, K: AsRef<str>>(keys: impl IntoIterator<Item = (N, K)>) -> Self {
        Self::new(ApiKeys::of(keys))
    }

    /// Whether calls for this need a credential.
    pub(super) fn guards(&self, surface: Surface) -> bool {
        !self.open.contains(&surface)
    }

    /// Leaves `surfaces` open to everybody.
    #[must_use]
    pub fn open(mut self, surfaces: &[Surface]) -> Self {
        self.open.extend_from_slice(surfaces);
        self
    }
}

fn equal(given: &[u8], expected: &[u8]) -> bool {
    let differing = given
        .iter()
        .zip(expected)
        .fold(0, |seen, (a, b)| seen | (a ^ b));
    differing == 0 && given.len() == expected.len() && !expected.is_empty()
}

fn credential(headers: &HeaderMap) -> Credential<'_> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(authorization) = text(header::AUTHORIZATION.as_str())
        && let Some((scheme, token)) = authorization.split_once(' ')
        && scheme.eq_ignore_ascii_case("bearer")
    {
        return Credential::Bearer(token.trim());
    }
    text("x-api-key").map_or(Credential::Absent, Credential::ApiKey)
}

/// The layer.
#[derive(Clone)]
pub(super) struct Checked(pub(super) Option<Arc<Auth>>);

impl<S: Next> Layer<S> for Checked {
    fn answer(&self, mut request: Request<Body>, next: &mut S) -> Answer {
        if let (Some(auth), Some(call)) = (&self.0, request.extensions().get::<Call>())
            && auth.guards(call.surface())
        {
            match auth.check.authenticate(credential(request.headers()), call) {
                Ok(identity) => _ = request.extensions_mut().insert(identity),
                Err(status) => {
                    let protocol = call.protocol();
                    let mut response = protocol.refuse(&status);
                    if response.status() == http::StatusCode::UNAUTHORIZED
                        && protocol == Protocol::Http
                    {
                        let scheme = http::HeaderValue::from_static("Bearer");
                        response
                            .headers_mut()
                            .insert(header::WWW_AUTHENTICATE, scheme);
                    }
                    return at_once(response);
                }
            }
        }
        Box::pin(next.call(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_found_where_callers_put_them() {
        let table = [
            (
                vec![("authorization", "Bearer abc")],
                Credential::Bearer("abc"),
            ),
            (
                vec![("authorization", "bearer  abc ")],
                Credential::Bearer("abc"),
            ),
            (vec![("authorization", "Basic abc")], Credential::Absent),
            (vec![("x-api-key", "k")], Credential::ApiKey("k")),
            (
                vec![("authorization", "Basic abc"), ("x-api-key", "k")],
                Credential::ApiKey("k"),
            ),
            (vec![], Credential::Absent),
        ];
        for (headers, expected) in table {
            let mut request = Request::builder();
            for (name, value) in headers {
                request = request.header(name, value);
            }
            let request = request.body(()).unwrap();
            assert!(
                credential(request.headers()) == expected,
                "{:?}",
                request.headers()
            );
        }
    }

    #[test]
    fn a_token_must_be_equal_in_whole() {
        for (given, expected, same) in [
            ("abc", "abc", true),
            ("ab", "abc", false),
            ("abcd", "abc", false),
            ("", "", false),
            ("", "a", false),
        ] {
            assert_eq!(
                equal(given.as_bytes(), expected.as_bytes()),
                same,
                "{given} {expected}"
            );
        }
    }

    #[test]
    fn a_credential_is_never_printed() {
        assert!(!format!("{:?}", Credential::Bearer("secret")).contains("secret"));
    }
}
