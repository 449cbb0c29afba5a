//! Which fleet a command speaks of and how: contexts from the settings file, narrowed by flags and
//! environment.
//!
//! A connection named by flags never borrows credentials from a context, and two ways of naming a
//! fleet at once are an error: acting on the wrong one is worse. Reads files and environment here
//! only; opens no connection.

pub mod file;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::report::{Color, Failure, Format, Verbosity};
use crate::settings::file::{ContextFile, SettingsFile, TlsFiles};

/// Where etcd listens unless it is told otherwise.
pub const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:2379";

/// Flags that every command takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Global {
    /// The context of the settings file to use
    #[arg(
        long,
        global = true,
        env = "MSCTL_CONTEXT",
        hide_env = true,
        value_name = "NAME",
        help_heading = "Fleet"
    )]
    pub context: Option<String>,
    /// etcd members, separated by commas; instead of a context
    #[arg(
        long,
        global = true,
        env = "MSCTL_ENDPOINTS",
        hide_env = true,
        value_name = "URL",
        value_delimiter = ',',
        help_heading = "Fleet"
    )]
    pub endpoints: Vec<String>,
    /// etcd user, as NAME or NAME:PASSWORD; better keep the password in MSCTL_PASSWORD
    #[arg(
        long,
        global = true,
        env = "MSCTL_USER",
        hide_env = true,
        value_name = "USER",
        help_heading = "Fleet"
    )]
    pub user: Option<String>,
    /// Certificate authority of etcd, before the command (PEM file)
    #[arg(
        long = "cacert",
        id = "etcd_cacert",
        env = "MSCTL_CACERT",
        hide_env = true,
        value_name = "FILE",
        help_heading = "Fleet"
    )]
    pub cacert: Option<PathBuf>,
    /// Certificate shown to etcd, before the command (PEM file)
    #[arg(
        long = "cert",
        id = "etcd_cert",
        env = "MSCTL_CERT",
        hide_env = true,
        value_name = "FILE",
        help_heading = "Fleet"
    )]
    pub cert: Option<PathBuf>,
    /// Key of that certificate, before the command (PEM file)
    #[arg(
        long = "key",
        id = "etcd_key",
        env = "MSCTL_KEY",
        hide_env = true,
        value_name = "FILE",
        help_heading = "Fleet"
    )]
    pub key: Option<PathBuf>,
    /// How long one request to etcd may take
    #[arg(long, global = true, env = "MSCTL_TIMEOUT", hide_env = true, value_name = "TIME", value_parser = duration, help_heading = "Fleet")]
    pub timeout: Option<Duration>,
    /// Output format; streams and calls write one JSON document after the other
    #[arg(
        short,
        long,
        global = true,
        env = "MSCTL_OUTPUT",
        hide_env = true,
        value_enum,
        value_name = "FORMAT",
        help_heading = "Output"
    )]
    pub output: Option<Format>,
    /// When to use colour
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "auto",
        value_name = "WHEN",
        help_heading = "Output"
    )]
    pub color: Color,
    /// Print errors and data only
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Output"
    )]
    pub quiet: bool,
    /// Print help
    #[arg(short, long, global = true, action = clap::ArgAction::HelpShort, help_heading = "Output")]
    pub help: Option<bool>,
    /// Say what is being done
    #[arg(short, long, global = true, help_heading = "Output")]
    pub verbose: bool,
}

impl Global {
    /// How much to say.
    #[must_use]
    pub fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        }
    }

    /// The context these flags, the environment and the settings file name together.
    ///
    /// # Errors
    /// When the settings file is unreadable or unsafe, the context unknown, a password cannot be
    /// had, or two fleets are named at once.
    pub fn resolve(&self) -> Result<Context, Failure> {
        self.resolve_in(SettingsFile::load)
    }

    /// The same where nobody is there to be asked: no `password_command` is run, and a context that
    /// has no other password is not to be had.
    ///
    /// # Errors
    /// As [`Global::resolve`].
    pub fn resolve_unattended(&self) -> Result<Context, Failure> {
        self.resolve_in(|| {
            let mut file = SettingsFile::load()?;
            for context in file.contexts.values_mut() {
                context.password_command.clear();
            }
            Ok(file)
        })
    }

    fn resolve_in(
        &self,
        load: impl Fn() -> Result<SettingsFile, Failure>,
    ) -> Result<Context, Failure> {
        match (&self.context, self.endpoints.is_empty()) {
            (Some(name), false) => Err(Failure::usage(format!(
                "both a context ('{name}') and endpoints ({}) are named",
                self.endpoints.join(", ")
            ))
            .next("Give one of them; look at MSCTL_CONTEXT and MSCTL_ENDPOINTS too.")),
            (Some(name), true) => self.of_file(&load()?, name),
            (None, false) => self.narrow(Context::from_endpoints(&self.endpoints), None),
            (None, true) => {
                let file = load()?;
                match file.current.clone() {
                    Some(name) => self.of_file(&file, &name),
                    None => {
                        let usual = [DEFAULT_ENDPOINT.to_owned()];
                        self.narrow(Context::from_endpoints(&usual), None)
                    }
                }
            }
        }
    }

    fn of_file(&self, file: &SettingsFile, name: &str) -> Result<Context, Failure> {
        let context = Context::from_file(file, name)?;
        self.narrow(context, file.contexts.get(name))
    }

    /// The password of a user who is named without one: the environment's, or the context's where
    /// the context is that user's or nobody's.
    fn password_of(
        &self,
        user: &str,
        context: &Context,
        file: Option<&ContextFile>,
    ) -> Result<Secret, Failure> {
        if let Ok(password) = std::env::var("MSCTL_PASSWORD") {
            return Ok(Secret::new(password));
        }
        match &context.credentials {
            Some(own) if own.user == user => return Ok(own.password.clone()),
            Some(_) => {}
            None => {
                let named = file.map(|file| file.password(&context.name)).transpose()?;
                if let Some(password) = named.flatten() {
                    return Ok(password);
                }
            }
        }
        Err(
            Failure::usage(format!("no password for etcd user '{user}'"))
                .next("Set MSCTL_PASSWORD, or use a context with password_command."),
        )
    }

    fn narrow(&self, mut context: Context, file: Option<&ContextFile>) -> Result<Context, Failure> {
        if let Some(user) = &self.user {
            let (name, password) = match user.split_once(':') {
                Some((name, password)) => (name, Secret::new(password)),
                None => (user.as_str(), self.password_of(user, &context, file)?),
            };
            context.credentials = Some(Credentials {
                user: name.to_owned(),
                password,
            });
        }
        for (flag, place) in [
            (&self.cacert, &mut context.tls.cacert),
            (&self.cert, &mut context.tls.cert),
            (&self.key, &mut context.tls.key),
        ] {
            if flag.is_some() {
                place.clone_from(flag);
            }
        }
        if let Some(timeout) = self.timeout {
            context.timeout = timeout;
        }
        context.check()?;
        Ok(context)
    }
}

/// A fleet to speak of: everything needed to reach it, resolved.
#[derive(Debug, Clone)]
pub struct Context {
    /// What it is called in questions and headers.
    pub name: Arc<str>,
    /// etcd members as URLs.
    pub endpoints: Vec<String>,
    /// Files for TLS; used for `https` members.
    pub tls: TlsFiles,
    /// Files for TLS to services whose endpoints want it.
    pub service_tls: TlsFiles,
    /// User and password, when etcd wants them.
    pub credentials: Option<Credentials>,
    /// Where the fleet's keys lie.
    pub prefixes: fleet::Prefixes,
    /// How long one request to etcd may take.
    pub timeout: Duration,
    /// Whether writes are possible at all.
    pub access: Access,
    /// How carefully to ask before a write.
    pub stage: Stage,
    /// How many records of config changes are kept for each service.
    pub keep_releases: usize,
}

/// Whether a context may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads and writes.
    ReadWrite,
    /// Every write is refused before anything is asked.
    ReadOnly,
}

/// How much a mistake would cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Development and tests: y/N.
    Ordinary,
    /// Production: the context's name is asked for, and scripts need `--yes`.
    Production,
}

/// A user of etcd.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Its name.
    pub user: String,
    /// Its password.
    pub password: Secret,
}

/// Text that no log, error or debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps the text out of sight.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one who must send it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Context {
    /// A context of these members alone: no credentials, default prefixes. It is named after the
    /// first member.
    #[must_use]
    pub fn from_endpoints(endpoints: &[String]) -> Self {
        let endpoints: Vec<String> = endpoints.iter().map(|e| with_scheme(e)).collect();
        let name = endpoints.first().map_or("etcd", |first| host_port(first));
        Self {
            name: name.into(),
            tls: TlsFiles::default(),
            service_tls: TlsFiles::default(),
            credentials: None,
            prefixes: fleet::Prefixes::default(),
            timeout: Duration::from_secs(5),
            access: Access::ReadWrite,
            stage: Stage::Ordinary,
            keep_releases: fleet::release::retention::DEFAULT,
            endpoints,
        }
    }

    /// The named context of the settings file, its password fetched.
    ///
    /// # Errors
    /// When there is no such context, or its password cannot be had.
    pub fn from_file(file: &SettingsFile, name: &str) -> Result<Self, Failure> {
        let Some(context) = file.contexts.get(name) else {
            let known: Vec<&str> = file.contexts.keys().map(String::as_str).collect();
            let failure =
                Failure::not_found(format!("no context '{name}' in {}", file.path.display()));
            return Err(if known.is_empty() {
                failure.next("Add one with 'msctl context set', or name etcd with --endpoints.")
            } else {
                failure.next(format!("Known: {}.", known.join(", ")))
            });
        };
        context.resolve(name, &file.path)
    }

    /// Whether every member is a usable URL.
    ///
    /// # Errors
    /// Names the first that is not.
    pub fn check(&self) -> Result<(), Failure> {
        self.endpoints
            .iter()
            .try_for_each(|endpoint| check_endpoint(endpoint))
    }

    /// `host:port` of every member, for messages.
    #[must_use]
    pub fn members(&self) -> String {
        let members: Vec<&str> = self.endpoints.iter().map(|e| host_port(e)).collect();
        members.join(", ")
    }
}

impl ContextFile {
    fn resolve(&self, name: &str, path: &std::path::Path) -> Result<Context, Failure> {
        let mut context = Context::from_endpoints(if self.endpoints.is_empty() {
            return Err(Failure::usage(format!(
                "context '{name}' in {} names no endpoints",
                path.display()
            ))
            .next("Add 'endpoints: [http://host:2379]'."));
        } else {
            &self.endpoints
        });
        context.name = name.into();
        context.tls = self.tls.clone();
        context.service_tls = self.service_tls.clone();
        context.prefixes = self.prefixes.resolve(name)?;
        if let Some(timeout) = &self.timeout {
            context.timeout = duration(timeout)
                .map_err(|why| Failure::usage(format!("timeout of context '{name}': {why}")))?;
        }
        if self.read_only {
            context.access = Access::ReadOnly;
        }
        if self.production {
            context.stage = Stage::Production;
        }
        if let Some(keep) = self.keep_releases {
            context.keep_releases = keep;
        }
        if let Some(user) = &self.user {
            let password = self.password(name)?.ok_or_else(|| {
                Failure::usage(format!("context '{name}' has a user and no password"))
                    .next("Give password_command, password_file or password_env.")
            })?;
            context.credentials = Some(Credentials {
                user: user.clone(),
                password,
            });
        }
        Ok(context)
    }
}

/// Reads a time with its unit: `5s`, `1m30s`, `250ms`. Zero and less are refused.
///
/// # Errors
/// A sentence that names what is expected.
pub fn duration(text: &str) -> Result<Duration, String> {
    match fleet::config::value::parse_duration(text) {
        Some(time) if !time.is_zero() => Ok(time),
        _ => Err(format!(
            "'{text}' is no time above zero; write it like 5s, 1m30s or 250ms"
        )),
    }
}

/// `host:port` of a member's URL.
#[must_use]
pub fn host_port(endpoint: &str) -> &str {
    endpoint
        .split_once("://")
        .map_or(endpoint, |(_, rest)| rest)
        .trim_end_matches('/')
}

fn with_scheme(endpoint: &str) -> String {
    let endpoint = endpoint.trim();
    if endpoint.contains("://") {
        endpoint.to_owned()
    } else {
        format!("http://{endpoint}")
    }
}

fn check_endpoint(endpoint: &str) -> Result<(), Failure> {
    let problem = |why: &str| {
        Failure::usage(format!("etcd endpoint '{endpoint}' {why}"))
            .next("Write it like http://127.0.0.1:2379 or https://etcd-1:2379.")
    };
    let (scheme, rest) = endpoint
        .split_once("://")
        .ok_or_else(|| problem("has no scheme"))?;
    if !matches!(scheme, "http" | "https") {
        return Err(problem("is neither http nor https"));
    }
    let uri: tonic::transport::Uri = endpoint.parse().map_err(|_| problem("is no URL"))?;
    if rest.contains('@') {
        return Err(
            Failure::usage("an etcd endpoint carries a user or password in its URL")
                .next("Give them with --user and MSCTL_PASSWORD."),
        );
    }
    match uri.port() {
        Some(_) => Ok(()),
        None => Err(problem("names no port")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_and_is_more_than_nothing() {
        for (text, expected) in [
            ("5s", Some(Duration::from_secs(5))),
            ("1m30s", Some(Duration::from_secs(90))),
            ("250ms", Some(Duration::from_millis(250))),
            (" 1h ", Some(Duration::from_secs(3600))),
            ("5", None),
            ("-5s", None),
            ("0s", None),
            ("", None),
            ("soon", None),
        ] {
            assert_eq!(duration(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn an_endpoint_without_scheme_is_plain_http_and_one_without_port_is_refused() {
        let context = Context::from_endpoints(&["10.0.0.1:2379".to_owned()]);
        assert_eq!(context.endpoints, ["http://10.0.0.1:2379"]);
        assert_eq!(&*context.name, "10.0.0.1:2379");
        for (endpoint, good) in [
            ("http://a:1", true),
            ("https://[::1]:2379", true),
            ("http://a", false),
            ("ftp://a:1", false),
            ("http://u:p@a:1", false),
            ("http://a b:1", false),
        ] {
            assert_eq!(check_endpoint(endpoint).is_ok(), good, "{endpoint}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let credentials = Credentials {
            user: "root".into(),
            password: Secret::new("hunter2"),
        };
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }
}
