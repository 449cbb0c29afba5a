//! A resolved context, ready to speak to its etcd: reads for everyone, a writer only where the
//! context allows one.
//!
//! Opening a session touches no network. etcd's errors become the console's here, with the next
//! step and the exit code.

use std::sync::Arc;

use etcd::{ListOptions, Listing, Mirror, MirrorEvent, MirrorOptions};
use fleet::{Entry, Key, Outcome, Plan, Prefix, Prefixes, Revision};

use tokio::sync::mpsc;

use crate::invoke::server::Reach;
use crate::probe::{ProbeOptions, Prober};
use crate::report::{Failure, Kind};
use crate::settings::{Access, Context, host_port};

/// A fleet to speak of, and the link to it.
#[derive(Clone)]
pub struct Session {
    context: Arc<Context>,
    client: etcd::Client,
}

impl Session {
    /// Makes the link of a context. Must be called within a runtime; connects when first used.
    ///
    /// # Errors
    /// When TLS files cannot be read or the settings are of no use.
    pub fn open(context: Context) -> Result<Self, Failure> {
        let client = etcd::Client::new(etcd_settings(&context)?)
            .map_err(|error| failure(&error, &context))?;
        Ok(Self {
            context: Arc::new(context),
            client,
        })
    }

    /// The context: its name, members and rules.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The link, for reading and watching. Writes go through [`Session::writer`].
    #[must_use]
    pub fn client(&self) -> &etcd::Client {
        &self.client
    }

    /// Where the fleet's keys lie.
    #[must_use]
    pub fn prefixes(&self) -> &Prefixes {
        &self.context.prefixes
    }

    /// Everything under a prefix at one revision.
    ///
    /// # Errors
    /// When etcd cannot be read.
    pub async fn list(&self, prefix: &Prefix) -> Result<Listing, Failure> {
        self.client
            .list(prefix, ListOptions::default())
            .await
            .map_err(|error| self.failure(&error))
    }

    /// One key, if there is one, and the store's revision.
    ///
    /// # Errors
    /// When etcd cannot be read.
    pub async fn get(&self, key: &Key) -> Result<(Option<Entry>, Revision), Failure> {
        self.client
            .get(key)
            .await
            .map_err(|error| self.failure(&error))
    }

    /// Follows a prefix: first everything, then each change, until the mirror is dropped. Once it
    /// has begun it outlives any loss of etcd.
    ///
    /// # Errors
    /// When etcd cannot be reached to begin with.
    pub async fn follow(
        &self,
        prefix: &Prefix,
    ) -> Result<(Mirror, mpsc::Receiver<MirrorEvent>), Failure> {
        // A mirror waits for etcd for ever, which is not what a person means at a prompt.
        self.client
            .count(prefix)
            .await
            .map_err(|error| self.failure(&error))?;
        Ok(Mirror::spawn(
            self.client.clone(),
            prefix.clone(),
            MirrorOptions::default(),
        ))
    }

    /// The one that may write; a read-only context has none.
    ///
    /// # Errors
    /// Kind `Refused` in a read-only context.
    pub fn writer(&self) -> Result<Writer, Failure> {
        match self.context.access {
            Access::ReadWrite => Ok(Writer {
                session: self.clone(),
            }),
            Access::ReadOnly => Err(Failure::refused(format!(
                "context '{}' is read-only",
                self.context.name
            ))
            .next("Use another context, or take read_only from it in the settings file.")),
        }
    }

    /// Who writes, for the history: the etcd user where there is one, else the user of this
    /// machine.
    #[must_use]
    pub fn author(&self) -> String {
        if let Some(credentials) = &self.context.credentials {
            return credentials.user.clone();
        }
        ["MSCTL_AUTHOR", "USER", "LOGNAME"]
            .into_iter()
            .filter_map(|name| std::env::var(name).ok())
            .find(|name| !name.trim().is_empty())
            .or_else(|| whoami::username().ok())
            .unwrap_or_else(|| "unknown".to_owned())
    }

    /// An error of etcd as the console says it.
    #[must_use]
    pub fn failure(&self, error: &etcd::Error) -> Failure {
        failure(error, &self.context)
    }
}

/// Writes to the fleet's etcd.
#[derive(Clone)]
pub struct Writer {
    session: Session,
}

impl Writer {
    /// Commits a plan: all of it while everything is as it was seen, or nothing. An outcome that is
    /// unknown is an outcome, no error.
    ///
    /// # Errors
    /// When etcd could not be asked, or refused.
    pub async fn commit(&self, plan: &Plan) -> Result<Outcome, Failure> {
        self.session
            .client
            .commit(plan)
            .await
            .map_err(|error| self.session.failure(&error))
    }

    /// Ends a lease and deletes its keys.
    ///
    /// # Errors
    /// When etcd could not be asked, or refused.
    pub async fn revoke(&self, lease: fleet::LeaseId) -> Result<(), Failure> {
        self.session
            .client
            .lease_revoke(lease)
            .await
            .map_err(|error| self.session.failure(&error))
    }

    /// The session it belongs to.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }
}

impl Session {
    /// A prober that trusts whom this context trusts.
    #[must_use]
    pub fn prober(&self, options: ProbeOptions) -> Prober {
        Prober::trusting(options, self.context().service_tls.clone())
    }

    /// The same way to servers, with trust in whom this context trusts where nothing else is said.
    #[must_use]
    pub fn trusted(&self, reach: Reach) -> Reach {
        Reach {
            service_tls: self.context().service_tls.clone(),
            ..reach
        }
    }
}

fn etcd_settings(context: &Context) -> Result<etcd::Settings, Failure> {
    let mut settings = etcd::Settings::new(context.endpoints.clone());
    settings.request_timeout = context.timeout;
    settings.user = context
        .credentials
        .as_ref()
        .map(|c| etcd::Credentials::new(&c.user, c.password.reveal()));
    if context
        .endpoints
        .iter()
        .any(|endpoint| endpoint.starts_with("https://"))
    {
        // What is wrong with them is told now; renewed ones are in use from the next connection on.
        context.tls.read().map_err(|failure| {
            failure.next("Check the TLS files of the context, or --cacert, --cert and --key.")
        })?;
        settings.tls_files = Some(context.tls.paths()?);
    }
    Ok(settings)
}

/// An error of etcd as the console says it: kind, words, next step.
#[must_use]
pub fn failure(error: &etcd::Error, context: &Context) -> Failure {
    use etcd::Error as E;
    let mut text = error.to_string();
    for endpoint in &context.endpoints {
        text = text.replace(endpoint, host_port(endpoint));
    }
    match error {
        E::Unreachable { endpoints, cause } => {
            let members: Vec<&str> = endpoints.iter().map(|member| host_port(member)).collect();
            Failure::new(
                Kind::Unreachable,
                format!("etcd {}: {cause}", members.join(", ")),
            )
            .next("Start one with 'msctl etcd', or name yours with --endpoints")
        }
        E::Lost { .. } | E::Deadline { .. } | E::Unavailable { .. } => {
            Failure::new(Kind::Unreachable, text).next(format!(
                "See whether etcd at {} runs and has a leader: msctl cluster",
                context.members()
            ))
        }
        E::Auth { .. } => Failure::refused(text)
            .next("Give --user NAME and MSCTL_PASSWORD, or a context with both."),
        E::PermissionDenied { .. } => {
            Failure::refused(text).next("Ask for a role that may, or use another user.")
        }
        E::LeaseNotFound { .. } => Failure::not_found(text),
        E::Settings(_) => Failure::usage(text),
        E::NoSpace { .. } => Failure::failed(text).next(
            "Make room: etcdctl compact REVISION, etcdctl defrag, etcdctl alarm disarm; or raise etcd's --quota-backend-bytes.",
        ),
        E::TooLarge { .. } | E::Compacted { .. } => Failure::failed(text),
        _ => Failure::failed(text),
    }
}
