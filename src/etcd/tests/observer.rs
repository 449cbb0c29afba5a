//! A reader of a mirror that keeps what it is told, and fails when told anything twice, out of
//! order or empty.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd::{Client, History, Mirror, MirrorEvent, MirrorOptions, Scope};
use fleet::{Change, Key, Prefix, Revision};
use tokio::sync::mpsc;

use crate::world::PATIENCE;

pub(crate) struct Observer {
    _mirror: Mirror,
    events: mpsc::Receiver<MirrorEvent>,
    pub(crate) state: BTreeMap<Key, (Vec<u8>, Revision)>,
    pub(crate) last: Option<Revision>,
    pub(crate) fresh: bool,
    pub(crate) freshest: Revision,
    /// A loss was told, and nothing came since.
    lost: bool,
    /// The causes of each time it went stale.
    pub(crate) stale: Vec<String>,
    /// Each revision given, with how many keys it changed.
    pub(crate) batches: Vec<(Revision, usize)>,
    /// Revisions may begin anew.
    pub(crate) wiped: bool,
    /// How often the store was said to be another.
    pub(crate) others: usize,
}

impl Observer {
    pub(crate) fn new(client: &Client, prefix: &Prefix) -> Self {
        let options = MirrorOptions {
            progress_interval: Duration::from_secs(1),
            ..MirrorOptions::default()
        };
        Self::with(client, prefix, options)
    }

    pub(crate) fn with(client: &Client, prefix: &Prefix, options: MirrorOptions) -> Self {
        Self::over(client, prefix.clone().into(), options)
    }

    pub(crate) fn over(client: &Client, scope: Scope, options: MirrorOptions) -> Self {
        let (mirror, events) = Mirror::spawn(client.clone(), scope, options);
        Self {
            _mirror: mirror,
            events,
            state: BTreeMap::new(),
            last: None,
            fresh: false,
            freshest: Revision::ZERO,
            lost: false,
            stale: Vec::new(),
            batches: Vec::new(),
            wiped: false,
            others: 0,
        }
    }

    pub(crate) async fn next(&mut self) -> MirrorEvent {
        let event = tokio::time::timeout(PATIENCE, self.events.recv())
            .await
            .expect("an event in time")
            .expect("a mirror that lives");
        self.take(&event);
        event
    }

    fn take(&mut self, event: &MirrorEvent) {
        match event {
            MirrorEvent::Listed { revision, entries } => {
                assert_eq!(self.last, None, "listed twice");
                self.last = Some(*revision);
                for entry in entries {
                    let held = (entry.value.to_vec(), entry.mod_revision);
                    assert!(self.state.insert(entry.key.clone(), held).is_none());
                }
            }
            MirrorEvent::Changed {
                revision,
                changes,
                history,
            } => {
                let last = self.last.expect("a listing before a change");
                assert!(*revision > last || self.wiped, "{revision} after {last}");
                assert!(!changes.is_empty());
                assert!(self.wiped || *history == History::Same, "nothing was wiped");
                self.others += usize::from(*history == History::Another);
                self.last = Some(*revision);
                self.batches.push((*revision, changes.len()));
                for change in changes {
                    self.apply(change);
                }
            }
            MirrorEvent::Fresh { revision } => {
                assert!(self.last.is_some(), "fresh before it was listed");
                self.fresh = true;
                self.freshest = *revision;
            }
            MirrorEvent::Stale { cause } => {
                let again = self.lost && self.stale.last() == Some(cause);
                assert!(!again, "stale twice: {cause}");
                self.fresh = false;
                self.stale.push(cause.clone());
            }
        }
        self.lost = matches!(event, MirrorEvent::Stale { .. });
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Put(entry) => {
                let held = (entry.value.to_vec(), entry.mod_revision);
                let before = self.state.insert(entry.key.clone(), held);
                if let Some((_, before)) = before {
                    let at = entry.mod_revision;
                    assert!(at > before || self.wiped, "{} twice at {at}", entry.key);
                }
            }
            Change::Delete { key, .. } => {
                assert!(self.state.remove(key).is_some(), "{key} deleted twice");
            }
        }
    }

    pub(crate) async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !holds(self) {
                self.next().await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(
            waited.is_ok(),
            "never came about: {what}; told: {}",
            self.told()
        );
    }

    fn told(&self) -> String {
        format!(
            "last {:?}, fresh {}, stale {:?}, batches {:?}",
            self.last, self.fresh, self.stale, self.batches
        )
    }

    pub(crate) async fn until_fresh(&mut self) {
        self.until("fresh", |seen| seen.fresh).await;
    }

    /// Waits until the mirror tells of nothing below this revision any more.
    pub(crate) async fn until_at(&mut self, revision: Revision) {
        self.until(&format!("at {revision}"), |seen| {
            seen.last >= Some(revision)
        })
        .await;
    }

    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.state
            .get(&Key::from(key))
            .map(|(value, _)| std::str::from_utf8(value).unwrap())
    }

    /// Compares with what a listing by another client says.
    pub(crate) async fn agrees_with(&self, client: &Client, prefix: &Prefix) {
        self.agrees_with_all(client, std::slice::from_ref(prefix))
            .await;
    }

    pub(crate) async fn agrees_with_all(&self, client: &Client, prefixes: &[Prefix]) {
        let mut entries = Vec::new();
        for prefix in prefixes {
            let listing = client.list(prefix, etcd::ListOptions::default()).await;
            entries.extend(listing.unwrap().entries);
        }
        let listed: BTreeMap<_, _> = entries
            .into_iter()
            .map(|entry| (entry.key, (entry.value.to_vec(), entry.mod_revision)))
            .collect();
        assert_eq!(self.state, listed);
    }
}
