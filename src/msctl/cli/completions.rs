//! `msctl completions`: a completion script for a shell, on stdout: one that knows the commands, or
//! one that asks the fleet too.

mod ask;
pub(crate) mod live;
mod words;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_complete::env::Shells;

use crate::report::{Failure, Report};

/// Print a completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --live, msctl itself is asked at each tab: for keys and the values they may have, services,
instances, methods and contexts. It answers within 0.3 s or not at all, runs no password_command and
writes nothing. The script belongs to this version of msctl: have it made when the shell starts.

Examples:
  msctl completions bash > /etc/bash_completion.d/msctl
  msctl completions zsh > ~/.zfunc/_msctl
  msctl completions fish > ~/.config/fish/completions/msctl.fish
  source <(msctl completions bash --live)                 in ~/.bashrc; the same for zsh
  msctl completions fish --live | source                  in ~/.config/fish/config.fish")]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
    /// Complete what the fleet has, too
    #[arg(long)]
    live: bool,
}

impl Completions {
    /// Prints the script.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn run(&self, report: &mut Report) -> Result<(), Failure> {
        let mut script = Vec::new();
        if self.live {
            let shells = Shells::builtins();
            let name = self.shell.to_string();
            let shell = shells.completer(&name).ok_or_else(|| {
                Failure::usage(format!("there is no live completion for {name}"))
                    .next("Leave out --live.")
            })?;
            shell.write_registration(live::VARIABLE, "msctl", "msctl", "msctl", &mut script)?;
        } else {
            clap_complete::generate(self.shell, &mut super::Cli::command(), "msctl", &mut script);
        }
        report.text(&String::from_utf8_lossy(&script))
    }
}
