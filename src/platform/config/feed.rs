//! What etcd says of a service's config, folded into steps: the global keys, the service's own and
//! the canary in them, one step for each revision of etcd whatever it touched. Pure.

use std::collections::HashSet;
use std::sync::Arc;

use etcd::{History, MirrorEvent};
use fleet::config::canary::{Canary, NAME as CANARY};
use fleet::config::{Layer, Origin, check_path, value};
use fleet::{Change, Entry, InstanceId, Key, Prefix, Revision};

use super::state::{Edit, Edits, State};
use super::{Standing, WAITING};

/// See the module.
#[derive(Debug)]
pub(super) struct Feed {
    global: Prefix,
    own: Prefix,
    /// The newest changes taken in.
    taken: Taken,
    proved: Revision,
    stale: Option<String>,
    heard: bool,
    /// The change being tried on some instances, this one or others.
    canary: Option<(Canary, Revision)>,
    /// The revision of the canary that this instance runs.
    laid: Option<Revision>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    global: Revision,
    service: Revision,
}

impl Feed {
    pub(super) fn new(global: Prefix, own: Prefix) -> Feed {
        Feed {
            global,
            own,
            taken: Taken::default(),
            proved: Revision::ZERO,
            stale: None,
            heard: false,
            canary: None,
            laid: None,
        }
    }

    /// Whether etcd has said what there is.
    pub(super) fn heard(&self) -> bool {
        self.heard
    }

    /// Takes one event in; the edits are one step. `state` is what stands before it, and `us` are
    /// the names of this process.
    pub(super) fn take(
        &mut self,
        event: MirrorEvent,
        state: &State,
        us: &[InstanceId],
    ) -> Option<Edits> {
        let edits = match event {
            MirrorEvent::Listed { revision, entries } => {
                self.taken = Taken {
                    global: revision,
                    service: revision,
                };
                self.arrived(revision);
                let canary = entries.iter().find(|entry| self.is_canary(&entry.key));
                self.canary = canary.and_then(read_canary);
                let mut edits: Edits = entries.iter().filter_map(|entry| self.put(entry)).collect();
                let gone = gone(state, &edits);
                edits.extend(gone);
                edits
            }
            MirrorEvent::Changed {
                revision,
                changes,
                history,
            } => {
                if history == History::Another {
                    // Another store counts its revisions anew.
                    self.taken = Taken::default();
                }
                self.arrived(revision);
                let mut edits = Edits::new();
                for change in changes {
                    self.touch(change.key(), revision);
                    if self.is_canary(change.key()) {
                        self.canary = match &change {
                            Change::Put(entry) => read_canary(entry),
                            Change::Delete { .. } => None,
                        };
                        continue;
                    }
                    edits.extend(match change {
                        Change::Put(entry) => self.put(&entry),
                        Change::Delete { key, .. } => {
                            let place = self.place(&key);
                            place.map(|(layer, path)| (layer, path, Edit::Remove))
                        }
                    });
                }
                edits
            }
            MirrorEvent::Fresh { revision } => {
                self.proved = revision;
                self.stale = None;
                return None;
            }
            MirrorEvent::Stale { cause } => {
                self.stale = Some(cause);
                return None;
            }
        };
        Some(self.with_canary(edits, state, us))
    }

    /// The edits that make the canary layer what the canary says of this process, after its names
    /// became known; `None` where it stays.
    pub(super) fn named(&mut self, state: &State, us: &[InstanceId]) -> Option<Edits> {
        let edits = self.with_canary(Edits::new(), state, us);
        (!edits.is_empty()).then_some(edits)
    }

    /// How the config stands with etcd.
    pub(super) fn stand(&self, standing: &mut Standing) {
        let Taken { global, service } = self.taken;
        standing.applied = global.max(service);
        standing.global = global;
        standing.service = service;
        standing.canary = self.laid;
        standing.proved = self.proved.max(standing.applied);
        let waiting = (!self.heard).then(|| WAITING.to_owned());
        standing.stale = self.stale.clone().or(waiting);
    }

    fn arrived(&mut self, revision: Revision) {
        self.proved = revision;
        self.stale = None;
        self.heard = true;
    }

    fn touch(&mut self, key: &Key, revision: Revision) {
        match self.layer(key) {
            Some((Layer::Global, _)) => self.taken.global = revision,
            Some(_) => self.taken.service = revision,
            None => {}
        }
    }

    fn put(&self, entry: &Entry) -> Option<(Layer, Arc<str>, Edit)> {
        let (layer, path) = self.place(&entry.key)?;
        let revision = entry.mod_revision;
        let origin = match layer {
            Layer::Global => Origin::Global { revision },
            _ => Origin::Service { revision },
        };
        Some((layer, path, Edit::Put(value::parse(&entry.value), origin)))
    }

    fn layer<'k>(&self, key: &'k Key) -> Option<(Layer, &'k [u8])> {
        let global = self.global.strip(key).map(|rest| (Layer::Global, rest));
        global.or_else(|| Some((Layer::Service, self.own.strip(key)?)))
    }

    /// The layer and dotted path of a key; `None` for a key that is none.
    fn place(&self, key: &Key) -> Option<(Layer, Arc<str>)> {
        if self.is_canary(key) {
            return None;
        }
        let (layer, path) = self.layer(key)?;
        let path = std::str::from_utf8(path).ok();
        match path.filter(|path| check_path(path).is_ok()) {
            Some(path) => Some((layer, path.into())),
            None => {
                tracing::warn!(%key, "not a config key; it is left out");
                None
            }
        }
    }

    fn is_canary(&self, key: &Key) -> bool {
        self.own.strip(key) == Some(CANARY.as_bytes())
    }

    /// Adds what the canary says of this process: nothing, where it names others. In the step of
    /// the ordinary keys: where a canary becomes everyone's, nothing flickers.
    fn with_canary(&mut self, mut edits: Edits, state: &State, us: &[InstanceId]) -> Edits {
        let tried = self.canary.as_ref();
        let tried = tried.filter(|(canary, _)| us.iter().any(|id| canary.names(id)));
        let laid = tried.map(|(_, revision)| *revision);
        if laid == self.laid {
            return edits;
        }
        self.laid = laid;
        let begin = edits.len();
        if let Some((canary, revision)) = tried {
            let origin = Origin::Canary {
                revision: *revision,
            };
            let put = |(path, value): (&str, _)| {
                (Layer::Canary, path.into(), Edit::Put(value, origin.clone()))
            };
            edits.extend(canary.values().map(put));
            let hide = |path: &str| (Layer::Canary, path.into(), Edit::Hide);
            edits.extend(canary.removed().map(hide));
        }
        let stays: HashSet<Arc<str>> = edits[begin..].iter().map(|one| one.1.clone()).collect();
        let standing = state.layers().keys(Layer::Canary).map(|(path, _, _)| path);
        let gone = standing
            .chain(state.layers().hidden())
            .chain(state.refused(Layer::Canary))
            .filter(|path| !stays.contains(*path))
            .map(|path| (Layer::Canary, path.clone(), Edit::Remove));
        edits.extend(gone);
        edits
    }
}

/// What a listing does not name any longer.
fn gone(state: &State, edits: &Edits) -> Edits {
    let named: HashSet<(Layer, &Arc<str>)> = edits.iter().map(|one| (one.0, &one.1)).collect();
    let of = |layer| {
        let standing = state.layers().keys(layer).map(|(path, _, _)| path);
        standing
            .chain(state.refused(layer))
            .filter(|path| !named.contains(&(layer, *path)))
            .map(|path| (layer, path.clone(), Edit::Remove))
            .collect::<Vec<_>>()
    };
    [Layer::Global, Layer::Service]
        .into_iter()
        .flat_map(of)
        .collect()
}

fn read_canary(entry: &Entry) -> Option<(Canary, Revision)> {
    match Canary::from_json(&entry.value) {
        Ok(canary) => Some((canary, entry.mod_revision)),
        Err(error) => {
            tracing::warn!(key = %entry.key, %error, "the canary is left out");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secrets::Secrets;

    fn prefix(text: &str) -> Prefix {
        Prefix::new(text).unwrap()
    }

    fn entry(key: &str, value: &str, revision: i64) -> Entry {
        Entry {
            key: key.into(),
            value: value.as_bytes().into(),
            create_revision: Revision(revision),
            mod_revision: Revision(revision),
            version: 1,
            lease: None,
        }
    }

    fn changed(revision: i64, puts: &[(&str, &str)], history: History) -> MirrorEvent {
        let put = |(key, value): &(&str, &str)| Change::Put(entry(key, value, revision));
        MirrorEvent::Changed {
            revision: Revision(revision),
            changes: puts.iter().map(put).collect(),
            history,
        }
    }

    fn deleted(revision: i64, keys: &[&str]) -> MirrorEvent {
        let delete = |key: &&str| Change::Delete {
            key: (*key).into(),
            revision: Revision(revision),
        };
        MirrorEvent::Changed {
            revision: Revision(revision),
            changes: keys.iter().map(delete).collect(),
            history: History::Same,
        }
    }

    struct World {
        feed: Feed,
        state: State,
    }

    impl World {
        fn new() -> World {
            World {
                feed: Feed::new(prefix("/config/global/"), prefix("/config/order/")),
                state: State::new("order", Secrets::default()),
            }
        }

        fn take(&mut self, event: MirrorEvent) {
            if let Some(edits) = self.feed.take(event, &self.state, &[]) {
                self.state.take(edits);
            }
        }

        fn taken(&self) -> (i64, i64) {
            let mut standing = Standing::default();
            self.feed.stand(&mut standing);
            (standing.global.0, standing.service.0)
        }
    }

    #[test]
    fn one_revision_is_one_step_whatever_it_touches() {
        let mut world = World::new();
        let event = changed(
            7,
            &[("/config/global/a", "1"), ("/config/order/b", "2")],
            History::Same,
        );
        let edits = world.feed.take(event, &world.state, &[]).unwrap();
        let shape: Vec<_> = edits
            .iter()
            .map(|(layer, path, _)| (*layer, &**path))
            .collect();
        assert_eq!(shape, [(Layer::Global, "a"), (Layer::Service, "b")]);
        assert_eq!(world.taken(), (7, 7));
    }

    #[test]
    fn a_key_that_is_none_takes_nothing_else_with_it() {
        let mut world = World::new();
        world.take(changed(5, &[("/config/order/a", "1")], History::Same));
        world.take(deleted(6, &["/config/order/not a key", "/config/order/a"]));
        assert_eq!(world.state.effective().leaves().len(), 0);
    }

    #[test]
    fn what_was_taken_in_is_told_by_scope_and_anew_after_a_wipe() {
        let mut world = World::new();
        world.take(MirrorEvent::Listed {
            revision: Revision(10),
            entries: vec![entry("/config/order/a", "1", 4)],
        });
        world.take(changed(12, &[("/config/global/a", "1")], History::Same));
        assert_eq!(world.taken(), (12, 10));
        world.take(changed(3, &[("/config/order/a", "1")], History::Another));
        assert_eq!(world.taken(), (0, 3));
    }

    #[test]
    fn a_listing_takes_away_what_it_does_not_name_refused_or_not() {
        let mut world = World::new();
        let bad = changed(
            5,
            &[("/config/order/a", "1"), ("/config/order/bad", "{")],
            History::Same,
        );
        world.take(bad);
        assert_eq!(world.state.rejected().len(), 1);
        world.take(MirrorEvent::Listed {
            revision: Revision(9),
            entries: Vec::new(),
        });
        assert!(world.state.rejected().is_empty());
        assert_eq!(world.state.effective().leaves().len(), 0);
    }
}
