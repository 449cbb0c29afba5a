//! Between etcd's messages and `fleet`'s words; pure.
//!
//! Nothing is invented: a field that a message lacks becomes zero or `None`, never a panic.

use etcd_client::proto as pb;
use fleet::{Entry, Key, LeaseId, Prefix, Revision};

/// An entry as a range gives it.
pub(crate) fn entry(kv: pb::PbKeyValue) -> Entry {
    Entry {
        key: Key::from(kv.key),
        value: kv.value.into(),
        create_revision: Revision(kv.create_revision),
        mod_revision: Revision(kv.mod_revision),
        version: kv.version,
        lease: LeaseId::new(kv.lease),
    }
}

/// The revision the store stood at when it answered.
pub(crate) fn revision(header: Option<&pb::PbResponseHeader>) -> Revision {
    Revision(header.map_or(0, |header| header.revision))
}

/// A linearizable read of one key; revision zero means now.
pub(crate) fn get(key: &Key, at: Revision) -> pb::PbRangeRequest {
    pb::PbRangeRequest {
        key: key.as_bytes().to_vec(),
        revision: at.0,
        ..pb::PbRangeRequest::default()
    }
}

/// A linearizable read of a prefix from `start`, or from its beginning.
pub(crate) fn range(prefix: &Prefix, start: Option<Vec<u8>>) -> pb::PbRangeRequest {
    pb::PbRangeRequest {
        key: start.unwrap_or_else(|| prefix.as_bytes().to_vec()),
        range_end: prefix.range_end(),
        ..pb::PbRangeRequest::default()
    }
}
