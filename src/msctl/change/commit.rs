//! The one place where config is written: a change and its record in one transaction, with the
//! records that retention lets go.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use fleet::config::{Published, Scope};
use fleet::plan::MAX_EDITS;
use fleet::release::{Author, Recording, ReleaseError, mask, retention};
use fleet::{Conflict, Edit, Entry, Outcome, Plan};
use futures::StreamExt as _;

use super::{Proposal, plan_failure, scopes};
use crate::report::Failure;
use crate::session::{Session, Writer};

/// How often a commit is repeated because another change took the place or the age of a record.
const RECORD_TRIES: usize = 5;

/// How long is looked for records that may go.
const TIDYING: Duration = Duration::from_secs(2);

/// How many scopes are asked for their records at once.
const READS_AT_ONCE: usize = 8;

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

/// One or more commits, which count the records of a scope once.
pub struct Committing<'w> {
    writer: &'w Writer,
    records: BTreeMap<Scope, Records>,
}

/// The records of one scope.
#[derive(Clone)]
struct Records {
    count: usize,
    /// The oldest first; read only where there will be more than are kept.
    heads: Vec<Entry>,
    /// Those that hold what has become a secret, rewritten; looked for only where a schema names
    /// secrets.
    leaks: Vec<Edit>,
}

/// What a transaction does beside its change.
#[derive(Default)]
pub(super) struct Tidy {
    masked: Vec<Edit>,
    expired: Vec<Entry>,
}

/// What came of one transaction.
pub(super) struct Written {
    pub(super) outcome: Outcome,
    /// Whether somebody else tidied up meanwhile: what is known of the records is old.
    pub(super) overtaken: bool,
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
        let config = &self.writer.session().prefixes().config;
        let scopes = scopes(&proposal.plan, config).into_iter();
        self.know(scopes.map(|scope| (scope, 1)), &proposal.schemas)
            .await;
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
        self.prepare(proposal).await;
        let before = self.records.clone();
        let tidy = self.tidy(&proposal.plan);
        let written = write(self.writer, proposal, message, tidy).await?;
        if matches!(written.outcome, Outcome::Refused { .. }) {
            self.records = before;
        }
        if written.overtaken {
            self.forget();
        }
        Ok(written.outcome)
    }

    /// Counts the records of scopes, several at a time; each scope comes with how many records it
    /// will get. A change never fails, and hardly waits, for the sake of tidiness: what cannot be
    /// read in time is left.
    pub(super) async fn know(
        &mut self,
        scopes: impl IntoIterator<Item = (Scope, usize)>,
        schemas: &Published,
    ) {
        let unknown: Vec<_> = scopes
            .into_iter()
            .filter(|(scope, _)| !self.records.contains_key(scope))
            .collect();
        if unknown.is_empty() {
            return;
        }
        let session = self.writer.session();
        let mut read = futures::stream::iter(unknown)
            .map(|(scope, more)| async move {
                let read = Records::read(session, &scope, more, schemas).await;
                (read, scope)
            })
            .buffer_unordered(READS_AT_ONCE);
        // What was read until then counts.
        let _ = tokio::time::timeout(TIDYING, async {
            while let Some((read, scope)) = read.next().await {
                if let Ok(known) = read {
                    self.records.insert(scope, known);
                }
            }
        })
        .await;
    }

    /// The records to be masked, and those that make room for the ones of a plan: they are this
    /// plan's, and no other's of this series.
    pub(super) fn tidy(&mut self, plan: &Plan) -> Tidy {
        let session = self.writer.session();
        let keep = session.context().keep_releases.max(1);
        let scopes = scopes(plan, &session.prefixes().config);
        let mut tidy = Tidy::default();
        // One operation is each record's.
        let most = (MAX_EDITS + 1).saturating_sub(plan.edits().len() + scopes.len());
        for scope in scopes {
            if let Some(known) = self.records.get_mut(&scope) {
                known.count += 1;
                let room = most - tidy.masked.len() - tidy.expired.len();
                let masked: Vec<_> = known.leaks.drain(..known.leaks.len().min(room)).collect();
                // It is rewritten, not deleted as it was seen.
                (known.heads).retain(|head| masked.iter().all(|edit| edit.key != head.key));
                let room = known.heads.len().min(room - masked.len());
                let excess = known.count.saturating_sub(keep).min(room);
                known.count -= excess;
                tidy.masked.extend(masked);
                tidy.expired.extend(known.heads.drain(..excess));
            }
        }
        tidy
    }

    /// Who writes.
    pub(super) fn writer(&self) -> &'w Writer {
        self.writer
    }

    /// Whether nothing was read yet, or it is old.
    pub(super) fn knows_nothing(&self) -> bool {
        self.records.is_empty()
    }

    /// Reads again what is asked for next.
    pub(super) fn forget(&mut self) {
        self.records.clear();
    }
}

impl Records {
    async fn read(
        session: &Session,
        scope: &Scope,
        more: usize,
        schemas: &Published,
    ) -> Result<Self, Failure> {
        let own = scope.prefix(&session.prefixes().releases);
        if schemas.has_secrets(scope) {
            let records = session.list(&own).await?.entries;
            return Ok(Self {
                count: records.len(),
                leaks: mask::masked(&records, schemas),
                heads: retention::expired(records, 0),
            });
        }
        let counted = session.client().count(&own).await;
        let (count, _) = counted.map_err(|error| session.failure(&error))?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count.saturating_add(more) <= session.context().keep_releases {
            return Ok(Self {
                count,
                heads: Vec::new(),
                leaks: Vec::new(),
            });
        }
        let records = heads(session, &own).await?;
        Ok(Self {
            count: records.len(),
            heads: retention::expired(records, 0),
            leaks: Vec::new(),
        })
    }
}

/// Writes one change with its record, or nothing. Of a conflict about records alone nothing is said:
/// the record finds another place.
///
/// # Errors
/// When etcd could not be asked, or refused.
pub(super) async fn write(
    writer: &Writer,
    proposal: &Proposal,
    message: &str,
    mut tidy: Tidy,
) -> Result<Written, Failure> {
    let session = writer.session();
    let prefixes = session.prefixes();
    let author = Author {
        name: session.author(),
        time: jiff::Timestamp::now(),
        message: message.to_owned(),
    };
    let mut overtaken = false;
    for _ in 0..RECORD_TRIES {
        let recording = Recording {
            config: &prefixes.config,
            releases: &prefixes.releases,
            author: &author,
            action: &proposal.action,
            revision: proposal.revision,
            nonce: nonce(),
            known: &proposal.schemas,
            expired: &tidy.expired,
            masked: &tidy.masked,
        };
        let plan = recording
            .of(proposal.plan.clone())
            .map_err(|error| match error {
                ReleaseError::Plan(error) => plan_failure(&error),
                ReleaseError::Message(_) => Failure::usage(error.to_string()),
            })?;
        let outcome = match writer.commit(&plan).await? {
            Outcome::Refused { conflicts } => {
                let ours = |conflict: &Conflict| prefixes.config.contains(&conflict.key);
                let conflicts: Vec<_> = conflicts.into_iter().filter(ours).collect();
                if conflicts.is_empty() {
                    // Others tidied up meanwhile; they may go on.
                    overtaken = true;
                    tidy = Tidy::default();
                    continue;
                }
                Outcome::Refused { conflicts }
            }
            outcome => outcome,
        };
        return Ok(Written { outcome, overtaken });
    }
    Err(Failure::failed(format!(
        "the records of other changes were in the way {RECORD_TRIES} times; nothing was written"
    ))
    .next("Repeat it; the keys themselves stand as you saw them."))
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
