//! What a write needs before it is done: yes from who sits there, `--yes` from a script where the
//! write destroys or the context is production.

use crate::report::{Answer, Failure, Report};
use crate::session::Session;
use crate::settings::Stage;

/// What a write does that cannot be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Harm {
    /// Nothing: there is a way back.
    CanBeUndone,
    /// It deletes what nobody keeps.
    Destroys,
}

/// Shows what would be written and asks. Without a terminal, what can be undone is written unless
/// the context is production.
///
/// # Errors
/// When the answer is no, or nobody is there to give the one that is needed.
pub(crate) fn ask(
    session: &Session,
    shown: &str,
    harm: Harm,
    report: &Report,
) -> Result<(), Failure> {
    if report.can_ask() {
        report.show(shown);
    } else if harm == Harm::Destroys {
        return Err(
            Failure::refused("this destroys, and nobody is here to confirm")
                .next("Give --yes if you mean it."),
        );
    }
    context(session, report)
}

/// Asks for the context's word.
///
/// # Errors
/// When the answer is no, or the context is production and nobody is there.
pub(crate) fn context(session: &Session, report: &Report) -> Result<(), Failure> {
    let context = session.context();
    let stopped = || Failure::failed("nothing was written");
    match context.stage {
        Stage::Production => {
            let question = format!(
                "'{}' is a production context. Type its name to write:",
                context.name
            );
            match report.ask(&question) {
                Some(answer) if answer == *context.name => Ok(()),
                Some(_) => Err(stopped()),
                None => Err(Failure::refused(format!(
                    "context '{}' is production and nobody is here to confirm",
                    context.name
                ))
                .next("Give --yes if you mean it.")),
            }
        }
        Stage::Ordinary => {
            let members = context.members();
            let question = if *context.name == *members {
                format!("Save to etcd {members}?")
            } else {
                format!("Save to {} (etcd {members})?", context.name)
            };
            match report.confirm(&question) {
                Some(Answer::No) => Err(stopped()),
                Some(Answer::Yes) | None => Ok(()),
            }
        }
    }
}
