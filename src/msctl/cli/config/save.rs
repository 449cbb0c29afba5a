//! How a change is carried out at a prompt or in a script: checked, shown, asked, written, and
//! followed until every instance runs it.

use std::time::Duration;

use fleet::config::ConfigKey;
use fleet::config::conflict::written;
use fleet::config::diff::Secrets;
use fleet::config::secret::redact::{holds_secret, redact};
use fleet::release::Action;
use fleet::rollout::{Answer as Verdict, Rollout};
use fleet::{Outcome, Revision};
use serde_json::{Value as Json, json};

use super::preview::{self, Layout};
use super::{conflict, foreseen, layout, secrets};
use crate::change::commit::Committing;
use crate::change::effect::{Foreseen, foresee};
use crate::change::reach::{Audience, wait};
use crate::change::series::{Stop, Stopped, commit_all, prepare_all};
use crate::change::{self, Proposal};
use crate::cli::consent;
use crate::report::{Failure, Report};
use crate::session::{Session, Writer};

/// What every change may be told.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct How {
    /// Why, for the history
    #[arg(
        short,
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub(super) message: String,
    /// Do not ask
    #[arg(short, long)]
    pub(super) yes: bool,
    /// Show what would change, write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Wait so long for every instance to run the change; exit 1 when not all do
    #[arg(long, value_name = "TIME", value_parser = crate::settings::duration)]
    pub(super) wait: Option<Duration>,
    /// Show secrets in the preview
    #[arg(long)]
    pub(super) reveal: bool,
    /// Show what goes beside what comes, not above it
    #[arg(long)]
    pub(super) side_by_side: bool,
    /// Write what the service's schema refuses, too
    #[arg(long)]
    pub(super) no_check: bool,
}

impl How {
    /// How differences are shown.
    pub(super) fn look(&self) -> (Secrets, Layout) {
        (secrets(self.reveal), layout(self.side_by_side))
    }
}

/// Carries a change out, and gives the revision it was written at; `None` where nothing was.
pub(super) async fn carry_out(
    session: &Session,
    mut proposal: Proposal,
    how: &How,
    report: &mut Report,
) -> Result<Option<Revision>, Failure> {
    // A read-only context refuses before anything is asked, and still shows what would be.
    let writer = if how.dry_run {
        None
    } else {
        Some(session.writer()?)
    };
    let config = &session.prefixes().config;
    let mut committing = writer.as_ref().map(Committing::new);
    loop {
        check(&proposal, how, report)?;
        let secrets = secrets(how.reveal);
        let (Some(writer), Some(committing)) = (&writer, &mut committing) else {
            let one = std::slice::from_ref(&proposal);
            let foreseen = foresee(session, one).await?;
            let palette = report.palette();
            let known = &proposal.schemas;
            let mut document = planned(&proposal, config, secrets);
            document["reaches"] = json!(foreseen.reached);
            document["effects"] = foreseen::document(&foreseen, known, secrets);
            report.one(&document, |_, _| {
                let shown = preview::proposal(&proposal, config, how.look(), palette);
                format!("{shown}{}", foreseen::text(&foreseen, known, secrets))
            })?;
            return Ok(None);
        };
        if report.can_ask() {
            committing.prepare(&proposal).await;
        }
        ask(session, &proposal, how, report).await?;
        match committing.one(&proposal, &how.message).await? {
            Outcome::Applied { revision } => {
                applied(writer, &proposal, revision, how, report).await?;
                return Ok(Some(revision));
            }
            Outcome::Refused { conflicts } => {
                if let Some(failure) = change::canary::overtaken(&proposal, config, &conflicts) {
                    return Err(failure);
                }
                if how.yes || !report.can_ask() {
                    return Err(conflict::failure(&proposal, config, &conflicts));
                }
                proposal = conflict::resolve(session, &proposal, &conflicts, how, report)?;
                if proposal.plan.is_empty() {
                    report.note("nothing is left to write");
                    return Ok(None);
                }
            }
            Outcome::Unknown { cause } => return Err(unknown(&proposal, config, &cause)),
        }
    }
}

/// It was sent, no answer came, and reading did not tell.
fn unknown(proposal: &Proposal, config: &fleet::Prefix, cause: &str) -> Failure {
    let scopes = change::scopes(&proposal.plan, config);
    let scope = scopes
        .first()
        .map_or_else(String::new, |scope| format!(" {scope}"));
    Failure::failed(format!(
        "it is unknown whether the change was written: {cause}"
    ))
    .next(format!(
        "Look with 'msctl config history{scope}' before you repeat it."
    ))
}

/// Carries out changes that are one too large for a transaction. Each transaction is all or
/// nothing; the whole is not, so it is said how far it came.
pub(super) async fn carry_out_all(
    session: &Session,
    mut proposals: Vec<Proposal>,
    how: &How,
    report: &mut Report,
) -> Result<(), Failure> {
    let config = &session.prefixes().config;
    if proposals.len() == 1 {
        let only = proposals.remove(0);
        return carry_out(session, only, how, report).await.map(drop);
    }
    // All of them were checked against the same.
    let Some(known) = proposals.first().map(|one| one.schemas.clone()) else {
        return Ok(());
    };
    let keys: usize = proposals.iter().map(|one| one.plan.edits().len()).sum();
    for one in &proposals {
        check(one, how, report)?;
    }
    let shown = |palette, foreseen: &Foreseen| -> String {
        let one = |one| preview::proposal(one, config, how.look(), palette);
        let text: String = proposals.iter().map(one).collect();
        let effects = foreseen::text(foreseen, &known, secrets(how.reveal));
        format!("{text}{effects}  {}\n", counted(keys, proposals.len()))
    };
    if how.dry_run {
        let foreseen = foresee(session, &proposals).await?;
        let mut document =
            json!({ "revision": Json::Null, "changes": [], "transactions": proposals.len() });
        let changes = proposals.iter().flat_map(|one| {
            match planned(one, config, secrets(how.reveal))["changes"].take() {
                Json::Array(changes) => changes,
                _ => Vec::new(),
            }
        });
        document["changes"] = changes.collect();
        document["reaches"] = json!(foreseen.reached);
        document["effects"] = foreseen::document(&foreseen, &known, secrets(how.reveal));
        let text = shown(report.palette(), &foreseen);
        return report.one(&document, |_, _| text);
    }
    let writer = session.writer()?;
    let mut committing = Committing::new(&writer);
    if !how.yes && report.can_ask() {
        prepare_all(&mut committing, &proposals).await;
        let foreseen = foresee(session, &proposals).await?;
        report.show(&shown(report.err_palette(), &foreseen));
    }
    if !how.yes {
        consent::context(session, report)?;
    }
    let all = proposals.len();
    let mut progress = report.progress(keys);
    let written = commit_all(committing, &proposals, &how.message, |done| {
        progress.to(done);
    })
    .await;
    progress.end();
    let revision = written.map_err(|stopped| halfway(stopped, &proposals, keys, config))?;
    let mut document = json!({ "revision": revision.0, "keys": keys, "transactions": all });
    let rolled = match how.wait {
        None => None,
        Some(limit) => {
            let named: Vec<_> = proposals.iter().flat_map(|one| one.keys(config)).collect();
            let whom = (&named[..], &Audience::Everyone);
            Some(wait(session, whom, revision, limit, |_| {}).await?)
        }
    };
    if let Some((rollout, took)) = &rolled {
        document["rollout"] = rollout_document(rollout);
        document["rollout"]["milliseconds"] = json!(took.as_millis());
    }
    report.one(&document, |_, _| {
        let rolled = rolled.as_ref().map_or_else(String::new, rolled_text);
        format!(
            "saved {} up to revision {revision}{rolled}",
            counted(keys, all)
        )
    })?;
    match rolled {
        Some((rollout, _)) if !rollout.is_complete() => Err(incomplete(&rollout)),
        _ => Ok(()),
    }
}

/// Why a series of transactions stopped, and how far it came. What is unknown is told first.
fn halfway(
    stopped: Stopped,
    proposals: &[Proposal],
    keys: usize,
    config: &fleet::Prefix,
) -> Failure {
    let all = proposals.len();
    let (unknown, known): (Vec<_>, Vec<_>) = stopped
        .stops
        .into_iter()
        .partition(|(_, stop)| matches!(stop, Stop::Unknown(_)));
    let mut failures = unknown
        .into_iter()
        .chain(known)
        .map(|(at, stop)| match stop {
            Stop::Refused(conflicts) => conflict::failure(&proposals[at], config, &conflicts),
            Stop::Unknown(cause) => Failure::failed(format!(
                "it is unknown whether transaction {} of {all} was written: {cause}",
                at + 1
            )),
            Stop::Failed(failure) => failure,
        });
    let first = failures.next();
    let others: String = failures
        .map(|failure| format!("Also: {}. ", failure.message().trim_end_matches('.')))
        .collect();
    let written = match ranges(&stopped.written) {
        none if none.is_empty() => String::new(),
        some => format!(" (transactions {some} of {all})"),
    };
    first
        .unwrap_or_else(|| Failure::failed("the change was not written"))
        .next(format!(
            "{others}{} of {keys} keys are written, in whole transactions{written}; repeat it to go on.",
            stopped.keys
        ))
}

/// `1-3, 5` of what is counted from 0.
fn ranges(numbers: &[usize]) -> String {
    let runs = numbers.chunk_by(|a, b| a + 1 == *b);
    let run = |run: &[usize]| match run {
        [only] => (only + 1).to_string(),
        [first, .., last] => format!("{}-{}", first + 1, last + 1),
        [] => String::new(),
    };
    runs.map(run).collect::<Vec<_>>().join(", ")
}

/// `300 keys in 3 transactions`.
pub(super) fn counted(keys: usize, transactions: usize) -> String {
    match transactions {
        1 => format!("{keys} keys in one transaction"),
        many => format!("{keys} keys in {many} transactions"),
    }
}

/// Tells what schemas say; what a service would refuse is not written.
pub(super) fn check(proposal: &Proposal, how: &How, report: &Report) -> Result<(), Failure> {
    for (service, why) in proposal.schemas.broken() {
        report.warn(&format!("the schema of {service} is not used: {why}"));
    }
    let errors: Vec<_> = proposal.errors().collect();
    for fault in &proposal.faults {
        if how.no_check || !errors.contains(&fault) {
            report.warn(&format!("{}/{}", fault.key.scope, fault.violation));
        }
    }
    if errors.is_empty() || how.no_check {
        return Ok(());
    }
    let sentences: Vec<_> = errors
        .iter()
        .map(|fault| format!("{}/{}", fault.key.scope, fault.violation))
        .collect();
    let details: Vec<_> = errors
        .iter()
        .map(|fault| json!({"key": fault.key.to_string(), "path": fault.violation.path, "message": fault.violation.message}))
        .collect();
    Err(Failure::refused(sentences.join("; "))
        .next("Nothing was written. --no-check writes it all the same.")
        .with_machine_details(Json::Array(details)))
}

/// Shows the change and asks, where someone is there to answer.
pub(super) async fn ask(
    session: &Session,
    proposal: &Proposal,
    how: &How,
    report: &Report,
) -> Result<(), Failure> {
    if how.yes {
        return Ok(());
    }
    if report.can_ask() {
        let config = &session.prefixes().config;
        let palette = report.err_palette();
        report.show(&preview::proposal(proposal, config, how.look(), palette));
        let foreseen = foresee(session, std::slice::from_ref(proposal)).await?;
        let (known, secrets) = (&proposal.schemas, secrets(how.reveal));
        report.show(&foreseen::text(&foreseen, known, secrets));
    }
    consent::context(session, report)
}

async fn applied(
    writer: &Writer,
    proposal: &Proposal,
    revision: Revision,
    how: &How,
    report: &mut Report,
) -> Result<(), Failure> {
    let session = writer.session();
    let config = &session.prefixes().config;
    let mut answer = planned(proposal, config, secrets(how.reveal));
    answer["revision"] = json!(revision.0);
    let (audience, keys) = (proposal.audience(), proposal.keys(config));
    let rolled = match how.wait {
        None => None,
        Some(limit) => Some(wait(session, (&keys, &audience), revision, limit, |_| {}).await?),
    };
    if let Some((rollout, took)) = &rolled {
        answer["rollout"] = rollout_document(rollout);
        answer["rollout"]["milliseconds"] = json!(took.as_millis());
    }
    let undo = undo(proposal, config, revision);
    let word = match proposal.action {
        Action::Canary { .. } => "tried as revision",
        Action::Abort(_) => "ended as revision",
        _ => "saved as revision",
    };
    report.one(&answer, |_, _| {
        let rolled = rolled.as_ref().map_or_else(String::new, rolled_text);
        format!("{word} {revision}{rolled}{undo}")
    })?;
    match rolled {
        Some((rollout, _)) if !rollout.is_complete() => Err(incomplete(&rollout)),
        _ => Ok(()),
    }
}

fn rolled_text((rollout, took): &(Rollout, Duration)) -> String {
    if rollout.is_complete() && !rollout.instances.is_empty() {
        let all = rollout.instances.len();
        format!(
            " · {all} of {all} instances applied it in {} ms",
            took.as_millis()
        )
    } else {
        format!(" · {rollout}")
    }
}

/// A rollout for machines: how many, who refused and who is waited for, and each one's answer.
pub(super) fn rollout_document(rollout: &Rollout) -> Json {
    let refused: Vec<_> = rollout
        .instances
        .iter()
        .filter_map(|target| match &target.answer {
            Verdict::Refused { key, error } => {
                Some(json!({"instance": target.instance, "key": key, "error": error}))
            }
            _ => None,
        })
        .collect();
    let open = |answer: &Verdict| matches!(answer, Verdict::Waiting { .. } | Verdict::Silent);
    let waiting: Vec<_> = rollout
        .instances
        .iter()
        .filter(|target| open(&target.answer))
        .map(|target| &target.instance)
        .collect();
    json!({
        "revision": rollout.revision,
        "instances": rollout.instances.len(),
        "applied": rollout.applied(),
        "refused": refused,
        "waiting": waiting,
        "answers": rollout.instances,
    })
}

/// Why a rollout is not complete.
pub(super) fn incomplete(rollout: &Rollout) -> Failure {
    Failure::failed(format!("the change is saved, but only {rollout}"))
        .next("See how they are with 'msctl services NAME' and 'msctl config status NAME'.")
}

/// The command that takes the change back.
fn undo(proposal: &Proposal, config: &fleet::Prefix, revision: Revision) -> String {
    let scopes = change::scopes(&proposal.plan, config);
    match (&proposal.action, &scopes[..], proposal.plan.edits()) {
        (Action::Canary { .. }, [scope], _) => {
            format!(" · next: msctl config promote {scope}, or abort {scope}")
        }
        (Action::Promote(_) | Action::Abort(_), ..) => String::new(),
        (_, [_], [edit]) => match single_undo(proposal, edit, config) {
            Some(command) => format!(" · undo: {command}"),
            None => format!(
                " · undo: msctl config rollback {} --of {revision}",
                scopes[0]
            ),
        },
        (_, [scope], _) => format!(" · undo: msctl config rollback {scope} --of {revision}"),
        _ => String::new(),
    }
}

/// The same for one key, where it can be said in a line.
fn single_undo(proposal: &Proposal, edit: &fleet::Edit, config: &fleet::Prefix) -> Option<String> {
    let key = ConfigKey::from_key(config, &edit.key).ok()?;
    let Some(before) = edit.seen.value() else {
        return Some(format!("msctl config unset {key}"));
    };
    let text = std::str::from_utf8(before).ok()?;
    let plain_enough = text.len() < 60 && !text.contains(['\n', '\'']);
    if !plain_enough || holds_secret(&proposal.schemas, &key, before) {
        return None;
    }
    let plain = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "._-+:".contains(c));
    let quote = if plain { "" } else { "'" };
    let text = fleet::safe::escape(text);
    Some(format!("msctl config set {key} {quote}{text}{quote}"))
}

/// A change as a document.
pub(super) fn planned(proposal: &Proposal, config: &fleet::Prefix, secrets: Secrets) -> Json {
    let changes: Vec<Json> = proposal
        .effects(config)
        .map(|(key, edit)| {
            let text = |value: &[u8]| {
                let value = match secrets {
                    Secrets::Masked => redact(&proposal.schemas, &key, value),
                    Secrets::Revealed => value.into(),
                };
                String::from_utf8_lossy(&value).into_owned()
            };
            json!({
                "key": key.to_string(),
                "before": edit.seen.value().map(text),
                "after": written(&edit.write).map(|value| text(value)),
                "seen_revision": edit.seen.revision().0,
            })
        })
        .collect();
    let mut document = json!({ "revision": Json::Null, "changes": changes });
    if proposal.action != Action::Change {
        document["action"] = json!(proposal.action);
    }
    document
}

/// Nothing has to be written: what is wanted stands there already.
pub(super) fn nothing(report: &mut Report, why: &str) -> Result<(), Failure> {
    report.one(&json!({ "revision": Json::Null, "changes": [] }), |_, _| {
        format!("nothing to write: {why}")
    })
}
