//! Checks signatures with the cryptography that TLS uses already. Deliberately absent: signing, and shared secrets.

use std::sync::Once;

use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind, EncodingKey,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{ErrorKind, Result},
    signature::{Error, Verifier},
};
use ring::signature::{self as rings, RsaPublicKeyComponents, UnparsedPublicKey};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: no_signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes it the process's. A process that has installed another checks by that one.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if PROVIDER.install_default().is_err() {
            tracing::debug!("tokens are checked by the cryptography that the process installed");
        }
    });
}

fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    Err(ErrorKind::UnsupportedAlgorithm.into())
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    Ok(Box::new(Check {
        algorithm: *algorithm,
        key: key.clone(),
    }))
}

struct Check {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl JwtVerifier for Check {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for Check {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        let verified = match (self.key.kind(), rsa(self.algorithm)) {
            (DecodingKeyKind::RsaModulusExponent { n, e }, Some(how)) => {
                RsaPublicKeyComponents { n, e }.verify(how, message, signature)
            }
            (DecodingKeyKind::SecretOrDer(key), None) => {
                let how: &dyn rings::VerificationAlgorithm = match self.algorithm {
                    Algorithm::ES256 => &rings::ECDSA_P256_SHA256_FIXED,
                    Algorithm::ES384 => &rings::ECDSA_P384_SHA384_FIXED,
                    Algorithm::EdDSA => &rings::ED25519,
                    _ => return Err(Error::new()),
                };
                UnparsedPublicKey::new(how, key).verify(message, signature)
            }
            _ => return Err(Error::new()),
        };
        verified.map_err(|_| Error::new())
    }
}

fn rsa(algorithm: Algorithm) -> Option<&'static rings::RsaParameters> {
    Some(match algorithm {
        Algorithm::RS256 => &rings::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &rings::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &rings::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &rings::RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &rings::RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &rings::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}
