//! The one road of a config change, for the command line and the console alike: guarded edits →
//! checked against the services' schemas → one plan → committed with its record in the same
//! transaction.
//!
//! Nothing here asks or prints. What was read for the edits is the guard of the edits; nothing is
//! read again in its place.

pub mod reach;
pub mod schemas;

use std::hash::{BuildHasher, RandomState};

use fleet::config::conflict::{self, Take, ThreeWay};
use fleet::config::schema::{Violation, Weight};
use fleet::config::{ConfigKey, Scope, canary, value};
use fleet::release::{Action, Author, Recording, ReleaseError, retention};
use fleet::{Conflict, Edit, Entry, Outcome, Plan, PlanError, Revision, Write};

use crate::report::Failure;
use crate::session::{Session, Writer};
pub use schemas::Schemas;

/// How often a commit is repeated because another change took the place or the age of a record.
const RECORD_TRIES: usize = 5;

/// A change that could be written.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// The edits of config keys; records come with the commit.
    pub plan: Plan,
    /// What kind of change it is, for its record.
    pub action: Action,
    /// The store's revision when the edits were made.
    pub revision: Revision,
    /// What the touched services say of their config.
    pub schemas: Schemas,
    /// What the schemas say against it.
    pub faults: Vec<Fault>,
}

/// What a schema says against one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The key that is written.
    pub key: ConfigKey,
    /// What is wrong.
    pub violation: Violation,
}

impl Proposal {
    /// Makes one plan of edits and checks it.
    ///
    /// # Errors
    /// When the edits are no plan, or the schemas cannot be read from etcd.
    pub async fn new(
        session: &Session,
        edits: Vec<Edit>,
        revision: Revision,
        action: Action,
    ) -> Result<Self, Failure> {
        let plan = Plan::new(edits).map_err(|error| plan_failure(&error))?;
        Self::of(session, plan, revision, action).await
    }

    /// Checks a plan.
    ///
    /// # Errors
    /// When the schemas cannot be read from etcd.
    pub async fn of(
        session: &Session,
        plan: Plan,
        revision: Revision,
        action: Action,
    ) -> Result<Self, Failure> {
        let scopes = scopes(&plan, &session.prefixes().config);
        let schemas = Schemas::read(session, &scopes).await?;
        Ok(Self::with(session, plan, revision, action, schemas))
    }

    /// Checks a plan against schemas that were read before.
    #[must_use]
    pub fn with(
        session: &Session,
        plan: Plan,
        revision: Revision,
        action: Action,
        schemas: Schemas,
    ) -> Self {
        let faults = faults(&plan, &session.prefixes().config, &schemas);
        Self {
            plan,
            action,
            revision,
            schemas,
            faults,
        }
    }

    /// The keys that it changes.
    #[must_use]
    pub fn keys(&self, config: &fleet::Prefix) -> Vec<ConfigKey> {
        let edits = self.plan.edits().iter();
        edits
            .filter_map(|edit| ConfigKey::from_key(config, &edit.key).ok())
            .collect()
    }

    /// What a service would refuse.
    pub fn errors(&self) -> impl Iterator<Item = &Fault> {
        let errors = |fault: &&Fault| fault.violation.weight == Weight::Error;
        self.faults.iter().filter(errors)
    }

    /// The change again, on what stands there now.
    ///
    /// # Errors
    /// When what was chosen is no plan.
    pub fn resolved(
        &self,
        session: &Session,
        conflicts: &[Conflict],
        choose: impl FnMut(&ThreeWay) -> Take,
    ) -> Result<Self, Failure> {
        let plan = conflict::replan(&self.plan, conflicts, choose)
            .map_err(|error| plan_failure(&error))?;
        Ok(Self::with(
            session,
            plan,
            self.revision,
            self.action.clone(),
            self.schemas.clone(),
        ))
    }
}

/// Writes a change and its record, or nothing. A conflict is about config keys alone: where only
/// the place of a record was taken, the record finds another.
///
/// # Errors
/// When etcd could not be asked, or refused.
pub async fn commit(
    writer: &Writer,
    proposal: &Proposal,
    message: &str,
) -> Result<Outcome, Failure> {
    let session = writer.session();
    let prefixes = session.prefixes();
    if proposal.plan.is_empty() {
        return Ok(Outcome::Applied {
            revision: proposal.revision,
        });
    }
    let author = Author {
        name: session.author(),
        time: jiff::Timestamp::now(),
        message: message.to_owned(),
    };
    let is_secret = |key: &ConfigKey| proposal.schemas.is_secret(key);
    let mut expired = expired(session, &proposal.plan).await?;
    let mut tries = 0;
    loop {
        tries += 1;
        let recording = Recording {
            config: &prefixes.config,
            releases: &prefixes.releases,
            author: &author,
            action: &proposal.action,
            revision: proposal.revision,
            nonce: nonce(),
            is_secret: &is_secret,
            expired: &expired,
        };
        let plan = recording
            .of(proposal.plan.clone())
            .map_err(|error| match error {
                ReleaseError::Plan(error) => plan_failure(&error),
                ReleaseError::Message(_) => Failure::usage(error.to_string()),
            })?;
        match writer.commit(&plan).await? {
            Outcome::Refused { conflicts } => {
                let ours = |conflict: &Conflict| prefixes.config.contains(&conflict.key);
                let conflicts: Vec<_> = conflicts.into_iter().filter(ours).collect();
                if !conflicts.is_empty() || tries == RECORD_TRIES {
                    return Ok(Outcome::Refused { conflicts });
                }
                // Others tidied up meanwhile; they may go on.
                expired = Vec::new();
            }
            outcome => return Ok(outcome),
        }
    }
}

/// A random number that names records.
fn nonce() -> u32 {
    let random = RandomState::new().hash_one(std::process::id());
    u32::try_from(random >> 32).unwrap_or_default()
}

/// The records that make room for the ones of a plan.
async fn expired(session: &Session, plan: &Plan) -> Result<Vec<Entry>, Failure> {
    let prefixes = session.prefixes();
    let keep = session.context().keep_releases;
    let mut expired = Vec::new();
    for scope in scopes(plan, &prefixes.config) {
        let own = scope.prefix(&prefixes.releases);
        let counted = session.client().count(&own).await;
        let (count, _) = counted.map_err(|error| session.failure(&error))?;
        if usize::try_from(count).unwrap_or(usize::MAX) < keep {
            continue;
        }
        let heads = session
            .client()
            .keys(&own, etcd::ListOptions::default())
            .await
            .map_err(|error| session.failure(&error))?;
        let records = heads.keys.into_iter().map(|head| Entry {
            key: head.key,
            value: [].into(),
            create_revision: head.create_revision,
            mod_revision: head.mod_revision,
            version: head.version,
            lease: None,
        });
        expired.extend(retention::expired(records.collect(), keep));
    }
    Ok(expired)
}

/// The scopes whose keys, or whose canary, a plan touches.
#[must_use]
pub fn scopes(plan: &Plan, config: &fleet::Prefix) -> Vec<Scope> {
    let mut scopes: Vec<Scope> = Vec::new();
    for edit in plan.edits() {
        let scope = match ConfigKey::from_key(config, &edit.key) {
            Ok(key) => Some(key.scope),
            Err(_) => canary::service_of(config, &edit.key).map(Scope::Service),
        };
        if let Some(scope) = scope.filter(|scope| !scopes.contains(scope)) {
            scopes.push(scope);
        }
    }
    scopes
}

fn faults(plan: &Plan, config: &fleet::Prefix, schemas: &Schemas) -> Vec<Fault> {
    let mut faults = Vec::new();
    for edit in plan.edits() {
        let (Ok(key), Write::Put { value, .. }) =
            (ConfigKey::from_key(config, &edit.key), &edit.write)
        else {
            continue;
        };
        let (Some(schema), Ok(value)) = (schemas.get(&key.scope), value::parse(value)) else {
            continue;
        };
        let found = schema.check(key.path(), &value).into_iter();
        faults.extend(found.map(|violation| Fault {
            key: key.clone(),
            violation,
        }));
    }
    faults
}

/// Why edits are no plan, as the console says it.
#[must_use]
pub fn plan_failure(error: &PlanError) -> Failure {
    match error {
        PlanError::TooLarge(bytes) => Failure::usage(format!(
            "the change has {bytes} bytes, etcd takes at most {} at once",
            fleet::plan::MAX_BYTES
        ))
        .next("Split it, or keep large data elsewhere."),
        PlanError::TooMany(keys) => Failure::usage(format!(
            "the change has {keys} keys, etcd takes at most {} at once",
            fleet::plan::MAX_EDITS
        ))
        .next("Split it by service, or write a tree and use 'msctl config apply', which does."),
        other => Failure::usage(other.to_string()),
    }
}
