//! News of the fleet become state, and what is new since the first list becomes journal.

use fleet::config::secret::MASK;
use fleet::{Change, Entry, Key, LeaseId};

use crate::tui::effect::Effect;
use crate::tui::event::{Feed, MemberDot, Part, Source};
use crate::tui::state::events::{Happened, What};
use crate::tui::state::freshness::Freshness;
use crate::tui::state::toast::Tone;
use crate::tui::state::{State, View};

/// Takes news in.
pub(super) fn feed(state: &mut State, feed: Feed) -> Vec<Effect> {
    match feed {
        Feed::Listed(source, revision, entries, part) => {
            for entry in entries {
                fold(state, source, &Change::Put(entry));
            }
            if part == Part::Last {
                proved(state, source, revision);
            }
            state.changed = true;
        }
        Feed::Changed(source, revision, changes) => {
            let shown = concerns(state.view, source);
            for change in changes {
                let known = state.directory.registry.instance(change.key()).is_some();
                let before = fold(state, source, &change);
                if source == Source::Services && !known {
                    state.directory.came(change.key(), state.now.mono);
                }
                note(state, source, &change, &before);
            }
            let known = state.feed_mut(source);
            known.revision = known.revision.max(revision);
            state.changed |= shown || state.view == View::Events;
        }
        Feed::Replaced(source) => replaced(state, source),
        Feed::Fresh(source, revision) => {
            // A proof of freshness alone is no news, unless what it proves was in doubt.
            let doubtful = !matches!(state.feed(source).freshness, Freshness::Fresh { .. });
            let moved = state.revision();
            proved(state, source, revision);
            state.changed |= doubtful || state.revision() != moved;
        }
        Feed::Stale(source, cause) => stale(state, source, &cause),
        Feed::Link(members) => link(state, members),
    }
    Vec::new()
}

/// What stood at a key before a change, as far as it is kept.
#[derive(Default)]
struct Before {
    entry: Option<Entry>,
    lease: Option<LeaseId>,
}

/// Folds a change into the page it belongs to.
fn fold(state: &mut State, source: Source, change: &Change) -> Before {
    match source {
        Source::Services => Before {
            entry: None,
            lease: state.directory.apply(change),
        },
        Source::Status => {
            state.directory.apply_status(change);
            Before::default()
        }
        Source::Schema => {
            state.config.apply_schema(change);
            let config = &state.config;
            // What is a secret's from now on was no secret's when it was noted.
            state.events.veil(|key| config.mask(key, &[]).is_some());
            Before::default()
        }
        Source::Config => {
            if let (Change::Put(entry), Some(name)) = (change, state.config.name_of(change.key())) {
                state.directory.configure(name.scope, entry.mod_revision);
            }
            let entry = state.config.apply(change);
            Before {
                lease: entry.as_ref().and_then(|entry| entry.lease),
                entry,
            }
        }
    }
}

fn concerns(view: View, source: Source) -> bool {
    match (view, source) {
        (View::Config, source) => source != Source::Services,
        (_, Source::Schema) => false,
        (View::Overview, _) => true,
        (View::Services | View::Doctor, source) => source != Source::Config,
        (View::Leases | View::Calls, source) => source == Source::Services,
        _ => false,
    }
}

fn proved(state: &mut State, source: Source, revision: fleet::Revision) {
    let at = state.now.mono;
    let was_stale = matches!(state.freshness(), Freshness::Stale { .. });
    let feed = state.feed_mut(source);
    feed.revision = feed.revision.max(revision);
    feed.freshness = Freshness::Fresh { at };
    if was_stale && !matches!(state.freshness(), Freshness::Stale { .. }) {
        state.say(Tone::Good, "etcd is back; everything shown is fresh again");
        link_event(state, "etcd is back".into());
        // What was not asked while it was away is asked at once.
        state.beats.leases.asked = None;
        state.beats.cluster.asked = None;
    }
}

/// Each mirror finds out by itself; the services' tells it.
fn replaced(state: &mut State, source: Source) {
    state.forget_revisions();
    if source == Source::Config {
        state.directory.forget_config();
    }
    if source == Source::Services {
        let text = "etcd came back without its data, or another one in its place";
        state.say(Tone::Warn, text);
        link_event(state, text.into());
    }
    state.changed = true;
}

fn stale(state: &mut State, source: Source, cause: &str) {
    let since = state.now.mono;
    let quiet = source == Source::Schema;
    let first = !quiet && !matches!(state.freshness(), Freshness::Stale { .. });
    let feed = state.feed_mut(source);
    feed.freshness = match std::mem::take(&mut feed.freshness) {
        Freshness::Stale { since, .. } => Freshness::Stale {
            since,
            cause: cause.to_owned(),
        },
        // The last proof is how old the data is, not the moment the loss was noticed.
        Freshness::Fresh { at } => Freshness::Stale {
            since: at,
            cause: cause.to_owned(),
        },
        Freshness::Loading => Freshness::Stale {
            since,
            cause: cause.to_owned(),
        },
    };
    if first {
        let text = if state.is_loaded() {
            format!("etcd is lost: {cause}. What shows is kept and marked stale")
        } else {
            format!("etcd does not answer: {cause}. It is tried again for ever")
        };
        state.say(Tone::Warn, text);
        link_event(state, format!("etcd is lost: {cause}"));
    }
    state.changed = true;
}

fn link(state: &mut State, members: Vec<MemberDot>) {
    if state.members == members {
        return;
    }
    for member in &members {
        let before = state
            .members
            .iter()
            .find(|known| known.endpoint == member.endpoint);
        if before.is_some_and(|before| before.up == Some(true)) && member.up == Some(false) {
            let why = member.error.as_deref().unwrap_or("no answer");
            link_event(state, format!("{} is down: {why}", member.endpoint));
        }
    }
    state.members = members;
    state.changed = true;
}

fn link_event(state: &mut State, text: String) {
    let at = state.now.wall;
    state.events.note(Happened {
        number: 0,
        at,
        revision: None,
        what: What::Link,
        key: None,
        subject: "etcd".into(),
        text,
        lease: None,
    });
}

/// Writes a change into the journal.
fn note(state: &mut State, source: Source, change: &Change, before: &Before) {
    // The status records are heartbeats in the main; what they and schemas say shows elsewhere.
    if matches!(source, Source::Status | Source::Schema) {
        return;
    }
    let key = change.key().clone();
    let (what, lease, text) = match change {
        Change::Put(entry) => {
            let what = if entry.version <= 1 && before.entry.is_none() {
                What::Created
            } else {
                What::Changed
            };
            (
                what,
                entry.lease,
                put_text(state, source, entry, before.entry.as_ref()),
            )
        }
        Change::Delete { .. } => {
            let lease = before.lease;
            let what = if lease.is_some() {
                What::Gone
            } else {
                What::Deleted
            };
            let text = before.entry.as_ref().map_or(String::new(), |before| {
                format!("was {}", shown(state, &before.key, &before.value))
            });
            (what, lease, text)
        }
    };
    if what == What::Gone
        && let Some(lease) = lease
        && state.suspects.len() < 64
    {
        state.suspects.insert(lease);
        state.beats.leases.asked = None;
    }
    let at = state.now.wall;
    let subject = subject(state, source, &key);
    state.events.note(Happened {
        number: 0,
        at,
        revision: Some(change.revision()),
        what,
        key: Some(key),
        subject,
        text,
        lease,
    });
}

fn subject(state: &State, source: Source, key: &Key) -> String {
    let prefixes = &state.context.prefixes;
    let prefix = match source {
        Source::Services => &prefixes.services,
        Source::Config => &prefixes.config,
        Source::Status => &prefixes.status,
        Source::Schema => &prefixes.schema,
    };
    prefix
        .strip(key)
        .map_or_else(|| key.to_string(), |rest| Key::from(rest).to_string())
}

fn put_text(state: &State, source: Source, entry: &Entry, before: Option<&Entry>) -> String {
    match source {
        Source::Config => {
            let after = shown(state, &entry.key, &entry.value);
            match before {
                Some(before) => format!("{} → {after}", shown(state, &before.key, &before.value)),
                None => after,
            }
        }
        _ => match state.directory.registry.instance(&entry.key) {
            Some(instance) => {
                let endpoint = instance.record.endpoints.first().map(ToString::to_string);
                [
                    instance.record.version.clone(),
                    endpoint.unwrap_or_default(),
                ]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join("  ")
            }
            None => "a record that cannot be read".into(),
        },
    }
}

/// A config value in one line; secrets masked, and everything while nobody has said what is one.
fn shown(state: &State, key: &Key, value: &[u8]) -> String {
    let masked = match state.feed(Source::Schema).freshness {
        Freshness::Loading => Some(MASK.to_owned()),
        _ => state.config.mask(key, value),
    };
    let value = masked.as_deref().map_or(value, str::as_bytes);
    let text = fleet::safe::escape_bytes(value.trim_ascii());
    crate::tui::text::fit(&text, 60, "…").into_owned()
}
