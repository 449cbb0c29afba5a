//! How a config key is named: `order/timeout.write`, `global/timeout.write`.

use std::fmt;

use crate::kv::{Key, Prefix};
use crate::safe::escape;
use crate::service::{NameError, ServiceName, check_name};

/// For whom a key counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// All services; ranks below a service's own.
    Global,
    /// One service.
    Service(ServiceName),
}

impl Scope {
    /// `global` is no service's name here.
    ///
    /// # Errors
    /// [`NameError`] when the text is no name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text == "global" {
            Ok(Self::Global)
        } else {
            Ok(Self::Service(ServiceName::new(text)?))
        }
    }

    /// The prefix of all its keys.
    #[must_use]
    pub fn prefix(&self, config: &Prefix) -> Prefix {
        config.narrow(&format!("{self}/"))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.pad("global"),
            Self::Service(name) => f.pad(name.as_str()),
        }
    }
}

/// One config key: for whom, and its dotted path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigKey {
    /// For whom it counts.
    pub scope: Scope,
    path: Box<str>,
}

/// A text that names no config key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigKeyError {
    /// No `/` in it.
    #[error(
        "'{0}' names no key; write it as <service>/<dotted.key>, like order/timeout.write, or global/<dotted.key>"
    )]
    NoScope(String),
    /// The part before the `/`.
    #[error("the service in the key: {0}")]
    Scope(#[source] NameError),
    /// The part after the `/`.
    #[error("the key after the '/': {0}")]
    Path(#[source] NameError),
    /// A dot too many.
    #[error("'{0}' has an empty part between its dots; write it like timeout.write")]
    EmptyPart(String),
}

impl ConfigKey {
    /// Reads `order/timeout.write`.
    ///
    /// # Errors
    /// See [`ConfigKeyError`].
    pub fn parse(text: &str) -> Result<Self, ConfigKeyError> {
        let (scope, path) = text
            .split_once('/')
            .ok_or_else(|| ConfigKeyError::NoScope(escape(text).into_owned()))?;
        Self::new(Scope::parse(scope).map_err(ConfigKeyError::Scope)?, path)
    }

    /// A key from its parts.
    ///
    /// # Errors
    /// See [`ConfigKeyError`].
    pub fn new(scope: Scope, path: &str) -> Result<Self, ConfigKeyError> {
        check_path(path)?;
        Ok(Self {
            scope,
            path: path.into(),
        })
    }

    /// The key that etcd holds, read back.
    ///
    /// # Errors
    /// [`ConfigKeyError`] when what stands under the prefix is no config key.
    pub fn from_key(config: &Prefix, key: &Key) -> Result<Self, ConfigKeyError> {
        let refuse = || ConfigKeyError::NoScope(key.to_string());
        let rest = config.strip(key).ok_or_else(refuse)?;
        Self::parse(std::str::from_utf8(rest).map_err(|_| refuse())?)
    }

    /// The key in etcd.
    #[must_use]
    pub fn to_key(&self, config: &Prefix) -> Key {
        config.join(&self.to_string())
    }

    /// The dotted path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// Checks a dotted path: a name without empty parts.
///
/// # Errors
/// [`ConfigKeyError::Path`] or [`ConfigKeyError::EmptyPart`].
pub fn check_path(path: &str) -> Result<(), ConfigKeyError> {
    check_name(path).map_err(ConfigKeyError::Path)?;
    if path.split('.').any(str::is_empty) {
        return Err(ConfigKeyError::EmptyPart(path.into()));
    }
    Ok(())
}

impl fmt::Display for ConfigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.scope, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_or_refused_never_rewritten() {
        let long = format!("order/{}", "a".repeat(4096));
        for (text, good) in [
            ("order/timeout.write", true),
            ("global/a", true),
            ("order/a-b_c.d0", true),
            ("order", false),
            ("order/", false),
            ("/timeout", false),
            ("order//timeout", false),
            ("order/a/b", false),
            ("order/a..b", false),
            ("order/a.", false),
            ("order/.a", false),
            ("order/..", false),
            ("order/a b", false),
            ("order/ä", false),
            ("order/a\n", false),
            (long.as_str(), false),
        ] {
            assert_eq!(ConfigKey::parse(text).is_ok(), good, "{text:?}");
        }
    }

    #[test]
    fn a_key_goes_to_etcd_and_comes_back() {
        let prefix = Prefix::new("/config/").unwrap();
        let key = ConfigKey::parse("order/timeout.write").unwrap();
        assert_eq!(
            key.to_key(&prefix).to_string(),
            "/config/order/timeout.write"
        );
        assert_eq!(ConfigKey::from_key(&prefix, &key.to_key(&prefix)), Ok(key));
        assert!(ConfigKey::from_key(&prefix, &"/config/order".into()).is_err());
        assert!(ConfigKey::from_key(&prefix, &Key::from(b"/config/\xff/a".as_slice())).is_err());
    }
}
