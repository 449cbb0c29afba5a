//! Where etcd is, who we are to it, and how long to wait for it.
//!
//! Plain values: reading files, environment and command lines is the caller's. `Debug` shows
//! neither the password nor the private key.

use std::fmt;
use std::time::Duration;

use crate::tls::TlsFiles;

/// How to reach a cluster. Made by [`Settings::new`]; every field has a default but the endpoints.
///
/// How long somebody may take to answer is counted in time in which this process could have heard:
/// while it is stopped, or too busy to listen, nobody is late.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `host:port`, `http://host:port` or `https://host:port`, one for each member.
    pub endpoints: Vec<String>,
    /// Sent to etcd where its authentication is on.
    pub user: Option<Credentials>,
    /// Trust and identity for `https`; an endpoint without a scheme is `https` when this is set.
    pub tls: Option<TlsSettings>,
    /// The same from files that are read anew for every connection; takes the place of `tls`.
    pub tls_files: Option<TlsFiles>,
    /// How long one call may take, all its attempts together.
    pub request_timeout: Duration,
    /// How long one member may take to accept a connection.
    pub connect_timeout: Duration,
    /// A read that was not answered for so long is asked of a second member as well.
    pub hedge_after: Duration,
    /// A member with open streams that was silent for so long is asked for a sign of life.
    pub heartbeat: Duration,
    /// How long a member may take to give that sign before its streams move elsewhere.
    pub probe_timeout: Duration,
    /// A member that was silent for longer is asked for a sign of life before it gets a write: a
    /// write that vanishes leaves its author not knowing.
    pub trusted_silence: Duration,
    /// The largest message accepted from etcd, in bytes.
    pub max_response: usize,
}

impl Settings {
    /// The defaults, for these endpoints.
    #[must_use]
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            user: None,
            tls: None,
            tls_files: None,
            request_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(1),
            hedge_after: Duration::from_millis(500),
            heartbeat: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(1500),
            trusted_silence: Duration::from_secs(3),
            max_response: 64 << 20,
        }
    }

    /// Whether an endpoint without a scheme is `https`.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.tls.is_some() || self.tls_files.is_some()
    }
}

/// A user of etcd's own authentication.
#[derive(Clone)]
pub struct Credentials {
    /// The user's name.
    pub name: String,
    /// The user's password; never shown.
    pub password: String,
}

impl Credentials {
    /// A user with a password.
    #[must_use]
    pub fn new(name: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            password: password.into(),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}, password hidden)", self.name)
    }
}

/// Trust and identity for TLS, as the bytes of PEM files.
#[derive(Clone, Default)]
pub struct TlsSettings {
    /// The certificates that sign the servers'; the system's roots when there is none.
    pub ca: Option<Vec<u8>>,
    /// Our certificate and private key, where the servers ask for one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// The name to expect in the servers' certificates, in place of the endpoint's host.
    pub server_name: Option<String>,
}

impl fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSettings")
            .field("ca", &self.ca.as_ref().map(Vec::len))
            .field("identity", &self.identity.as_ref().map(|_| "hidden"))
            .field("server_name", &self.server_name)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_and_a_private_key_are_not_shown() {
        let mut settings = Settings::new(["127.0.0.1:2379"]);
        settings.user = Some(Credentials::new("root", "hunter2"));
        settings.tls = Some(TlsSettings {
            identity: Some((b"certificate".to_vec(), b"hunter2".to_vec())),
            ..TlsSettings::default()
        });
        let shown = format!("{settings:?}");
        assert!(shown.contains("root"));
        assert!(!shown.contains("hunter2"));
        assert!(!shown.contains(&format!("{:?}", b"hunter2")));
    }
}
