//! A change that some instances try first: begun, then given to all or taken back.
//!
//! Whoever decided on a canary acts on that one alone: what they looked at is the guard of what
//! they do, and another canary that took its place is left as it is.

pub mod watch;

use fleet::config::Scope;
use fleet::config::canary::{self, CanaryError, Standing, key_of};
use fleet::release::Action;
use fleet::{Conflict, Entry, InstanceId, Key, Plan, Prefix, Revision, Seen, ServiceName, Write};

use super::reach::{Audience, Reach};
use super::{Proposal, Tried, plan_failure, scopes};
use crate::report::{Failure, Kind};
use crate::session::Session;

/// The canary of a service.
///
/// # Errors
/// When etcd cannot be read, none is under way, or its record is damaged.
pub async fn standing(session: &Session, service: &ServiceName) -> Result<Standing, Failure> {
    let config = &session.prefixes().config;
    let key = key_of(config, service);
    let (Some(entry), _) = session.get(&key).await? else {
        return Err(none(service));
    };
    match Standing::read(config, &entry) {
        Some(Ok(standing)) => Ok(standing),
        Some(Err(error)) => Err(failure(&error)),
        None => Err(Failure::failed(format!("{key} is no canary's key"))),
    }
}

fn none(service: &ServiceName) -> Failure {
    Failure::not_found(format!("no canary of {service} is under way"))
        .next("Begin one with 'msctl config set KEY VALUE --canary INSTANCE'.")
}

/// Turns a change into one that is tried on some instances first.
///
/// # Errors
/// When it cannot be tried, one is under way, an instance is not there, or etcd cannot be read.
pub async fn begin(
    session: &Session,
    proposal: Proposal,
    instances: &[String],
    message: &str,
) -> Result<Proposal, Failure> {
    let config = &session.prefixes().config;
    let named: Vec<InstanceId> = instances
        .iter()
        .map(|name| InstanceId::new(name).map_err(|error| Failure::usage(error.to_string())))
        .collect::<Result<_, _>>()?;
    let standing = match scopes(&proposal.plan, config).first() {
        Some(Scope::Service(service)) => session.get(&key_of(config, service)).await?.0,
        _ => None,
    };
    let author = session.author();
    let who = (author.as_str(), jiff::Timestamp::now(), message);
    let (service, plan) = canary::begin(
        config,
        &proposal.plan,
        named.clone(),
        standing.as_ref(),
        who,
    )
    .map_err(|error| failure(&error))?;
    let reach = Reach::read(session).await?;
    let keys = proposal.keys(config);
    for id in &named {
        let audience = Audience::Only(vec![id.clone()]);
        if reach.instances(&keys, &audience).next().is_none() {
            return Err(Failure::not_found(format!("no instance {id} of {service}"))
                .next(format!("'msctl services {service}' lists who is there.")));
        }
    }
    let action = Action::Canary {
        instances: instances.to_vec(),
        keys: keys.iter().map(|key| key.path().to_owned()).collect(),
    };
    Ok(Proposal {
        action,
        tried: Some(Tried {
            instances: named,
            edits: proposal.plan.edits().to_vec(),
        }),
        plan,
        ..proposal
    })
}

/// The canary as it stands once a change of [`begin`] was written at a revision.
#[must_use]
pub fn begun(config: &Prefix, proposal: &Proposal, revision: Revision) -> Option<Standing> {
    let edit = proposal.plan.edits().first()?;
    let Write::Put { value, .. } = &edit.write else {
        return None;
    };
    let entry = Entry {
        key: edit.key.clone(),
        value: value.clone(),
        create_revision: revision,
        mod_revision: revision,
        version: 1,
        lease: None,
    };
    Standing::read(config, &entry)?.ok()
}

/// The change that gives this canary to everyone, guarded by it and by what stood there when it
/// began.
///
/// # Errors
/// When etcd cannot be read or the record names what is no key.
pub async fn promotion(session: &Session, standing: &Standing) -> Result<Proposal, Failure> {
    let config = &session.prefixes().config;
    let scope = Scope::Service(standing.service.clone());
    let listing = session.list(&scope.prefix(config)).await?;
    let seen = |key: &Key| {
        let found = listing.entries.iter().find(|entry| entry.key == *key);
        Seen::from(found.cloned())
    };
    let plan = standing
        .promote(config, seen)
        .map_err(|error| failure(&error))?;
    let action = Action::Promote(standing.entry.mod_revision.0);
    Proposal::of(session, plan, listing.revision, action).await
}

/// The change that ends this canary, guarded by it.
///
/// # Errors
/// When etcd cannot be read.
pub async fn end(session: &Session, standing: &Standing) -> Result<Proposal, Failure> {
    let config = &session.prefixes().config;
    let scope = Scope::Service(standing.service.clone());
    let listing = session.list(&scope.prefix(config)).await?;
    let now = |key: &Key| listing.entries.iter().find(|at| at.key == *key).cloned();
    let tried = Tried {
        instances: standing.canary.instances.clone(),
        edits: standing.falls_back(config, now),
    };
    ending(session, &standing.entry, listing.revision, Some(tried)).await
}

/// The change that ends whatever stands in the place of a service's canary: a damaged record can be
/// ended too, only nobody knows whom it reaches.
///
/// # Errors
/// When etcd cannot be read or there is none.
pub async fn end_any(session: &Session, service: &ServiceName) -> Result<Proposal, Failure> {
    let config = &session.prefixes().config;
    let (Some(entry), revision) = session.get(&key_of(config, service)).await? else {
        return Err(none(service));
    };
    match Standing::read(config, &entry) {
        Some(Ok(standing)) => end(session, &standing).await,
        _ => ending(session, &entry, revision, None).await,
    }
}

async fn ending(
    session: &Session,
    entry: &Entry,
    revision: Revision,
    tried: Option<Tried>,
) -> Result<Proposal, Failure> {
    let edit = fleet::Edit::delete(entry.key.clone(), Seen::At(entry.clone()));
    let plan = Plan::new([edit]).map_err(|error| plan_failure(&error))?;
    let action = Action::Abort(entry.mod_revision.0);
    let mut proposal = Proposal::of(session, plan, revision, action).await?;
    proposal.tried = tried;
    Ok(proposal)
}

/// Whether a commit was refused because of the canary itself: there is no choosing between two of
/// them, and one that another ended is over.
#[must_use]
pub fn overtaken(proposal: &Proposal, config: &Prefix, conflicts: &[Conflict]) -> Option<Failure> {
    let found = conflicts.iter().find_map(|conflict| {
        let service = canary::service_of(config, &conflict.key)?;
        Some((conflict, service))
    });
    let (conflict, service) = found?;
    let next = format!("Nothing was written. See who did: msctl config history {service}");
    Some(match (&proposal.action, &conflict.current) {
        (Action::Canary { .. }, Some(other)) => {
            failure(&CanaryError::UnderWay(service, other.mod_revision))
        }
        (_, Some(other)) => Failure::new(
            Kind::Conflict,
            format!(
                "the canary of {service} is another one since revision {}",
                other.mod_revision
            ),
        )
        .next(next),
        (_, None) => Failure::new(
            Kind::Conflict,
            format!("the canary of {service} was ended by another"),
        )
        .next(next),
    })
}

/// A canary's error as the console says it.
#[must_use]
pub fn failure(error: &CanaryError) -> Failure {
    use CanaryError as E;
    match error {
        E::UnderWay(..) => Failure::new(Kind::Conflict, error.to_string()),
        E::Plan(error) => plan_failure(error),
        E::Damaged(_) | E::Key(_) => Failure::failed(error.to_string()),
        E::Global(_) | E::Several(..) | E::Nobody | E::Nothing | E::NotText(_) => {
            Failure::usage(error.to_string())
        }
    }
}
