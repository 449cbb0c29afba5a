//! The settings file, `$XDG_CONFIG_HOME/msctl/config.yaml`: named contexts and which one is
//! current.
//!
//! A file that holds a password and can be read by others is refused, not repaired. Written
//! atomically and for the owner alone.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::report::Failure;
use crate::settings::Secret;

/// How long a password command may think; it may ask for a touch or a PIN.
const PASSWORD_COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// What the settings file says.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsFile {
    /// The context used when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// The contexts by name.
    #[serde(default)]
    pub contexts: BTreeMap<String, ContextFile>,
    /// Keys of the console.
    #[serde(default, skip_serializing_if = "KeysFile::is_empty")]
    pub keys: KeysFile,
    /// Where it was read from.
    #[serde(skip)]
    pub path: PathBuf,
}

/// Keys of the console as the file has them: a preset, and on top of it actions with keys of their
/// own, in place of those they have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysFile {
    /// `default` or `k9s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// Action → keys: `quit: ctrl-q`, `top: [g g, home]`.
    #[serde(flatten)]
    pub bindings: BTreeMap<String, KeysOf>,
}

/// The keys of one action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum KeysOf {
    /// One.
    One(String),
    /// Any of them; the first is shown.
    Any(Vec<String>),
}

impl KeysOf {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<&str> {
        match self {
            Self::One(keys) => vec![keys],
            Self::Any(all) => all.iter().map(String::as_str).collect(),
        }
    }
}

impl KeysFile {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A context as the file has it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContextFile {
    /// etcd members as URLs.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// Files for TLS.
    #[serde(default, skip_serializing_if = "TlsFiles::is_empty")]
    pub tls: TlsFiles,
    /// Files for TLS to services whose endpoints want it (`grpcs`, `https`).
    #[serde(default, skip_serializing_if = "TlsFiles::is_empty")]
    pub service_tls: TlsFiles,
    /// etcd user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The password itself; the file must then be the owner's alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Hidden>,
    /// A command whose first line of output is the password.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub password_command: Vec<String>,
    /// A file whose first line is the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// An environment variable that holds the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_env: Option<String>,
    /// Where the fleet's keys lie.
    #[serde(default, skip_serializing_if = "PrefixesFile::is_empty")]
    pub prefixes: PrefixesFile,
    /// How long one request to etcd may take, as `5s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Refuses every write.
    #[serde(default, skip_serializing_if = "is_false")]
    pub read_only: bool,
    /// Asks for the context's name before a write.
    #[serde(default, skip_serializing_if = "is_false")]
    pub production: bool,
    /// How many records of config changes are kept for each service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_releases: Option<usize>,
}

/// PEM files for a TLS connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// Who signs the server's certificate; the system's roots when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cacert: Option<PathBuf>,
    /// The certificate to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// Its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The name the server's certificate must be for, when it is not the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

impl TlsFiles {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What the files hold now.
    ///
    /// # Errors
    /// As [`TlsFiles::paths`], and when one cannot be read.
    pub fn read(&self) -> Result<etcd::TlsSettings, Failure> {
        self.paths()?.read().map_err(|error| match error {
            etcd::Error::Settings(cause) => {
                Failure::usage(cause.trim_start_matches("TLS: ").to_owned())
            }
            other => Failure::usage(other.to_string()),
        })
    }

    /// The files by what they are for.
    ///
    /// # Errors
    /// When a certificate comes without its key, or a key without its certificate.
    pub fn paths(&self) -> Result<etcd::TlsFiles, Failure> {
        let identity = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
            (None, None) => None,
            _ => {
                return Err(
                    Failure::usage("a certificate and its key are given together")
                        .next("Give both --cert and --key."),
                );
            }
        };
        Ok(etcd::TlsFiles {
            ca: self.cacert.clone(),
            identity,
            server_name: self.server_name.clone(),
        })
    }
}

/// Prefixes as the file has them; what is absent is the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefixesFile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    services: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    config: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schema: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    releases: Option<String>,
}

impl PrefixesFile {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn resolve(&self, context: &str) -> Result<fleet::Prefixes, Failure> {
        let mut prefixes = fleet::Prefixes::default();
        for (name, text, place) in [
            ("services", &self.services, &mut prefixes.services),
            ("config", &self.config, &mut prefixes.config),
            ("schema", &self.schema, &mut prefixes.schema),
            ("status", &self.status, &mut prefixes.status),
            ("releases", &self.releases, &mut prefixes.releases),
        ] {
            if let Some(text) = text {
                *place = fleet::prefixes::directory(text).map_err(|error| {
                    Failure::usage(format!("prefix '{name}' of context '{context}': {error}"))
                })?;
            }
        }
        Ok(prefixes)
    }
}

/// A password in the file: written back as it is, shown nowhere.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden(String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hidden(…)")
    }
}

impl SettingsFile {
    /// Reads the file; one that does not exist is empty.
    ///
    /// # Errors
    /// When it cannot be read or understood, or holds a password that others can read.
    pub fn load() -> Result<Self, Failure> {
        match settings_path() {
            Some(path) => Self::load_from(&path),
            None => Ok(Self::default()),
        }
    }

    /// Reads this file; one that does not exist is empty.
    ///
    /// # Errors
    /// As [`SettingsFile::load`].
    pub fn load_from(path: &Path) -> Result<Self, Failure> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(Failure::failed(format!("{}: {error}", path.display())));
            }
        };
        let mut file: Self = if text.trim().is_empty() {
            Self::default()
        } else {
            serde_yaml::from_str(&text).map_err(|error| {
                Failure::usage(format!("{}: {error}", path.display()))
                    .next("Correct the file; 'msctl context --help' shows its form.")
            })?
        };
        path.clone_into(&mut file.path);
        let holder = file.contexts.iter().find(|(_, c)| c.password.is_some());
        if let Some((name, _)) = holder {
            refuse_if_others_read(path, name)?;
        }
        Ok(file)
    }

    /// Writes the file: whole or not at all, for its owner alone.
    ///
    /// # Errors
    /// When its folder cannot be made or written.
    pub fn save(&self) -> Result<(), Failure> {
        let failed = |error: std::io::Error| {
            Failure::failed(format!(
                "{} cannot be written: {error}",
                self.path.display()
            ))
        };
        if self.path.as_os_str().is_empty() {
            return Err(Failure::usage("there is no place for a settings file")
                .next("Set HOME or XDG_CONFIG_HOME."));
        }
        let text = serde_yaml::to_string(self)
            .map_err(|error| Failure::failed(format!("the settings have no YAML form: {error}")))?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(failed)?;
        let draft = self
            .path
            .with_extension(format!("yaml.{}", std::process::id()));
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options
            .open(&draft)
            .and_then(|mut file| {
                file.write_all(text.as_bytes())
                    .and_then(|()| file.sync_all())
            })
            .and_then(|()| std::fs::rename(&draft, &self.path));
        if written.is_err() {
            // What matters is the error that led here.
            let _ = std::fs::remove_file(&draft);
        }
        written.map_err(failed)
    }
}

impl ContextFile {
    /// The password from wherever the context keeps it; `None` when it names no place.
    ///
    /// # Errors
    /// When that place does not give one.
    pub fn password(&self, context: &str) -> Result<Option<Secret>, Failure> {
        if let Some(Hidden(password)) = &self.password {
            return Ok(Some(Secret::new(password)));
        }
        if let Some(variable) = &self.password_env {
            let password = std::env::var(variable).map_err(|_| {
                Failure::usage(format!(
                    "password of context '{context}': environment variable {variable} is not set"
                ))
            })?;
            return Ok(Some(Secret::new(password)));
        }
        if let Some(path) = &self.password_file {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Failure::failed(format!(
                    "password of context '{context}': {}: {error}",
                    path.display()
                ))
            })?;
            return first_line(&text, context).map(Some);
        }
        if let Some((program, arguments)) = self.password_command.split_first() {
            return run(program, arguments, context).map(Some);
        }
        Ok(None)
    }
}

fn run(program: &str, arguments: &[String], context: &str) -> Result<Secret, Failure> {
    let failed = |why: String| {
        Failure::failed(format!(
            "password of context '{context}': '{program}' {why}"
        ))
        .next("Run the password_command by hand to see why.")
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::inherit())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("cannot be started: {error}")))?;
    // A password is a line: it fits the pipe, so that waiting first cannot block the command.
    let deadline = Instant::now() + PASSWORD_COMMAND_LIMIT;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(failed(format!(
                    "did not end within {PASSWORD_COMMAND_LIMIT:?}"
                )));
            }
            Err(error) => return Err(failed(format!("cannot be waited for: {error}"))),
        }
    };
    if !status.success() {
        return Err(failed(format!("ended with {status}")));
    }
    let mut text = String::new();
    if let Some(mut out) = child.stdout.take() {
        std::io::Read::read_to_string(&mut out, &mut text)
            .map_err(|error| failed(format!("wrote what is no text: {error}")))?;
    }
    first_line(&text, context)
}

fn first_line(text: &str, context: &str) -> Result<Secret, Failure> {
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Secret::new(line)),
        _ => Err(Failure::failed(format!(
            "the password of context '{context}' is empty"
        ))),
    }
}

#[cfg(unix)]
fn refuse_if_others_read(path: &Path, context: &str) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path)
        .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?
        .permissions()
        .mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "{} holds the password of context '{context}' and others can read it (mode {:03o})",
        path.display(),
        mode & 0o777
    ))
    .next(format!(
        "Run 'chmod 600 {}', or use password_command.",
        path.display()
    )))
}

#[cfg(not(unix))]
fn refuse_if_others_read(_: &Path, _: &str) -> Result<(), Failure> {
    Ok(())
}

/// Where the settings file is; `None` when the environment names no home.
#[must_use]
pub fn settings_path() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let base = set("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".config")))?;
    Some(base.join("msctl").join("config.yaml"))
}

fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_comes_from_where_the_context_keeps_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "from-file\nnot this\n").unwrap();
        let shell = |script: &str| ["sh", "-c", script].map(str::to_owned).to_vec();
        let empty = ContextFile::default();
        for (context, expected) in [
            (empty.clone(), Ok(None)),
            (
                ContextFile {
                    password: Some(Hidden("plain".into())),
                    ..empty.clone()
                },
                Ok(Some("plain")),
            ),
            (
                ContextFile {
                    password_file: Some(file),
                    ..empty.clone()
                },
                Ok(Some("from-file")),
            ),
            (
                ContextFile {
                    password_file: Some("/nowhere".into()),
                    ..empty.clone()
                },
                Err("/nowhere"),
            ),
            (
                ContextFile {
                    password_command: shell("echo said; echo more"),
                    ..empty.clone()
                },
                Ok(Some("said")),
            ),
            (
                ContextFile {
                    password_command: shell("exit 3"),
                    ..empty.clone()
                },
                Err("ended with"),
            ),
            (
                ContextFile {
                    password_command: shell("true"),
                    ..empty.clone()
                },
                Err("is empty"),
            ),
            (
                ContextFile {
                    password_command: vec!["/no/such/program".into()],
                    ..empty.clone()
                },
                Err("cannot be started"),
            ),
            (
                ContextFile {
                    password_env: Some("MSCTL_NO_SUCH_VARIABLE".into()),
                    ..empty
                },
                Err("is not set"),
            ),
        ] {
            let got = context.password("prod");
            match (&got, &expected) {
                (Ok(got), Ok(expected)) => {
                    assert_eq!(got.as_ref().map(Secret::reveal), *expected, "{context:?}");
                }
                (Err(got), Err(expected)) => {
                    assert!(got.message().contains(expected), "{context:?} {got}");
                }
                _ => panic!("{context:?} {got:?}"),
            }
        }
    }

    #[test]
    fn a_field_that_is_not_known_is_refused_and_a_file_that_is_absent_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        assert!(SettingsFile::load_from(&path).unwrap().contexts.is_empty());
        std::fs::write(&path, "contexts: {a: {endpoint: x}}\n").unwrap();
        let error = SettingsFile::load_from(&path).unwrap_err();
        assert!(error.message().contains("endpoint"), "{error}");
    }

    #[test]
    fn what_is_saved_is_read_back_and_is_the_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep").join("config.yaml");
        let mut file = SettingsFile::load_from(&path).unwrap();
        let context = ContextFile {
            endpoints: vec!["http://a:1".into()],
            password: Some(Hidden("hunter2".into())),
            read_only: true,
            ..ContextFile::default()
        };
        file.contexts.insert("a".into(), context);
        file.save().unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let back = SettingsFile::load_from(&path).unwrap();
        assert!(back.contexts["a"].read_only);
        assert!(!format!("{back:?}").contains("hunter2"));
    }
}
