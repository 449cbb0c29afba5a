//! Whom a change reaches, and how far it has come with them by their own word.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use etcd::MirrorEvent;
use fleet::config::{ConfigKey, Scope};
use fleet::rollout::{Rollout, rollout};
use fleet::status::StatusRecord;
use fleet::{Change, Format, Instance, InstanceId, Key, Prefixes, Registry, Revision};

use crate::report::Failure;
use crate::session::Session;

/// The instances that read some keys, with what they say.
#[derive(Debug)]
pub struct Reach {
    registry: Registry,
    said: BTreeMap<Key, StatusRecord>,
}

/// Which instances count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// Every instance that reads the keys.
    Everyone,
    /// These alone: a canary's.
    Only(Vec<InstanceId>),
}

impl Reach {
    /// Reads who is registered and what they say.
    ///
    /// # Errors
    /// When etcd cannot be read.
    pub async fn read(session: &Session) -> Result<Self, Failure> {
        let prefixes = session.prefixes();
        let mut registry = Registry::new(prefixes.services.clone());
        registry.replace(session.list(&prefixes.services).await?.entries);
        let mut reach = Self {
            registry,
            said: BTreeMap::new(),
        };
        let statuses = session.list(&prefixes.status).await?.entries;
        statuses
            .into_iter()
            .for_each(|entry| reach.heard(Change::Put(entry)));
        Ok(reach)
    }

    fn heard(&mut self, change: Change) {
        match change {
            Change::Put(entry) => match StatusRecord::from_json(&entry.value) {
                Ok(record) => drop(self.said.insert(entry.key, record)),
                Err(_) => drop(self.said.remove(&entry.key)),
            },
            Change::Delete { key, .. } => drop(self.said.remove(&key)),
        }
    }

    /// The services that are registered.
    pub fn services(&self) -> impl Iterator<Item = &fleet::ServiceName> {
        self.registry.services().map(|(name, _)| name)
    }

    /// The instances that read any of these keys.
    pub fn instances<'a>(
        &'a self,
        keys: &'a [ConfigKey],
        audience: &'a Audience,
    ) -> impl Iterator<Item = &'a Instance> {
        self.registry
            .services()
            .filter(|(name, _)| {
                keys.iter().any(|key| match &key.scope {
                    Scope::Global => true,
                    Scope::Service(service) => service == *name,
                })
            })
            .flat_map(|(_, service)| service.instances())
            .map(|instance| &**instance)
            .filter(move |instance| match audience {
                Audience::Everyone => true,
                Audience::Only(named) => named.contains(&instance.record.id),
            })
    }

    /// Whether an instance that has only begun has not said anything yet.
    fn may_speak(&self, prefixes: &Prefixes, keys: &[ConfigKey], audience: &Audience) -> bool {
        let silent = |instance: &Instance| {
            let record = &instance.record;
            let status = prefixes.instance_status(&record.service, &record.id);
            instance.format == Format::Native && !self.said.contains_key(&status)
        };
        self.instances(keys, audience).any(silent)
    }

    /// How far changes have come, each key with the revision that set or unset it.
    #[must_use]
    pub fn rollout_of(
        &self,
        prefixes: &Prefixes,
        changes: &[(ConfigKey, Revision)],
        audience: &Audience,
    ) -> Rollout {
        let keys: Vec<_> = changes.iter().map(|(key, _)| key.clone()).collect();
        rollout(changes, self.instances(&keys, audience), |instance| {
            let record = &instance.record;
            self.said
                .get(&prefixes.instance_status(&record.service, &record.id))
        })
    }

    /// How far a change has come that wrote all keys at one revision.
    #[must_use]
    pub fn rollout(
        &self,
        prefixes: &Prefixes,
        revision: Revision,
        keys: &[ConfigKey],
        audience: &Audience,
    ) -> Rollout {
        self.rollout_of(prefixes, &at(revision, keys), audience)
    }
}

fn at(revision: Revision, keys: &[ConfigKey]) -> Vec<(ConfigKey, Revision)> {
    keys.iter().map(|key| (key.clone(), revision)).collect()
}

/// As [`wait_for`], of a change that wrote all keys at one revision.
///
/// # Errors
/// When etcd cannot be reached to begin with.
pub async fn wait(
    session: &Session,
    (keys, audience): (&[ConfigKey], &Audience),
    revision: Revision,
    limit: Duration,
    told: impl FnMut(&Rollout),
) -> Result<(Rollout, Duration), Failure> {
    wait_for(session, (&at(revision, keys), audience), limit, told).await
}

/// Waits until everyone has answered, or the time is up. Gives what was said until then and how
/// long it took; `told` hears each step. Cancelling it leaves nothing behind.
///
/// # Errors
/// When etcd cannot be reached to begin with.
pub async fn wait_for(
    session: &Session,
    (changes, audience): (&[(ConfigKey, Revision)], &Audience),
    limit: Duration,
    mut told: impl FnMut(&Rollout),
) -> Result<(Rollout, Duration), Failure> {
    let begun = Instant::now();
    let keys: Vec<_> = changes.iter().map(|(key, _)| key.clone()).collect();
    let prefixes = session.prefixes();
    let mut reach = Reach {
        registry: Registry::new(prefixes.services.clone()),
        said: BTreeMap::new(),
    };
    let (_services, mut services) = session.follow(&prefixes.services).await?;
    let (_statuses, mut statuses) = session.follow(&prefixes.status).await?;
    let (mut know_services, mut know_statuses) = (false, false);
    loop {
        if know_services && know_statuses {
            let rollout = reach.rollout_of(prefixes, changes, audience);
            told(&rollout);
            if rollout.is_settled() && !reach.may_speak(prefixes, &keys, audience) {
                return Ok((rollout, begun.elapsed()));
            }
        }
        let left = limit.saturating_sub(begun.elapsed());
        let event = async {
            tokio::select! {
                event = services.recv() => (true, event),
                event = statuses.recv() => (false, event),
            }
        };
        let Ok((of_services, Some(event))) = tokio::time::timeout(left, event).await else {
            let rollout = reach.rollout_of(prefixes, changes, audience);
            return Ok((rollout, begun.elapsed()));
        };
        let changes = match event {
            MirrorEvent::Listed { entries, .. } => entries.into_iter().map(Change::Put).collect(),
            MirrorEvent::Changed { changes, .. } => changes,
            MirrorEvent::Fresh { .. } | MirrorEvent::Stale { .. } => Vec::new(),
        };
        if of_services {
            know_services = true;
            for change in &changes {
                reach.registry.apply(change);
            }
        } else {
            know_statuses = true;
            changes.into_iter().for_each(|change| reach.heard(change));
        }
    }
}
