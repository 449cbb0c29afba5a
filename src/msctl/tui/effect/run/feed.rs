//! The streams that feed the console: the mirrors of services, config, status and schemas, and the state of
//! the link. Each is one task that ends with its owner; a slow console makes them wait.

use std::time::Duration;

use etcd::{Condition, History, LinkState, Mirror, MirrorEvent, MirrorOptions};
use fleet::{Change, Entry, Prefix};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::session::Session;
use crate::settings::host_port;
use crate::tui::event::{Event, Feed, MemberDot, Part, Source};

/// An idle watch proves this often that it is up to date, and has so long to do it: who looks at a
/// fleet wants to see within three seconds that etcd is silent. Services are content with less.
const PROOF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(2));

/// At most so many entries or changes in one event: taking one in must not delay a key.
const PIECE: usize = 1_000;

/// Starts all of them.
pub(super) fn start(
    session: &Session,
    generation: u64,
    events: &mpsc::Sender<Event>,
    tasks: &mut JoinSet<()>,
) {
    let prefixes = session.prefixes();
    for (source, prefix) in [
        (Source::Services, &prefixes.services),
        (Source::Config, &prefixes.config),
        (Source::Status, &prefixes.status),
        (Source::Schema, &prefixes.schema),
    ] {
        tasks.spawn(mirror(
            session.clone(),
            source,
            prefix.clone(),
            generation,
            events.clone(),
        ));
    }
    tasks.spawn(link(
        session.client().link_state(),
        generation,
        events.clone(),
    ));
}

async fn mirror(
    session: Session,
    source: Source,
    prefix: Prefix,
    generation: u64,
    events: mpsc::Sender<Event>,
) {
    let options = MirrorOptions {
        progress_interval: PROOF.0,
        progress_timeout: PROOF.1,
        ..MirrorOptions::default()
    };
    let (_mirror, mut news) = Mirror::spawn(session.client().clone(), prefix, options);
    while let Some(event) = news.recv().await {
        for feed in pieces(source, event) {
            if events.send(Event::Feed(generation, feed)).await.is_err() {
                return;
            }
        }
    }
}

/// A mirror's event in pieces of a bounded size.
fn pieces(source: Source, event: MirrorEvent) -> Vec<Feed> {
    match event {
        MirrorEvent::Listed { revision, entries } => {
            let last = entries.len().div_ceil(PIECE).max(1) - 1;
            let mut pieces: Vec<Feed> = Vec::with_capacity(last + 1);
            for (index, piece) in split::<Entry>(entries).into_iter().enumerate() {
                let part = if index == last {
                    Part::Last
                } else {
                    Part::More
                };
                pieces.push(Feed::Listed(source, revision, piece, part));
            }
            pieces
        }
        MirrorEvent::Changed {
            revision,
            changes,
            history,
        } => {
            let replaced = (history == History::Another).then_some(Feed::Replaced(source));
            let changes = split::<Change>(changes).into_iter();
            let changes = changes.map(|piece| Feed::Changed(source, revision, piece));
            replaced.into_iter().chain(changes).collect()
        }
        MirrorEvent::Fresh { revision } => vec![Feed::Fresh(source, revision)],
        MirrorEvent::Stale { cause } => vec![Feed::Stale(source, cause)],
    }
}

/// At least one piece, in order.
fn split<T>(mut all: Vec<T>) -> Vec<Vec<T>> {
    let mut pieces = Vec::new();
    while all.len() > PIECE {
        let rest = all.split_off(PIECE);
        pieces.push(std::mem::replace(&mut all, rest));
    }
    pieces.push(all);
    pieces
}

async fn link(mut state: watch::Receiver<LinkState>, generation: u64, events: mpsc::Sender<Event>) {
    loop {
        let members = dots(&state.borrow_and_update());
        if events
            .send(Event::Feed(generation, Feed::Link(members)))
            .await
            .is_err()
        {
            return;
        }
        if state.changed().await.is_err() {
            return;
        }
    }
}

fn dots(state: &LinkState) -> Vec<MemberDot> {
    state
        .members
        .iter()
        .map(|member| MemberDot {
            endpoint: host_port(&member.endpoint).to_owned(),
            up: match member.condition {
                Condition::Up { .. } => Some(true),
                Condition::Down { .. } => Some(false),
                Condition::Untried => None,
            },
            error: member.last_error.as_deref().map(str::to_owned),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use fleet::Revision;

    use super::*;

    #[test]
    fn a_large_list_comes_in_pieces_and_an_empty_one_in_one() {
        for (count, sizes) in [
            (0, vec![0]),
            (1_000, vec![1_000]),
            (2_500, vec![1_000, 1_000, 500]),
        ] {
            let entries = (0..count)
                .map(|index| Entry {
                    key: format!("/services/a/{index}").into(),
                    value: [].into(),
                    create_revision: Revision(1),
                    mod_revision: Revision(1),
                    version: 1,
                    lease: None,
                })
                .collect();
            let event = MirrorEvent::Listed {
                revision: Revision(3),
                entries,
            };
            let found: Vec<_> = pieces(Source::Services, event)
                .into_iter()
                .map(|feed| match feed {
                    Feed::Listed(_, _, entries, part) => (entries.len(), part),
                    other => panic!("{other:?}"),
                })
                .collect();
            let parts: Vec<_> = found.iter().map(|(len, _)| *len).collect();
            assert_eq!(parts, sizes);
            assert!(
                found
                    .iter()
                    .rev()
                    .skip(1)
                    .all(|(_, part)| *part == Part::More)
            );
            assert_eq!(found.last().map(|(_, part)| *part), Some(Part::Last));
        }
    }
}
