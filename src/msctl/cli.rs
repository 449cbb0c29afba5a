//! The command line: what may be said, and which room does it. A verb is a file under `cli/` with
//! its arguments and its `run`.
//!
//! Parsing costs no runtime; verbs that need one get the smallest that does.

pub mod call;
pub mod cluster;
pub mod completions;
pub mod config;
pub(crate) mod consent;
pub mod context;
pub mod demo;
pub mod describe;
pub mod doctor;
pub mod etcd;
pub mod events;
pub mod gateway;
pub mod keys;
pub mod leases;
pub mod man;
pub mod services;
pub(crate) mod signal;
pub mod tui;

use std::ffi::OsString;
use std::future::Future;

use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::report::{Failure, Format, Report};
use crate::session::Session;
use crate::settings::Global;

/// See and steer a fleet of microservices that meet in etcd.
#[derive(Debug, Parser)]
#[command(
    name = "msctl",
    version,
    about,
    max_term_width = 100,
    // One help text, a line for each flag, whether it is asked for with -h or --help.
    disable_help_flag = true,
    after_help = "\
Examples:
  msctl demo                                       a fleet on this machine, and the console over it
  msctl services                                   who is registered, and who really serves
  msctl config set order/timeout.write 5s -m \"slow disk on b\"
  msctl call user.Get -d '{\"id\":\"1\"}'              any gRPC method, by name
  msctl --endpoints 10.0.0.1:2379 services -o json

Exit codes: 0 done, 1 failed, 2 usage, 3 conflict, 4 not found, 5 refused, 6 etcd unreachable,
64 + code for a gRPC status.
Settings: $XDG_CONFIG_HOME/msctl/config.yaml holds contexts; see 'msctl context --help'.
Environment: MSCTL_CONTEXT, MSCTL_ENDPOINTS, MSCTL_USER, MSCTL_PASSWORD, MSCTL_CACERT, MSCTL_CERT,
MSCTL_KEY, MSCTL_TIMEOUT, MSCTL_OUTPUT, MSCTL_THEME, MSCTL_AUTHOR, NO_COLOR."
)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a small fleet on this machine, and the console over it
    Demo(demo::Demo),
    /// Open the console
    Tui(tui::Tui),
    /// Run the embedded etcd API server, in memory, for development and tests
    Etcd(etcd::Etcd),
    /// Show services and their instances: lease, health, findings
    Services(services::Services),
    /// Show leases with their time to live and their keys
    Leases(leases::Leases),
    /// Show raw keys under a prefix
    Keys(keys::Keys),
    /// Show etcd's members, leader, size and alarms
    Cluster(cluster::Cluster),
    /// Show what is wrong in the fleet, and what to do about it
    Doctor(doctor::Doctor),
    /// Follow what happens in the fleet
    Events(events::Events),
    /// Read and change configuration
    Config(config::Config),
    /// Call a gRPC method
    Call(Box<call::Call>),
    /// Describe services, methods and messages
    Describe(Box<describe::Describe>),
    /// Serve HTTP/JSON in front of gRPC servers, without generated code
    Gateway(Box<gateway::Gateway>),
    /// Show, choose and change contexts
    Context(context::ContextCommand),
    /// Print a completion script for a shell
    Completions(completions::Completions),
    /// Print the manual page, or write one for each command
    Man(man::Man),
    /// One service of the demo; started by `demo` alone
    #[command(hide = true, name = "demo-service")]
    DemoService(Box<demo::DemoService>),
}

/// Parses and runs; the exit code says how it went.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if let Some(shell) = completions::live::asked(&arguments) {
        completions::live::answer(&shell, &arguments);
        return 0;
    }
    let cli = match parse(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout with 0, usage errors to stderr with 2. Who closed the
            // pipe has read enough.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    let format = cli.global.output.unwrap_or(match &cli.command {
        Command::Call(_) => Format::Json,
        _ => Format::Table,
    });
    let errors = cli.global.output.unwrap_or(Format::Table);
    let mut report = Report::new(format, errors, cli.global.color, cli.global.verbosity());
    match run(&cli, &mut report) {
        Ok(()) => 0,
        Err(failure) => {
            report.failure(&failure);
            failure.kind().exit_code()
        }
    }
}

/// Reads a command line.
///
/// # Errors
/// clap's error, which carries help and version too.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let matches = Cli::command().try_get_matches_from(arguments)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    if let Command::Demo(_) = cli.command {
        // A fleet that the environment names is the one that is worked on; a demo must not land in
        // it by accident.
        let typed = |flag| matches.value_source(flag) == Some(ValueSource::CommandLine);
        if !typed("endpoints") {
            cli.global.endpoints.clear();
        }
        if !typed("context") {
            cli.global.context = None;
        }
    }
    Ok(cli)
}

fn run(cli: &Cli, report: &mut Report) -> Result<(), Failure> {
    let session = || -> Result<Session, Failure> { Session::open(cli.global.resolve()?) };
    match &cli.command {
        Command::Completions(verb) => verb.run(report),
        Command::Man(verb) => verb.run(report),
        Command::Context(verb) => verb.run(report),
        Command::Demo(verb) => verb.run(&cli.global, report),
        Command::DemoService(verb) => verb.run(),
        Command::Tui(verb) => verb.run(&cli.global),
        Command::Etcd(verb) => on_threads(verb.run(report)),
        Command::Services(verb) => on_one_thread(async { verb.run(&session()?, report).await }),
        Command::Leases(verb) => on_one_thread(async { verb.run(&session()?, report).await }),
        Command::Keys(verb) => on_one_thread(async { verb.run(&session()?, report).await }),
        Command::Cluster(verb) => on_one_thread(async { verb.run(&session()?, report).await }),
        Command::Doctor(verb) => on_one_thread(async { verb.run(&session()?, report).await }),
        Command::Events(verb) => on_one_thread(async { verb.run(&session()?, report).await }),
        Command::Config(verb) => on_one_thread(async { verb.run(&session()?, report).await }),
        Command::Call(verb) => on_one_thread(verb.run(&cli.global, report)),
        Command::Describe(verb) => on_one_thread(verb.run(&cli.global, report)),
        Command::Gateway(verb) => on_threads(verb.run(&cli.global, report)),
    }
}

/// Runs a verb that waits more than it computes.
///
/// # Errors
/// The verb's own, or that no runtime could be had.
pub(crate) fn on_one_thread(
    verb: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    block_on(runtime, verb)
}

/// Runs a verb that serves others.
///
/// # Errors
/// The verb's own, or that no runtime could be had.
pub(crate) fn on_threads(verb: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    block_on(runtime, verb)
}

fn block_on(
    runtime: std::io::Result<tokio::runtime::Runtime>,
    verb: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let runtime = runtime
        .map_err(|error| Failure::failed(format!("no runtime could be started: {error}")))?;
    let result = runtime.block_on(verb);
    // A blocking read of stdin cannot be cancelled; the process ends without it.
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
