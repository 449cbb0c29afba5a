//! API keys, and whose they are: given, or from a file that is read again when it changes. Only digests are kept, so
//! that neither memory nor the time of a comparison tells a key. What is read is used as a whole or not at all.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use ring::digest;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

use super::{Authenticate, Call, Credential, Identity, ServerError};
use crate::running::supervise;

/// A file beyond this size is no list of keys, and is not read to its end.
const MOST: u64 = 1 << 20;
/// Whose a key is that stands in its file without a name.
const NAMELESS: &str = "token";

type Digest = [u8; digest::SHA256_OUTPUT_LEN];
type Held = HashMap<Digest, Arc<str>>;

/// Lets callers in who show one of these keys, as `x-api-key` or as a bearer token.
///
/// ```no_run
/// # async fn service() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use platform::server::{ApiKeys, Auth, Service};
///
/// let keys = ApiKeys::file("/etc/order/keys", Duration::from_secs(10)).await?;
/// let service = Service::new().auth(Auth::new(keys));
/// # let _ = service;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ApiKeys {
    held: Arc<ArcSwap<Held>>,
    /// Ends with the last clone.
    _follow: Option<Arc<AbortOnDropHandle<()>>>,
}

impl std::fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKeys").finish_non_exhaustive()
    }
}

impl ApiKeys {
    /// These names and their keys. An empty key lets nobody in.
    pub fn of<N: Into<String>, K: AsRef<str>>(keys: impl IntoIterator<Item = (N, K)>) -> Self {
        let held = keys
            .into_iter()
            .filter(|(_, key)| !key.as_ref().is_empty())
            .map(|(name, key)| (digest_of(key.as_ref()), name.into().into()))
            .collect();
        Self {
            held: Arc::new(ArcSwap::from_pointee(held)),
            _follow: None,
        }
    }

    /// A file with a name and its key on each line; empty lines, and those that begin with `#`, say nothing. A
    /// line with a key alone is named `token`. Compared with what is in use every `check`, at least 10 ms; while it
    /// cannot be used, the last good keys stay in use.
    ///
    /// # Errors
    /// [`ServerError::Setting`] when the file cannot be read, or a line of it makes no sense.
    pub async fn file(file: impl Into<PathBuf>, check: Duration) -> Result<Self, ServerError> {
        let file = file.into();
        let wrong = |cause| ServerError::Setting {
            what: "API keys",
            cause,
        };
        let text = read(&file).await.map_err(wrong)?;
        let held = parse(&text).map_err(|cause| wrong(format!("{}: {cause}", file.display())))?;
        let held = Arc::new(ArcSwap::from_pointee(held));
        let (check, seen) = (check.max(Duration::from_millis(10)), digest_of(&text));
        let followed = Arc::clone(&held);
        let begin = move || follow(file.clone(), check, seen, Arc::clone(&followed));
        let following = supervise("API keys", |_| {}, begin);
        Ok(Self {
            held,
            _follow: Some(Arc::new(AbortOnDropHandle::new(tokio::spawn(following)))),
        })
    }
}

impl Authenticate for ApiKeys {
    fn authenticate(&self, credential: Credential<'_>, _: &Call) -> Result<Identity, Status> {
        let (Credential::ApiKey(key) | Credential::Bearer(key)) = credential else {
            return Err(Status::unauthenticated(
                "no credential. Send the header x-api-key",
            ));
        };
        match self.held.load().get(&digest_of(key)) {
            Some(name) => Ok(Identity {
                subject: name.to_string(),
                claims: BTreeMap::new(),
            }),
            None => Err(Status::unauthenticated("the credential is not valid")),
        }
    }
}

fn digest_of(text: &str) -> Digest {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let mut bytes = Digest::default();
    bytes.copy_from_slice(digest.as_ref());
    bytes
}

async fn read(file: &Path) -> Result<String, String> {
    let read = async {
        let length = tokio::fs::metadata(file).await?.len();
        if length > MOST {
            return Err(std::io::Error::other("too large for a list of keys"));
        }
        tokio::fs::read_to_string(file).await
    };
    read.await
        .map_err(|cause| format!("{}: {cause}", file.display()))
}

/// Errors name lines, and nothing of what is in them.
fn parse(text: &str) -> Result<Held, String> {
    let mut held = Held::new();
    for (at, line) in (1..).zip(text.lines()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, key) = match words[..] {
            [] => continue,
            [first, ..] if first.starts_with('#') => continue,
            [key] => (NAMELESS, key),
            [name, key] => (name, key),
            _ => {
                return Err(format!(
                    "line {at} has more than a name and a key. Write 'NAME KEY'"
                ));
            }
        };
        if held.insert(digest_of(key), name.into()).is_some() {
            return Err(format!("the key of line {at} is there twice"));
        }
    }
    if held.is_empty() {
        return Err("there is no key in it, so nobody could call".to_owned());
    }
    Ok(held)
}

async fn follow(file: PathBuf, check: Duration, mut seen: Digest, held: Arc<ArcSwap<Held>>) {
    let failures = metrics::counter!("server_key_reload_failures_total");
    let mut last_complaint = None;
    loop {
        tokio::time::sleep(check).await;
        let keys = match read(&file).await {
            Ok(text) if digest_of(&text) == seen => {
                last_complaint = None;
                continue;
            }
            Ok(text) => parse(&text).map(|keys| (digest_of(&text), keys)),
            Err(cause) => Err(cause),
        };
        match keys {
            Ok((digest, keys)) => {
                seen = digest;
                tracing::info!(file = %file.display(), keys = keys.len(), "API keys read again");
                held.store(Arc::new(keys));
                last_complaint = None;
            }
            Err(cause) => {
                failures.increment(1);
                // Once is enough for a file that stays as it is.
                if last_complaint.as_ref() != Some(&cause) {
                    tracing::warn!(file = %file.display(), cause, "the changed API keys cannot be used; the last good ones stay in use");
                    last_complaint = Some(cause);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_keys_is_names_and_keys_or_says_which_line_is_neither() {
        for (text, expected) in [
            ("ann k1\nbob k2\n", Ok(2)),
            ("# of the shop\n\nann   k1\n", Ok(1)),
            ("k1\n", Ok(1)),
            ("ann k1 k2\n", Err("line 1 has more")),
            ("ann k1\nbob k1\n", Err("line 2 is there twice")),
            ("", Err("no key")),
            ("# nothing\n", Err("no key")),
        ] {
            let parsed = parse(text);
            match expected {
                Ok(count) => assert_eq!(parsed.unwrap().len(), count, "{text:?}"),
                Err(said) => {
                    let cause = parsed.unwrap_err();
                    assert!(cause.contains(said), "{text:?}: {cause}");
                    assert!(!cause.contains("k1"), "a key is never told: {cause}");
                }
            }
        }
    }
}
