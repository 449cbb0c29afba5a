//! The last-good cache: what etcd said when it was last heard, kept on disk for a start without
//! etcd. Written whole beside its place and renamed; a damaged or foreign file is refused with its
//! reason and never stops a start.

use std::io;
use std::path::{Path, PathBuf};

use fleet::Revision;
use fleet::config::value;
use fleet::config::{Layer, Layers, Origin};
use serde::{Deserialize, Serialize};
use serde_yaml::Value;

/// The layout of the file; another one is not read.
const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct File {
    format: u32,
    service: String,
    checksum: String,
    keys: Vec<Cached>,
}

/// One key as it was accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Cached {
    pub(super) path: String,
    pub(super) revision: i64,
    /// YAML.
    pub(super) value: String,
}

impl Cached {
    /// The value with its origin; `None` when it is no YAML after all.
    pub(super) fn read(&self) -> Option<(Value, Origin)> {
        let value = value::parse(self.value.as_bytes()).ok()?;
        Some((
            value,
            Origin::Cache {
                revision: Revision(self.revision),
            },
        ))
    }
}

/// etcd's accepted keys, the service's own over the global ones.
pub(super) fn collect(layers: &Layers) -> Vec<Cached> {
    let mut keys = std::collections::BTreeMap::new();
    for layer in [Layer::Global, Layer::Service] {
        for (path, value, origin) in layers.keys(layer) {
            let (Origin::Global { revision } | Origin::Service { revision }) = origin else {
                continue;
            };
            if let Ok(value) = serde_yaml::to_string(value) {
                keys.insert(
                    path.to_string(),
                    Cached {
                        path: path.to_string(),
                        revision: revision.0,
                        value,
                    },
                );
            }
        }
    }
    keys.into_values().collect()
}

/// Reads a cache. No file is an empty cache.
///
/// # Errors
/// The reason, without the path, when the file is damaged or of another service.
pub(super) fn load(path: &Path, service: &str) -> Result<Vec<Cached>, String> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.to_string()),
    };
    let file: File =
        serde_json::from_slice(&bytes).map_err(|error| format!("it is damaged: {error}"))?;
    if file.format != FORMAT {
        return Err(format!(
            "its format is {}, this version reads {FORMAT}",
            file.format
        ));
    }
    if file.service != service {
        return Err(format!("it belongs to {}", file.service.escape_debug()));
    }
    if file.checksum != checksum(&file.keys) {
        return Err("it is damaged: the checksum differs".into());
    }
    Ok(file.keys)
}

/// Writes a cache, unless it says so already: what costs is to have it on disk for certain. After
/// a crash at any moment the old file or the new one is there, whole.
///
/// # Errors
/// The I/O error.
pub(super) fn store(path: &Path, service: &str, keys: Vec<Cached>) -> io::Result<()> {
    let file = File {
        format: FORMAT,
        service: service.into(),
        checksum: checksum(&keys),
        keys,
    };
    let bytes = serde_json::to_vec_pretty(&file).map_err(io::Error::other)?;
    if std::fs::read(path).is_ok_and(|now| now == bytes) {
        return Ok(());
    }
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    // Instances of one machine share the cache, so each writes beside it under its own name.
    let beside = beside(path);
    let written = write_private(&beside, &bytes).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        // Best effort: what could not be written or moved may not be removable either.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    // No two processes of two containers that share the folder, nor two of one process.
    name.push(format!(".{}", uuid::Uuid::new_v4()));
    path.with_file_name(name)
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        // Config may hold secrets.
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// FNV-1a: finds torn and hand-edited files; it is no protection against a forger, who could
/// write the checksum as well.
fn checksum(keys: &[Cached]) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut feed = |bytes: &[u8]| {
        for byte in bytes.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for key in keys {
        feed(key.path.as_bytes());
        feed(&key.revision.to_le_bytes());
        feed(key.value.as_bytes());
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Vec<Cached> {
        vec![Cached {
            path: "timeout.write".into(),
            revision: 7,
            value: "5s\n".into(),
        }]
    }

    #[test]
    fn what_was_stored_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deeper/order.json");
        store(&path, "order", keys()).unwrap();
        assert_eq!(load(&path, "order").unwrap(), keys());
        let left = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(left, 1, "nothing is left beside it");
    }

    #[cfg(unix)]
    #[test]
    fn what_it_says_already_is_not_written_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("order.json");
        store(&path, "order", keys()).unwrap();
        // Whoever writes puts another file in its place.
        let opened = std::fs::File::open(&path).unwrap();
        let is_same = || same_file(&opened, &path);
        store(&path, "order", keys()).unwrap();
        assert!(is_same());
        store(&path, "order", Vec::new()).unwrap();
        assert!(!is_same());
    }

    #[cfg(unix)]
    fn same_file(opened: &std::fs::File, path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        opened.metadata().unwrap().ino() == std::fs::metadata(path).unwrap().ino()
    }

    #[test]
    fn no_file_is_an_empty_cache() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(
            load(&directory.path().join("none"), "order"),
            Ok(Vec::new())
        );
    }

    #[test]
    fn every_damage_is_refused_and_none_panics() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("order.json");
        store(&path, "order", keys()).unwrap();
        let good = std::fs::read(&path).unwrap();
        for cut in 0..good.len() {
            std::fs::write(&path, &good[..cut]).unwrap();
            assert!(load(&path, "order").is_err(), "cut at {cut}");
        }
        let edited = String::from_utf8(good.clone()).unwrap().replace("5s", "9s");
        std::fs::write(&path, edited).unwrap();
        assert!(load(&path, "order").unwrap_err().contains("checksum"));
        std::fs::write(&path, good).unwrap();
        assert!(load(&path, "user").unwrap_err().contains("order"));
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_can_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("order.json");
        store(&path, "order", keys()).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
