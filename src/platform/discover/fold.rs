//! What the watch of one service says, folded into the view that channels use. Pure: the clock is
//! handed in. Deletes that somebody made are honoured at once; a store that came back without its
//! history took nobody away, so what it forgot is kept for a grace, marked stale.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use etcd::{History, MirrorEvent};
use fleet::{Change, Key, Prefix, Registry, ServiceName};

use super::{Instances, Knowledge, ServiceView};

/// How long instances that a wiped store forgot are still called: longer than a lease and the
/// re-registration that follows.
pub(super) const GRACE: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub(super) struct Fold {
    service: ServiceName,
    registry: Registry,
    /// Those of the service, and the forgotten ones.
    instances: Instances,
    knowledge: Knowledge,
    /// Until when.
    forgotten: BTreeMap<Key, Instant>,
}

impl Fold {
    pub(super) fn new(prefix: Prefix, service: ServiceName) -> Fold {
        Fold {
            service,
            registry: Registry::new(prefix),
            instances: Instances::default(),
            knowledge: Knowledge::default(),
            forgotten: BTreeMap::new(),
        }
    }

    /// Takes one event in.
    pub(super) fn take(&mut self, event: MirrorEvent, now: Instant) {
        match event {
            MirrorEvent::Listed { revision, entries } => {
                self.registry.replace(entries);
                let service = self.registry.service(self.service.as_str());
                let instances = service.into_iter().flat_map(|one| one.instances());
                self.instances = instances.cloned().collect();
                self.knowledge = Knowledge::Fresh { revision };
            }
            MirrorEvent::Changed {
                revision,
                changes,
                history,
            } => {
                let wiped = history == History::Another;
                for change in &changes {
                    let key = change.key();
                    self.registry.apply(change);
                    if wiped
                        && matches!(change, Change::Delete { .. })
                        && self.instances.get(key).is_some()
                    {
                        self.forgotten.insert(key.clone(), now + GRACE);
                        continue;
                    }
                    // Registered anew, or deleted by somebody: that counts.
                    self.forgotten.remove(key);
                    let known = self.registry.instance(key);
                    match known.filter(|known| known.record.service == self.service) {
                        Some(known) => self.instances.put(known.clone()),
                        None => self.instances.remove(key),
                    }
                }
                self.knowledge = Knowledge::Fresh { revision };
            }
            MirrorEvent::Fresh { revision } => {
                self.knowledge = Knowledge::Fresh { revision };
            }
            MirrorEvent::Stale { cause } => {
                self.knowledge = match &self.knowledge {
                    Knowledge::Waiting { .. } => Knowledge::Waiting { cause: Some(cause) },
                    Knowledge::Stale { since, .. } => Knowledge::Stale {
                        since: *since,
                        cause,
                    },
                    Knowledge::Fresh { .. } | Knowledge::Fixed => {
                        Knowledge::Stale { since: now, cause }
                    }
                };
            }
        }
    }

    /// Whether etcd has proved what is known, and nothing speaks against it.
    pub(super) fn is_fresh(&self) -> bool {
        matches!(self.knowledge, Knowledge::Fresh { .. })
    }

    /// Those of the service, and the forgotten ones.
    pub(super) fn instances(&self) -> &Instances {
        &self.instances
    }

    /// Whether no key is known.
    pub(super) fn is_empty(&self) -> bool {
        self.instances.is_empty()
            && self.registry.instance_count() == 0
            && self.registry.quarantined().len() == 0
    }

    /// When the next forgotten instance is given up.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.forgotten.values().min().copied()
    }

    /// Gives up the forgotten instances whose grace is over.
    pub(super) fn expire(&mut self, now: Instant) {
        let instances = &mut self.instances;
        self.forgotten.retain(|key, until| {
            let stays = *until > now;
            if !stays {
                instances.remove(key);
            }
            stays
        });
    }

    /// The view as it stands.
    pub(super) fn view(&self) -> ServiceView {
        let wiped = self.next_deadline().map(|until| until - GRACE);
        let knowledge = match (&self.knowledge, wiped) {
            (Knowledge::Fresh { .. }, Some(since)) => Knowledge::Stale {
                since,
                cause: "etcd came back without its data; the last good list is kept for a while"
                    .into(),
            },
            (knowledge, _) => knowledge.clone(),
        };
        ServiceView {
            service: self.service.clone(),
            instances: self.instances.clone(),
            quarantined: self.registry.quarantined().len(),
            knowledge,
        }
    }
}

#[cfg(test)]
mod tests {
    use fleet::{Entry, LeaseId, Revision};

    use super::*;

    fn entry(id: &str, revision: i64) -> Entry {
        let value = format!(r#"{{"service":"user","id":"{id}","endpoints":["grpc://h:1"]}}"#);
        Entry {
            key: format!("/services/user/{id}").into(),
            value: value.into_bytes().into(),
            create_revision: Revision(revision),
            mod_revision: Revision(revision),
            version: 1,
            lease: LeaseId::new(7),
        }
    }

    fn changed(revision: i64, changes: Vec<Change>, history: History) -> MirrorEvent {
        MirrorEvent::Changed {
            revision: Revision(revision),
            changes,
            history,
        }
    }

    fn delete(id: &str, revision: i64) -> Change {
        Change::Delete {
            key: format!("/services/user/{id}").into(),
            revision: Revision(revision),
        }
    }

    fn listed(ids: &[&str]) -> Fold {
        let mut fold = Fold::new(
            Prefix::new("/services/").unwrap(),
            ServiceName::new("user").unwrap(),
        );
        let entries = ids.iter().map(|id| entry(id, 5)).collect();
        fold.take(
            MirrorEvent::Listed {
                revision: Revision(10),
                entries,
            },
            Instant::now(),
        );
        fold
    }

    fn ids(fold: &Fold) -> Vec<String> {
        fold.view()
            .instances
            .iter()
            .map(|one| one.record.id.to_string())
            .collect()
    }

    #[test]
    fn a_delete_is_honoured_even_of_the_last_one() {
        let mut fold = listed(&["a", "b"]);
        let changes = vec![delete("a", 11), delete("b", 11)];
        fold.take(changed(11, changes, History::Same), Instant::now());
        assert!(ids(&fold).is_empty());
        assert!(matches!(fold.view().knowledge, Knowledge::Fresh { .. }));
    }

    #[test]
    fn what_a_wiped_store_forgot_is_kept_for_a_grace_and_marked_stale() {
        forgotten_at(1);
    }

    /// Its revisions have overtaken ours by the time we see it.
    #[test]
    fn what_a_wiped_store_forgot_is_kept_though_it_has_grown_since() {
        forgotten_at(5_000);
    }

    fn forgotten_at(revision: i64) {
        let mut fold = listed(&["a", "b"]);
        let now = Instant::now();
        let changes = vec![delete("a", revision), delete("b", revision)];
        fold.take(changed(revision, changes, History::Another), now);
        assert_eq!(ids(&fold), ["a", "b"]);
        assert!(matches!(fold.view().knowledge, Knowledge::Stale { .. }));
        // One registers anew and is there once.
        let changes = vec![Change::Put(entry("a", revision + 1))];
        fold.take(changed(revision + 1, changes, History::Same), now);
        assert_eq!(ids(&fold), ["a", "b"]);
        // The other never does.
        assert_eq!(fold.next_deadline(), Some(now + GRACE));
        fold.expire(now + GRACE);
        assert_eq!(ids(&fold), ["a"]);
        assert!(matches!(fold.view().knowledge, Knowledge::Fresh { .. }));
    }

    #[test]
    fn the_last_list_stays_while_etcd_is_away_with_its_first_moment() {
        let mut fold = listed(&["a"]);
        let now = Instant::now();
        fold.take(
            MirrorEvent::Stale {
                cause: "refused".into(),
            },
            now,
        );
        fold.take(
            MirrorEvent::Stale {
                cause: "timeout".into(),
            },
            now + Duration::from_secs(5),
        );
        assert_eq!(ids(&fold), ["a"]);
        assert_eq!(
            fold.view().knowledge,
            Knowledge::Stale {
                since: now,
                cause: "timeout".into()
            }
        );
    }

    #[test]
    fn etcd_never_heard_is_not_an_empty_fleet() {
        let mut fold = Fold::new(
            Prefix::new("/services/").unwrap(),
            ServiceName::new("user").unwrap(),
        );
        assert!(fold.view().knowledge.is_waiting());
        fold.take(
            MirrorEvent::Stale {
                cause: "refused".into(),
            },
            Instant::now(),
        );
        let knowledge = fold.view().knowledge;
        assert!(
            !knowledge.is_waiting(),
            "known to be away: nothing to wait for"
        );
        assert!(knowledge.doubt().unwrap().contains("refused"));
    }

    #[test]
    fn a_poison_record_is_counted_beside_good_ones() {
        let mut fold = listed(&["a"]);
        let mut bad = entry("b", 11);
        bad.value = b"\xff\xfe{".to_vec().into();
        let changes = vec![Change::Put(bad)];
        fold.take(changed(11, changes, History::Same), Instant::now());
        assert_eq!(ids(&fold), ["a"]);
        assert_eq!(fold.view().quarantined, 1);
    }
}
