//! The operations of a sequence, and how they are drawn.
//! Invariant: a revision is drawn relative to the present or the compacted one, so that interesting
//! places are hit whatever the sequence did before.

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;

/// Keys are few, so that operations meet. etcd sorts ties stably only among 12 keys or fewer.
pub(super) const KEYS: [&str; 9] = ["a", "a/1", "a/2", "b", "b\0", "c", "c/x", "d", "z"];

/// Lease ids that sequences use; 0 is none and the last is never granted.
pub(super) const LEASES: [i64; 5] = [0, 7001, 7002, 7003, 7999];

#[derive(Debug, Clone, Copy)]
pub(super) enum Revision {
    Zero,
    Current(i64),
    Compacted(i64),
    Negative,
}

#[derive(Debug, Clone)]
pub(super) struct Range {
    pub(super) key: Vec<u8>,
    pub(super) end: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(super) struct Put {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    pub(super) lease: i64,
    pub(super) prev_kv: bool,
    pub(super) ignore_value: bool,
    pub(super) ignore_lease: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Get {
    pub(super) range: Range,
    pub(super) limit: i64,
    pub(super) revision: Revision,
    pub(super) order: i32,
    pub(super) target: i32,
    pub(super) keys_only: bool,
    pub(super) count_only: bool,
    pub(super) serializable: bool,
    /// Smallest and largest modification, then creation revision.
    pub(super) bounds: [Option<Revision>; 4],
}

#[derive(Debug, Clone)]
pub(super) struct Compare {
    pub(super) range: Range,
    pub(super) result: i32,
    pub(super) target: i32,
    /// The union's kind may differ from the target.
    pub(super) union: i32,
    pub(super) number: i64,
    pub(super) revision: Revision,
    pub(super) value: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(super) enum TxnOp {
    Get(Get),
    Put(Put),
    Delete(Range, bool),
    Txn(Txn),
    Empty,
}

#[derive(Debug, Clone)]
pub(super) struct Txn {
    pub(super) compares: Vec<Compare>,
    pub(super) success: Vec<TxnOp>,
    pub(super) failure: Vec<TxnOp>,
}

#[derive(Debug, Clone)]
pub(super) struct Watch {
    pub(super) range: Range,
    pub(super) start: Revision,
    pub(super) filters: Vec<i32>,
    pub(super) prev_kv: bool,
    pub(super) id: i64,
}

#[derive(Debug, Clone)]
pub(super) enum Operation {
    Put(Put),
    Delete(Range, bool),
    Get(Get),
    Txn(Txn),
    Compact(Revision),
    Grant { id: i64, ttl: i64 },
    Revoke(i64),
    TimeToLive(i64),
    Leases,
    KeepAlive(i64),
    Watch(Watch),
    CancelWatch(usize),
}

pub(super) fn sequences() -> impl Strategy<Value = Vec<Operation>> {
    vec(operation(), 1..24)
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => put().prop_map(Operation::Put),
        3 => (range(), any::<bool>()).prop_map(|(range, prev)| Operation::Delete(range, prev)),
        6 => get().prop_map(Operation::Get),
        6 => txn(2).prop_map(Operation::Txn),
        2 => revision().prop_map(Operation::Compact),
        3 => (lease(), ttl()).prop_map(|(id, ttl)| Operation::Grant { id, ttl }),
        1 => lease().prop_map(Operation::Revoke),
        1 => lease().prop_map(Operation::TimeToLive),
        1 => Just(Operation::Leases),
        1 => lease().prop_map(Operation::KeepAlive),
        3 => watch().prop_map(Operation::Watch),
        1 => (0..3_usize).prop_map(Operation::CancelWatch),
    ]
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        30 => prop::sample::select(&KEYS[..]).prop_map(|key| key.as_bytes().to_vec()),
        1 => Just(Vec::new()),
    ]
}

fn range() -> impl Strategy<Value = Range> {
    let end = prop_oneof![
        4 => Just(Vec::new()),
        4 => key(),
        2 => Just(vec![0]),
        1 => Just(b"b0".to_vec()),
    ];
    (key(), end).prop_map(|(key, end)| Range { key, end })
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        Just(b"v".to_vec()),
        Just(b"w".to_vec()),
        Just(vec![0, 255])
    ]
}

fn lease() -> impl Strategy<Value = i64> {
    prop::sample::select(&LEASES[1..])
}

/// Long enough not to run out in between, too long, or the greatest there is.
fn ttl() -> impl Strategy<Value = i64> {
    prop::sample::select(&[60, 600, 100_000, 9_000_000_000, 9_000_000_001, i64::MAX][..])
}

fn revision() -> impl Strategy<Value = Revision> {
    prop_oneof![
        4 => Just(Revision::Zero),
        6 => (-8..=1_i64).prop_map(Revision::Current),
        3 => (-1..=2_i64).prop_map(Revision::Compacted),
        1 => Just(Revision::Negative),
    ]
}

fn put() -> impl Strategy<Value = Put> {
    let lease = prop_oneof![6 => Just(0), 4 => lease()];
    let rarely = || prop::bool::weighted(0.12);
    (
        key(),
        value(),
        lease,
        any::<bool>(),
        rarely(),
        rarely(),
        rarely(),
    )
        .prop_map(
            |(key, value, lease, prev_kv, ignore_value, ignore_lease, wrong)| Put {
                key,
                // Mostly what goes with the flags, sometimes what etcd refuses.
                value: if ignore_value && !wrong {
                    Vec::new()
                } else {
                    value
                },
                lease: if ignore_lease && !wrong { 0 } else { lease },
                prev_kv,
                ignore_value,
                ignore_lease,
            },
        )
}

fn get() -> impl Strategy<Value = Get> {
    let bound = || weighted(0.12, revision());
    let rarely = || prop::bool::weighted(0.15);
    let flags = (rarely(), rarely(), rarely());
    let bounds = (bound(), bound(), bound(), bound());
    (range(), -1..4_i64, revision(), 0..3, 0..5, flags, bounds).prop_map(
        |(range, limit, revision, order, target, flags, bounds)| Get {
            range,
            limit,
            revision,
            order,
            target,
            keys_only: flags.0,
            count_only: flags.1,
            serializable: flags.2,
            bounds: [bounds.0, bounds.1, bounds.2, bounds.3],
        },
    )
}

fn compare() -> impl Strategy<Value = Compare> {
    let kind =
        (0..5).prop_flat_map(|target| (Just(target), prop_oneof![9 => Just(target), 1 => 0..5]));
    (range(), 0..4, kind, 0..4_i64, revision(), value()).prop_map(
        |(range, result, (target, union), number, revision, value)| Compare {
            range,
            result,
            target,
            union,
            number,
            revision,
            value,
        },
    )
}

fn txn(depth: u32) -> BoxedStrategy<Txn> {
    let leaf = prop_oneof![
        4 => get().prop_map(TxnOp::Get),
        6 => put().prop_map(TxnOp::Put),
        2 => (range(), any::<bool>()).prop_map(|(range, prev)| TxnOp::Delete(range, prev)),
    ];
    let op = if depth == 0 {
        leaf.boxed()
    } else {
        prop_oneof![
            12 => leaf,
            3 => txn(depth - 1).prop_map(TxnOp::Txn),
            // Rare, as one refuses the whole transaction.
            1 => prop_oneof![9 => get().prop_map(TxnOp::Get), 1 => Just(TxnOp::Empty)],
        ]
        .boxed()
    };
    (vec(compare(), 0..3), vec(op.clone(), 0..4), vec(op, 0..4))
        .prop_map(|(compares, success, failure)| Txn {
            compares,
            success,
            failure,
        })
        .boxed()
}

fn watch() -> impl Strategy<Value = Watch> {
    let filters = prop_oneof![6 => Just(Vec::new()), 1 => Just(vec![0]), 1 => Just(vec![1])];
    // etcd 3.4 takes a negative start, 3.6 refuses it: that is tested by itself.
    let start = revision().prop_map(|start| match start {
        Revision::Negative => Revision::Zero,
        start => start,
    });
    (
        range(),
        start,
        filters,
        any::<bool>(),
        prop_oneof![4 => Just(0), 1 => 5..7_i64],
    )
        .prop_map(|(range, start, filters, prev_kv, id)| Watch {
            range,
            start,
            filters,
            prev_kv,
            id,
        })
}
