//! Keys that somebody else changed meanwhile: resolved one by one where someone is there to answer,
//! told in their three versions with exit code 3 where nobody is.

use fleet::config::conflict::{Relation, Take, ThreeWay, three_ways};
use fleet::config::secret::{self, redact::redact};
use fleet::config::{ConfigKey, Published};
use fleet::{Conflict, Entry, Revision};
use serde_json::{Value as Json, json};

use super::save::How;
use super::{one_line, preview, secrets};
use crate::change::Proposal;
use crate::report::{Failure, Kind, Report};
use crate::session::Session;

/// Exit code 3, with the three versions of every key for machines.
pub(super) fn failure(
    proposal: &Proposal,
    config: &fleet::Prefix,
    conflicts: &[Conflict],
) -> Failure {
    let ways = three_ways(&proposal.plan, conflicts);
    of(&ways, conflicts, config, &proposal.schemas)
}

/// The same for conflicts that were found before there was a plan.
pub(super) fn of(
    ways: &[ThreeWay],
    conflicts: &[Conflict],
    config: &fleet::Prefix,
    known: &Published,
) -> Failure {
    let mut sentences = Vec::new();
    let mut details = Vec::new();
    for conflict in conflicts {
        let key = ConfigKey::from_key(config, &conflict.key).ok();
        let name = key
            .as_ref()
            .map_or_else(|| conflict.key.to_string(), ToString::to_string);
        let text = |value: &[u8]| match &key {
            Some(key) => one_line(&redact(known, key, value)),
            None => secret::MASK.to_owned(),
        };
        let way = ways.iter().find(|way| way.key == conflict.key);
        let side = |side: Option<&[u8]>| side.map(&text);
        let saw = match conflict.seen.revision() {
            Revision::ZERO => "you saw no such key".to_owned(),
            seen => format!("you saw revision {seen}"),
        };
        sentences.push(match &conflict.current {
            Some(current) => format!(
                "{name} changed at revision {} to {} ({saw})",
                current.mod_revision,
                text(&current.value)
            ),
            None => format!("{name} was removed ({saw})"),
        });
        details.push(json!({
            "key": name,
            "seen_revision": conflict.seen.revision().0,
            "current_revision": conflict.current.as_ref().map_or(0, |c| c.mod_revision.0),
            "base": side(conflict.seen.value()),
            "current": side(conflict.current.as_ref().map(|c| &*c.value)),
            "mine": side(way.and_then(|way| way.mine.as_deref())),
        }));
    }
    Failure::new(Kind::Conflict, sentences.join("; "))
        .next("Nothing was written. Look at the new value and repeat.")
        .with_machine_details(Json::Array(details))
}

/// `--if-revision` that no longer holds.
pub(super) fn at(
    known: &Published,
    key: &ConfigKey,
    expected: i64,
    entry: Option<&Entry>,
) -> Failure {
    let text = |entry: &Entry| one_line(&redact(known, key, &entry.value));
    let stands = entry.map_or(0, |entry| entry.mod_revision.0);
    let now = match entry {
        Some(entry) => format!(
            "{key} changed at revision {stands} to {} (you expected revision {expected})",
            text(entry)
        ),
        None => format!("{key} is not there (you expected revision {expected})"),
    };
    Failure::new(Kind::Conflict, now)
        .next("Nothing was written. Look at the value and repeat with its revision.")
        .with_machine_details(json!([{
            "key": key.to_string(),
            "seen_revision": expected,
            "current_revision": stands,
            "current": entry.map(text),
        }]))
}

/// Asks for each key in conflict what becomes of it.
pub(super) fn resolve(
    session: &Session,
    proposal: &Proposal,
    conflicts: &[Conflict],
    how: &How,
    report: &Report,
) -> Result<Proposal, Failure> {
    let config = &session.prefixes().config;
    let mut stopped = false;
    let resolved = proposal.resolved(session, conflicts, |way| {
        if stopped || way.relation() == Relation::Agree {
            return Take::Theirs;
        }
        match choose(way, config, &proposal.schemas, how, report) {
            Some(take) => take,
            None => {
                stopped = true;
                Take::Theirs
            }
        }
    })?;
    if stopped {
        return Err(failure(proposal, config, conflicts));
    }
    Ok(resolved)
}

/// One key's choice; `None` gives the whole change up.
pub(super) fn choose(
    way: &ThreeWay,
    config: &fleet::Prefix,
    known: &Published,
    how: &How,
    report: &Report,
) -> Option<Take> {
    let (secrets, palette) = (secrets(how.reveal), report.err_palette());
    report.show(&preview::three_way(way, config, known, secrets, palette));
    let merged = way.merged();
    let question = match merged {
        Some(_) => "take (t)heirs, (m)ine, (b)oth merged, or (a)bort?",
        None => "take (t)heirs, (m)ine, or (a)bort?",
    };
    loop {
        match (report.ask(question)?.as_str(), &merged) {
            ("t" | "theirs", _) => return Some(Take::Theirs),
            ("m" | "mine", _) => return Some(Take::Mine),
            ("b" | "both", Some(merged)) => return Some(Take::Value(merged.clone())),
            ("a" | "abort" | "", _) => return None,
            _ => {}
        }
    }
}
