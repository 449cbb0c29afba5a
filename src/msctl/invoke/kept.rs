//! Descriptors kept from one call to the next, so that calling takes the round trips of the call
//! alone: `$XDG_CACHE_HOME/msctl/schema/<hash of the server>`.
//!
//! What is kept is believed for as long as the server is asked again: each call that uses it has it
//! checked on the side, and an answer is never read with descriptors that the server no longer has.
//! A cache that cannot be read or written is no error.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use reflect::Schema;
use reflect::source::server::Version;
use serde::{Deserialize, Serialize};

use super::server::Server;

/// The first line of each file; another layout has another.
const MAGIC: &str = "msctl schema 1";

/// Larger sets are asked for each time.
const MAX_BYTES: usize = 8 << 20;

/// So many servers are remembered; then the oldest are forgotten.
const MAX_FILES: usize = 256;

/// The folder of kept descriptors.
#[derive(Debug, Clone)]
pub struct Kept {
    folder: PathBuf,
}

/// Of which server: its address, how it is spoken to, and which registration it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(String);

impl Place {
    /// The place of a server. A registered instance that is started again is another place.
    #[must_use]
    pub fn of(server: &Server) -> Self {
        let instance = server.instance.as_ref().map_or_else(String::new, |one| {
            format!("{} {}", one.key, one.create_revision)
        });
        Self(format!("{} {instance}", server.means))
    }
}

/// How much of a server is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Extent {
    /// All that it lists.
    Whole,
    /// What one service needs; nothing can be said of other names.
    Part,
}

/// What was kept.
#[derive(Debug, Clone)]
pub struct Known {
    /// The descriptors.
    pub schema: Schema,
    /// The version of reflection that answered.
    pub version: Version,
    /// How much they are.
    pub extent: Extent,
}

#[derive(Serialize, Deserialize)]
struct Head {
    place: String,
    alpha: bool,
    extent: Extent,
}

impl Kept {
    /// The user's cache; `None` where there is no home.
    #[must_use]
    pub fn open() -> Option<Self> {
        let absolute = |name: &str| {
            let path = PathBuf::from(std::env::var_os(name)?);
            path.is_absolute().then_some(path)
        };
        let root = absolute("XDG_CACHE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
        Some(Self {
            folder: root.join("msctl").join("schema"),
        })
    }

    /// What is kept of a server.
    #[must_use]
    pub fn read(&self, place: &Place) -> Option<Known> {
        let path = self.path(place);
        let size = std::fs::metadata(&path).ok()?.len();
        if size > MAX_BYTES as u64 {
            return None;
        }
        let bytes = std::fs::read(&path).ok()?;
        let rest = bytes.strip_prefix(MAGIC.as_bytes())?.strip_prefix(b"\n")?;
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let head: Head = serde_json::from_slice(&rest[..end]).ok()?;
        // Two servers may share a hash.
        if head.place != place.0 {
            return None;
        }
        Some(Known {
            schema: Schema::from_descriptor_set(&rest[end + 1..]).ok()?,
            version: if head.alpha {
                Version::V1Alpha
            } else {
                Version::V1
            },
            extent: head.extent,
        })
    }

    /// Keeps descriptors, whole or not at all.
    pub fn write(&self, place: &Place, known: &Known) {
        let head = Head {
            place: place.0.clone(),
            alpha: known.version == Version::V1Alpha,
            extent: known.extent,
        };
        let Ok(head) = serde_json::to_string(&head) else {
            return;
        };
        let mut bytes = format!("{MAGIC}\n{head}\n").into_bytes();
        bytes.extend(known.schema.to_descriptor_set());
        if bytes.len() <= MAX_BYTES {
            // Nothing depends on it.
            let _ = self.put(place, &bytes);
        }
    }

    fn put(&self, place: &Place, bytes: &[u8]) -> std::io::Result<()> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)?;
        self.make_room()?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let draft = self
            .folder
            .join(format!("draft-{}-{number}", std::process::id()));
        let written = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)
            .and_then(|mut file| file.write_all(bytes))
            .and_then(|()| std::fs::rename(&draft, self.path(place)));
        if written.is_err() {
            let _ = std::fs::remove_file(&draft);
        }
        written
    }

    /// Forgets the oldest when there are too many.
    fn make_room(&self) -> std::io::Result<()> {
        let mut files: Vec<_> = std::fs::read_dir(&self.folder)?
            .filter_map(Result::ok)
            .filter_map(|file| Some((file.metadata().ok()?.modified().ok()?, file.path())))
            .collect();
        if files.len() < MAX_FILES {
            return Ok(());
        }
        files.sort();
        let surplus = files.len() + 1 - MAX_FILES;
        for (_, path) in files.into_iter().take(surplus) {
            // Another process may have been faster.
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    }

    /// Forgets a server.
    pub fn forget(&self, place: &Place) {
        let _ = std::fs::remove_file(self.path(place));
    }

    fn path(&self, place: &Place) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        place.0.hash(&mut hasher);
        Path::join(&self.folder, format!("{:016x}", hasher.finish()))
    }
}

/// Whether the server still says the same about everything that it says here.
#[must_use]
pub fn agrees(kept: &Schema, fresh: &Schema) -> bool {
    let kept: HashMap<&str, Vec<u8>> = kept.files().collect();
    fresh
        .files()
        .all(|(name, bytes)| kept.get(name).is_some_and(|known| *known == bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn known() -> Known {
        Known {
            schema: Schema::builtin(),
            version: Version::V1Alpha,
            extent: Extent::Part,
        }
    }

    fn place(name: &str) -> Place {
        Place(name.to_owned())
    }

    #[test]
    fn what_is_kept_is_read_again_for_its_server_alone_and_by_its_user_alone() {
        let home = tempfile::tempdir().unwrap();
        let kept = Kept {
            folder: home.path().join("msctl/schema"),
        };
        assert!(kept.read(&place("a")).is_none());
        kept.write(&place("a"), &known());
        let read = kept.read(&place("a")).unwrap();
        assert_eq!(
            (read.version, read.extent),
            (Version::V1Alpha, Extent::Part)
        );
        assert!(agrees(&read.schema, &Schema::builtin()));
        let path = kept.path(&place("a"));
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // A hash that two servers share.
        std::fs::copy(&path, kept.path(&place("b"))).unwrap();
        assert!(kept.read(&place("b")).is_none());
        kept.forget(&place("a"));
        assert!(kept.read(&place("a")).is_none());
    }

    #[test]
    fn a_file_that_was_cut_or_changed_counts_as_none() {
        let home = tempfile::tempdir().unwrap();
        let kept = Kept {
            folder: home.path().to_path_buf(),
        };
        kept.write(&place("a"), &known());
        let path = kept.path(&place("a"));
        let whole = std::fs::read(&path).unwrap();
        for bytes in [
            &whole[..whole.len() - 3],
            &whole[..10],
            b"",
            b"msctl schema 0\n",
        ] {
            std::fs::write(&path, bytes).unwrap();
            assert!(kept.read(&place("a")).is_none());
        }
    }

    #[test]
    fn the_cache_does_not_grow_without_end() {
        let home = tempfile::tempdir().unwrap();
        let kept = Kept {
            folder: home.path().to_path_buf(),
        };
        for number in 0..MAX_FILES + 20 {
            std::fs::write(home.path().join(format!("{number:016x}")), b"x").unwrap();
        }
        kept.write(&place("a"), &known());
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), MAX_FILES);
        assert!(kept.read(&place("a")).is_some());
    }
}
