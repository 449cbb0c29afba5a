//! The layers that a gateway puts before every call, as flags: TLS, credentials, CORS, rates and limits. What they do
//! is the library's; here they are only named.

use std::path::PathBuf;
use std::time::Duration;

use platform::Service;
use platform::server::{ApiKeys, Auth, Cors, Jwt, Rate, ServerError, Surface, Tls};

use crate::report::Failure;
use crate::settings::duration;

/// How often a list of keys is compared with its file.
const CHECK: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, clap::Args)]
pub(super) struct Guards {
    /// Speak TLS to callers, with this certificate (PEM file, read again when it changes)
    #[arg(
        long,
        value_name = "FILE",
        requires = "serve_key",
        help_heading = "Callers"
    )]
    serve_cert: Option<PathBuf>,
    /// Key of that certificate (PEM file)
    #[arg(
        long,
        value_name = "FILE",
        requires = "serve_cert",
        help_heading = "Callers"
    )]
    serve_key: Option<PathBuf>,
    /// Let in only callers with a certificate of these authorities (PEM file)
    #[arg(
        long,
        value_name = "FILE",
        requires = "serve_cert",
        help_heading = "Callers"
    )]
    client_ca: Option<PathBuf>,
    /// Ask callers for a token signed by one of these keys: a URL, or a file
    #[arg(
        long,
        value_name = "URL",
        requires = "issuer",
        requires = "audience",
        help_heading = "Callers"
    )]
    jwks: Option<String>,
    /// Whose tokens are taken ('iss'). May be repeated
    #[arg(long, value_name = "NAME", requires = "jwks", help_heading = "Callers")]
    issuer: Vec<String>,
    /// For whom tokens must be ('aud'). May be repeated
    #[arg(long, value_name = "NAME", requires = "jwks", help_heading = "Callers")]
    audience: Vec<String>,
    /// Ask callers for a key of this file, 'NAME KEY' on each line (read again when it changes)
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "jwks",
        help_heading = "Callers"
    )]
    token_file: Option<PathBuf>,
    /// Let pages of this origin read answers, as https://shop.example. May be repeated
    #[arg(long, value_name = "ORIGIN", help_heading = "Callers")]
    cors_origin: Vec<String>,
    /// Calls a second from one address, whether or not it is let in
    #[arg(long, value_name = "CALLS", help_heading = "Limits")]
    rate: Option<f64>,
    /// Calls that may be under way at once
    #[arg(
        long,
        value_name = "CALLS",
        default_value_t = 10_000,
        help_heading = "Limits"
    )]
    max_in_flight: usize,
    /// How long calls may take whose callers do not say
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Limits")]
    default_timeout: Option<Duration>,
    /// Compress answers of 1 KiB and more for callers that take gzip
    #[arg(long, help_heading = "Limits")]
    gzip: bool,
}

impl Guards {
    /// Whether callers without a credential of some kind are turned away.
    pub(super) fn is_closed(&self) -> bool {
        self.jwks.is_some() || self.token_file.is_some() || self.client_ca.is_some()
    }

    /// The layers.
    ///
    /// # Errors
    /// When a file cannot be read, or a setting makes no sense.
    pub(super) async fn service(&self) -> Result<Service, Failure> {
        const WORTH: usize = 1024;
        let mut service = Service::new().most_in_flight(self.max_in_flight);
        if let (Some(certificate), Some(key)) = (&self.serve_cert, &self.serve_key) {
            let mut tls = Tls::files(certificate, key);
            if let Some(authorities) = &self.client_ca {
                tls = tls.clients(authorities);
            }
            service = service.tls(tls);
        }
        if let Some(auth) = self.auth().await.map_err(|error| wrong(&error))? {
            // Who runs it must be able to ask whether it is well.
            service = service.auth(auth.open(&[Surface::Health, Surface::Metrics]));
        }
        if !self.cors_origin.is_empty() {
            service = service.cors(Cors::origins(&self.cors_origin));
        }
        if let Some(calls) = self.rate {
            service = service.rate(Rate::per_second(calls).each_address());
        }
        if let Some(timeout) = self.default_timeout {
            service = service.default_timeout(timeout);
        }
        if self.gzip {
            service = service.gzip_from(WORTH);
        }
        Ok(service)
    }

    async fn auth(&self) -> Result<Option<Auth>, ServerError> {
        if let Some(file) = &self.token_file {
            return Ok(Some(Auth::new(ApiKeys::file(file, CHECK).await?)));
        }
        let Some(place) = &self.jwks else {
            return Ok(None);
        };
        let mut tokens = if place.contains("://") {
            Jwt::keys_from_url(place)
        } else {
            Jwt::keys_from_file(place)
        };
        for issuer in &self.issuer {
            tokens = tokens.issuer(issuer);
        }
        for audience in &self.audience {
            tokens = tokens.audience(audience);
        }
        Ok(Some(Auth::new(tokens.start().await?)))
    }
}

fn wrong(error: &ServerError) -> Failure {
    Failure::usage(error.to_string())
}
