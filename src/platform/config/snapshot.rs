//! The config as it stands, made for reading by name: one hash look-up, scalars already read.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use fleet::config::{Effective, Resolved};

use super::live::{ConfigValue, Size};

/// All values of one moment; they belong together.
#[derive(Debug, Default)]
pub struct Snapshot {
    leaves: HashMap<Arc<str>, Arc<Leaf>, BuildHasherDefault<PathHasher>>,
    effective: Effective,
    /// Of the state that it shows.
    version: u64,
}

/// Eight bytes at a time: half of a read by name would else be spent on hashing against attackers,
/// who would have to write config to attack, and could do worse with it.
#[derive(Debug, Default)]
struct PathHasher(u64);

impl Hasher for PathHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }

    fn write_u64(&mut self, word: u64) {
        // An odd constant with well-spread bits: 2^64 divided by the golden ratio.
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        // The table takes its buckets from the low bits, where a product mixes least.
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 32)
    }
}

/// One value with what it reads as.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) resolved: Resolved,
    pub(super) duration: Option<Duration>,
    pub(super) boolean: Option<bool>,
    pub(super) u64: Option<u64>,
    pub(super) f64: Option<f64>,
    pub(super) size: Option<u64>,
    /// The kinds it was already read as; a bit each.
    used: AtomicU8,
}

impl Leaf {
    fn new(resolved: Resolved, used: u8) -> Leaf {
        let value = &resolved.value;
        Leaf {
            duration: Duration::read(value).ok(),
            boolean: bool::read(value).ok(),
            u64: u64::read(value).ok(),
            f64: f64::read(value).ok(),
            size: Size::read(value).ok().map(|size| size.0),
            used: AtomicU8::new(used),
            resolved,
        }
    }

    /// Whether this is the first read as the kind of this bit.
    pub(super) fn first_use(&self, bit: u8) -> bool {
        self.used.load(Ordering::Relaxed) & bit == 0
            && self.used.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }
}

impl Snapshot {
    /// The snapshot after this one; leaves that stayed are shared.
    pub(super) fn next(&self, effective: &Effective, version: u64) -> Snapshot {
        let leaves = effective
            .leaves()
            .map(|(path, resolved)| {
                let leaf = match self.leaves.get(path) {
                    Some(leaf) if leaf.resolved == *resolved => leaf.clone(),
                    Some(leaf) => Arc::new(Leaf::new(
                        resolved.clone(),
                        leaf.used.load(Ordering::Relaxed),
                    )),
                    None => Arc::new(Leaf::new(resolved.clone(), 0)),
                };
                (path.clone(), leaf)
            })
            .collect();
        Snapshot {
            leaves,
            effective: effective.clone(),
            version,
        }
    }

    /// The version of the state that it shows.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn leaf(&self, path: &str) -> Option<&Arc<Leaf>> {
        self.leaves.get(path)
    }

    /// The value at a path, or the mapping of all that is below it, with its origin.
    pub fn get(&self, path: &str) -> Option<Resolved> {
        self.effective.get(path)
    }

    /// All leaves in the order of their paths.
    pub fn effective(&self) -> &Effective {
        &self.effective
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::Hash as _;

    use super::*;

    #[test]
    fn paths_that_are_alike_have_hashes_that_are_not() {
        let hash = |path: &str| {
            let mut hasher = PathHasher::default();
            path.hash(&mut hasher);
            hasher.finish()
        };
        let paths = (0..10_000).map(|number| format!("limits.tenant{number}.rate"));
        // Buckets as a table of 16,384 would use them; by chance some 45 % of 10,000 collide.
        let buckets: HashSet<u64> = paths.map(|path| hash(&path) & 0x3fff).collect();
        assert!(buckets.len() > 6_000, "{}", buckets.len());
    }
}
