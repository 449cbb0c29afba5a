//! `config rollback`: back to how a service stood at a release, or one release taken back on top of
//! what came after it. Both are changes like any other: previewed, guarded, recorded, undoable.

use fleet::config::Scope;
use fleet::config::conflict::{Relation, Take, ThreeWay};
use fleet::release::Action;
use fleet::release::rollback::{Answers, Compacted, Read, Rollback as Step, RollbackError};
use fleet::release::rollback::{revert, roll_back};
use fleet::{Conflict, Edit, Entry, Revision, Seen};

use super::save::{self, How};
use super::{history, scope};
use crate::change::Proposal;
use crate::report::{Failure, Report};
use crate::session::Session;

/// Bring a service's config back to a release, or take one release back.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  msctl config rollback order 811          as it stood after revision 811
  msctl config rollback order --of 812     take back revision 812 alone, keep what came after")]
#[command(group(clap::ArgGroup::new("which").required(true).args(["to", "of"])))]
pub(super) struct Rollback {
    /// A service, or global
    scope: String,
    /// Everything after this revision is taken back
    #[arg(value_name = "REVISION", value_parser = clap::value_parser!(i64).range(1..))]
    to: Option<i64>,
    /// This revision alone is taken back
    #[arg(long, value_name = "REVISION", value_parser = clap::value_parser!(i64).range(1..))]
    of: Option<i64>,
    #[command(flatten)]
    how: How,
}

impl Rollback {
    pub(super) async fn run(&self, session: &Session, report: &mut Report) -> Result<(), Failure> {
        if !self.how.dry_run {
            session.writer()?;
        }
        let scope = scope(&self.scope)?;
        let prefix = scope.prefix(&session.prefixes().config);
        let listing = session.list(&prefix).await?;
        let (edits, ways, action) = match (self.of, self.to) {
            (Some(of), _) => {
                let (edits, ways) =
                    self::of(session, &scope, Revision(of), &listing.entries).await?;
                (edits, ways, Action::Revert(of))
            }
            (None, Some(to)) => {
                if to > listing.revision.0 {
                    return Err(Failure::not_found(format!(
                        "revision {to} is still to come; etcd is at {}",
                        listing.revision
                    )));
                }
                let edits = self::to(session, &scope, Revision(to), &listing.entries).await?;
                (edits, Vec::new(), Action::RollBack(to))
            }
            (None, None) => return Err(Failure::usage("no revision is named")),
        };
        let chosen = self
            .choose(session, &ways, &edits, listing.revision, &action, report)
            .await?;
        let edits = edits.into_iter().chain(chosen).collect();
        let proposal = Proposal::new(session, edits, listing.revision, action).await?;
        if proposal.plan.is_empty() {
            return save::nothing(report, &format!("{scope} stands like that already"));
        }
        save::carry_out(session, proposal, &self.how, report).await
    }

    /// What becomes of keys that a later change touched.
    async fn choose(
        &self,
        session: &Session,
        ways: &[ThreeWay],
        edits: &[Edit],
        revision: Revision,
        action: &Action,
        report: &Report,
    ) -> Result<Vec<Edit>, Failure> {
        let open: Vec<_> = ways
            .iter()
            .filter(|way| way.relation() != Relation::Agree)
            .collect();
        if open.is_empty() {
            return Ok(Vec::new());
        }
        let config = &session.prefixes().config;
        // Judged with everything that is at stake, so that schemas say which values are secrets.
        let all = edits
            .iter()
            .cloned()
            .chain(open.iter().filter_map(|way| way.edit(Take::Mine)));
        let proposal = Proposal::new(session, all.collect(), revision, action.clone()).await?;
        let mut chosen = Vec::new();
        for way in &open {
            let answer = if self.how.yes || self.how.dry_run || !report.can_ask() {
                None
            } else {
                save::choose(way, config, &proposal, &self.how, report)
            };
            match answer {
                Some(take) => chosen.extend(way.edit(take)),
                None => {
                    let conflicts: Vec<Conflict> = open
                        .iter()
                        .map(|way| Conflict {
                            key: way.key.clone(),
                            seen: then(way, action),
                            current: way.theirs.clone(),
                        })
                        .collect();
                    return Err(save::conflict_of(ways, &conflicts, config, |key| {
                        proposal.schemas.is_secret(key)
                    }));
                }
            }
        }
        Ok(chosen)
    }
}

/// What the release had left of a key.
fn then(way: &ThreeWay, action: &Action) -> Seen {
    let (Action::Revert(revision), Some(value)) = (action, &way.base) else {
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
    let seen = |key: &fleet::Key| current.iter().find(|entry| entry.key == *key).cloned();
    ready(session, |answers| {
        revert(scope, config, release, seen, answers)
    })
    .await
}

async fn to(
    session: &Session,
    scope: &Scope,
    to: Revision,
    current: &[Entry],
) -> Result<Vec<Edit>, Failure> {
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
    Ok(edits)
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
