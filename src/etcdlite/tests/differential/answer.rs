//! Messages for the operations, and what of an answer is compared.
//! Invariant: everything is compared but what names the server (ids, raft term), the order of a lease's
//! keys, which etcd leaves open, and the last second of a countdown.

use etcd_client::proto::*;
use tonic::Status;

use super::operation::{Compare, Get, Put, Range, Revision, Txn, TxnOp};

/// Where relative revisions are counted from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) current: i64,
    pub(super) compacted: i64,
}

impl Place {
    pub(super) fn resolve(self, revision: Revision) -> i64 {
        match revision {
            Revision::Zero => 0,
            Revision::Current(offset) => (self.current + offset).max(1),
            Revision::Compacted(offset) => (self.compacted + offset).max(1),
            Revision::Negative => -3,
        }
    }

    pub(super) fn put(self, put: &Put) -> PbPutRequest {
        PbPutRequest {
            key: put.key.clone(),
            value: put.value.clone(),
            lease: put.lease,
            prev_kv: put.prev_kv,
            ignore_value: put.ignore_value,
            ignore_lease: put.ignore_lease,
        }
    }

    pub(super) fn delete(self, range: &Range, prev_kv: bool) -> PbDeleteRequest {
        let Range { key, end } = range.clone();
        PbDeleteRequest {
            key,
            range_end: end,
            prev_kv,
        }
    }

    pub(super) fn get(self, get: &Get) -> PbRangeRequest {
        let [min_mod, max_mod, min_create, max_create] = get
            .bounds
            .map(|bound| bound.map_or(0, |revision| self.resolve(revision)));
        let Range { key, end } = get.range.clone();
        PbRangeRequest {
            key,
            range_end: end,
            limit: get.limit,
            revision: self.resolve(get.revision),
            sort_order: get.order,
            sort_target: get.target,
            serializable: get.serializable,
            keys_only: get.keys_only,
            count_only: get.count_only,
            min_mod_revision: min_mod,
            max_mod_revision: max_mod,
            min_create_revision: min_create,
            max_create_revision: max_create,
        }
    }

    pub(super) fn txn(self, txn: &Txn) -> PbTxnRequest {
        PbTxnRequest {
            compare: txn
                .compares
                .iter()
                .map(|compare| self.compare(compare))
                .collect(),
            success: txn.success.iter().map(|op| self.op(op)).collect(),
            failure: txn.failure.iter().map(|op| self.op(op)).collect(),
        }
    }

    fn compare(self, compare: &Compare) -> PbCompare {
        let revision = self.resolve(compare.revision);
        let Range { key, end } = compare.range.clone();
        PbCompare {
            result: compare.result,
            target: compare.target,
            key,
            range_end: end,
            target_union: Some(match compare.union {
                0 => PbTargetUnion::Version(compare.number),
                1 => PbTargetUnion::CreateRevision(revision),
                2 => PbTargetUnion::ModRevision(revision),
                3 => PbTargetUnion::Value(compare.value.clone()),
                _ => PbTargetUnion::Lease(7000 + compare.number),
            }),
        }
    }

    fn op(self, op: &TxnOp) -> PbTxnRequestOp {
        let request = match op {
            TxnOp::Get(get) => Some(PbTxnOpRequest::RequestRange(self.get(get))),
            TxnOp::Put(put) => Some(PbTxnOpRequest::RequestPut(self.put(put))),
            TxnOp::Delete(range, prev_kv) => Some(PbTxnOpRequest::RequestDeleteRange(
                self.delete(range, *prev_kv),
            )),
            TxnOp::Txn(txn) => Some(PbTxnOpRequest::RequestTxn(self.txn(txn))),
            TxnOp::Empty => None,
        };
        PbTxnRequestOp { request }
    }
}

/// An answer that can be compared.
pub(super) trait Answer: std::fmt::Debug + PartialEq {
    fn header(&mut self) -> &mut Option<PbResponseHeader>;

    fn settle(&mut self) {}
}

macro_rules! answers {
    ($($answer:ty),*) => {
        $(impl Answer for $answer {
            fn header(&mut self) -> &mut Option<PbResponseHeader> {
                &mut self.header
            }
        })*
    };
}

answers!(
    PbRangeResponse,
    PbPutResponse,
    PbDeleteResponse,
    PbTxnResponse,
    PbCompactionResponse,
    PbLeaseGrantResponse,
    PbLeaseRevokeResponse,
    PbLeaseKeepAliveResponse
);

impl Answer for PbLeaseTimeToLiveResponse {
    fn header(&mut self) -> &mut Option<PbResponseHeader> {
        &mut self.header
    }

    fn settle(&mut self) {
        self.keys.sort();
        // A countdown that stands for the same lease may be read a moment apart.
        self.ttl = if self.ttl > 0 && self.granted_ttl - self.ttl < 60 {
            1
        } else {
            self.ttl
        };
    }
}

impl Answer for PbLeaseLeasesResponse {
    fn header(&mut self) -> &mut Option<PbResponseHeader> {
        &mut self.header
    }

    fn settle(&mut self) {
        self.leases.sort_by_key(|lease| lease.id);
    }
}

/// The comparable part of an answer: its message, or its code and words.
pub(super) fn settled<A: Answer>(answer: Result<A, Status>) -> Result<A, String> {
    let mut answer =
        answer.map_err(|status| format!("{:?}: {}", status.code(), status.message()))?;
    if let Some(header) = answer.header() {
        *header = PbResponseHeader {
            revision: header.revision,
            ..PbResponseHeader::default()
        };
    }
    answer.settle();
    Ok(answer)
}
