//! A text in the user's own editor: written to a private file, edited, read back, removed.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

/// The editor the user wants.
fn editor() -> String {
    ["VISUAL", "EDITOR"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.trim().is_empty())
        .unwrap_or_else(|| "vi".to_owned())
}

/// Edits a text. The editor has the terminal meanwhile.
///
/// # Errors
/// A sentence: no file could be made, no editor was found, or it ended in failure.
pub async fn edit(text: &str, suffix: &str) -> Result<String, String> {
    let file = File::new(text, suffix).map_err(|error| format!("no file to edit: {error}"))?;
    let editor = editor();
    // The editor's setting may carry arguments ("code --wait"), so it goes through the shell; the
    // file's name does not.
    let status = tokio::process::Command::new("/bin/sh")
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg("sh")
        .arg(&file.0)
        .kill_on_drop(true)
        .status()
        .await
        .map_err(|error| format!("{editor}: {error}"))?;
    if !status.success() {
        return Err(format!(
            "{editor} ended with {status}; the text is as it was"
        ));
    }
    std::fs::read_to_string(&file.0).map_err(|error| format!("the edited text: {error}"))
}

/// A file that goes when it is dropped: it may hold a secret.
struct File(PathBuf);

impl File {
    fn new(text: &str, suffix: &str) -> std::io::Result<Self> {
        let number =
            std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), std::process::id());
        let path = std::env::temp_dir().join(format!("msctl-{number:016x}{suffix}"));
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        let made = Self(path);
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        Ok(made)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
