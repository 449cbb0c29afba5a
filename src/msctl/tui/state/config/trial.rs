//! The canary of the service that shows: read from its key, begun from the pending changes, promoted
//! or aborted; each of them a plan, guarded as any other. One that watches itself is decided here.

use std::time::Duration;

use fleet::config::canary::{self, Canary, CanaryError, Standing};
use fleet::config::{ConfigKey, Scope};
use fleet::rollout::{Rollout, Seen as Doing, Verdict, decide};
use fleet::{Edit, InstanceId, Plan, PlanError, Seen, ServiceName};
use jiff::Timestamp;

use super::ConfigPage;
use crate::tui::state::directory::Directory;

/// How long instances may take to answer for a canary that watches itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a canary that watches itself has to be without trouble.
pub const QUIET: Duration = Duration::from_secs(60);

/// A canary as the page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// What stands there, or why it cannot be read.
    pub standing: Result<Standing, String>,
    /// What its instances say of it.
    pub rollout: Option<Rollout>,
}

/// A canary that is promoted or aborted by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Whose.
    pub service: ServiceName,
    /// The revision that began it; another one is another canary.
    revision: fleet::Revision,
    begun: Duration,
    well_since: Option<Duration>,
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

    /// Watches a canary from now on.
    pub fn watch(&mut self, standing: &Standing, now: Duration) {
        self.watch = Some(Watch {
            service: standing.service.clone(),
            revision: standing.entry.mod_revision,
            begun: now,
            well_since: None,
        });
    }

    /// What follows for the canary that is watched; it is watched no more once that is certain, or
    /// once another stands in its place.
    pub fn judge(&mut self, directory: &Directory, now: Duration) -> Option<(Standing, Verdict)> {
        let mut watch = self.watch.take()?;
        let standing = self.standing(&watch.service)?.ok()?;
        if standing.entry.mod_revision != watch.revision {
            return None;
        }
        let rollout = rollout_of(&standing, directory);
        watch.well_since = rollout
            .is_complete()
            .then(|| watch.well_since.unwrap_or(now));
        let quiet_for = watch.well_since.map_or(Duration::ZERO, |since| now - since);
        let named = &standing.canary.instances;
        let doing: Vec<Doing> = directory
            .instances_named(&watch.service, named)
            .map(|instance| Doing {
                instance: instance.record.id.clone(),
                health: directory.state_of(&instance.key),
            })
            .collect();
        let waited = now.saturating_sub(watch.begun);
        let times = (quiet_for, QUIET);
        let verdict = decide(named, &rollout, &doing, (waited, PATIENCE), times);
        if matches!(verdict, Verdict::Wait { .. }) {
            self.watch = Some(watch);
        }
        Some((standing, verdict))
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
    let keys = keys_of(&standing.service, &standing.canary);
    let named = Some(standing.canary.instances.as_slice());
    let scope = Scope::Service(standing.service.clone());
    directory.rollout(&scope, &keys, standing.entry.mod_revision, named)
}

#[cfg(test)]
mod tests {
    use fleet::{Change, Prefixes, Revision};

    use super::super::Wanted;
    use super::super::tests::{entry, key, page};
    use super::*;

    fn directory(said: i64) -> Directory {
        let mut directory = Directory::new(Prefixes::default());
        let record = r#"{"service":"order","id":"o-1"}"#;
        directory.apply(&Change::Put(entry("/services/order/o-1", record, 3)));
        let status = format!(
            r#"{{"revision":{said},"liveness":{{"alive":true}},"watch":{{"revision":{said}}},"written_at":"2026-11-23T13:00:00Z"}}"#
        );
        directory.apply_status(&Change::Put(entry("/status/order/o-1", &status, 4)));
        directory
    }

    #[test]
    fn a_watched_canary_is_promoted_after_a_quiet_time_and_only_once() {
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
        let plan = page.try_on(named, who).unwrap();
        let value = fleet::config::conflict::written(&plan.edits()[0].write).unwrap();
        let text = String::from_utf8_lossy(value).into_owned();
        page.apply(&Change::Put(entry("/config/order/@canary", &text, 12)));
        let order = ServiceName::new("order").unwrap();
        let standing = page.standing(&order).unwrap().unwrap();
        let at = Duration::from_secs;
        page.watch(&standing, at(0));
        let verdict = |page: &mut ConfigPage, said, now| {
            page.judge(&directory(said), now)
                .map(|(_, verdict)| verdict)
        };
        for (said, now) in [(11, 1), (12, 2), (12, 61)] {
            let found = verdict(&mut page, said, at(now));
            assert!(matches!(found, Some(Verdict::Wait { .. })), "{said} {now}");
        }
        assert_eq!(verdict(&mut page, 12, at(62)), Some(Verdict::Promote));
        assert_eq!(verdict(&mut page, 12, at(63)), None);
        let promotion = page.promotion(&standing).unwrap();
        assert_eq!(promotion.edits()[1].seen.revision(), Revision(8));
        page.watch(&standing, at(70));
        let gone = Directory::new(Prefixes::default());
        let found = page.judge(&gone, at(71)).map(|(_, verdict)| verdict);
        assert!(matches!(found, Some(Verdict::Abort { .. })), "{found:?}");
    }
}
