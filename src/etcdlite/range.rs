//! Range requests over a store. Pure.
//! Invariant: `count` is the number of keys in the range, whatever limit and filters leave of
//! them; sorting is stable, so ties stay in key order.

use std::cmp::Ordering;
use std::sync::Arc;

use etcd_client::proto::{PbRangeRequest, PbRangeResponse, PbResponseHeader};

use crate::Refusal;
use crate::store::{KeyRange, Record, Store};

/// What a range selected; messages are made from it once no lock is held.
#[derive(Debug)]
pub(crate) struct Selection {
    records: Vec<Arc<Record>>,
    count: usize,
    more: bool,
    keys_only: bool,
    /// The revision that was current.
    pub(crate) revision: i64,
}

impl Selection {
    pub(crate) fn into_message(self, header: PbResponseHeader) -> PbRangeResponse {
        let keys_only = self.keys_only;
        let kvs = self.records.iter().map(|record| {
            let mut message = record.to_message();
            if keys_only {
                message.value = Vec::new();
            }
            message
        });
        PbRangeResponse {
            header: Some(header),
            kvs: kvs.collect(),
            more: self.more,
            count: i64::try_from(self.count).unwrap_or(i64::MAX),
        }
    }
}

/// What can be refused without looking at the store.
pub(crate) fn check(request: &PbRangeRequest) -> Result<(), Refusal> {
    if request.key.is_empty() {
        return Err(Refusal::EmptyKey);
    }
    if Order::of(request.sort_order).is_none() || Target::of(request.sort_target).is_none() {
        return Err(Refusal::InvalidSortOption);
    }
    Ok(())
}

/// Answers a checked request, `current` being the revision it sees.
pub(crate) fn select(
    store: &Store,
    current: i64,
    request: &PbRangeRequest,
) -> Result<Selection, Refusal> {
    let revision = store.readable(request.revision, current)?;
    let range = KeyRange::new(request.key.clone(), request.range_end.clone());
    let count = store.count(&range, revision);
    let mut selection = Selection {
        records: Vec::new(),
        count,
        more: false,
        keys_only: request.keys_only,
        revision: current,
    };
    if request.count_only {
        return Ok(selection);
    }
    let limit = usize::try_from(request.limit)
        .ok()
        .filter(|limit| *limit > 0);
    let matching = store
        .range(&range, revision)
        .filter(|record| passes(request, record))
        .cloned();
    selection.records = match limit {
        // One more than asked tells whether there is more.
        Some(limit) if is_cut_first(request) => matching.take(limit.saturating_add(1)).collect(),
        _ => matching.collect(),
    };
    let sort = Sort::of(request);
    if let Some(sort) = sort {
        selection.records.sort_by(|a, b| sort.compare(a, b));
    }
    if let Some(limit) = limit
        && selection.records.len() > limit
    {
        selection.records.truncate(limit);
        selection.more = true;
    }
    Ok(selection)
}

/// Whether the limit applies before the sorting. etcd fetches everything only when told an order or a
/// filter: a target alone sorts the first keys it would have returned anyway.
fn is_cut_first(request: &PbRangeRequest) -> bool {
    request.sort_order == 0
        && request.min_mod_revision == 0
        && request.max_mod_revision == 0
        && request.min_create_revision == 0
        && request.max_create_revision == 0
}

fn passes(request: &PbRangeRequest, record: &Record) -> bool {
    let within =
        |value: i64, min: i64, max: i64| (min == 0 || value >= min) && (max == 0 || value <= max);
    within(
        record.main,
        request.min_mod_revision,
        request.max_mod_revision,
    ) && within(
        record.created,
        request.min_create_revision,
        request.max_create_revision,
    )
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    None,
    Ascend,
    Descend,
}

impl Order {
    fn of(number: i32) -> Option<Self> {
        [Self::None, Self::Ascend, Self::Descend]
            .get(usize::try_from(number).ok()?)
            .copied()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Key,
    Version,
    Create,
    Mod,
    Value,
}

impl Target {
    fn of(number: i32) -> Option<Self> {
        [
            Self::Key,
            Self::Version,
            Self::Create,
            Self::Mod,
            Self::Value,
        ]
        .get(usize::try_from(number).ok()?)
        .copied()
    }
}

/// An order that differs from the store's own.
#[derive(Debug, Clone, Copy)]
struct Sort {
    target: Target,
    order: Order,
}

impl Sort {
    fn of(request: &PbRangeRequest) -> Option<Self> {
        let target = Target::of(request.sort_target)?;
        match (Order::of(request.sort_order)?, target) {
            (Order::None | Order::Ascend, Target::Key) => None,
            // A target without an order means ascending.
            (Order::None, _) => Some(Self {
                target,
                order: Order::Ascend,
            }),
            (order, _) => Some(Self { target, order }),
        }
    }

    fn compare(self, a: &Record, b: &Record) -> Ordering {
        let ascending = match self.target {
            Target::Key => a.key.cmp(&b.key),
            Target::Version => a.version.cmp(&b.version),
            Target::Create => a.created.cmp(&b.created),
            Target::Mod => a.main.cmp(&b.main),
            Target::Value => a.value.cmp(&b.value),
        };
        if self.order == Order::Descend {
            ascending.reverse()
        } else {
            ascending
        }
    }
}
