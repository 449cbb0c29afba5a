//! The way back: to how a scope stood at a revision, or one release taken back on top of what came
//! after it. Finds it and makes a change of it; a rollback is a change like any other.

use fleet::config::conflict::{Relation, Take, ThreeWay};
use fleet::config::{Published, Scope};
use fleet::release::Action;
use fleet::release::rollback::{Answers, Compacted, Read, Rollback as Step, RollbackError};
use fleet::release::rollback::{revert, roll_back};
use fleet::{Conflict, Edit, Entry, Key, Plan, Revision, Seen};

use super::{Proposal, batches_of, history, schemas};
use crate::report::Failure;
use crate::session::Session;

/// Which way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Everything after this revision is taken back.
    To(Revision),
    /// The release of this revision alone is taken back.
    Of(Revision),
}

/// A way back that was found.
#[derive(Debug, Clone)]
pub struct Way {
    /// Keys that go back as they are.
    pub edits: Vec<Edit>,
    /// Keys that a later change touched too: each needs a choice. Base is what the release wrote,
    /// mine what was before it.
    pub open: Vec<ThreeWay>,
    /// The store's revision it was found at.
    pub revision: Revision,
    /// What it is, for its record.
    pub action: Action,
    /// Whether etcd's own history of then is gone: what no record tells of, such as a key that
    /// another tool deleted, is not brought back.
    pub blind: bool,
    /// What the service says of its config.
    pub schemas: Published,
}

/// Finds the way back.
///
/// # Errors
/// When etcd cannot be read, there is no such release, or a value is gone; it is named.
pub async fn find(session: &Session, scope: &Scope, target: Target) -> Result<Way, Failure> {
    let listing = session
        .list(&scope.prefix(&session.prefixes().config))
        .await?;
    let (edits, ways, action, blind) = match target {
        Target::Of(revision) => {
            let (edits, ways) = of(session, scope, revision, &listing.entries).await?;
            (edits, ways, Action::Revert(revision.0), false)
        }
        Target::To(revision) if revision > listing.revision => {
            return Err(Failure::not_found(format!(
                "revision {revision} is still to come; etcd is at {}",
                listing.revision
            )));
        }
        Target::To(revision) => {
            let (edits, blind) = to(session, scope, revision, &listing.entries).await?;
            (edits, Vec::new(), Action::RollBack(revision.0), blind)
        }
    };
    let mut open = ways;
    open.retain(|way| way.relation() != Relation::Agree);
    Ok(Way {
        edits,
        open,
        revision: listing.revision,
        action,
        blind,
        schemas: schemas::read(session, std::slice::from_ref(scope)).await?,
    })
}

impl Way {
    /// The change, with what was chosen for the open keys; in one transaction where it fits, else in
    /// several. Empty where the scope stands like that already.
    ///
    /// # Errors
    /// When a value is too much for a transaction.
    pub fn proposals(
        &self,
        session: &Session,
        chosen: impl IntoIterator<Item = (Key, Take)>,
    ) -> Result<Vec<Proposal>, Failure> {
        let mut edits = self.edits.clone();
        for (key, take) in chosen {
            let way = self.open.iter().find(|way| way.key == key);
            edits.extend(way.and_then(|way| way.edit(take)));
        }
        let with = |plan: Plan| {
            let (schemas, action) = (self.schemas.clone(), self.action.clone());
            Proposal::with(session, plan, self.revision, action, schemas)
        };
        Ok(batches_of(session, edits)?.into_iter().map(with).collect())
    }

    /// The open keys as conflicts, for those who cannot choose.
    #[must_use]
    pub fn conflicts(&self) -> Vec<Conflict> {
        let conflict = |way: &ThreeWay| Conflict {
            key: way.key.clone(),
            seen: self.then(way),
            current: way.theirs.clone(),
        };
        self.open.iter().map(conflict).collect()
    }

    /// What the release had left of a key.
    fn then(&self, way: &ThreeWay) -> Seen {
        let (Action::Revert(revision), Some(value)) = (&self.action, &way.base) else {
            return Seen::Absent;
        };
        Seen::At(Entry {
            key: way.key.clone(),
            value: value.clone(),
            create_revision: Revision(*revision),
            mod_revision: Revision(*revision),
            version: 1,
            lease: None,
        })
    }
}

async fn of(
    session: &Session,
    scope: &Scope,
    of: Revision,
    current: &[Entry],
) -> Result<(Vec<Edit>, Vec<ThreeWay>), Failure> {
    let records = history::records(session, scope).await?;
    let Some(release) = records.iter().find(|record| record.revision == of) else {
        let known: Vec<_> = records
            .iter()
            .take(5)
            .map(|r| r.revision.to_string())
            .collect();
        let failure =
            Failure::not_found(format!("{scope} has no recorded change at revision {of}"));
        return Err(if known.is_empty() {
            failure.next("Nothing is recorded of it; changes of other tools leave no record.")
        } else {
            failure.next(format!("The latest are {}.", known.join(", ")))
        });
    };
    let config = &session.prefixes().config;
    let seen = |key: &Key| current.iter().find(|entry| entry.key == *key).cloned();
    ready(session, |answers| {
        revert(scope, config, release, seen, answers)
    })
    .await
}

/// The edits, and whether they come from the records alone.
async fn to(
    session: &Session,
    scope: &Scope,
    to: Revision,
    current: &[Entry],
) -> Result<(Vec<Edit>, bool), Failure> {
    let config = &session.prefixes().config;
    let options = etcd::ListOptions {
        revision: Some(to),
        ..etcd::ListOptions::default()
    };
    // etcd's own history is the whole truth, while it lasts.
    let then = match session.client().list(&scope.prefix(config), options).await {
        Ok(listing) => Some(listing.entries),
        Err(etcd::Error::Compacted { .. }) => None,
        Err(error) => return Err(session.failure(&error)),
    };
    let records = history::records(session, scope).await?;
    if then.is_none() && !records.iter().any(|record| record.revision <= to) {
        return Err(Failure::failed(format!(
            "etcd has compacted revision {to}, and no record of {scope} goes back that far"
        ))
        .next(format!(
            "'msctl config history {scope}' shows how far back it is known."
        )));
    }
    let (edits, _) = ready(session, |answers| {
        roll_back(
            scope,
            config,
            to,
            &records,
            current,
            then.as_deref(),
            answers,
        )
    })
    .await?;
    Ok((edits, then.is_none()))
}

/// Reads what the records lack until the way back is known.
async fn ready(
    session: &Session,
    mut ask: impl FnMut(&Answers) -> Result<Step, RollbackError>,
) -> Result<(Vec<Edit>, Vec<ThreeWay>), Failure> {
    let mut answers = Answers::new();
    loop {
        match ask(&answers).map_err(|error| Failure::failed(error.to_string()))? {
            Step::Ready { edits, conflicts } => return Ok((edits, conflicts)),
            Step::Wants(reads) => {
                for read in reads {
                    let found = at(session, &read).await?;
                    answers.insert(read, found);
                }
            }
        }
    }
}

async fn at(session: &Session, read: &Read) -> Result<Result<Option<Entry>, Compacted>, Failure> {
    match session.client().get_at(&read.key, read.revision).await {
        Ok((entry, _)) => Ok(Ok(entry)),
        Err(etcd::Error::Compacted { revision }) => Ok(Err(Compacted { oldest: revision })),
        Err(error) => Err(session.failure(&error)),
    }
}
