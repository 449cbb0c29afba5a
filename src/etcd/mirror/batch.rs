//! Watch responses become batches: all changes of one revision together, each revision once.
//!
//! Pure. A response may hold many revisions, and a revision may come in fragments; what an event
//! of an unknown kind means cannot be guessed, so it asks for a new listing.

use etcd_client::proto as pb;
use fleet::{Change, Key, Revision};

use crate::wire;

/// The changes of one revision.
pub(crate) type Batch = (Revision, Vec<Change>);

/// An event was neither a put nor a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnknownEvent {
    pub(crate) kind: i32,
    pub(crate) revision: Revision,
}

/// Collects events until a revision is whole.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    parts: Vec<Change>,
}

impl Batches {
    /// Takes a response's events and gives the revisions above `after` that are now whole, in
    /// order.
    pub(crate) fn push(
        &mut self,
        events: Vec<pb::PbEvent>,
        fragment: bool,
        after: Revision,
    ) -> Result<Vec<Batch>, UnknownEvent> {
        for event in events {
            self.parts.push(change(event)?);
        }
        // More of the last revision may follow a fragment.
        if fragment {
            return Ok(Vec::new());
        }
        let mut batches: Vec<Batch> = Vec::new();
        for change in self.parts.drain(..) {
            let revision = change.revision();
            if revision <= after {
                continue;
            }
            match batches.last_mut() {
                Some((at, changes)) if *at == revision => changes.push(change),
                _ => batches.push((revision, vec![change])),
            }
        }
        Ok(batches)
    }
}

fn change(event: pb::PbEvent) -> Result<Change, UnknownEvent> {
    let kv = event.kv.unwrap_or_default();
    match event.r#type {
        0 => Ok(Change::Put(wire::entry(kv))),
        1 => Ok(Change::Delete {
            revision: Revision(kv.mod_revision),
            key: Key::from(kv.key),
        }),
        kind => Err(UnknownEvent {
            kind,
            revision: Revision(kv.mod_revision),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: i32, key: &str, revision: i64) -> pb::PbEvent {
        pb::PbEvent {
            r#type: kind,
            kv: Some(pb::PbKeyValue {
                key: key.into(),
                mod_revision: revision,
                ..pb::PbKeyValue::default()
            }),
            prev_kv: None,
        }
    }

    fn shape(batches: Vec<Batch>) -> Vec<(i64, usize)> {
        batches
            .into_iter()
            .map(|(revision, changes)| (revision.0, changes.len()))
            .collect()
    }

    #[test]
    fn a_response_of_several_revisions_is_split_at_each() {
        let events = vec![event(0, "a", 5), event(1, "b", 5), event(0, "a", 6)];
        let batches = Batches::default().push(events, false, Revision(4)).unwrap();
        assert_eq!(shape(batches), [(5, 2), (6, 1)]);
    }

    #[test]
    fn a_revision_in_fragments_comes_out_whole() {
        let mut batches = Batches::default();
        let push = |batches: &mut Batches, events, fragment| {
            shape(batches.push(events, fragment, Revision(4)).unwrap())
        };
        assert_eq!(push(&mut batches, vec![event(0, "a", 5)], true), []);
        assert_eq!(push(&mut batches, vec![event(0, "b", 5)], true), []);
        assert_eq!(push(&mut batches, vec![event(0, "c", 5)], false), [(5, 3)]);
    }

    #[test]
    fn an_event_that_was_held_already_is_not_given_again() {
        let events = vec![event(0, "a", 4), event(0, "a", 5)];
        let batches = Batches::default().push(events, false, Revision(4)).unwrap();
        assert_eq!(shape(batches), [(5, 1)]);
    }

    #[test]
    fn an_event_of_an_unknown_kind_is_an_error_and_no_panic() {
        let unknown = Batches::default().push(vec![event(7, "a", 5)], false, Revision(4));
        let revision = Revision(5);
        assert_eq!(unknown, Err(UnknownEvent { kind: 7, revision }));
        let empty = pb::PbEvent::default();
        assert!(
            Batches::default()
                .push(vec![empty], false, Revision(4))
                .unwrap()
                .is_empty()
        );
    }
}
