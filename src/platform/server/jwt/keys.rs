//! A published set of keys (JWKS), as far as it is of use here. A key that cannot be read or used is left out;
//! it never hides the others.

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde_json::Value;

/// More keys than this are not looked at: none has so many, and each costs.
const MOST: usize = 100;

const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// See the module.
pub(super) struct Keys(Vec<Key>);

struct Key {
    id: Option<String>,
    /// What it may be used for.
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// Why there is no key for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoKey {
    /// It may have been published since.
    Unknown,
    /// The token does not say which of several.
    Unnamed,
}

impl NoKey {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "the key that it names is not known for its algorithm",
            Self::Unnamed => "it does not name its key (kid), and there are several",
        }
    }
}

impl Keys {
    /// An error says why not one key is of use.
    pub(super) fn parse(json: &[u8]) -> Result<Self, String> {
        let set: Value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let listed = set
            .get("keys")
            .and_then(Value::as_array)
            .ok_or("it is no key set: there is no list \"keys\" in it")?;
        let keys: Vec<_> = listed.iter().take(MOST).filter_map(read).collect();
        if keys.is_empty() {
            return Err(format!(
                "none of its {} keys can check a signature",
                listed.len()
            ));
        }
        Ok(Self(keys))
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The key of that name for that algorithm; without a name the only one there is.
    pub(super) fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<&DecodingKey, NoKey> {
        let mut fitting = self.0.iter().filter(|key| {
            key.algorithms.contains(&algorithm) && (id.is_none() || key.id.as_deref() == id)
        });
        match (fitting.next(), fitting.next()) {
            (Some(_), Some(_)) if id.is_none() => Err(NoKey::Unnamed),
            (Some(key), _) => Ok(&key.key),
            (None, _) => Err(NoKey::Unknown),
        }
    }
}

fn read(json: &Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(json.clone()).ok()?;
    if matches!(&jwk.common.public_key_use, Some(other) if *other != PublicKeyUse::Signature) {
        return None;
    }
    let possible: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => RSA,
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            &[Algorithm::EdDSA]
        }
        // Among them secrets, which have no business in a published set.
        _ => return None,
    };
    let named = jwk.common.key_algorithm;
    let is_allowed =
        |one: &&Algorithm| named.is_none_or(|named| named == KeyAlgorithm::from(**one));
    let algorithms: Vec<_> = possible.iter().filter(is_allowed).copied().collect();
    if algorithms.is_empty() {
        return None;
    }
    Some(Key {
        id: jwk.common.key_id.clone(),
        algorithms,
        key: DecodingKey::from_jwk(&jwk).ok()?,
    })
}
