//! msctl: see and steer a fleet of microservices that meet in etcd.
//!
//! The command line (`cli`) and the console (`tui`) are two faces over the same rooms: `settings`
//! says which fleet, `session` reaches it, `change` writes its config, `probe` asks it, `invoke` calls it, `report` prints.
//! What keys mean is `fleet`'s, bytes in and out of etcd are `etcd`'s: nothing of either is here.

pub mod change;
pub mod cli;
pub mod invoke;
pub mod probe;
pub mod report;
pub mod session;
pub mod settings;
pub mod tui;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs one command line and gives its exit code. Starts a runtime only for commands that do I/O
/// on the network.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    ExitCode::from(cli::main(arguments))
}
