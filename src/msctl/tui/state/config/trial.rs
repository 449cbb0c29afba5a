//! The canary of the service that shows: read from its key, begun from the pending changes, promoted
//! or aborted; each of them a plan, guarded as any other.

use fleet::config::canary::{self, Canary, CanaryError, Standing};
use fleet::config::explain::{self, Explanation};
use fleet::config::{ConfigKey, ConfigKeyError, Scope};
use fleet::rollout::Rollout;
use fleet::{Edit, InstanceId, Plan, PlanError, Seen, ServiceName};
use jiff::Timestamp;

use super::ConfigPage;
use crate::tui::state::directory::Directory;

/// A canary as the page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// What stands there, or why it cannot be read.
    pub standing: Result<Standing, String>,
    /// What its instances say of it.
    pub rollout: Option<Rollout>,
}

impl ConfigPage {
    /// The canary of a service.
    pub fn standing(&self, service: &ServiceName) -> Option<Result<Standing, CanaryError>> {
        let entry = self.entries.get(&canary::key_of(&self.prefix, service))?;
        Standing::read(&self.prefix, entry)
    }

    /// Brings what shows of the canary up to date.
    pub(super) fn rebuild_trial(&mut self, directory: &Directory) {
        let service = match &self.scope {
            Some(Scope::Service(service)) => service.clone(),
            _ => {
                self.trial = None;
                return;
            }
        };
        self.trial = self.standing(&service).map(|standing| {
            let standing = standing.map_err(|error| error.to_string());
            let rollout = standing.as_ref().ok();
            Trial {
                rollout: rollout.map(|standing| rollout_of(standing, directory)),
                standing,
            }
        });
    }

    /// Why a key of a service has its value.
    ///
    /// # Errors
    /// When the path is none.
    pub fn explain(
        &self,
        service: &ServiceName,
        path: &str,
    ) -> Result<Explanation, ConfigKeyError> {
        let scope = Scope::Service(service.clone());
        let entries = [&scope, &Scope::Global].into_iter();
        let entries: Vec<_> = entries
            .flat_map(|scope| self.below(scope))
            .map(|(_, entry)| entry.clone())
            .collect();
        let canary = self.standing(service).and_then(Result::ok);
        let schema = self.schemas.schema(&scope);
        explain::explain(
            &self.prefix,
            (service, path),
            &entries,
            schema,
            canary.as_ref(),
            &[],
        )
    }

    /// The plan that tries the pending changes on some instances first.
    ///
    /// # Errors
    /// A sentence: the changes are of several services, nobody is named, one is under way, …
    pub fn try_on(
        &self,
        instances: Vec<InstanceId>,
        (author, time, message): (&str, Timestamp, &str),
    ) -> Result<Plan, String> {
        let plan = self.plan().map_err(|error| error.to_string())?;
        let service = self.drafts.keys().find_map(|key| match &key.scope {
            Scope::Service(service) => Some(service),
            Scope::Global => None,
        });
        let standing =
            service.and_then(|service| self.entries.get(&canary::key_of(&self.prefix, service)));
        let who = (author, time, message);
        let begun = canary::begin(&self.prefix, &plan, instances, standing, who);
        begun
            .map(|(_, plan)| plan)
            .map_err(|error| error.to_string())
    }

    /// The plan that gives a canary to everyone.
    ///
    /// # Errors
    /// When its record cannot be read or is no plan.
    pub fn promotion(&self, standing: &Standing) -> Result<Plan, CanaryError> {
        standing.promote(&self.prefix, |key| {
            Seen::from(self.entries.get(key).cloned())
        })
    }

    /// The plan that ends a canary, also one that cannot be read; `None` where there is none.
    pub fn abortion(&self, service: &ServiceName) -> Option<Result<Plan, PlanError>> {
        let key = canary::key_of(&self.prefix, service);
        let entry = self.entries.get(&key)?.clone();
        Some(Plan::new([Edit::delete(key, Seen::At(entry))]))
    }
}

/// The keys that a canary tries.
pub fn keys_of(service: &ServiceName, canary: &Canary) -> Vec<ConfigKey> {
    let scope = Scope::Service(service.clone());
    let paths = canary.changes.keys();
    paths
        .filter_map(|path| ConfigKey::new(scope.clone(), path).ok())
        .collect()
}

fn rollout_of(standing: &Standing, directory: &Directory) -> Rollout {
    let at = standing.entry.mod_revision;
    let keys = keys_of(&standing.service, &standing.canary).into_iter();
    let changes: Vec<_> = keys.map(|key| (key, at)).collect();
    let named = Some(standing.canary.instances.as_slice());
    let scope = Scope::Service(standing.service.clone());
    directory.rollout(&scope, &changes, named)
}

#[cfg(test)]
mod tests {
    use fleet::{Change, Prefixes, Revision};

    use super::super::Wanted;
    use super::super::tests::{entry, key, page};
    use super::*;

    #[test]
    fn a_canary_is_begun_of_the_pending_changes_shown_and_promoted_as_it_was_seen() {
        let mut page = page();
        let seen = Seen::from(page.entry(&key("order/timeout.write")).cloned());
        page.want(
            key("order/timeout.write"),
            seen,
            Wanted::Set("9s".into()),
            None,
        );
        let named = vec![InstanceId::new("o-1").unwrap()];
        let who = ("lin", Timestamp::UNIX_EPOCH, "try");
        let plan = page.try_on(named.clone(), who).unwrap();
        let value = fleet::config::conflict::written(&plan.edits()[0].write).unwrap();
        let text = String::from_utf8_lossy(value).into_owned();
        page.apply(&Change::Put(entry("/config/order/@canary", &text, 12)));
        page.rebuild_trial(&Directory::new(Prefixes::default()));
        let trial = page.trial.clone().unwrap();
        let standing = trial.standing.unwrap();
        assert_eq!(
            keys_of(&standing.service, &standing.canary),
            [key("order/timeout.write")]
        );
        let promotion = page.promotion(&standing).unwrap();
        assert_eq!(promotion.edits()[1].seen.revision(), Revision(8));
        let second = page.try_on(named, who).unwrap_err();
        assert!(second.contains("under way"), "{second}");
        let end = page.abortion(&standing.service).unwrap().unwrap();
        assert_eq!(end.edits()[0].seen.revision(), Revision(12));
    }
}
