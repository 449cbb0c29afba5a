//! `msctl man`: the manual, from the same definitions as `--help`.

use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};

use crate::report::{Failure, Report};

/// Print the manual page, or write one for each command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  msctl man | man -l -
  msctl man --dir /usr/local/share/man/man1")]
pub struct Man {
    /// Write msctl.1, msctl-services.1 and so on into this folder
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

impl Man {
    /// Prints or writes the manual.
    ///
    /// # Errors
    /// When stdout or the folder cannot be written.
    pub fn run(&self, report: &mut Report) -> Result<(), Failure> {
        let mut command = super::Cli::command();
        command.build();
        match &self.dir {
            Some(folder) => {
                std::fs::create_dir_all(folder).map_err(|error| cannot(folder, &error))?;
                write_all(folder, command)
            }
            None => report.text(&page(command)?),
        }
    }
}

fn write_all(folder: &Path, command: Command) -> Result<(), Failure> {
    let subcommands: Vec<Command> = command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
        .cloned()
        .collect();
    let name = command
        .get_display_name()
        .unwrap_or(command.get_name())
        .to_owned();
    let path = folder.join(format!("{name}.1"));
    std::fs::write(&path, page(command)?).map_err(|error| cannot(&path, &error))?;
    subcommands
        .into_iter()
        .try_for_each(|sub| write_all(folder, sub))
}

fn page(command: Command) -> Result<String, Failure> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command).render(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn cannot(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("{} cannot be written: {error}", path.display()))
}
