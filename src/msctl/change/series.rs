//! A change that is too large for one transaction: several, of which a few are on their way at once,
//! since etcd writes what comes together to its disk together.
//!
//! Each is all or nothing; the whole is not. No two touch the same key, so their order does not
//! matter. At the first that fails nothing more is sent, what was sent is waited for, and what came of
//! each is known.

use std::collections::BTreeMap;

use fleet::config::Scope;
use fleet::{Conflict, Outcome, Revision};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use super::commit::{Committing, Written, write};
use super::{Proposal, scopes};
use crate::report::Failure;

/// How many transactions are on their way at once.
const AT_ONCE: usize = 4;

/// Where a series of transactions stopped. What was written stays.
#[derive(Debug)]
pub struct Stopped {
    /// How many keys are written, in whole transactions.
    pub keys: usize,
    /// Which of the changes are written, from 0, in order.
    pub written: Vec<usize>,
    /// Which are not or may not be, and why, in order; the others were never sent.
    pub stops: BTreeMap<usize, Stop>,
}

/// Why a transaction of a series was not written, or may not have been.
#[derive(Debug)]
pub enum Stop {
    /// Keys had changed meanwhile.
    Refused(Vec<Conflict>),
    /// It was sent, no answer came, and reading did not tell.
    Unknown(String),
    /// etcd could not be asked, or refused.
    Failed(Failure),
}

/// Writes changes, none of which touches a key of another and all of which were checked against the
/// same schemas, each all or nothing. `told` hears how many keys are written. Gives the highest
/// revision. Cancelling it leaves some written; each has its record.
///
/// # Errors
/// [`Stopped`] when one was not written.
pub async fn commit_all(
    mut committing: Committing<'_>,
    proposals: &[Proposal],
    message: &str,
    mut told: impl FnMut(usize),
) -> Result<Revision, Stopped> {
    let all = proposals.len();
    let mut stopped = Stopped {
        keys: 0,
        written: Vec::new(),
        stops: BTreeMap::new(),
    };
    let mut last = Revision::ZERO;
    let mut waiting = proposals.iter().enumerate();
    let writer = committing.writer();
    let mut unknown = committing.knows_nothing();
    let mut sent = FuturesUnordered::new();
    loop {
        while sent.len() < AT_ONCE && stopped.stops.is_empty() {
            let Some((at, proposal)) = waiting.next() else {
                break;
            };
            if std::mem::take(&mut unknown) {
                prepare_all(&mut committing, &proposals[at..]).await;
            }
            let tidy = committing.tidy(&proposal.plan);
            let message = numbered(message, at, all);
            sent.push(async move { (at, write(writer, proposal, &message, tidy).await) });
        }
        let Some((at, written)) = sent.next().await else {
            break;
        };
        let stop = match written {
            Ok(Written { outcome, overtaken }) => {
                if overtaken {
                    committing.forget();
                    unknown = true;
                }
                match outcome {
                    Outcome::Applied { revision } => {
                        last = last.max(revision);
                        stopped.keys += proposals[at].plan.edits().len();
                        stopped.written.push(at);
                        told(stopped.keys);
                        continue;
                    }
                    Outcome::Refused { conflicts } => Stop::Refused(conflicts),
                    Outcome::Unknown { cause } => Stop::Unknown(cause),
                }
            }
            Err(failure) => Stop::Failed(failure),
        };
        stopped.stops.insert(at, stop);
    }
    if stopped.stops.is_empty() {
        return Ok(last);
    }
    stopped.written.sort_unstable();
    Err(stopped)
}

/// Reads what a series has to know beside its plans: see [`Committing::prepare`].
pub async fn prepare_all(committing: &mut Committing<'_>, proposals: &[Proposal]) {
    let Some(first) = proposals.first() else {
        return;
    };
    let config = &committing.writer().session().prefixes().config;
    // How many records each scope will get.
    let mut records: BTreeMap<Scope, usize> = BTreeMap::new();
    for proposal in proposals {
        for scope in scopes(&proposal.plan, config) {
            *records.entry(scope).or_default() += 1;
        }
    }
    committing.know(records, &first.schemas).await;
}

fn numbered(message: &str, at: usize, all: usize) -> String {
    let text = match all {
        1 => message.to_owned(),
        _ => format!("{message} ({} of {all})", at + 1),
    };
    text.trim_start().to_owned()
}
