//! The text that is edited, as a file of its owner alone: it is there until what it says is saved.

use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use fleet::config::Scope;

use crate::report::Failure;

/// What a fault stands behind, so that it is taken out again.
const MARK: &str = "#! ";

/// The text on disk, readable by its owner alone.
pub(super) struct Draft {
    path: PathBuf,
}

impl Draft {
    /// A new file with this text. Where there is no home it stands among the temporary files, under
    /// a name that nobody can have laid a link for.
    pub(super) fn new(scope: &Scope, text: &str) -> Result<Self, Failure> {
        let state = std::env::var_os("XDG_STATE_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/state")));
        let (directory, start) = match state {
            Some(state) => (state.join("msctl/drafts"), String::new()),
            None => (std::env::temp_dir(), "msctl-".to_owned()),
        };
        let nonce = RandomState::new().hash_one(std::process::id());
        let draft = Self {
            path: directory.join(format!("{start}{scope}-{nonce:016x}.yaml")),
        };
        let fault = |error: &std::io::Error| draft.fault(error);
        std::fs::create_dir_all(&directory).map_err(|error| fault(&error))?;
        let mut options = std::fs::OpenOptions::new();
        let file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft.path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|error| fault(&error))?;
        Ok(draft)
    }

    /// Replaces the text.
    pub(super) fn write(&self, text: &str) -> Result<(), Failure> {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&self.path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|error| self.fault(&error))
    }

    /// The text again, with a fault on top.
    pub(super) fn mark(&self, fault: &str, text: &str) -> Result<(), Failure> {
        self.write(&format!("{}{text}", marked(fault)))
    }

    /// Where the text is, and how to go on with it.
    pub(super) fn place(&self) -> String {
        format!(
            "Your text is kept in {0}; 'msctl config apply -f {0}' goes on with it.",
            self.path.display()
        )
    }

    /// The text without the faults that were put on top.
    pub(super) fn read(&self) -> Result<String, Failure> {
        let text = std::fs::read_to_string(&self.path).map_err(|error| self.fault(&error))?;
        let lines = text.split_inclusive('\n');
        Ok(lines.filter(|line| !line.starts_with(MARK)).collect())
    }

    /// Lets the user edit it, until the editor ends.
    pub(super) fn open(&self) -> Result<(), Failure> {
        let editor = ["VISUAL", "EDITOR"]
            .into_iter()
            .filter_map(|name| std::env::var(name).ok())
            .find(|editor| !editor.trim().is_empty())
            .unwrap_or_else(|| "vi".to_owned());
        // Editors are given with arguments, as in `code --wait`; the shell takes them apart.
        let status = Command::new("sh")
            .args(["-c", &format!("{editor} \"$1\""), "sh"])
            .arg(&self.path)
            .status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(self.kept(Failure::failed(format!(
                "the editor '{editor}' ended with {status}"
            )))),
            Err(error) => Err(self.kept(
                Failure::failed(format!("the editor '{editor}' cannot be started: {error}"))
                    .next("Set EDITOR."),
            )),
        }
    }

    /// Done with it.
    pub(super) fn remove(&self) {
        // A draft that stays is no harm.
        let _ = std::fs::remove_file(&self.path);
    }

    /// The failure, which names where the text is.
    pub(super) fn kept(&self, failure: Failure) -> Failure {
        let next = failure
            .next_step()
            .map_or_else(String::new, |next| format!("{next} "));
        failure.next(format!("{next}{}", self.place()))
    }

    fn fault(&self, error: &std::io::Error) -> Failure {
        Failure::failed(format!("the draft {}: {error}", self.path.display()))
    }
}

fn marked(fault: &str) -> String {
    let mut text = String::new();
    for line in fault.lines() {
        text.push_str(MARK);
        text.push_str(&fleet::safe::escape(line));
        text.push('\n');
    }
    text
}
