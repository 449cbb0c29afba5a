//! `msctl completions`: a completion script for a shell, on stdout.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::report::{Failure, Report};

/// Print a completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  msctl completions bash > /etc/bash_completion.d/msctl
  msctl completions zsh > ~/.zfunc/_msctl
  msctl completions fish > ~/.config/fish/completions/msctl.fish")]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    /// Prints the script.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn run(&self, report: &mut Report) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Cli::command(), "msctl", &mut script);
        report.text(&String::from_utf8_lossy(&script))
    }
}
