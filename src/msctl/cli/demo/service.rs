//! `msctl demo-service`: one process of the demo. It ends when the pipe on its stdin closes, so that
//! it cannot outlive the demo that started it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use demo::{Identity, Options, Parent, Token};

use crate::report::Failure;
use crate::settings::host_port;

/// How long calls may take to finish at the end; the demo waits a little longer than this.
const DRAIN: Duration = Duration::from_secs(2);

/// One service of the demo.
#[derive(Debug, clap::Args)]
pub struct DemoService {
    /// Which
    #[arg(value_enum)]
    service: Which,
    /// What it is called
    #[arg(long)]
    instance: String,
    /// Its zone
    #[arg(long, default_value = "a")]
    zone: String,
    /// An etcd member
    #[arg(long = "etcd")]
    members: Vec<String>,
    /// The prefix of registrations
    #[arg(long, default_value = "/services/")]
    services_prefix: String,
    /// The prefix of config
    #[arg(long, default_value = "/config/")]
    config_prefix: String,
    /// The prefix of schemas
    #[arg(long, default_value = "/schema/")]
    schema_prefix: String,
    /// The prefix of what instances say of themselves
    #[arg(long, default_value = "/status/")]
    status_prefix: String,
    /// The prefix of release records
    #[arg(long, default_value = "/msctl/releases/")]
    releases_prefix: String,
    /// The file of the token that calls need
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// The file of keys that such tokens are signed with; the token is then a JWT
    #[arg(long)]
    jwks: Option<PathBuf>,
    /// Its certificate: it then speaks TLS alone
    #[arg(long, requires_all = ["key", "authority"])]
    certificate: Option<PathBuf>,
    /// The key of that
    #[arg(long)]
    key: Option<PathBuf>,
    /// Who signs all certificates
    #[arg(long)]
    authority: Option<PathBuf>,
    /// So many API calls a second for each caller
    #[arg(long, value_name = "CALLS")]
    rate: Option<f64>,
    /// Let pages of this origin call
    #[arg(long = "origin")]
    origins: Vec<String>,
}

/// The token in a file.
pub(super) fn token(file: &Path) -> Result<Token, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    match text.trim() {
        "" => Err(format!("{} holds no token", file.display())),
        token => Ok(Token(token.to_owned())),
    }
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Which {
    User,
    Order,
}

impl DemoService {
    fn identity(&self) -> Option<Identity> {
        Some(Identity {
            certificate: self.certificate.clone()?,
            key: self.key.clone()?,
            authority: self.authority.clone()?,
        })
    }

    /// Serves until the parent or a signal ends it.
    ///
    /// # Errors
    /// When the service cannot be started.
    pub fn run(&self) -> Result<(), Failure> {
        let filter = tracing_subscriber::EnvFilter::try_from_default_env()
            .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .init();
        let prefixes = fleet::Prefixes::new(
            &self.services_prefix,
            &self.config_prefix,
            &self.schema_prefix,
            &self.status_prefix,
            &self.releases_prefix,
        )
        .map_err(|error| Failure::usage(error.to_string()))?;
        let token = self.token_file.as_deref().map(token).transpose();
        let options = Options {
            token: token.map_err(Failure::usage)?,
            jwks: self.jwks.clone(),
            tls: self.identity(),
            etcd: self
                .members
                .iter()
                .map(|member| host_port(member).to_owned())
                .collect(),
            instance: Some(self.instance.clone()),
            metadata: [("zone".to_owned(), self.zone.clone())].into(),
            rate: self.rate,
            origins: self.origins.clone(),
            prefixes,
            drain: DRAIN,
            parent: Parent::HoldsStdin,
            ..Options::default()
        };
        let which = self.service;
        crate::cli::on_threads(async move {
            let served = match which {
                Which::User => demo::run_user(options).await,
                Which::Order => demo::run_order(options).await,
            };
            served.map_err(|error| Failure::failed(error.to_string()))
        })
    }
}
