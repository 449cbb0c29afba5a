//! What instances say that they run, against the newest config that they read.

use std::sync::Arc;

use fleet::config::{ConfigKey, Scope};
use fleet::rollout::tally::Tally;
use fleet::rollout::{self, Rollout};
use fleet::status::{StatusRecord, Taken};
use fleet::{Change, Instance, InstanceId, Revision, ServiceName};

use super::Directory;

impl Directory {
    /// The newest config keys that a service reads.
    pub fn newest_config(&self, service: &ServiceName) -> Taken {
        let of = |scope: &Scope| self.configured.get(scope).map_or(0, |revision| revision.0);
        Taken {
            service: of(&Scope::Service(service.clone())),
            global: of(&Scope::Global),
        }
    }

    /// A config key of a scope was written.
    pub fn configure(&mut self, scope: Scope, revision: Revision) {
        self.behind.scopes.insert(scope.clone());
        let newest = self.configured.entry(scope).or_default();
        *newest = (*newest).max(revision);
    }

    /// Another store answers: when config was written in the one before is no measure of it.
    pub fn forget_config(&mut self) {
        let forgotten = std::mem::take(&mut self.configured);
        self.behind.scopes.extend(forgotten.into_keys());
    }

    /// Takes in a change below the status prefix. A record that cannot be read counts as none.
    pub fn apply_status(&mut self, change: &Change) {
        let Some(name) = self.prefixes.status.strip(change.key()) else {
            return;
        };
        let record = match change {
            Change::Put(entry) => StatusRecord::from_json(&entry.value).ok(),
            Change::Delete { .. } => None,
        };
        match record {
            Some(record) => self.status.insert(name.into(), Arc::new(record)),
            None => self.status.remove(name),
        };
        // Who says how it is stands below the services prefix under the same name.
        if let Ok(name) = std::str::from_utf8(name) {
            self.behind
                .instances
                .insert(self.prefixes.services.join(name));
        }
    }

    /// What an instance says of itself.
    pub fn status(&self, instance: &Instance) -> Option<&Arc<StatusRecord>> {
        let record = &instance.record;
        let name = format!("{}/{}", record.service, record.id);
        self.status.get(name.as_bytes())
    }

    /// The instances that read a scope's config.
    fn readers(&self, scope: &Scope) -> impl Iterator<Item = &Instance> {
        let services = self.registry.services().filter(|(name, _)| match scope {
            Scope::Global => true,
            Scope::Service(service) => service == *name,
        });
        services.flat_map(|(_, service)| service.instances().map(|instance| &**instance))
    }

    /// Who of a scope runs what, for all its keys.
    pub fn tally(&self, scope: &Scope) -> Tally {
        Tally::of(self.readers(scope), |instance| self.said(instance))
    }

    /// The running instances of a service that have these names.
    pub fn instances_named<'a>(
        &'a self,
        service: &ServiceName,
        names: &'a [InstanceId],
    ) -> impl Iterator<Item = &'a Arc<Instance>> {
        let service = self.registry.service(service.as_str());
        let all = service.into_iter().flat_map(|service| service.instances());
        all.filter(|instance| names.contains(&instance.record.id))
    }

    /// How far a change of these keys of a scope has come, with all its instances or with some.
    pub fn rollout(
        &self,
        scope: &Scope,
        changes: &[(ConfigKey, Revision)],
        only: Option<&[InstanceId]>,
    ) -> Rollout {
        let reached =
            |instance: &&Instance| only.is_none_or(|names| names.contains(&instance.record.id));
        let readers = self.readers(scope).filter(reached);
        rollout::rollout(changes, readers, |instance| self.said(instance))
    }

    pub(super) fn said(&self, instance: &Instance) -> Option<&StatusRecord> {
        self.status(instance).map(|status| &**status)
    }
}
