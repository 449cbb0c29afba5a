//! `config rollback`: back to how a service stood at a release, or one release taken back on top of
//! what came after it. Previewed, guarded, recorded and undoable like any other change.

use fleet::config::conflict::Take;
use fleet::{Key, Revision};

use super::save::{self, How};
use super::{conflict, scope};
use crate::change::rollback::{Target, Way, find};
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
        let target = match (self.of, self.to) {
            (Some(of), _) => Target::Of(Revision(of)),
            (None, Some(to)) => Target::To(Revision(to)),
            (None, None) => return Err(Failure::usage("no revision is named")),
        };
        let way = find(session, &scope, target).await?;
        if way.blind {
            report.warn(&format!(
                "etcd is compacted past that revision: what is known comes from the records, and a key of {scope} that another tool deleted since is not brought back"
            ));
        }
        let chosen = self.choose(session, &way, report)?;
        let proposals = way.proposals(session, chosen)?;
        if proposals.is_empty() {
            return save::nothing(report, &format!("{scope} stands like that already"));
        }
        save::carry_out_all(session, proposals, &self.how, report).await
    }

    /// What becomes of keys that a later change touched.
    fn choose(
        &self,
        session: &Session,
        way: &Way,
        report: &Report,
    ) -> Result<Vec<(Key, Take)>, Failure> {
        let config = &session.prefixes().config;
        let asks = !self.how.yes && !self.how.dry_run && report.can_ask();
        let mut chosen = Vec::new();
        for key in &way.open {
            let answer = if asks {
                conflict::choose(key, config, &way.schemas, &self.how, report)
            } else {
                None
            };
            match answer {
                Some(take) => chosen.push((key.key.clone(), take)),
                None => {
                    let conflicts = way.conflicts();
                    return Err(conflict::of(&way.open, &conflicts, config, &way.schemas));
                }
            }
        }
        Ok(chosen)
    }
}
