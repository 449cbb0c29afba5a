//! What a change will come to, before it is made: the value each service runs then, and how many
//! running instances it reaches.

use std::collections::BTreeSet;

use fleet::config::effect::{Effect, effects};
use fleet::config::{ConfigKey, Scope};
use fleet::{Entry, ServiceName};

use super::Proposal;
use super::reach::Reach;
use crate::report::Failure;
use crate::session::Session;

/// See the module.
#[derive(Debug, Clone)]
pub struct Foreseen {
    /// For each service and key, what it runs before and after.
    pub effects: Vec<Effect>,
    /// How many instances read a key that it changes for them: one whose service has its own value
    /// of a global key is not among them.
    pub reached: usize,
}

/// Foresees what changes come to that are made together.
///
/// # Errors
/// When etcd cannot be read.
pub async fn foresee(session: &Session, proposals: &[Proposal]) -> Result<Foreseen, Failure> {
    let config = &session.prefixes().config;
    let edits: Vec<_> = proposals
        .iter()
        .flat_map(|one| one.effects(config))
        .collect();
    let reach = Reach::read(session).await?;
    let Some(first) = proposals.first() else {
        return Ok(Foreseen {
            effects: Vec::new(),
            reached: 0,
        });
    };
    let scopes: BTreeSet<Scope> = edits.iter().map(|(key, _)| key.scope.clone()).collect();
    let entries = read(session, &scopes).await?;
    let mut services: BTreeSet<ServiceName> = BTreeSet::new();
    for scope in &scopes {
        match scope {
            Scope::Service(service) => {
                services.insert(service.clone());
            }
            Scope::Global => {
                services.extend(reach.services().cloned());
            }
        }
    }
    let effects = effects(config, &first.schemas, &entries, &edits, &services);
    let audience = first.audience();
    let changed: Vec<ConfigKey> = effects
        .iter()
        .filter(|effect| effect.changes())
        .filter_map(|effect| {
            let scope = Scope::Service(effect.service.clone());
            ConfigKey::new(scope, effect.key.path()).ok()
        })
        .collect();
    let reached = reach.instances(&changed, &audience).count();
    Ok(Foreseen { effects, reached })
}

async fn read(session: &Session, scopes: &BTreeSet<Scope>) -> Result<Vec<Entry>, Failure> {
    let config = &session.prefixes().config;
    if scopes.contains(&Scope::Global) || scopes.len() > 4 {
        return Ok(session.list(config).await?.entries);
    }
    let mut entries = session.list(&Scope::Global.prefix(config)).await?.entries;
    for scope in scopes {
        entries.extend(session.list(&scope.prefix(config)).await?.entries);
    }
    Ok(entries)
}
