//! A shell asks what a word may become: `MSCTL_COMPLETE=bash msctl -- msctl config get order/`.
//!
//! Answers within [`LIMIT`] or not at all, and says nothing when something is wrong: a person who
//! types wants neither to wait nor to read errors in the middle of a line. Runs no program, so no
//! password is asked for: a context with `password_command` completes what needs no etcd.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, complete};
use clap_complete::env::Shells;
use tokio::time::Instant;

use super::ask::{self, Candidate};
use super::words::Line;
use crate::cli::Cli;
use crate::cli::call::ServerArgs;
use crate::invoke::server::{Reach, connect};
use crate::session::Session;
use crate::settings::Global;
use crate::settings::file::SettingsFile;

/// Names the shell that asks.
pub(super) const VARIABLE: &str = "MSCTL_COMPLETE";

/// What a person does not feel as waiting, less the start of the process.
const LIMIT: Duration = Duration::from_millis(230);

/// What a word of the command line is.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    Context,
    /// A config key.
    Key,
    /// Keys and values in turn.
    Pairs,
    /// A service or `global`.
    Scope,
    /// That, or a key of it.
    ScopeOrKey,
    Service,
    /// `SERVICE/ID`.
    Instance,
    /// An id, of the service that the command is about.
    Id,
    /// A method.
    Method,
}

/// Command, argument, what it is.
const PLACES: &[(&[&str], &str, Wanted)] = &[
    (&[], "context", Wanted::Context),
    (&["context", "use"], "name", Wanted::Context),
    (&["context", "set"], "name", Wanted::Context),
    (&["context", "remove"], "name", Wanted::Context),
    (&["config", "get"], "key", Wanted::Key),
    (&["config", "set"], "pairs", Wanted::Pairs),
    (&["config", "set"], "canary", Wanted::Id),
    (&["config", "unset"], "keys", Wanted::Key),
    (&["config", "explain"], "key", Wanted::Key),
    (&["config", "list"], "scope", Wanted::Scope),
    (&["config", "diff"], "scope", Wanted::Scope),
    (&["config", "diff"], "other", Wanted::Scope),
    (&["config", "edit"], "scope", Wanted::Scope),
    (&["config", "export"], "scope", Wanted::Scope),
    (&["config", "import"], "scope", Wanted::Scope),
    (&["config", "validate"], "scope", Wanted::Scope),
    (&["config", "rollback"], "scope", Wanted::Scope),
    (&["config", "promote"], "service", Wanted::Service),
    (&["config", "abort"], "service", Wanted::Service),
    (&["config", "history"], "what", Wanted::ScopeOrKey),
    (&["config", "status"], "what", Wanted::ScopeOrKey),
    (&["config", "watch"], "what", Wanted::ScopeOrKey),
    (&["services"], "name", Wanted::Service),
    (&["services", "drain"], "instances", Wanted::Instance),
    (&["services", "undrain"], "instances", Wanted::Instance),
    (&["services", "deregister"], "instances", Wanted::Instance),
    (&["call"], "target", Wanted::Method),
    (&["call"], "instance", Wanted::Id),
    (&["describe"], "symbol", Wanted::Method),
    (&["describe"], "instance", Wanted::Id),
];

/// The shell that asks, where one does: by the variable and by `--` before the words, so that a
/// variable that was left set disturbs nobody.
pub(crate) fn asked(arguments: &[OsString]) -> Option<OsString> {
    let separated = arguments.get(1).is_some_and(|word| word == "--");
    std::env::var_os(VARIABLE).filter(|shell| separated && !shell.is_empty())
}

/// Answers a shell on stdout.
pub(crate) fn answer(shell: &OsStr, arguments: &[OsString]) {
    // Whatever cannot be written or understood: a shell without an answer completes nothing.
    let _ = write(shell, arguments, &mut std::io::stdout().lock());
}

fn write(shell: &OsStr, arguments: &[OsString], out: &mut dyn Write) -> Option<()> {
    let deadline = Instant::now() + LIMIT;
    let words = arguments.iter().skip(2);
    let words: Vec<_> = words
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let index = std::env::var("_CLAP_COMPLETE_INDEX").ok();
    let last = words.len().saturating_sub(1);
    let index = index.and_then(|text| text.parse().ok()).unwrap_or(last);
    let bash = shell == "bash";
    let line = if bash {
        Line::of_bash(words, index)
    } else {
        Line::whole(words, index)
    };
    let mut command = prepared(&line, deadline);
    let words = line.words.iter().map(OsString::from).collect();
    if !bash {
        let shells = Shells::builtins();
        let here = std::env::current_dir().ok();
        let shell = shells.completer(shell.to_str()?)?;
        return shell
            .write_complete(&mut command, words, here.as_deref(), out)
            .ok();
    }
    let here = std::env::current_dir().ok();
    let candidates = complete(&mut command, words, line.at, here.as_deref()).ok()?;
    let between = std::env::var("_CLAP_IFS").unwrap_or_else(|_| "\n".to_owned());
    let all: Vec<_> = candidates
        .iter()
        .filter_map(|one| one.get_value().to_str()?.get(line.kept..))
        .collect();
    out.write_all(all.join(&between).as_bytes()).ok()
}

/// The command line's own definitions, with what asks the fleet where the fleet knows.
fn prepared(line: &Line, deadline: Instant) -> Command {
    let mut command = Cli::command();
    if !line.typed().starts_with('-') {
        command = hushed(command);
    }
    let before: Arc<[String]> = line.before().into();
    for (path, argument, wanted) in PLACES {
        let before = Arc::clone(&before);
        let completer = ArgValueCompleter::new(move |typed: &OsStr| {
            let typed = typed.to_str().unwrap_or_default();
            let found = found(*wanted, &before, typed, deadline).unwrap_or_default();
            offered(found, typed)
        });
        command = attach(command, path, argument, &completer);
    }
    command
}

/// Flags are offered to who begins one; else they would stand among the names.
fn hushed(command: Command) -> Command {
    let command = command.mut_args(|argument| {
        let flag = !argument.is_positional();
        if flag { argument.hide(true) } else { argument }
    });
    command.mut_subcommands(hushed)
}

fn attach(
    command: Command,
    path: &[&str],
    argument: &str,
    completer: &ArgValueCompleter,
) -> Command {
    match path {
        [] => command.mut_args(|found| {
            if found.get_id() == argument {
                found.add(completer.clone())
            } else {
                found
            }
        }),
        [first, rest @ ..] => command.mut_subcommands(|inner| {
            if inner.get_name() == *first {
                attach(inner, rest, argument, completer)
            } else {
                inner
            }
        }),
    }
}

fn offered(mut found: Vec<Candidate>, typed: &str) -> Vec<CompletionCandidate> {
    found.retain(|one| one.text.starts_with(typed) && one.is_plain());
    found.sort_by(|a, b| a.text.cmp(&b.text));
    found.dedup_by(|a, b| a.text == b.text);
    let candidate =
        |one: Candidate| CompletionCandidate::new(one.text).help(one.help.map(Into::into));
    found.into_iter().map(candidate).collect()
}

/// What the fleet has; `None` when it does not say, or not in time.
fn found(
    wanted: Wanted,
    before: &[String],
    typed: &str,
    deadline: Instant,
) -> Option<Vec<Candidate>> {
    if let Wanted::Context = wanted {
        let file = SettingsFile::load().ok()?;
        return Some(file.contexts.into_keys().map(Candidate::new).collect());
    }
    // The line is not finished: what it lacks is no error.
    let command = Cli::command().ignore_errors(true);
    let matches = command.try_get_matches_from(before).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    let question = question(wanted, &matches, typed);
    let answer = runtime.block_on(async { tokio::time::timeout_at(deadline, question).await });
    // A name that is being resolved cannot be cancelled; the process ends without it.
    runtime.shutdown_background();
    answer.ok()?
}

async fn question(wanted: Wanted, matches: &ArgMatches, typed: &str) -> Option<Vec<Candidate>> {
    let verb = innermost(matches);
    let given = |name: &str| -> Vec<String> {
        let values = verb.try_get_many::<String>(name).ok().flatten();
        values.into_iter().flatten().cloned().collect()
    };
    let server = matches!(wanted, Wanted::Method)
        .then(|| ServerArgs::from_arg_matches(verb).ok())
        .flatten();
    let reach = server
        .as_ref()
        .map_or(Ok(Reach::default()), ServerArgs::reach);
    let reach = reach.ok()?;
    if let Some(address) = server.as_ref().and_then(ServerArgs::address) {
        let server = connect(address, &reach).await.ok()?;
        return Some(ask::targets(&ask::known(&server).await.ok()?, None, typed));
    }
    let global = Global::from_arg_matches(matches).ok()?;
    let session = Session::open(global.resolve_unattended().ok()?).ok()?;
    let session = &session;
    let reach = session.trusted(reach);
    let found = match wanted {
        Wanted::Context => Ok(Vec::new()),
        Wanted::Key => ask::keys(session, typed).await,
        Wanted::Pairs => match given("pairs").as_slice() {
            [.., key] if given("pairs").len() % 2 == 1 => ask::values(session, key).await,
            _ => ask::keys(session, typed).await,
        },
        Wanted::ScopeOrKey if typed.contains('/') => ask::keys(session, typed).await,
        Wanted::Scope | Wanted::ScopeOrKey => ask::scopes(session).await,
        Wanted::Service => ask::services(session).await,
        Wanted::Instance => ask::instances_in_full(session, typed).await,
        Wanted::Id => {
            let about = ["pairs", "target", "symbol"];
            let about = about.iter().find_map(|name| given(name).into_iter().next());
            ask::instance_ids(session, about.as_deref()).await
        }
        Wanted::Method => ask::methods(session, &reach, typed).await,
    };
    found.ok()
}

/// The matches of the verb itself.
fn innermost(matches: &ArgMatches) -> &ArgMatches {
    match matches.subcommand() {
        Some((_, inner)) => innermost(inner),
        None => matches,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_that_is_completed_is_one_of_the_command_line() {
        for (path, argument, _) in PLACES {
            let root = Cli::command();
            let mut command = &root;
            for name in *path {
                command = command.find_subcommand(name).unwrap();
            }
            let mut ids = command.get_arguments().map(clap::Arg::get_id);
            assert!(ids.any(|id| id == argument), "{path:?} {argument}");
        }
    }
}
