//! A plan becomes one guarded transaction: applied, refused, or said to be unknown.
//!
//! When the answer is lost, the keys are read, again and again while etcd is away, and compared with
//! what was to be written before anything is said. Sending again is safe, since the guard lets only
//! one of the two happen.

use std::time::Duration;

use etcd_client::proto as pb;
use fleet::{Conflict, Edit, Entry, Key, LeaseRule, Outcome, Plan, Revision, Seen, Write};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::client::Client;
use crate::client::call;
use crate::client::link::{Call, Repeat};
use crate::error::Error;
use crate::wire;

/// How many later writes of a key are gone through to find ours.
const MAX_STEPS_BACK: i64 = 32;

pub(crate) async fn commit(client: &Client, plan: &Plan) -> Result<Outcome, Error> {
    if plan.is_empty() {
        let (_, revision) = client.get(&Key::from("\0")).await?;
        return Ok(Outcome::Applied { revision });
    }
    let timeout = client.settings().request_timeout;
    let deadline = Instant::now() + timeout;
    // What was sent shortly before the deadline is looked after as well.
    let end = deadline + timeout;
    let mut doubt: Option<Error> = None;
    let mut pause = pauses();
    loop {
        let failure = match send(client, plan, timeout / 2).await {
            Ok(Outcome::Refused { .. }) if doubt.is_some() => {
                // It may be our own earlier attempt that changed the keys.
                Error::Lost {
                    endpoint: client.link.endpoints().join(", "),
                    method: call::TXN.name,
                    cause: "sent twice, and the second found the keys changed".to_owned(),
                }
            }
            Ok(outcome) => return Ok(outcome),
            // etcd can answer "no space" to a write that it has applied.
            Err(error) if error.is_ambiguous() || matches!(error, Error::NoSpace { .. }) => error,
            Err(error) if doubt.is_some() => error,
            Err(error) => return Err(error),
        };
        let until = end.min(Instant::now() + timeout);
        match learn_until(client, plan, until).await {
            Err(reading) => {
                let cause = format!("{failure}; {reading}");
                return Ok(Outcome::Unknown { cause });
            }
            Ok(Finding::Settled(outcome)) => return Ok(outcome),
            Ok(Finding::Unclear) => {
                let cause = format!("{failure}; the keys have changed again since");
                return Ok(Outcome::Unknown { cause });
            }
            Ok(Finding::Untouched) => {
                if !failure.is_ambiguous() && doubt.is_none() {
                    return Err(failure);
                }
                // In doubt, an etcd that went away once more is no answer either.
                if Instant::now() >= deadline || !failure.is_absence() {
                    let cause = format!("{failure}; it was not written so far");
                    return Ok(Outcome::Unknown { cause });
                }
                doubt = Some(failure);
                pause.wait().await;
            }
        }
    }
}

fn pauses() -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_millis(500))
}

/// What became of the plan, asked for until etcd tells. Fails with why it did not.
async fn learn_until(client: &Client, plan: &Plan, until: Instant) -> Result<Finding, String> {
    let mut pause = pauses();
    let mut last: Option<Error> = None;
    let settled = tokio::time::timeout_at(until, async {
        loop {
            match learn(client, plan).await {
                Err(error) if error.is_absence() => last = Some(error),
                settled => return settled,
            }
            pause.wait().await;
        }
    });
    match settled.await {
        Ok(settled) => settled.map_err(|error| format!("reading it back: {error}")),
        // There may be many keys, and many earlier writes of theirs, to go through.
        Err(_) => Err(last.map_or_else(
            || "reading it back took too long".to_owned(),
            |error| format!("reading it back took too long, at last: {error}"),
        )),
    }
}

async fn send(client: &Client, plan: &Plan, within: Duration) -> Result<Outcome, Error> {
    let call = Call {
        repeat: Repeat::Never,
        within: within.max(Duration::from_millis(500)),
        ..client.reading(&call::TXN)
    };
    let response: pb::PbTxnResponse = client.link.call(call, transaction(plan)).await.map_err(
        // "Lease not found" carries no id: it is the one that the plan attaches.
        |error| match (&error, attached(plan)) {
            (Error::Rejected { message, .. }, Some(id)) if message.contains("lease not found") => {
                Error::LeaseNotFound { id }
            }
            _ => error,
        },
    )?;
    if response.succeeded {
        return Ok(Outcome::Applied {
            revision: wire::revision(response.header.as_ref()),
        });
    }
    let current = entries(response);
    let conflicts = conflicts(plan.edits(), &current);
    Ok(Outcome::Refused { conflicts })
}

fn attached(plan: &Plan) -> Option<fleet::LeaseId> {
    plan.edits().iter().find_map(|edit| match edit.write {
        Write::Put {
            lease: LeaseRule::Attach(id),
            ..
        } => Some(id),
        _ => None,
    })
}

/// The guard of every key, the writes, and the reads that explain a refusal.
fn transaction(plan: &Plan) -> pb::PbTxnRequest {
    let edits = plan.edits();
    pb::PbTxnRequest {
        compare: edits
            .iter()
            .map(|edit| pb::PbCompare {
                // Equal is 0.
                result: 0,
                target: pb::PbCompareTarget::Mod as i32,
                key: edit.key.as_bytes().to_vec(),
                range_end: Vec::new(),
                target_union: Some(pb::PbTargetUnion::ModRevision(edit.seen.revision().0)),
            })
            .collect(),
        success: edits.iter().map(operation).collect(),
        failure: edits.iter().map(|edit| reading(&edit.key)).collect(),
    }
}

fn operation(edit: &Edit) -> pb::PbTxnRequestOp {
    let key = edit.key.as_bytes().to_vec();
    let request = match &edit.write {
        Write::Put { value, lease } => pb::PbTxnOpRequest::RequestPut(pb::PbPutRequest {
            key,
            value: value.to_vec(),
            lease: match lease {
                LeaseRule::Attach(id) => id.get(),
                LeaseRule::None | LeaseRule::Keep => 0,
            },
            ignore_lease: *lease == LeaseRule::Keep,
            ..pb::PbPutRequest::default()
        }),
        Write::Delete => pb::PbTxnOpRequest::RequestDeleteRange(pb::PbDeleteRequest {
            key,
            ..pb::PbDeleteRequest::default()
        }),
    };
    pb::PbTxnRequestOp {
        request: Some(request),
    }
}

fn reading(key: &Key) -> pb::PbTxnRequestOp {
    pb::PbTxnRequestOp {
        request: Some(pb::PbTxnOpRequest::RequestRange(wire::get(
            key,
            Revision::ZERO,
        ))),
    }
}

/// What each read of a transaction found, in order.
fn entries(response: pb::PbTxnResponse) -> Vec<Option<Entry>> {
    response
        .responses
        .into_iter()
        .map(|op| match op.response {
            Some(pb::PbTxnOpResponse::ResponseRange(range)) => {
                range.kvs.into_iter().next().map(wire::entry)
            }
            _ => None,
        })
        .collect()
}

fn conflicts(edits: &[Edit], current: &[Option<Entry>]) -> Vec<Conflict> {
    edits
        .iter()
        .zip(current)
        .filter(|(edit, current)| {
            let now = current
                .as_ref()
                .map_or(Revision::ZERO, |entry| entry.mod_revision);
            now != edit.seen.revision()
        })
        .map(|(edit, current)| Conflict {
            key: edit.key.clone(),
            seen: edit.seen.clone(),
            current: current.clone(),
        })
        .collect()
}

/// What reading back told of a plan whose answer was lost.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    /// It was applied or refused.
    Settled(Outcome),
    /// Every key is as its author saw it.
    Untouched,
    /// The keys moved on, and their history does not tell.
    Unclear,
}

async fn learn(client: &Client, plan: &Plan) -> Result<Finding, Error> {
    let request = pb::PbTxnRequest {
        success: plan.edits().iter().map(|edit| reading(&edit.key)).collect(),
        ..pb::PbTxnRequest::default()
    };
    let response: pb::PbTxnResponse = client.read(&call::TXN, request).await?;
    let now = wire::revision(response.header.as_ref());
    let current = entries(response);
    let mut traces = Vec::with_capacity(current.len());
    for (edit, entry) in plan.edits().iter().zip(&current) {
        let mut trace = trace(edit, entry.as_ref());
        let mut at = entry.clone();
        while let (Trace::Later, Some(entry)) = (&trace, &at) {
            let before = Revision(entry.mod_revision.0 - 1);
            match client.get_at(&edit.key, before).await {
                Ok((Some(earlier), _)) => {
                    trace = self::trace(edit, Some(&earlier));
                    at = Some(earlier);
                }
                Ok((None, _)) | Err(Error::Compacted { .. }) => trace = Trace::Unclear,
                Err(error) => return Err(error),
            }
        }
        traces.push(trace);
    }
    Ok(conclude(plan.edits(), &current, &traces, now))
}

/// What a key's state says about one edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trace {
    /// As its author saw it: this edit has not happened.
    Untouched,
    /// Exactly what the edit writes, in the place where it writes it.
    Ours(Revision),
    /// Deleted, as the edit wanted.
    Gone,
    /// Another write took the place: this edit can no longer happen.
    Others,
    /// Written more often since; an earlier revision tells.
    Later,
    /// It cannot be told.
    Unclear,
}

fn trace(edit: &Edit, current: Option<&Entry>) -> Trace {
    let (entry, seen) = match (current, &edit.seen) {
        (None, Seen::Absent) => return Trace::Untouched,
        (None, Seen::At(_)) if edit.write == Write::Delete => return Trace::Gone,
        // Deleted by another, before or after ours.
        (None, Seen::At(_)) => return Trace::Unclear,
        (Some(entry), seen) => (entry, seen),
    };
    if entry.mod_revision == seen.revision() {
        return Trace::Untouched;
    }
    let seen_version = match seen {
        Seen::Absent => 0,
        Seen::At(seen) if seen.create_revision == entry.create_revision => seen.version,
        Seen::At(_) => return Trace::Unclear,
    };
    let steps = entry.version - seen_version;
    let Write::Put { value, lease } = &edit.write else {
        // The same key lives on, so it was never deleted.
        return Trace::Others;
    };
    let lease_fits = match (lease, seen) {
        (LeaseRule::None, _) | (LeaseRule::Keep, Seen::Absent) => entry.lease.is_none(),
        (LeaseRule::Attach(id), _) => entry.lease == Some(*id),
        (LeaseRule::Keep, Seen::At(seen)) => entry.lease == seen.lease,
    };
    match steps {
        1 if lease_fits && entry.value == *value => Trace::Ours(entry.mod_revision),
        1 => Trace::Others,
        2..=MAX_STEPS_BACK => Trace::Later,
        _ => Trace::Unclear,
    }
}

fn conclude(edits: &[Edit], current: &[Option<Entry>], traces: &[Trace], now: Revision) -> Finding {
    let untouched = traces
        .iter()
        .filter(|trace| **trace == Trace::Untouched)
        .count();
    if untouched == traces.len() {
        return Finding::Untouched;
    }
    // One key that was not written proves that none was: it is one transaction.
    if untouched > 0 || traces.contains(&Trace::Others) {
        let conflicts = conflicts(edits, current);
        return Finding::Settled(Outcome::Refused { conflicts });
    }
    let mut revision = None;
    for trace in traces {
        match (trace, revision) {
            (Trace::Ours(at), None) => revision = Some(*at),
            (Trace::Ours(at), Some(seen)) if *at == seen => {}
            (Trace::Gone, _) => {}
            _ => return Finding::Unclear,
        }
    }
    // Of deletions alone, only the revision by which they had happened is known.
    let revision = revision.unwrap_or(now);
    Finding::Settled(Outcome::Applied { revision })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet::LeaseId;

    fn entry(value: &str, create: i64, modified: i64, version: i64, lease: i64) -> Entry {
        Entry {
            key: "/k".into(),
            value: value.as_bytes().into(),
            create_revision: Revision(create),
            mod_revision: Revision(modified),
            version,
            lease: LeaseId::new(lease),
        }
    }

    fn put(seen: Seen, value: &str) -> Edit {
        Edit::put("/k".into(), seen, value.as_bytes())
    }

    #[test]
    fn the_state_of_a_key_tells_what_became_of_an_edit() {
        let seen = || Seen::At(entry("old", 3, 5, 2, 0));
        let leased = || Seen::At(entry("old", 3, 5, 2, 9));
        let delete = |seen| Edit::delete("/k".into(), seen);
        let ours = Trace::Ours(Revision(8));
        #[rustfmt::skip]
        let cases = [
            ("never created", put(Seen::Absent, "new"), None, Trace::Untouched),
            ("created", put(Seen::Absent, "new"), Some(entry("new", 8, 8, 1, 0)), ours),
            ("created by another", put(Seen::Absent, "new"), Some(entry("theirs", 8, 8, 1, 0)), Trace::Others),
            ("created, then written", put(Seen::Absent, "new"), Some(entry("theirs", 8, 9, 2, 0)), Trace::Later),
            ("not written", put(seen(), "new"), Some(entry("old", 3, 5, 2, 0)), Trace::Untouched),
            ("written", put(seen(), "new"), Some(entry("new", 3, 8, 3, 0)), ours),
            ("written, lease kept", put(leased(), "new"), Some(entry("new", 3, 8, 3, 9)), ours),
            ("written, lease lost", put(leased(), "new"), Some(entry("new", 3, 8, 3, 0)), Trace::Others),
            ("written by another", put(seen(), "new"), Some(entry("theirs", 3, 8, 3, 0)), Trace::Others),
            ("written twice", put(seen(), "new"), Some(entry("theirs", 3, 9, 4, 0)), Trace::Later),
            ("deleted by another", put(seen(), "new"), None, Trace::Unclear),
            ("created anew", put(seen(), "new"), Some(entry("new", 8, 8, 1, 0)), Trace::Unclear),
            ("gone", delete(seen()), None, Trace::Gone),
            ("still there", delete(seen()), Some(entry("old", 3, 5, 2, 0)), Trace::Untouched),
            ("written instead", delete(seen()), Some(entry("theirs", 3, 8, 3, 0)), Trace::Others),
            ("gone and back", delete(seen()), Some(entry("theirs", 8, 8, 1, 0)), Trace::Unclear),
        ];
        for (name, edit, current, expected) in cases {
            assert_eq!(trace(&edit, current.as_ref()), expected, "{name}");
        }
    }

    fn check(traces: &[Trace]) -> Finding {
        let edits: Vec<_> = (0..traces.len())
            .map(|i| Edit::put(format!("/k{i}").into(), Seen::Absent, *b"new"))
            .collect();
        let current = vec![Some(entry("x", 8, 8, 1, 0)); traces.len()];
        conclude(&edits, &current, traces, Revision(20))
    }

    #[test]
    fn a_plan_is_applied_only_when_every_key_tells_so() {
        use Trace::{Gone, Others, Ours, Unclear, Untouched};
        let applied = |revision| {
            Finding::Settled(Outcome::Applied {
                revision: Revision(revision),
            })
        };
        let eight = Ours(Revision(8));
        assert_eq!(check(&[eight, eight]), applied(8));
        assert_eq!(check(&[eight, Gone]), applied(8));
        assert_eq!(check(&[Gone, Gone]), applied(20));
        assert_eq!(check(&[Untouched, Untouched]), Finding::Untouched);
        assert_eq!(check(&[eight, Ours(Revision(9))]), Finding::Unclear);
        assert_eq!(check(&[eight, Unclear]), Finding::Unclear);
        for refused in [[Others, Unclear], [eight, Others], [Untouched, eight]] {
            assert!(
                matches!(check(&refused), Finding::Settled(Outcome::Refused { .. })),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn every_write_is_guarded_by_the_revision_its_author_saw() {
        let plan = Plan::new([
            put(Seen::At(entry("old", 3, 5, 2, 9)), "new"),
            Edit::delete("/d".into(), Seen::At(entry("old", 3, 6, 2, 0))),
            Edit::put("/a".into(), Seen::Absent, *b"1"),
        ])
        .unwrap();
        let request = transaction(&plan);
        let guards: Vec<_> = request
            .compare
            .iter()
            .map(|compare| compare.target_union.clone())
            .collect();
        assert_eq!(
            guards,
            [5, 6, 0].map(|revision| Some(pb::PbTargetUnion::ModRevision(revision)))
        );
        let Some(pb::PbTxnOpRequest::RequestPut(put)) = &request.success[0].request else {
            panic!("not a put");
        };
        assert!(put.ignore_lease, "a leased key keeps its lease");
        assert_eq!(put.lease, 0);
    }
}
