//! Bearer tokens that an identity provider has signed (JWT), checked against its published keys (JWKS). A check
//! reads memory alone: the keys are fetched beside it, and the last good ones stay in use for a day. Deliberately
//! absent: shared secrets; whoever can check such a token can forge it.

mod keys;
mod signatures;
mod source;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwapOption;
use etcd::{TlsSettings, backoff::Backoff};
pub use jsonwebtoken::Algorithm;
use jsonwebtoken::{AlgorithmFamily, Validation, errors::ErrorKind};
use serde_json::{Map, Value};
use tokio::{sync::Notify, time::Instant};
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

use self::{
    keys::{Keys, NoKey},
    source::Source,
};
use super::{Authenticate, Call, Credential, Identity, ServerError};
use crate::running::supervise;

/// How often the keys are fetched.
const REFRESH: Duration = Duration::from_secs(5 * 60);
/// A key that nobody knows makes the keys be fetched anew, but not before they are so old: key ids can be made
/// up by anybody.
const YOUNG: Duration = Duration::from_secs(10);
/// Keys older than this are used no more: they may have been withdrawn.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);
/// Between attempts that fail.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How far clocks may differ.
const LEEWAY: Duration = Duration::from_secs(30);
/// A longer token is not looked at.
const MOST: usize = 16 << 10;

/// Which tokens are let in. Both the issuer and the audience must be named: a token for another service must not
/// open this one.
///
/// ```no_run
/// # async fn service() -> Result<(), Box<dyn std::error::Error>> {
/// use platform::server::{Auth, Jwt, Service, Surface};
///
/// let tokens = Jwt::keys_from_url("https://id.example/.well-known/jwks.json")
///     .issuer("https://id.example")
///     .audience("order")
///     .start() // never waits for the network
///     .await?;
/// let service = Service::new().auth(Auth::new(tokens).open(&[Surface::Health]));
/// # let _ = service;
/// # Ok(())
/// # }
/// ```
///
/// Handlers of both protocols find the claims as [`Identity`] in the extensions of the request.
#[derive(Clone, Debug)]
pub struct Jwt {
    place: Place,
    issuers: HashSet<String>,
    audiences: HashSet<String>,
    algorithms: Vec<Algorithm>,
    refresh: Duration,
    leeway: Duration,
    trust: TlsSettings,
}

#[derive(Clone, Debug)]
enum Place {
    Url(String),
    File(PathBuf),
}

impl Jwt {
    /// Fetches the keys over HTTPS, or over plain HTTP from this host alone.
    pub fn keys_from_url(url: impl Into<String>) -> Self {
        Self::new(Place::Url(url.into()))
    }

    /// Reads the keys from a file, again and again as from a URL.
    pub fn keys_from_file(file: impl Into<PathBuf>) -> Self {
        Self::new(Place::File(file.into()))
    }

    fn new(place: Place) -> Self {
        Self {
            place,
            issuers: HashSet::new(),
            audiences: HashSet::new(),
            algorithms: vec![Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256],
            refresh: REFRESH,
            leeway: LEEWAY,
            trust: TlsSettings::default(),
        }
    }

    /// Takes tokens whose `iss` is this; several may be named.
    #[must_use]
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuers.insert(issuer.into());
        self
    }

    /// Takes tokens whose `aud` has this in it; several may be named.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.insert(audience.into());
        self
    }

    /// Takes tokens signed by one of these alone. By default ES256, EdDSA and RS256.
    #[must_use]
    pub fn algorithms(mut self, algorithms: &[Algorithm]) -> Self {
        self.algorithms = algorithms.to_vec();
        self
    }

    /// Fetches the keys this often; 5 minutes by default, between 10 ms and 12 hours.
    #[must_use]
    pub fn refresh_every(mut self, every: Duration) -> Self {
        self.refresh = every;
        self
    }

    /// Takes `exp` and `nbf` as if clocks differed by so much, in whole seconds; 30 s by default, at most 5
    /// minutes.
    #[must_use]
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Trusts these authorities for the URL in place of the system's.
    #[must_use]
    pub fn trust(mut self, trust: TlsSettings) -> Self {
        self.trust = trust;
        self
    }

    /// Begins to fetch the keys, and goes on until the answer is dropped. A file is read at once; a URL is not
    /// waited for: until it has answered, calls get UNAVAILABLE (503).
    ///
    /// # Errors
    /// [`ServerError::Setting`] says which setting is missing, unsafe or unreadable.
    pub async fn start(self) -> Result<Tokens, ServerError> {
        let refuse = |cause: &str| {
            Err(ServerError::Setting {
                what: "JWT",
                cause: cause.to_owned(),
            })
        };
        if self.issuers.is_empty() || self.issuers.contains("") {
            return refuse("no issuer. Name whose tokens are taken with issuer()");
        }
        if self.audiences.is_empty() || self.audiences.contains("") {
            return refuse("no audience. Name this service as its tokens do with audience()");
        }
        if self.algorithms.is_empty() {
            return refuse("no algorithm. Name at least one with algorithms()");
        }
        let is_secret = |one: &Algorithm| one.family() == AlgorithmFamily::Hmac;
        if self.algorithms.iter().any(is_secret) {
            return refuse(
                "HMAC is a shared secret: whoever checks a token could forge it. Use ES256, EdDSA or RS256",
            );
        }
        if self.refresh < Duration::from_millis(10) || self.refresh > OLD / 2 {
            return refuse("refresh_every() takes 10 ms to 12 h");
        }
        if self.leeway > Duration::from_secs(5 * 60) {
            return refuse("leeway() takes at most 5 min");
        }
        signatures::install();
        let source = Source::new(self.place, &self.trust)?;
        let keys = Arc::new(ArcSwapOption::empty());
        if source.is_file() {
            let read = source.read().await;
            let read = read.map_err(|cause| ServerError::Setting { what: "JWT", cause })?;
            keys.store(Some(Arc::new(Held::now(read))));
        }
        let wanted = Arc::new(Notify::new());
        let (source, every) = (Arc::new(source), self.refresh);
        let begin = {
            let (keys, wanted) = (Arc::clone(&keys), Arc::clone(&wanted));
            move || {
                let (keys, wanted) = (Arc::clone(&keys), Arc::clone(&wanted));
                refresh(Arc::clone(&source), keys, wanted, every)
            }
        };
        let refresh = supervise("keys for tokens", |_| {}, begin);
        Ok(Tokens {
            keys,
            wanted,
            algorithms: self.algorithms,
            issuers: self.issuers,
            audiences: self.audiences,
            leeway: self.leeway,
            _refresh: AbortOnDropHandle::new(tokio::spawn(refresh)),
        })
    }
}

struct Held {
    keys: Keys,
    since: Instant,
}

impl Held {
    fn now(keys: Keys) -> Self {
        Self {
            keys,
            since: Instant::now(),
        }
    }
}

async fn refresh(
    source: Arc<Source>,
    held: Arc<ArcSwapOption<Held>>,
    wanted: Arc<Notify>,
    every: Duration,
) {
    let failures = metrics::counter!("server_jwks_failures_total");
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    loop {
        match source.read().await {
            Ok(keys) => {
                tracing::debug!(keys = keys.count(), %source, "the keys for tokens were fetched");
                held.store(Some(Arc::new(Held::now(keys))));
                backoff.reset();
                let young = YOUNG.min(every);
                tokio::time::sleep(young).await;
                tokio::select! {
                    () = tokio::time::sleep(every - young) => {}
                    () = wanted.notified() => {}
                }
            }
            Err(cause) => {
                failures.increment(1);
                tracing::warn!(%source, cause, "the keys for tokens could not be fetched; the last ones stay in use");
                backoff.wait().await;
            }
        }
    }
}

/// The check of tokens; see [`Jwt`]. Dropping it ends the fetching of keys.
pub struct Tokens {
    keys: Arc<ArcSwapOption<Held>>,
    wanted: Arc<Notify>,
    algorithms: Vec<Algorithm>,
    issuers: HashSet<String>,
    audiences: HashSet<String>,
    leeway: Duration,
    _refresh: AbortOnDropHandle<()>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens")
            .field("issuers", &self.issuers)
            .field("audiences", &self.audiences)
            .finish_non_exhaustive()
    }
}

impl Authenticate for Tokens {
    fn authenticate(&self, credential: Credential<'_>, _: &Call) -> Result<Identity, Status> {
        match credential {
            Credential::Bearer(token) => self.check(token),
            Credential::ApiKey(_) | Credential::Absent => Err(Status::unauthenticated(
                "no token. Send 'authorization: Bearer TOKEN'",
            )),
        }
    }
}

impl Tokens {
    /// Who the bearer of `token` is. For a check of one's own that takes other credentials too.
    ///
    /// # Errors
    /// UNAUTHENTICATED with what is wrong with the token; UNAVAILABLE while there are no keys to check it with.
    pub fn check(&self, token: &str) -> Result<Identity, Status> {
        let held = self.keys.load();
        let held = held
            .as_ref()
            .filter(|held| held.since.elapsed() < OLD)
            .ok_or_else(|| {
                Status::unavailable(
                    "tokens cannot be checked: their keys could not be fetched. Try again later",
                )
            })?;
        let refused = |why: &str| Status::unauthenticated(format!("the token is refused: {why}"));
        if token.len() > MOST {
            return Err(refused("it is too long"));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| refused("it is no JWT"))?;
        if !self.algorithms.contains(&header.alg) {
            return Err(refused("its algorithm is not taken here"));
        }
        if header.crit.is_some() {
            return Err(refused(
                "it has critical extensions, and none is known here",
            ));
        }
        let key = match held.keys.find(header.kid.as_deref(), header.alg) {
            Ok(key) => key,
            Err(why) => {
                if matches!(why, NoKey::Unknown) {
                    self.wanted.notify_one();
                }
                return Err(refused(why.as_str()));
            }
        };
        let mut rules = Validation::new(header.alg);
        rules.leeway = self.leeway.as_secs();
        rules.validate_nbf = true;
        rules.iss = Some(self.issuers.clone());
        rules.aud = Some(self.audiences.clone());
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let data = jsonwebtoken::decode::<Map<String, Value>>(token, key, &rules)
            .map_err(|error| refused(&said(error.kind())))?;
        Ok(identity(data.claims))
    }
}

/// In words for the caller; nothing of the token.
fn said(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::ExpiredSignature => "it has expired".to_owned(),
        ErrorKind::ImmatureSignature => "it is not valid yet".to_owned(),
        ErrorKind::InvalidIssuer => "its issuer is not trusted here".to_owned(),
        ErrorKind::InvalidAudience => "it is for another audience".to_owned(),
        ErrorKind::InvalidSignature => "its signature is not valid".to_owned(),
        ErrorKind::MissingRequiredClaim(claim) => format!("it has no {claim}"),
        ErrorKind::InvalidClaimFormat(claim) => format!("its {claim} cannot be read"),
        _ => "it is not valid".to_owned(),
    }
}

/// Texts as they are, everything else as JSON.
fn identity(claims: Map<String, Value>) -> Identity {
    let claims: BTreeMap<String, String> = claims
        .into_iter()
        .map(|(name, value)| match value {
            Value::String(text) => (name, text),
            other => (name, other.to_string()),
        })
        .collect();
    Identity {
        subject: claims.get("sub").cloned().unwrap_or_default(),
        claims,
    }
}
