//! What a request can be refused for before the store is looked at.
//! Invariant: in one txn no key is put twice, nor put and deleted; branches that exclude each other
//! may touch the same key. Sizes are bounded before the pairwise checks, so those stay cheap.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;

use etcd_client::proto::{
    PbDeleteRequest, PbPutRequest, PbTxnOpRequest, PbTxnRequest, PbTxnRequestOp,
};

use crate::{Refusal, range};

/// etcd's `max-txn-ops`: the longest of a txn's three lists, nested ones counted on top.
const MAX_TXN_OPS: usize = 128;

pub(crate) fn check_put(request: &PbPutRequest) -> Result<(), Refusal> {
    if request.key.is_empty() {
        return Err(Refusal::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(Refusal::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Refusal::LeaseProvided);
    }
    Ok(())
}

pub(crate) fn check_delete(request: &PbDeleteRequest) -> Result<(), Refusal> {
    if request.key.is_empty() {
        Err(Refusal::EmptyKey)
    } else {
        Ok(())
    }
}

pub(crate) fn check_txn(request: &PbTxnRequest) -> Result<(), Refusal> {
    check_ops(request, MAX_TXN_OPS)?;
    Touched::by(&request.success)?;
    Touched::by(&request.failure)?;
    Ok(())
}

fn check_ops(request: &PbTxnRequest, allowed: usize) -> Result<(), Refusal> {
    let longest = request
        .compare
        .len()
        .max(request.success.len())
        .max(request.failure.len());
    let rest = allowed.checked_sub(longest).ok_or(Refusal::TooManyOps)?;
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Refusal::EmptyKey);
    }
    for op in request.success.iter().chain(&request.failure) {
        match op.request.as_ref().ok_or(Refusal::KeyNotFound)? {
            PbTxnOpRequest::RequestRange(request) => range::check(request)?,
            PbTxnOpRequest::RequestPut(request) => check_put(request)?,
            PbTxnOpRequest::RequestDeleteRange(request) => check_delete(request)?,
            PbTxnOpRequest::RequestTxn(request) => check_ops(request, rest)?,
        }
    }
    Ok(())
}

/// The keys a list of operations may put, and those it may delete.
#[derive(Default)]
struct Touched<'a> {
    puts: HashSet<&'a [u8]>,
    deletes: Deleted<'a>,
}

impl<'a> Touched<'a> {
    fn by(ops: &'a [PbTxnRequestOp]) -> Result<Self, Refusal> {
        let mut touched = Self::default();
        for op in ops {
            if let Some(PbTxnOpRequest::RequestDeleteRange(delete)) = &op.request {
                touched.deletes.add(delete);
            }
        }
        for op in ops {
            if let Some(PbTxnOpRequest::RequestTxn(nested)) = &op.request {
                touched.add_branches(Self::by(&nested.success)?, Self::by(&nested.failure)?)?;
            }
        }
        for op in ops {
            if let Some(PbTxnOpRequest::RequestPut(put)) = &op.request {
                touched.add_put(&put.key)?;
            }
        }
        Ok(touched)
    }

    fn add_branches(&mut self, success: Self, failure: Self) -> Result<(), Refusal> {
        for key in &success.puts {
            self.add_put(key)?;
        }
        for key in failure.puts {
            // Only one of the two branches runs.
            if !success.puts.contains(key) {
                self.add_put(key)?;
            }
        }
        self.deletes.merge(success.deletes);
        self.deletes.merge(failure.deletes);
        Ok(())
    }

    fn add_put(&mut self, key: &'a [u8]) -> Result<(), Refusal> {
        if self.deletes.takes(key) || !self.puts.insert(key) {
            return Err(Refusal::DuplicateKey);
        }
        Ok(())
    }
}

/// Deleted keys, and deleted spans that never overlap: start to end.
///
/// A range "from a key on" ends in a zero byte, which etcd compares here as an ordinary end: it takes
/// nothing, and a txn that also puts into it is let through.
#[derive(Default)]
struct Deleted<'a> {
    keys: HashSet<&'a [u8]>,
    spans: BTreeMap<&'a [u8], &'a [u8]>,
}

impl<'a> Deleted<'a> {
    fn add(&mut self, delete: &'a PbDeleteRequest) {
        if delete.range_end.is_empty() {
            self.keys.insert(&delete.key);
        } else if delete.key < delete.range_end {
            self.add_span(&delete.key, &delete.range_end);
        }
    }

    fn add_span(&mut self, start: &'a [u8], end: &'a [u8]) {
        let (mut start, mut end) = (start, end);
        // What it overlaps with becomes one span with it.
        while let Some((&other_start, &other_end)) = self.spans.range(..end).next_back()
            && other_end >= start
        {
            start = start.min(other_start);
            end = end.max(other_end);
            self.spans.remove(other_start);
        }
        self.spans.insert(start, end);
    }

    fn merge(&mut self, other: Self) {
        self.keys.extend(other.keys);
        for (start, end) in other.spans {
            self.add_span(start, end);
        }
    }

    fn takes(&self, key: &[u8]) -> bool {
        let span = || {
            self.spans
                .range::<[u8], _>((Bound::Unbounded, Bound::Included(key)))
        };
        self.keys.contains(key) || span().next_back().is_some_and(|(_, end)| key < *end)
    }
}
