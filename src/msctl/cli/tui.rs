//! `msctl tui`: the console.

use std::io::IsTerminal;

use crate::report::{Failure, Report};
use crate::session::Session;
use crate::settings::Global;

/// Open the console.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  msctl tui                    opens on Services
  msctl tui config             opens on Config
  msctl --context prod tui")]
pub struct Tui {
    /// The view to open on: services, config, calls, leases, events, keys, doctor, overview
    view: Option<String>,
}
