//! The one place where config is written: a change and its record in one transaction, or a series
//! of them where one is not enough, with the records that retention lets go.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use fleet::config::Scope;
use fleet::release::{Author, Recording, ReleaseError, retention};
use fleet::{Conflict, Entry, Outcome, Plan, Revision, Write};

use super::{Proposal, plan_failure, scopes};
use crate::report::Failure;
use crate::session::{Session, Writer};

/// How often a commit is repeated because another change took the place or the age of a record.
const RECORD_TRIES: usize = 5;

/// How long is looked for records that may go.
const TIDYING: Duration = Duration::from_secs(2);

/// Writes a change and its record, or nothing. A conflict is about config keys alone: where only
/// the place of a record was taken, the record finds another.
///
/// # Errors
/// When etcd could not be asked, or refused.
pub async fn commit(
    writer: &Writer,
    proposal: &Proposal,
    message: &str,
) -> Result<Outcome, Failure> {
    Committing::new(writer).one(proposal, message).await
}

/// Where a series of transactions stopped. What was written before stays.
#[derive(Debug)]
pub struct Stopped {
    /// How many keys are written, in whole transactions.
    pub done: usize,
    /// Which of the changes was not, from 0.
    pub at: usize,
    /// Why.
    pub why: Stop,
}

/// Why a series of transactions stopped.
#[derive(Debug)]
pub enum Stop {
    /// Keys had changed meanwhile.
    Refused(Vec<Conflict>),
    /// It was sent, no answer came, and reading did not tell.
    Unknown(String),
    /// etcd could not be asked, or refused.
    Failed(Failure),
}

/// Writes changes one after the other, each all or nothing; the whole is not. `told` hears how many
/// keys are written. Gives the revision of the last one. Cancelling it leaves a beginning written.
///
/// # Errors
/// [`Stopped`] at the first that was not written.
pub async fn commit_all(
    writer: &Writer,
    proposals: &[Proposal],
    message: &str,
    mut told: impl FnMut(usize),
) -> Result<Revision, Stopped> {
    let mut committing = Committing::new(writer);
    let (mut done, mut last) = (0, Revision::ZERO);
    let all = proposals.len();
    for (at, proposal) in proposals.iter().enumerate() {
        let message = match all {
            1 => message.to_owned(),
            _ => format!("{message} ({} of {all})", at + 1),
        };
        let stopped = |why| Stopped { done, at, why };
        match committing.one(proposal, message.trim_start()).await {
            Ok(Outcome::Applied { revision }) => {
                done += proposal.plan.edits().len();
                last = revision;
                told(done);
            }
            Ok(Outcome::Refused { conflicts }) => return Err(stopped(Stop::Refused(conflicts))),
            Ok(Outcome::Unknown { cause }) => return Err(stopped(Stop::Unknown(cause))),
            Err(failure) => return Err(stopped(Stop::Failed(failure))),
        }
    }
    Ok(last)
}

/// One or more commits, which count the records of a scope once.
pub struct Committing<'w> {
    writer: &'w Writer,
    records: BTreeMap<Scope, Records>,
}

/// The records of one scope.
struct Records {
    count: usize,
    /// The oldest first; read only once there are as many as are kept.
    heads: Option<Vec<Entry>>,
}

impl<'w> Committing<'w> {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(writer: &'w Writer) -> Self {
        Self {
            writer,
            records: BTreeMap::new(),
        }
    }

    /// Reads what a commit has to know beside its plan, before anybody is asked: once they have said
    /// yes, the first thing that goes out is the transaction. What cannot be read is left.
    pub async fn prepare(&mut self, proposal: &Proposal) {
        self.tidied(&proposal.plan).await;
    }

    /// Commits one change: see [`commit`].
    ///
    /// # Errors
    /// When etcd could not be asked, or refused.
    pub async fn one(&mut self, proposal: &Proposal, message: &str) -> Result<Outcome, Failure> {
        if proposal.plan.is_empty() {
            return Ok(Outcome::Applied {
                revision: proposal.revision,
            });
        }
        let session = self.writer.session();
        let prefixes = session.prefixes();
        let author = Author {
            name: session.author(),
            time: jiff::Timestamp::now(),
            message: message.to_owned(),
        };
        let mut expired = self.tidied(&proposal.plan).await;
        for _ in 0..RECORD_TRIES {
            let recording = Recording {
                config: &prefixes.config,
                releases: &prefixes.releases,
                author: &author,
                action: &proposal.action,
                revision: proposal.revision,
                nonce: nonce(),
                known: &proposal.schemas,
                expired: &expired,
            };
            let plan = recording
                .of(proposal.plan.clone())
                .map_err(|error| match error {
                    ReleaseError::Plan(error) => plan_failure(&error),
                    ReleaseError::Message(_) => Failure::usage(error.to_string()),
                })?;
            match self.writer.commit(&plan).await? {
                Outcome::Refused { conflicts } => {
                    let ours = |conflict: &Conflict| prefixes.config.contains(&conflict.key);
                    let conflicts: Vec<_> = conflicts.into_iter().filter(ours).collect();
                    if !conflicts.is_empty() {
                        return Ok(Outcome::Refused { conflicts });
                    }
                    // Others tidied up meanwhile; they may go on.
                    self.records.clear();
                    expired = Vec::new();
                }
                outcome => {
                    self.written(&plan);
                    return Ok(outcome);
                }
            }
        }
        Err(Failure::failed(format!(
            "the records of other changes were in the way {RECORD_TRIES} times; nothing was written"
        ))
        .next("Repeat it; the keys themselves stand as you saw them."))
    }

    /// The records that may go. A change never fails, and hardly waits, for the sake of tidiness.
    async fn tidied(&mut self, plan: &Plan) -> Vec<Entry> {
        let tidied = tokio::time::timeout(TIDYING, self.expired(plan)).await;
        tidied.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// The records that make room for the ones of a plan.
    async fn expired(&mut self, plan: &Plan) -> Result<Vec<Entry>, Failure> {
        let session = self.writer.session();
        let prefixes = session.prefixes();
        let keep = session.context().keep_releases;
        let mut expired = Vec::new();
        for scope in scopes(plan, &prefixes.config) {
            let own = scope.prefix(&prefixes.releases);
            if !self.records.contains_key(&scope) {
                let counted = session.client().count(&own).await;
                let (count, _) = counted.map_err(|error| session.failure(&error))?;
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                let known = Records { count, heads: None };
                self.records.insert(scope.clone(), known);
            }
            let Some(known) = self.records.get_mut(&scope) else {
                continue;
            };
            if known.count < keep {
                continue;
            }
            if known.heads.is_none() {
                let records = heads(session, &own).await?;
                known.count = records.len();
                known.heads = Some(retention::expired(records, 0));
            }
            let excess = (known.count + 1).saturating_sub(keep.max(1));
            let heads = known.heads.iter().flatten();
            expired.extend(heads.take(excess).cloned());
        }
        Ok(expired)
    }

    /// What was written counts for the next one.
    fn written(&mut self, plan: &Plan) {
        let releases = &self.writer.session().prefixes().releases;
        for (scope, known) in &mut self.records {
            let own = scope.prefix(releases);
            for edit in plan.edits().iter().filter(|edit| own.contains(&edit.key)) {
                match edit.write {
                    Write::Put { .. } => known.count += 1,
                    Write::Delete => {
                        known.count = known.count.saturating_sub(1);
                        if let Some(heads) = &mut known.heads {
                            heads.retain(|head| head.key != edit.key);
                        }
                    }
                }
            }
        }
    }
}

async fn heads(session: &Session, own: &fleet::Prefix) -> Result<Vec<Entry>, Failure> {
    let heads = session
        .client()
        .keys(own, etcd::ListOptions::default())
        .await
        .map_err(|error| session.failure(&error))?;
    let entry = |head: etcd::KeyHead| Entry {
        key: head.key,
        value: [].into(),
        create_revision: head.create_revision,
        mod_revision: head.mod_revision,
        version: head.version,
        lease: None,
    };
    Ok(heads.keys.into_iter().map(entry).collect())
}

/// A random number that names records.
fn nonce() -> u32 {
    let random = RandomState::new().hash_one(std::process::id());
    u32::try_from(random >> 32).unwrap_or_default()
}
