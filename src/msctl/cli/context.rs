//! `msctl context`: the contexts of the settings file. No connection is opened and no password
//! shown.

use std::path::PathBuf;

use serde::Serialize;

use crate::report::{Cell, Failure, Report, Table, Tone};
use crate::settings::file::{ContextFile, SettingsFile};

/// Show, choose and change contexts.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  msctl context                                        the contexts, the current one marked
  msctl context set prod --endpoint https://etcd-1:2379 --endpoint https://etcd-2:2379 \\
      --ca ca.pem --etcd-user ops --password-command 'pass show etcd' --production
  msctl context use prod
  msctl context remove old

The settings file, $XDG_CONFIG_HOME/msctl/config.yaml:
  current: local
  contexts:
    local:
      endpoints: [http://127.0.0.1:2379]
    prod:
      endpoints: [https://etcd-1:2379, https://etcd-2:2379]
      tls: {cacert: ca.pem, cert: me.pem, key: me.key}            # to etcd
      service_tls: {cacert: ca.pem, cert: me.pem, key: me.key}    # to grpcs:// and https:// instances
      user: ops
      password_command: [pass, show, etcd]   # or password_file, password_env
      prefixes: {services: /services/, config: /config/}
      read_only: false
      production: true")]
pub struct ContextCommand {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the contexts (the default)
    List,
    /// Make a context the current one
    Use {
        /// Its name
        name: String,
    },
    /// Add a context, or replace one
    Set(Box<Set>),
    /// Remove a context
    Remove {
        /// Its name
        name: String,
    },
}

#[derive(Debug, clap::Args)]
struct Set {
    /// Its name
    name: String,
    /// An etcd member; repeat it for each
    #[arg(long = "endpoint", value_name = "URL", required = true)]
    members: Vec<String>,
    /// etcd user
    #[arg(long, value_name = "NAME")]
    etcd_user: Option<String>,
    /// Command whose first line of output is the password
    #[arg(long, value_name = "COMMAND", requires = "etcd_user")]
    password_command: Option<String>,
    /// File whose first line is the password
    #[arg(long, value_name = "FILE", requires = "etcd_user")]
    password_file: Option<PathBuf>,
    /// Environment variable that holds the password
    #[arg(long, value_name = "NAME", requires = "etcd_user")]
    password_env: Option<String>,
    /// Certificate authority (PEM file)
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Certificate to show (PEM file)
    #[arg(long, value_name = "FILE", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// Its key (PEM file)
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
    /// Refuse every write
    #[arg(long)]
    read_only: bool,
    /// Ask for the context's name before a write
    #[arg(long)]
    production: bool,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    current: bool,
    endpoints: &'a [String],
    user: Option<&'a str>,
    read_only: bool,
    production: bool,
}

impl ContextCommand {
    /// Does what was asked.
    ///
    /// # Errors
    /// When the settings file cannot be read, understood or written, or a name is unknown.
    pub fn run(&self, report: &mut Report) -> Result<(), Failure> {
        let mut file = SettingsFile::load()?;
        match &self.action {
            None | Some(Action::List) => list(&file, report),
            Some(Action::Use { name }) => {
                known(&file, name)?;
                file.current = Some(name.clone());
                file.save()?;
                report.note(&format!("using context {name}"));
                Ok(())
            }
            Some(Action::Set(set)) => {
                fleet::service::check_name(&set.name)
                    .map_err(|error| Failure::usage(error.to_string()))?;
                let context = set.to_context();
                crate::settings::Context::from_endpoints(&context.endpoints).check()?;
                let replaced = file.contexts.insert(set.name.clone(), context).is_some();
                if file.current.is_none() {
                    file.current = Some(set.name.clone());
                }
                file.save()?;
                let what = if replaced { "replaced" } else { "added" };
                report.note(&format!("{what} context {}", set.name));
                Ok(())
            }
            Some(Action::Remove { name }) => {
                known(&file, name)?;
                file.contexts.remove(name);
                if file.current.as_deref() == Some(name) {
                    file.current = None;
                }
                file.save()?;
                report.note(&format!("removed context {name}"));
                Ok(())
            }
        }
    }
}

impl Set {
    fn to_context(&self) -> ContextFile {
        let mut context = ContextFile {
            endpoints: self.members.clone(),
            user: self.etcd_user.clone(),
            password_file: self.password_file.clone(),
            password_env: self.password_env.clone(),
            read_only: self.read_only,
            production: self.production,
            ..ContextFile::default()
        };
        if let Some(command) = &self.password_command {
            context.password_command = ["sh", "-c", command].map(str::to_owned).to_vec();
        }
        context.tls.cacert.clone_from(&self.ca);
        context.tls.cert.clone_from(&self.client_cert);
        context.tls.key.clone_from(&self.client_key);
        context
    }
}

fn known(file: &SettingsFile, name: &str) -> Result<(), Failure> {
    if file.contexts.contains_key(name) {
        return Ok(());
    }
    let names = file.contexts.keys().map(String::as_str);
    let failure = Failure::not_found(format!("no context '{name}' in {}", file.path.display()));
    Err(match fleet::suggest::closest(name, names) {
        Some(close) => failure.next(format!("Did you mean '{close}'?")),
        None => failure.next("'msctl context' lists them."),
    })
}

fn list(file: &SettingsFile, report: &mut Report) -> Result<(), Failure> {
    if file.contexts.is_empty() {
        report.note(&format!(
            "no contexts in {}; without one msctl uses {}",
            file.path.display(),
            crate::settings::DEFAULT_ENDPOINT
        ));
    }
    let rows = file.contexts.iter().map(|(name, context)| Row {
        name,
        current: file.current.as_deref() == Some(name),
        endpoints: &context.endpoints,
        user: context.user.as_deref(),
        read_only: context.read_only,
        production: context.production,
    });
    let table = Table::new(&["", "NAME", "USER", "MODE", "ENDPOINTS"]);
    if report.is_table() && file.contexts.is_empty() {
        return Ok(());
    }
    report.list(rows, table, |row| {
        let mode = match (row.production, row.read_only) {
            (true, true) => "production, read-only",
            (true, false) => "production",
            (false, true) => "read-only",
            (false, false) => "",
        };
        let tone = if row.production {
            Tone::Bad
        } else {
            Tone::Plain
        };
        vec![
            if row.current { "*" } else { "" }.into(),
            row.name.into(),
            row.user.unwrap_or("").into(),
            Cell::new(mode, tone),
            row.endpoints.join(", ").into(),
        ]
    })
}
