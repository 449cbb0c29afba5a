//! `config.yaml` as a layer: read at start, looked at every second afterwards. A file that became
//! unreadable keeps its last good content.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use fleet::config::{Layer, Layers, Origin};
use fleet::safe::escape;
use serde_yaml::{Mapping, Value};

use super::state::Edit;

/// The file and what it looked like when it was read.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    stamp: Option<(SystemTime, u64)>,
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
        self.stamp = stamp(&self.path);
        let text = std::fs::read_to_string(&self.path).map_err(|error| error.to_string())?;
        document(&text)
    }

    /// Whether it looks different from when it was read. A missing file is no change: editors
    /// remove and create.
    pub(super) fn changed(&self) -> bool {
        stamp(&self.path).is_some_and(|now| self.stamp != Some(now))
    }

    /// What makes the file layer equal to this document.
    pub(super) fn edits(&self, layers: &Layers, document: Mapping) -> Vec<(Arc<str>, Edit)> {
        let origin = Origin::File(self.path.display().to_string().into());
        let mut edits: Vec<(Arc<str>, Edit)> = layers
            .keys(Layer::File)
            .filter(|(path, _, _)| !document.contains_key(&***path))
            .map(|(path, _, _)| (path.clone(), Edit::Remove))
            .collect();
        for (name, value) in document {
            if let Value::String(name) = name {
                edits.push((name.into(), Edit::Put(Ok(value), origin.clone())));
            }
        }
        edits
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len()))
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
    fn a_rewritten_file_is_noticed_and_a_missing_one_is_no_change() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.yaml");
        std::fs::write(&path, "a: 1").unwrap();
        let mut file = ConfigFile::new(path.clone());
        file.read().unwrap();
        assert!(!file.changed());
        std::fs::write(&path, "a: 22").unwrap();
        assert!(file.changed());
        std::fs::remove_file(&path).unwrap();
        assert!(!file.changed());
    }

    #[test]
    fn what_left_the_file_leaves_the_layer() {
        let mut layers = Layers::new();
        layers.put(Layer::File, "gone", Value::from(1), Origin::Default);
        let file = ConfigFile::new("config.yaml".into());
        let edits = file.edits(&layers, document("a: 1").unwrap());
        assert!(
            edits
                .iter()
                .any(|(path, edit)| &**path == "gone" && matches!(edit, Edit::Remove))
        );
        assert_eq!(edits.len(), 2);
    }
}
