//! How a change is carried out at a prompt or in a script: checked, shown, asked, written, and
//! followed until every instance runs it. A conflict is resolved key by key where someone is there
//! to answer, and ends with exit code 3 where nobody is.

use std::time::Duration;

use fleet::config::canary;
use fleet::config::conflict::{Relation, Take, ThreeWay, written};
use fleet::config::diff::Secrets;
use fleet::config::{ConfigKey, Scope, secret};
use fleet::release::Action;
use fleet::rollout::{Answer as Verdict, Rollout};
use fleet::{Conflict, Entry, InstanceId, Outcome, Revision};
use serde_json::{Value as Json, json};

use super::{preview, secrets, shown};
use crate::change::reach::{Audience, Reach, wait};
use crate::change::{self, Proposal};
use crate::cli::consent;
use crate::report::{Failure, Kind, Report};
use crate::session::{Session, Writer};

/// What every change may be told.
#[derive(Debug, Default, clap::Args)]
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
    /// Write what the service's schema refuses, too
    #[arg(long)]
    pub(super) no_check: bool,
}

/// Carries a change out.
pub(super) async fn carry_out(
    session: &Session,
    mut proposal: Proposal,
    how: &How,
    report: &mut Report,
) -> Result<(), Failure> {
    // A read-only context refuses before anything is asked, and still shows what would be.
    let writer = if how.dry_run {
        None
    } else {
        Some(session.writer()?)
    };
    let config = &session.prefixes().config;
    loop {
        check(&proposal, how, report)?;
        let secrets = secrets(how.reveal);
        let Some(writer) = &writer else {
            let reach = Reach::read(session).await?;
            let palette = report.palette();
            let mut document = planned(&proposal, config, secrets);
            let keys = proposal.keys(config);
            let reached = reach.instances(&keys, &Audience::Everyone).count();
            document["reaches"] = json!(reached);
            return report.one(&document, |_, _| {
                let shown = preview::proposal(&proposal, config, secrets, palette);
                format!("{shown}{}", reaches(reached))
            });
        };
        ask(session, &proposal, how, report).await?;
        match change::commit(writer, &proposal, &how.message).await? {
            Outcome::Applied { revision } => {
                return applied(writer, &proposal, revision, how, report).await;
            }
            Outcome::Refused { conflicts } => {
                if how.yes || !report.can_ask() {
                    return Err(conflict(&proposal, config, &conflicts));
                }
                proposal = resolve(session, &proposal, &conflicts, how, report)?;
                if proposal.plan.is_empty() {
                    report.note("nothing is left to write");
                    return Ok(());
                }
            }
            Outcome::Unknown { cause } => {
                return Err(Failure::failed(format!(
                    "it is unknown whether the change was written: {cause}"
                ))
                .next("Look with 'msctl config get' before you repeat it."));
            }
        }
    }
}

/// Tells what schemas say; what a service would refuse is not written.
pub(super) fn check(proposal: &Proposal, how: &How, report: &Report) -> Result<(), Failure> {
    for (service, why) in &proposal.schemas.broken {
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
        let secrets = secrets(how.reveal);
        report.show(&preview::proposal(proposal, config, secrets, palette));
        let reach = Reach::read(session).await?;
        let keys = proposal.keys(config);
        let reached = reach.instances(&keys, &Audience::Everyone).count();
        report.show(&reaches(reached));
    }
    consent::context(session, report)
}

fn reaches(instances: usize) -> String {
    match instances {
        0 => "  reaches no running instance\n".to_owned(),
        1 => "  reaches 1 instance\n".to_owned(),
        many => format!("  reaches {many} instances\n"),
    }
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
    let (audience, keys) = audience(proposal, config);
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
        let rolled = rolled.as_ref().map_or_else(String::new, |(rollout, took)| {
            if rollout.is_complete() && !rollout.instances.is_empty() {
                let all = rollout.instances.len();
                format!(
                    " · {all} of {all} instances applied it in {} ms",
                    took.as_millis()
                )
            } else {
                format!(" · {rollout}")
            }
        });
        format!("{word} {revision}{rolled}{undo}")
    })?;
    match rolled {
        Some((rollout, _)) if !rollout.is_complete() => Err(incomplete(&rollout)),
        _ => Ok(()),
    }
}

/// Whom a change reaches, and by which keys they will answer.
fn audience(proposal: &Proposal, config: &fleet::Prefix) -> (Audience, Vec<ConfigKey>) {
    let Action::Canary { instances, keys } = &proposal.action else {
        return (Audience::Everyone, proposal.keys(config));
    };
    let named = instances.iter().filter_map(|id| InstanceId::new(id).ok());
    let scope = change::scopes(&proposal.plan, config).into_iter().next();
    let keys = keys
        .iter()
        .filter_map(|path| ConfigKey::new(scope.clone().unwrap_or(Scope::Global), path).ok());
    (Audience::Only(named.collect()), keys.collect())
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
        (_, [_], [edit]) => match single_undo(edit, config) {
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
fn single_undo(edit: &fleet::Edit, config: &fleet::Prefix) -> Option<String> {
    let key = ConfigKey::from_key(config, &edit.key).ok()?;
    let Some(before) = edit.seen.value() else {
        return Some(format!("msctl config unset {key}"));
    };
    let text = std::str::from_utf8(before).ok()?;
    if text.len() >= 60 || secret::is_secret(key.path()) || text.contains(['\n', '\'']) {
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
        .plan
        .edits()
        .iter()
        .filter_map(|edit| {
            let key = ConfigKey::from_key(config, &edit.key).ok()?;
            let text = |value: &[u8]| {
                if secrets == Secrets::Masked && proposal.schemas.is_secret(&key) {
                    secret::MASK.to_owned()
                } else {
                    String::from_utf8_lossy(value).into_owned()
                }
            };
            Some(json!({
                "key": key.to_string(),
                "before": edit.seen.value().map(text),
                "after": written(&edit.write).map(|value| text(value)),
                "seen_revision": edit.seen.revision().0,
            }))
        })
        .collect();
    let mut document = json!({ "revision": Json::Null, "changes": changes });
    if proposal.action != Action::Change {
        document["action"] = json!(proposal.action);
    }
    document
}

/// Exit code 3, with the three versions of every key for machines.
pub(super) fn conflict(
    proposal: &Proposal,
    config: &fleet::Prefix,
    conflicts: &[Conflict],
) -> Failure {
    let ways = fleet::config::conflict::three_ways(&proposal.plan, conflicts);
    conflict_of(&ways, conflicts, config, |key| {
        proposal.schemas.is_secret(key)
    })
}

/// The same for conflicts that were found before there was a plan.
pub(super) fn conflict_of(
    ways: &[ThreeWay],
    conflicts: &[Conflict],
    config: &fleet::Prefix,
    is_secret: impl Fn(&ConfigKey) -> bool,
) -> Failure {
    let mut sentences = Vec::new();
    let mut details = Vec::new();
    for conflict in conflicts {
        let key = ConfigKey::from_key(config, &conflict.key).ok();
        let name = key
            .as_ref()
            .map_or_else(|| conflict.key.to_string(), ToString::to_string);
        let hidden = key.as_ref().is_none_or(&is_secret);
        let text = |value: &[u8]| {
            if hidden {
                secret::MASK.to_owned()
            } else {
                shown("", value, Secrets::Masked)
            }
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
pub(super) fn conflict_at(key: &ConfigKey, expected: i64, entry: Option<&Entry>) -> Failure {
    let stands = entry.map_or(0, |entry| entry.mod_revision.0);
    let now = match entry {
        Some(entry) => format!(
            "{key} changed at revision {stands} to {} (you expected revision {expected})",
            shown(key.path(), &entry.value, Secrets::Masked)
        ),
        None => format!("{key} is not there (you expected revision {expected})"),
    };
    Failure::new(Kind::Conflict, now)
        .next("Nothing was written. Look at the value and repeat with its revision.")
        .with_machine_details(json!([{
            "key": key.to_string(),
            "seen_revision": expected,
            "current_revision": stands,
            "current": entry.map(|e| shown(key.path(), &e.value, Secrets::Masked)),
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
        match choose(way, config, proposal, how, report) {
            Some(take) => take,
            None => {
                stopped = true;
                Take::Theirs
            }
        }
    })?;
    if stopped {
        return Err(conflict(proposal, config, conflicts));
    }
    Ok(resolved)
}

/// One key's choice; `None` gives the whole change up.
pub(super) fn choose(
    way: &ThreeWay,
    config: &fleet::Prefix,
    proposal: &Proposal,
    how: &How,
    report: &Report,
) -> Option<Take> {
    let secrets = secrets(how.reveal);
    let key = ConfigKey::from_key(config, &way.key).ok();
    let hidden = secrets == Secrets::Masked
        && key
            .as_ref()
            .is_none_or(|key| proposal.schemas.is_secret(key));
    report.show(&preview::three_way(
        way,
        config,
        hidden,
        report.err_palette(),
    ));
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

/// Turns a change into one that is tried on some instances first.
pub(super) async fn as_canary(
    session: &Session,
    proposal: Proposal,
    instances: &[String],
    message: &str,
) -> Result<Proposal, Failure> {
    let config = &session.prefixes().config;
    let named: Vec<InstanceId> = instances
        .iter()
        .map(|name| InstanceId::new(name).map_err(|error| Failure::usage(error.to_string())))
        .collect::<Result<_, _>>()?;
    let standing = match change::scopes(&proposal.plan, config).first() {
        Some(Scope::Service(service)) => session.get(&canary::key_of(config, service)).await?.0,
        _ => None,
    };
    let author = session.author();
    let who = (author.as_str(), jiff::Timestamp::now(), message);
    let begun = canary::begin(
        config,
        &proposal.plan,
        named.clone(),
        standing.as_ref(),
        who,
    );
    let (service, plan) = begun.map_err(|error| canary_failure(&error))?;
    let reach = Reach::read(session).await?;
    let keys = proposal.keys(config);
    for id in &named {
        let audience = Audience::Only(vec![id.clone()]);
        if reach.instances(&keys, &audience).next().is_none() {
            return Err(Failure::not_found(format!("no instance {id} of {service}"))
                .next(format!("'msctl services {service}' lists who is there.")));
        }
    }
    let action = Action::Canary {
        instances: instances.to_vec(),
        keys: keys.iter().map(|key| key.path().to_owned()).collect(),
    };
    Ok(Proposal {
        plan,
        action,
        ..proposal
    })
}

/// A canary's error as the console says it.
pub(super) fn canary_failure(error: &canary::CanaryError) -> Failure {
    use canary::CanaryError as E;
    match error {
        E::UnderWay(..) => Failure::new(Kind::Conflict, error.to_string()),
        E::Plan(error) => change::plan_failure(error),
        E::Damaged(_) | E::Key(_) => Failure::failed(error.to_string()),
        E::Global(_) | E::Several(..) | E::Nobody | E::Nothing | E::NotText(_) => {
            Failure::usage(error.to_string())
        }
    }
}

/// Nothing has to be written: what is wanted stands there already.
pub(super) fn nothing(report: &mut Report, why: &str) -> Result<(), Failure> {
    report.one(&json!({ "revision": Json::Null, "changes": [] }), |_, _| {
        format!("nothing to write: {why}")
    })
}
