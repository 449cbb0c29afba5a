//! What an instance of the demo is told at its start.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use platform::Prefixes;

/// How to run one instance.
#[derive(Clone, Debug)]
pub struct Options {
    /// etcd's endpoints, such as `127.0.0.1:2379`. The instance serves without them and joins when they come.
    pub etcd: Vec<String>,
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The instance's id, unique within its service; `None` takes the service's name and
    /// the process id.
    pub instance: Option<String>,
    /// What the registry shows beside the address: `zone` and the like.
    pub metadata: BTreeMap<String, String>,
    /// When set, API calls need it as a bearer token or API key; health, reflection and metrics stay open.
    pub token: Option<Token>,
    /// When set, the token is to be a JWT that one of the keys in this file (JWKS) has signed, with `iss` and
    /// `aud` of `msctl-demo`, whatever `token` says; that is then what the instances show one another, and has to be such a one.
    pub jwks: Option<PathBuf>,
    /// When set, the instance answers over TLS alone, and calls others so.
    pub tls: Option<Identity>,
    /// When set, each caller may begin so many API calls a second; more are refused.
    pub rate: Option<f64>,
    /// Web pages of these origins may call, such as `https://app.example`.
    pub origins: Vec<String>,
    /// Where the fleet keeps what in etcd.
    pub prefixes: Prefixes,
    /// A YAML file of config below what etcd says; `None` takes the defaults that are built in.
    pub config_file: Option<PathBuf>,
    /// How long the registration outlives a process that died, at least a second.
    pub ttl: Duration,
    /// How long calls may take to finish once the instance is told to end.
    pub drain: Duration,
    /// What ends the instance besides SIGTERM and SIGINT.
    pub parent: Parent,
}

/// Who an instance is to callers and to servers, as PEM files, which may be renewed while it runs.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its certificate, the chain behind it.
    pub certificate: PathBuf,
    /// The private key of that.
    pub key: PathBuf,
    /// Who signs all certificates of the demo.
    pub authority: PathBuf,
}

/// A secret: `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// Whether the instance belongs to another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// It runs by itself.
    None,
    /// Its standard input is a pipe that the parent holds open and never writes to: the instance ends when that
    /// closes, which it does however the parent dies.
    HoldsStdin,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            etcd: vec!["127.0.0.1:2379".to_owned()],
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            instance: None,
            metadata: BTreeMap::new(),
            token: None,
            jwks: None,
            tls: None,
            rate: None,
            origins: Vec::new(),
            prefixes: Prefixes::default(),
            config_file: None,
            ttl: Duration::from_secs(10),
            drain: Duration::from_secs(10),
            parent: Parent::None,
        }
    }
}
