//! One revision being written: puts and deletions, with the leases kept in step.
//! Invariant: a write that changes nothing takes no revision; what is read inside sees what was
//! written before it. Checks come first, as nothing here can be undone.

use std::sync::Arc;

use crate::lease::Leases;
use crate::store::{KeyRange, Record, Store};

/// The write in progress. `end` it, or the revision does not move.
#[derive(Debug)]
pub(crate) struct Write<'a> {
    store: &'a mut Store,
    leases: &'a mut Leases,
    begun: i64,
    changes: u32,
}

impl<'a> Write<'a> {
    pub(crate) fn begin(store: &'a mut Store, leases: &'a mut Leases) -> Self {
        let begun = store.current();
        Self {
            store,
            leases,
            begun,
            changes: 0,
        }
    }

    /// The revision seen inside: the one being written once something was.
    pub(crate) fn revision(&self) -> i64 {
        if self.changes == 0 {
            self.begun
        } else {
            self.begun + 1
        }
    }

    pub(crate) fn store(&self) -> &Store {
        self.store
    }

    pub(crate) fn leases(&self) -> &Leases {
        self.leases
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&Arc<Record>> {
        self.store.get(key, self.revision())
    }

    /// Puts a value under a lease that exists, or none (0).
    pub(crate) fn put(&mut self, key: Vec<u8>, value: Arc<[u8]>, lease: i64) {
        let main = self.begun + 1;
        let before = self.get(&key).cloned();
        let (created, version) = before
            .as_ref()
            .map_or((main, 1), |record| (record.created, record.version + 1));
        let key = before
            .as_ref()
            .map_or_else(|| key.into(), |record| Arc::clone(&record.key));
        if let Some(before) = before.filter(|before| before.lease != 0) {
            self.leases.detach(before.lease, &before.key);
        }
        if lease != 0 {
            self.leases.attach(lease, &key);
        }
        let sub = self.next();
        self.store.append(Record {
            key,
            value,
            main,
            sub,
            created,
            version,
            lease,
            tombstone: false,
        });
    }

    /// Deletes what lives in `range`, in key order; returns what was there.
    pub(crate) fn delete(&mut self, range: &KeyRange) -> Vec<Arc<Record>> {
        let gone: Vec<_> = self.store.range(range, self.revision()).cloned().collect();
        for record in &gone {
            if record.lease != 0 {
                self.leases.detach(record.lease, &record.key);
            }
            let sub = self.next();
            self.store.append(Record {
                key: Arc::clone(&record.key),
                value: Arc::default(),
                main: self.begun + 1,
                sub,
                created: 0,
                version: 0,
                lease: 0,
                tombstone: true,
            });
        }
        gone
    }

    /// Makes the changes the present; returns the revision it then has.
    pub(crate) fn end(self) -> i64 {
        let revision = self.revision();
        self.store.commit(revision);
        revision
    }

    fn next(&mut self) -> u32 {
        let sub = self.changes;
        self.changes += 1;
        sub
    }
}
