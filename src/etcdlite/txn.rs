//! Puts, deletions and transactions. Pure: messages in, messages out, over a store and its leases.
//! Invariant: comparisons and checks all come before the first write, and see the state before it;
//! then operations run in order, and each sees what earlier ones wrote.

mod check;
mod compare;
mod write;

pub(crate) use check::{check_delete, check_put, check_txn};
pub(crate) use write::Write;

use std::sync::Arc;

use etcd_client::proto::{
    PbDeleteRequest, PbDeleteResponse, PbPutRequest, PbPutResponse, PbRangeRequest,
    PbResponseHeader, PbResponseOp, PbTxnOpRequest, PbTxnOpResponse, PbTxnRequest, PbTxnRequestOp,
    PbTxnResponse,
};

use crate::lease::Leases;
use crate::store::{KeyRange, Store};
use crate::{Refusal, range};

/// A header that names only a revision: operations inside a txn carry nothing else.
pub(crate) fn revision_header(revision: i64) -> PbResponseHeader {
    PbResponseHeader {
        revision,
        ..PbResponseHeader::default()
    }
}

/// A checked put, alone or inside a txn.
pub(crate) fn put(write: &mut Write<'_>, request: PbPutRequest) -> Result<PbPutResponse, Refusal> {
    if request.lease != 0 && !write.leases().exists(request.lease) {
        return Err(Refusal::LeaseNotFound);
    }
    let before = write.get(&request.key).cloned();
    if (request.ignore_value || request.ignore_lease) && before.is_none() {
        return Err(Refusal::KeyNotFound);
    }
    let value = match &before {
        Some(before) if request.ignore_value => Arc::clone(&before.value),
        _ => request.value.into(),
    };
    let lease = match &before {
        Some(before) if request.ignore_lease => before.lease,
        _ => request.lease,
    };
    write.put(request.key, value, lease);
    Ok(PbPutResponse {
        header: Some(revision_header(write.revision())),
        prev_kv: before
            .filter(|_| request.prev_kv)
            .map(|record| record.to_message()),
    })
}

/// A checked deletion, alone or inside a txn.
pub(crate) fn delete(write: &mut Write<'_>, request: PbDeleteRequest) -> PbDeleteResponse {
    let gone = write.delete(&KeyRange::new(request.key, request.range_end));
    let prev_kvs = if request.prev_kv {
        gone.iter().map(|record| record.to_message()).collect()
    } else {
        Vec::new()
    };
    PbDeleteResponse {
        header: Some(revision_header(write.revision())),
        deleted: i64::try_from(gone.len()).unwrap_or(i64::MAX),
        prev_kvs,
    }
}

/// Whether a txn can change nothing, whichever way it goes.
pub(crate) fn is_read_only(request: &PbTxnRequest) -> bool {
    let reads = |op: &PbTxnRequestOp| matches!(op.request, Some(PbTxnOpRequest::RequestRange(_)));
    request.success.iter().all(reads) && request.failure.iter().all(reads)
}

/// Whether a txn may put something, whichever way it goes.
pub(crate) fn puts(request: &PbTxnRequest) -> bool {
    let mut ops = request.success.iter().chain(&request.failure);
    ops.any(|op| match &op.request {
        Some(PbTxnOpRequest::RequestPut(_)) => true,
        Some(PbTxnOpRequest::RequestTxn(nested)) => puts(nested),
        _ => false,
    })
}

/// A checked txn that only reads.
pub(crate) fn read(
    store: &Store,
    leases: &Leases,
    request: PbTxnRequest,
) -> Result<PbTxnResponse, Refusal> {
    let path = Decision {
        store,
        leases,
        deleted_from: None,
    }
    .path(request)?;
    let mut responses = Vec::with_capacity(path.ops.len());
    for op in path.ops {
        if let Chosen::Range(request) = op {
            responses.push(range_response(store, store.current(), &request)?);
        }
    }
    Ok(txn_response(path.succeeded, responses, store.current()))
}

/// A checked txn. Nothing is written when it is refused.
pub(crate) fn write(
    store: &mut Store,
    leases: &mut Leases,
    request: PbTxnRequest,
) -> Result<PbTxnResponse, Refusal> {
    let path = Decision {
        store,
        leases,
        deleted_from: None,
    }
    .path(request)?;
    let mut write = Write::begin(store, leases);
    let mut response = run(&mut write, path)?;
    response.header = Some(revision_header(write.end()));
    Ok(response)
}

/// The branch a txn takes, decided before anything is written.
struct Path {
    succeeded: bool,
    ops: Vec<Chosen>,
}

enum Chosen {
    Range(PbRangeRequest),
    Put(PbPutRequest),
    Delete(PbDeleteRequest),
    Txn(Path),
}

struct Decision<'a> {
    store: &'a Store,
    leases: &'a Leases,
    /// Where the widest deletion "from a key on" so far begins. Only such a one may share a txn with
    /// a put of a key it takes.
    deleted_from: Option<Vec<u8>>,
}

impl Decision<'_> {
    fn path(&mut self, request: PbTxnRequest) -> Result<Path, Refusal> {
        let succeeded = request
            .compare
            .iter()
            .all(|compare| compare::holds(self.store, compare));
        let branch = if succeeded {
            request.success
        } else {
            request.failure
        };
        let mut ops = Vec::with_capacity(branch.len());
        for op in branch {
            ops.push(match op.request.ok_or(Refusal::KeyNotFound)? {
                PbTxnOpRequest::RequestRange(range) => {
                    check_readable(self.store, &range)?;
                    Chosen::Range(range)
                }
                PbTxnOpRequest::RequestPut(put) => {
                    self.check_put(&put)?;
                    Chosen::Put(put)
                }
                PbTxnOpRequest::RequestDeleteRange(delete) => {
                    self.note_deletion(&delete);
                    Chosen::Delete(delete)
                }
                PbTxnOpRequest::RequestTxn(nested) => Chosen::Txn(self.path(nested)?),
            });
        }
        Ok(Path { succeeded, ops })
    }

    fn check_put(&self, put: &PbPutRequest) -> Result<(), Refusal> {
        if put.ignore_value || put.ignore_lease {
            let exists = self.store.get(&put.key, self.store.current()).is_some();
            // etcd dies of a key that its own txn deletes before it is to be kept; here it is missing.
            let deleted = self
                .deleted_from
                .as_ref()
                .is_some_and(|from| *from <= put.key);
            if !exists || deleted {
                return Err(Refusal::KeyNotFound);
            }
        }
        if put.lease != 0 && !self.leases.exists(put.lease) {
            return Err(Refusal::LeaseNotFound);
        }
        Ok(())
    }

    fn note_deletion(&mut self, delete: &PbDeleteRequest) {
        let wider = self
            .deleted_from
            .as_ref()
            .is_none_or(|from| delete.key < *from);
        if delete.range_end == [0] && wider {
            self.deleted_from = Some(delete.key.clone());
        }
    }
}

/// Unlike a range alone, one in a txn takes a negative revision for a compacted one.
fn check_readable(store: &Store, range: &PbRangeRequest) -> Result<(), Refusal> {
    match range.revision {
        0 => Ok(()),
        revision if revision > store.current() => Err(Refusal::FutureRevision),
        revision if revision < store.compacted() => Err(Refusal::Compacted),
        _ => Ok(()),
    }
}

fn run(write: &mut Write<'_>, path: Path) -> Result<PbTxnResponse, Refusal> {
    let mut responses = Vec::with_capacity(path.ops.len());
    for op in path.ops {
        responses.push(match op {
            Chosen::Range(request) => range_response(write.store(), write.revision(), &request)?,
            Chosen::Put(request) => response_op(PbTxnOpResponse::ResponsePut(put(write, request)?)),
            Chosen::Delete(request) => {
                response_op(PbTxnOpResponse::ResponseDeleteRange(delete(write, request)))
            }
            Chosen::Txn(nested) => response_op(PbTxnOpResponse::ResponseTxn(run(write, nested)?)),
        });
    }
    // A nested txn's header stays empty, as etcd leaves it.
    Ok(txn_response(path.succeeded, responses, 0))
}

fn range_response(
    store: &Store,
    current: i64,
    request: &PbRangeRequest,
) -> Result<PbResponseOp, Refusal> {
    let selection = range::select(store, current, request)?;
    let header = revision_header(selection.revision);
    Ok(response_op(PbTxnOpResponse::ResponseRange(
        selection.into_message(header),
    )))
}

fn response_op(response: PbTxnOpResponse) -> PbResponseOp {
    PbResponseOp {
        response: Some(response),
    }
}

fn txn_response(succeeded: bool, responses: Vec<PbResponseOp>, revision: i64) -> PbTxnResponse {
    PbTxnResponse {
        header: Some(revision_header(revision)),
        succeeded,
        responses,
    }
}
