//! `config.yaml` as a layer: read at start, looked at every second afterwards, with etcd and without.
//! Its leaves are its keys, so that one bad value holds no other one back. A file that became
//! unreadable keeps its last good content, and is reported.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fleet::config::{Layer, Layers, Origin};
use fleet::safe::escape;
use fleet::status::Rejected;
use metrics::counter;
use serde_yaml::{Mapping, Value};
use tokio::time::{MissedTickBehavior, interval};

use super::Config;
use super::state::{Edit, State};
use crate::running::supervise;

/// How often the file is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// The file and what it looked like when it was read.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    stamp: Option<Stamp>,
}

/// When it was written, how long it is, and which file it is: a mounted one is replaced by another
/// of the same time and length.
type Stamp = (SystemTime, u64, u64);

/// Takes in what is written to the file, until dropped.
pub(crate) async fn follow(config: Config, file: ConfigFile) {
    let path = file.path.clone();
    let mut known = Some(file);
    let begin = || {
        let file = known.take();
        look_after(
            &config,
            file.unwrap_or_else(|| ConfigFile::new(path.clone())),
        )
    };
    supervise("config file", |_| {}, begin).await;
}

async fn look_after(config: &Config, mut file: ConfigFile) {
    let mut look = interval(EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said: Option<String> = None;
    loop {
        look.tick().await;
        // A file on a disk that hangs must not hold up the runtime.
        let looked = tokio::task::spawn_blocking(move || {
            let news = file.news();
            (file, news)
        });
        let Ok((back, news)) = looked.await else {
            return;
        };
        file = back;
        match news {
            None => {}
            Some(Ok(document)) => {
                said = None;
                config.read_file(&file, document);
                tracing::info!(path = %file.path.display(), "config file read again");
            }
            Some(Err(cause)) if said.as_ref() == Some(&cause) => {}
            Some(Err(cause)) => {
                config.refuse_file(&file, &cause);
                said = Some(cause);
            }
        }
    }
}

impl Config {
    fn read_file(&self, file: &ConfigFile, document: Mapping) {
        let mut state = self.state();
        state.refuse_file(None);
        let edits = file.edits(&state, document);
        let step = state.step(Layer::File, edits);
        self.publish(&state, &step, |_| {});
    }

    fn refuse_file(&self, file: &ConfigFile, cause: &str) {
        counter!("platform_config_rejected_total").increment(1);
        tracing::warn!(path = %file.path.display(), %cause, "config file refused; its last good content stays");
        let mut state = self.state();
        state.refuse_file(Some(Rejected {
            key: file.path.display().to_string(),
            revision: 0,
            error: cause.to_owned(),
        }));
        self.publish(&state, &super::state::Step::default(), |_| {});
    }
}

impl ConfigFile {
    pub(super) fn new(path: PathBuf) -> ConfigFile {
        ConfigFile { path, stamp: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it.
    ///
    /// # Errors
    /// The reason, without the path.
    pub(super) fn read(&mut self) -> Result<Mapping, String> {
        let before = stamp(&self.path);
        // One that cannot be opened now may be opened later without having been written.
        self.stamp = None;
        let text = std::fs::read_to_string(&self.path).map_err(|error| error.to_string())?;
        self.stamp = before;
        document(&text)
    }

    /// What it has become, where it looks different from when it was read. A missing file is no
    /// news: editors remove and create. Nor is one that is being written at this moment.
    fn news(&mut self) -> Option<Result<Mapping, String>> {
        let now = stamp(&self.path)?;
        if self.stamp == Some(now) {
            return None;
        }
        let read = self.read();
        if self.stamp.is_some() && stamp(&self.path) != Some(now) {
            self.stamp = None;
            return None;
        }
        Some(read)
    }

    /// What makes the file layer equal to this document.
    pub(super) fn edits(&self, state: &State, document: Mapping) -> Vec<(Arc<str>, Edit)> {
        let origin = Origin::File(self.path.display().to_string().into());
        let mut alone = Layers::new();
        alone.set_document(Layer::File, document, &origin);
        let alone = alone.effective();
        let leaves: BTreeMap<&Arc<str>, _> = alone.leaves().collect();
        let standing = state.layers().keys(Layer::File).map(|(path, _, _)| path);
        let mut edits: Vec<(Arc<str>, Edit)> = standing
            .chain(state.refused(Layer::File))
            // What stays is put, and keeps its last good value should the new one be refused.
            .filter(|path| !leaves.contains_key(path))
            .map(|path| (path.clone(), Edit::Remove))
            .collect();
        edits.extend(leaves.into_iter().map(|(path, leaf)| {
            let value = Ok(leaf.value.clone());
            (path.clone(), Edit::Put(value, origin.clone()))
        }));
        edits
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(path).ok()?;
    #[cfg(unix)]
    let which = std::os::unix::fs::MetadataExt::ino(&found);
    #[cfg(not(unix))]
    let which = 0;
    Some((found.modified().ok()?, found.len(), which))
}

fn document(text: &str) -> Result<Mapping, String> {
    match serde_yaml::from_str(text) {
        Ok(Value::Mapping(document)) => match document.keys().find(|key| !key.is_string()) {
            Some(key) => Err(format!(
                "the key {} is no text; quote it",
                fleet::config::value::one_line(key)
            )),
            None => Ok(document),
        },
        Ok(Value::Null) => Ok(Mapping::new()),
        Ok(_) => Err("it is no mapping; write it like 'timeout: {write: 5s}'".into()),
        Err(error) => Err(format!("it is not YAML: {}", escape(&error.to_string()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secrets::Secrets;

    #[test]
    fn a_document_is_a_mapping_or_refused_with_its_reason() {
        assert_eq!(document("a: 1").unwrap().len(), 1);
        assert_eq!(document("# nothing yet").unwrap().len(), 0);
        for (text, reason) in [
            ("[a]", "no mapping"),
            ("{", "not YAML"),
            ("5: a", "no text"),
        ] {
            let error = document(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn a_rewritten_file_is_news_and_a_missing_one_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.yaml");
        std::fs::write(&path, "a: 1").unwrap();
        let mut file = ConfigFile::new(path.clone());
        file.read().unwrap();
        assert_eq!(file.news(), None);
        std::fs::write(&path, "a: 22").unwrap();
        assert_eq!(file.news().unwrap().unwrap()["a"], Value::from(22));
        assert_eq!(file.news(), None);
        // Another file in its place, of the same length and maybe of the same time.
        let beside = directory.path().join("beside");
        std::fs::write(&beside, "a: 33").unwrap();
        std::fs::rename(&beside, &path).unwrap();
        assert_eq!(file.news().unwrap().unwrap()["a"], Value::from(33));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(file.news(), None);
    }

    #[test]
    fn what_left_the_file_leaves_the_layer_and_each_leaf_is_a_key() {
        let mut state = State::new("order", Secrets::default());
        let file = ConfigFile::new("config.yaml".into());
        for (text, wanted) in [
            (
                "gone: 1\nretry: {n: 1, b: 2}",
                vec!["gone", "retry.b", "retry.n"],
            ),
            ("retry: {n: 3}\nretry.b: 4", vec!["retry.b", "retry.n"]),
            ("# nothing", vec![]),
        ] {
            let edits = file.edits(&state, document(text).unwrap());
            state.step(Layer::File, edits);
            let keys: Vec<_> = state
                .layers()
                .keys(Layer::File)
                .map(|(path, _, _)| path.to_string())
                .collect();
            assert_eq!(keys, wanted, "{text}");
        }
    }
}
