//! All services of a prefix out of one mirror: a change goes to the service that its key names, so that however many
//! services are followed, etcd holds one watch. No task and no I/O: who owns it hands the mirror's events in.
//! Deliberately absent: services of keys that name none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use etcd::MirrorEvent;
use fleet::{Key, Prefix, Revision, ServiceName};
use tokio::sync::watch;

use super::ServiceView;
use super::fold::Fold;
use super::shown::Shown;

/// See the module.
#[derive(Debug)]
pub(crate) struct Directory {
    prefix: Prefix,
    services: BTreeMap<ServiceName, One>,
}

#[derive(Debug)]
struct One {
    fold: Fold,
    /// Made for the first who wants to see it.
    shown: Option<Shown>,
    /// What is shown is not what is known.
    outdated: bool,
}

impl Directory {
    /// Nothing is known of any service yet.
    pub(crate) fn new(prefix: Prefix) -> Directory {
        Directory {
            prefix,
            services: BTreeMap::new(),
        }
    }

    /// Takes one event of the mirror in. Says which services have other instances now.
    pub(crate) fn take(&mut self, event: MirrorEvent, now: Instant) -> BTreeSet<ServiceName> {
        match event {
            MirrorEvent::Listed { revision, entries } => {
                let mut parts: BTreeMap<ServiceName, Vec<_>> = self
                    .services
                    .keys()
                    .map(|name| (name.clone(), Vec::new()))
                    .collect();
                for entry in entries {
                    if let Some(name) = self.service_of(&entry.key) {
                        parts.entry(name).or_default().push(entry);
                    }
                }
                self.each(parts, now, |entries| MirrorEvent::Listed {
                    revision,
                    entries,
                })
            }
            MirrorEvent::Changed {
                revision,
                changes,
                history,
            } => {
                let mut parts: BTreeMap<ServiceName, Vec<_>> = BTreeMap::new();
                for change in changes {
                    if let Some(name) = self.service_of(change.key()) {
                        parts.entry(name).or_default().push(change);
                    }
                }
                let touched = self.each(parts, now, |changes| MirrorEvent::Changed {
                    revision,
                    changes,
                    history,
                });
                self.refresh(revision, now);
                touched
            }
            MirrorEvent::Fresh { revision } => {
                self.refresh(revision, now);
                BTreeSet::new()
            }
            MirrorEvent::Stale { cause } => {
                for one in self.services.values_mut() {
                    let cause = cause.clone();
                    one.fold.take(MirrorEvent::Stale { cause }, now);
                    one.outdated = true;
                }
                BTreeSet::new()
            }
        }
    }

    fn each<T>(
        &mut self,
        parts: BTreeMap<ServiceName, T>,
        now: Instant,
        event: impl Fn(T) -> MirrorEvent,
    ) -> BTreeSet<ServiceName> {
        let mut touched = BTreeSet::new();
        for (name, part) in parts {
            let one = self.one(&name);
            one.fold.take(event(part), now);
            one.outdated = true;
            touched.insert(name);
        }
        touched
    }

    /// What did not change is as true as what did. A service that is known to be fresh is not told again: of hundreds,
    /// each change would cost a look at all.
    fn refresh(&mut self, revision: Revision, now: Instant) {
        for one in self
            .services
            .values_mut()
            .filter(|one| !one.fold.is_fresh())
        {
            one.fold.take(MirrorEvent::Fresh { revision }, now);
            one.outdated = true;
        }
    }

    fn service_of(&self, key: &Key) -> Option<ServiceName> {
        let rest = std::str::from_utf8(self.prefix.strip(key)?).ok()?;
        ServiceName::new(rest.split_once('/')?.0).ok()
    }

    fn one(&mut self, name: &ServiceName) -> &mut One {
        let new = || One {
            fold: Fold::new(self.prefix.clone(), name.clone()),
            shown: None,
            outdated: false,
        };
        self.services.entry(name.clone()).or_insert_with(new)
    }

    /// Every service that a key names, whether or not it has an instance.
    pub(crate) fn names(&self) -> impl Iterator<Item = &ServiceName> {
        self.services.keys()
    }

    /// Whether somebody answers gRPC for the service.
    pub(crate) fn is_callable(&self, name: &ServiceName) -> bool {
        self.services.get(name).is_some_and(|one| {
            one.fold
                .instances()
                .iter()
                .any(|one| one.record.grpc().is_some())
        })
    }

    /// The live view of a service. It ends with the directory.
    pub(crate) fn view(&mut self, name: &ServiceName) -> watch::Receiver<Arc<ServiceView>> {
        let one = self.one(name);
        one.shown
            .get_or_insert_with(|| Shown::new(one.fold.view()))
            .view()
    }

    /// Shows what is known now, and gives up services of which there is neither a key nor a viewer.
    pub(crate) fn publish(&mut self) {
        self.services.retain(|_, one| {
            if !std::mem::take(&mut one.outdated) {
                return true;
            }
            one.shown.take_if(|shown| !shown.is_viewed());
            if let Some(shown) = &one.shown {
                shown.show(one.fold.view());
            }
            one.shown.is_some() || !one.fold.is_empty()
        });
    }

    /// When the next instance that a wiped store forgot is given up.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let folds = self.services.values().map(|one| &one.fold);
        folds.filter_map(Fold::next_deadline).min()
    }

    /// Gives up forgotten instances whose grace is over. Says whose they were.
    pub(crate) fn expire(&mut self, now: Instant) -> BTreeSet<ServiceName> {
        let mut touched = BTreeSet::new();
        for (name, one) in &mut self.services {
            if one.fold.next_deadline().is_some_and(|until| until <= now) {
                one.fold.expire(now);
                one.outdated = true;
                touched.insert(name.clone());
            }
        }
        touched
    }
}

#[cfg(test)]
mod tests {
    use etcd::History;
    use fleet::{Change, Entry, LeaseId};

    use super::*;
    use crate::discover::Knowledge;

    fn entry(service: &str, id: &str, revision: i64) -> Entry {
        let value = format!(r#"{{"service":"{service}","id":"{id}","endpoints":["grpc://h:1"]}}"#);
        Entry {
            key: format!("/services/{service}/{id}").into(),
            value: value.into_bytes().into(),
            create_revision: Revision(revision),
            mod_revision: Revision(revision),
            version: 1,
            lease: LeaseId::new(7),
        }
    }

    fn name(service: &str) -> ServiceName {
        ServiceName::new(service).unwrap()
    }

    fn put(entries: Vec<Entry>, revision: i64) -> MirrorEvent {
        MirrorEvent::Changed {
            revision: Revision(revision),
            changes: entries.into_iter().map(Change::Put).collect(),
            history: History::Same,
        }
    }

    fn listed(entries: Vec<Entry>) -> Directory {
        let mut directory = Directory::new(Prefix::new("/services/").unwrap());
        let revision = Revision(10);
        directory.take(MirrorEvent::Listed { revision, entries }, Instant::now());
        directory.publish();
        directory
    }

    fn shown(view: &watch::Receiver<Arc<ServiceView>>) -> Vec<String> {
        let view = view.borrow();
        let ids = view.instances.iter().map(|one| one.record.id.to_string());
        ids.collect()
    }

    #[test]
    fn a_change_reaches_its_service_and_no_other() {
        let mut directory = listed(vec![entry("order", "o-1", 5), entry("user", "u-1", 6)]);
        let (order, mut user) = (
            directory.view(&name("order")),
            directory.view(&name("user")),
        );
        assert_eq!(
            (shown(&order), shown(&user)),
            (vec!["o-1".to_owned()], vec!["u-1".to_owned()])
        );
        user.borrow_and_update();
        let touched = directory.take(put(vec![entry("order", "o-2", 11)], 11), Instant::now());
        assert_eq!(touched, [name("order")].into());
        directory.publish();
        assert_eq!(shown(&order), ["o-1", "o-2"]);
        assert!(!user.has_changed().unwrap(), "nothing happened there");
    }

    #[test]
    fn keys_that_name_no_service_are_nobodys() {
        let mut directory = listed(vec![
            entry("user", "u-1", 5),
            Entry {
                key: "/services/stray".into(),
                ..entry("user", "x", 6)
            },
            Entry {
                key: "/services//a".into(),
                ..entry("user", "x", 7)
            },
            Entry {
                key: b"/services/\xff/a".to_vec().into(),
                ..entry("user", "x", 8)
            },
        ]);
        assert_eq!(directory.names().collect::<Vec<_>>(), [&name("user")]);
        assert!(directory.is_callable(&name("user")));
        assert!(!directory.is_callable(&name("stray")));
        // Seen before anybody registers.
        let later = directory.view(&name("later"));
        assert!(shown(&later).is_empty());
        directory.take(put(vec![entry("later", "l-1", 12)], 12), Instant::now());
        directory.publish();
        assert_eq!(shown(&later), ["l-1"]);
    }

    #[test]
    fn all_are_in_doubt_together_and_fresh_together() {
        let mut directory = listed(vec![entry("order", "o-1", 5), entry("user", "u-1", 6)]);
        let views = [
            directory.view(&name("order")),
            directory.view(&name("user")),
        ];
        let cause = "refused".to_owned();
        directory.take(MirrorEvent::Stale { cause }, Instant::now());
        directory.publish();
        for view in &views {
            assert!(view.borrow().knowledge.doubt().is_some());
        }
        // A change in one proves the others, too.
        directory.take(put(vec![entry("order", "o-2", 11)], 11), Instant::now());
        directory.publish();
        for view in &views {
            let knowledge = view.borrow().knowledge.clone();
            assert_eq!(
                knowledge,
                Knowledge::Fresh {
                    revision: Revision(11)
                }
            );
        }
    }

    #[test]
    fn what_is_gone_and_not_seen_costs_nothing() {
        let mut directory = listed(vec![entry("order", "o-1", 5), entry("user", "u-1", 6)]);
        let user = directory.view(&name("user"));
        let gone = ["order/o-1", "user/u-1"].map(|key| Change::Delete {
            key: format!("/services/{key}").into(),
            revision: Revision(12),
        });
        let gone = MirrorEvent::Changed {
            revision: Revision(12),
            changes: gone.into(),
            history: History::Same,
        };
        directory.take(gone, Instant::now());
        directory.publish();
        assert_eq!(directory.names().collect::<Vec<_>>(), [&name("user")]);
        assert!(shown(&user).is_empty());
        drop(user);
        let cause = "refused".to_owned();
        directory.take(MirrorEvent::Stale { cause }, Instant::now());
        directory.publish();
        assert_eq!(directory.names().count(), 0);
    }
}
