//! The one road of a config change, for the command line and the console alike: guarded edits →
//! checked against the services' schemas → one plan → committed with its record in the same
//! transaction.
//!
//! Nothing here asks or prints. What was read for the edits is the guard of the edits; nothing is
//! read again in its place.

pub mod canary;
pub mod commit;
pub mod effect;
pub mod history;
pub mod reach;
pub mod rollback;
pub mod schemas;
pub mod series;

use std::sync::Arc;

use fleet::config::conflict::{self, Take, ThreeWay};
use fleet::config::schema::{Violation, Weight};
use fleet::config::{ConfigKey, Published, Scope, apply, value};
use fleet::release::Action;
use fleet::{Conflict, Edit, InstanceId, Plan, PlanError, Revision, Write};

use crate::report::Failure;
use crate::session::Session;
pub use commit::commit;
use reach::Audience;

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
    pub schemas: Arc<Published>,
    /// What the schemas say against it.
    pub faults: Vec<Fault>,
    /// Where the plan only writes or ends a canary: what that does, and to whom.
    pub tried: Option<Tried>,
}

/// What a canary, or its end, does to the instances it names.
#[derive(Debug, Clone)]
pub struct Tried {
    /// Whom it reaches.
    pub instances: Vec<InstanceId>,
    /// What changes for them; nobody commits these edits.
    pub edits: Vec<Edit>,
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
        let schemas = schemas::read(session, &scopes).await?;
        Ok(Self::with(session, plan, revision, action, schemas))
    }

    /// Checks a plan against schemas that were read before.
    #[must_use]
    pub fn with(
        session: &Session,
        plan: Plan,
        revision: Revision,
        action: Action,
        schemas: impl Into<Arc<Published>>,
    ) -> Self {
        let schemas = schemas.into();
        let faults = faults(&plan, &session.prefixes().config, &schemas);
        Self {
            plan,
            action,
            revision,
            schemas,
            faults,
            tried: None,
        }
    }

    /// What it changes for those it reaches, key by key.
    pub fn effects<'a>(
        &'a self,
        config: &'a fleet::Prefix,
    ) -> impl Iterator<Item = (ConfigKey, &'a Edit)> {
        let edits = match &self.tried {
            Some(tried) => &tried.edits[..],
            None => self.plan.edits(),
        };
        edits
            .iter()
            .filter_map(|edit| Some((ConfigKey::from_key(config, &edit.key).ok()?, edit)))
    }

    /// The keys that it changes.
    #[must_use]
    pub fn keys(&self, config: &fleet::Prefix) -> Vec<ConfigKey> {
        self.effects(config).map(|(key, _)| key).collect()
    }

    /// Whom it reaches.
    #[must_use]
    pub fn audience(&self) -> Audience {
        match &self.tried {
            Some(tried) => Audience::Only(tried.instances.clone()),
            None => Audience::Everyone,
        }
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

/// Splits edits into changes that can be sent: one where that is enough.
///
/// # Errors
/// When one edit alone is too much.
pub fn batches_of(session: &Session, edits: Vec<Edit>) -> Result<Vec<Plan>, Failure> {
    apply::batches(&session.prefixes().config, edits).map_err(|error| plan_failure(&error))
}

/// The scopes whose keys, or whose canary, a plan touches.
#[must_use]
pub fn scopes(plan: &Plan, config: &fleet::Prefix) -> Vec<Scope> {
    let mut scopes: Vec<Scope> = Vec::new();
    for edit in plan.edits() {
        let scope = match ConfigKey::from_key(config, &edit.key) {
            Ok(key) => Some(key.scope),
            Err(_) => fleet::config::canary::service_of(config, &edit.key).map(Scope::Service),
        };
        if let Some(scope) = scope.filter(|scope| !scopes.contains(scope)) {
            scopes.push(scope);
        }
    }
    scopes
}

fn faults(plan: &Plan, config: &fleet::Prefix, schemas: &Published) -> Vec<Fault> {
    let mut faults = Vec::new();
    // Where no service says anything, values need not be read.
    if schemas.all().next().is_none() {
        return faults;
    }
    for edit in plan.edits() {
        let Ok(key) = ConfigKey::from_key(config, &edit.key) else {
            continue;
        };
        let found = match &edit.write {
            Write::Delete => schemas.judge_unset(&key),
            Write::Put { value, .. } => match value::parse(value) {
                Ok(value) => schemas.judge(&key, &value),
                Err(_) => continue,
            },
        };
        faults.extend(found.into_iter().map(|violation| Fault {
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
