//! What the watch of one service says, folded into the view that channels use. Pure: the clock is
//! handed in. Deletes that somebody made are honoured at once; a store that came back without its
//! history took nobody away, so what it forgot is kept for a grace, marked stale.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd::{History, MirrorEvent, PagedEvent};
use fleet::{Change, Entry, Found, Instance, Key, Prefix, ServiceName};

use super::{Instances, Knowledge, ServiceView};

/// How long instances that a wiped store forgot are still called: longer than a lease and the
/// re-registration that follows.
pub(super) const GRACE: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub(super) struct Fold {
    of: Of,
    /// Those of the service, and the forgotten ones.
    instances: Instances,
    /// Keys whose records cannot be read.
    quarantined: BTreeSet<Key>,
    knowledge: Knowledge,
    /// Until when.
    forgotten: BTreeMap<Key, Instant>,
    /// The part of the first listing that is here.
    arrived: Listed,
}

/// Whose records are looked for, and where.
#[derive(Debug)]
struct Of {
    prefix: Prefix,
    service: ServiceName,
}

/// What a listing holds of the service.
#[derive(Debug, Default)]
struct Listed {
    instances: Vec<Arc<Instance>>,
    quarantined: BTreeSet<Key>,
}

/// What a key means for the service.
enum Meaning {
    Instance(Arc<Instance>),
    Poison,
    Nothing,
}

impl Of {
    fn read(&self, entry: &Entry) -> Meaning {
        match Found::read(&self.prefix, entry) {
            Found::Instance(one) if one.record.service == self.service => {
                Meaning::Instance(Arc::from(one))
            }
            Found::Poison(_) => Meaning::Poison,
            Found::Instance(_) | Found::Marker => Meaning::Nothing,
        }
    }
}

impl Listed {
    fn add(&mut self, of: &Of, entries: Vec<Entry>) {
        for entry in entries {
            match of.read(&entry) {
                Meaning::Instance(one) => self.instances.push(one),
                Meaning::Poison => drop(self.quarantined.insert(entry.key)),
                Meaning::Nothing => {}
            }
        }
    }
}

impl Fold {
    pub(super) fn new(prefix: Prefix, service: ServiceName) -> Fold {
        Fold {
            of: Of { prefix, service },
            instances: Instances::default(),
            quarantined: BTreeSet::new(),
            knowledge: Knowledge::default(),
            forgotten: BTreeMap::new(),
            arrived: Listed::default(),
        }
    }

    /// Takes one event in, of a mirror that lists page by page.
    pub(super) fn take_paged(&mut self, event: PagedEvent, now: Instant) {
        match event {
            PagedEvent::Page { begins, entries } => {
                if begins {
                    self.arrived = Listed::default();
                }
                self.arrived.add(&self.of, entries);
            }
            PagedEvent::Event(event) => self.take(event, now),
        }
    }

    /// Takes one event in.
    pub(super) fn take(&mut self, event: MirrorEvent, now: Instant) {
        match event {
            MirrorEvent::Listed { revision, entries } => {
                let mut listed = std::mem::take(&mut self.arrived);
                listed.add(&self.of, entries);
                self.instances = listed.instances.into_iter().collect();
                self.quarantined = listed.quarantined;
                self.knowledge = Knowledge::Fresh { revision };
            }
            MirrorEvent::Changed {
                revision,
                changes,
                history,
            } => {
                for change in changes {
                    self.change(change, history, now);
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

    fn change(&mut self, change: Change, history: History, now: Instant) {
        let (key, meaning) = match change {
            Change::Put(entry) => (entry.key.clone(), self.of.read(&entry)),
            Change::Delete { key, .. } => {
                self.quarantined.remove(&key);
                if history == History::Another && self.instances.get(&key).is_some() {
                    self.forgotten.insert(key, now + GRACE);
                    return;
                }
                (key, Meaning::Nothing)
            }
        };
        // Registered anew, or deleted by somebody: that counts.
        self.forgotten.remove(&key);
        match meaning {
            Meaning::Instance(one) => {
                self.quarantined.remove(&key);
                self.instances.put(one);
            }
            Meaning::Poison => {
                self.instances.remove(&key);
                self.quarantined.insert(key);
            }
            Meaning::Nothing => {
                self.instances.remove(&key);
                self.quarantined.remove(&key);
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

    /// Whether no instance and no unreadable record is known.
    pub(super) fn is_empty(&self) -> bool {
        self.instances.is_empty() && self.quarantined.is_empty()
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
            service: self.of.service.clone(),
            instances: self.instances.clone(),
            quarantined: self.quarantined.len(),
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
    fn pages_count_once_the_listing_is_whole_and_not_when_it_broke_off() {
        let mut fold = Fold::new(
            Prefix::new("/services/").unwrap(),
            ServiceName::new("user").unwrap(),
        );
        let mut bad = entry("bad", 5);
        bad.value = b"{".to_vec().into();
        let page = |begins, entries| PagedEvent::Page { begins, entries };
        let now = Instant::now();
        for event in [
            page(true, vec![entry("gone", 3), bad.clone()]),
            page(true, vec![entry("a", 5), entry("b", 5)]),
            page(false, vec![bad, entry("c", 5)]),
        ] {
            fold.take_paged(event, now);
            assert!(fold.view().knowledge.is_waiting() && ids(&fold).is_empty());
        }
        let listed = MirrorEvent::Listed {
            revision: Revision(10),
            entries: Vec::new(),
        };
        fold.take_paged(PagedEvent::Event(listed), now);
        assert_eq!(ids(&fold), ["a", "b", "c"]);
        assert_eq!(fold.view().quarantined, 1);
    }

    #[test]
    fn a_record_of_another_service_is_none_of_this_one() {
        let mut fold = listed(&["a"]);
        let mut moved = entry("a", 11);
        let text = String::from_utf8(moved.value.to_vec()).unwrap();
        moved.value = text.replace("user", "order").into_bytes().into();
        moved.key = "/services/order/a".into();
        let changes = vec![Change::Put(moved)];
        fold.take(changed(11, changes, History::Same), Instant::now());
        assert_eq!(
            (ids(&fold), fold.view().quarantined),
            (vec!["a".to_owned()], 0)
        );
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
        // Whether it is mended or deleted.
        let changes = vec![Change::Put(entry("b", 12))];
        fold.take(changed(12, changes, History::Same), Instant::now());
        assert_eq!((ids(&fold).len(), fold.view().quarantined), (2, 0));
    }
}
