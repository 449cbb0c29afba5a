//! Requests that no honest client sends: refused in etcd's words, or harmless.

use etcd_client::proto::*;
use tonic::{Code, Status};

use super::client::{Api, delete_op, prefix, put_op};
use super::peer::Peer;
use crate::watch::Wish;
use crate::{Options, Server};

fn words(status: &Status) -> (Code, &str) {
    (status.code(), status.message())
}

fn txn(success: Vec<PbTxnRequestOp>) -> PbTxnRequest {
    PbTxnRequest {
        success,
        ..PbTxnRequest::default()
    }
}

fn nested(request: PbTxnRequest) -> PbTxnRequestOp {
    PbTxnRequestOp {
        request: Some(PbTxnOpRequest::RequestTxn(request)),
    }
}

fn puts(count: usize) -> Vec<PbTxnRequestOp> {
    (0..count)
        .map(|number| put_op(&format!("k{number}"), ""))
        .collect()
}

fn put(key: &str, bytes: usize) -> PbPutRequest {
    PbPutRequest {
        key: key.into(),
        value: vec![0; bytes],
        ..PbPutRequest::default()
    }
}

/// Each request, sent to etcdlite and to etcd, gets the same answer in code and words.
#[tokio::test]
async fn txns_that_etcd_refuses_are_refused_in_the_same_words() {
    let (_server, channel) = Server::in_process(Options::default());
    let lite = Api::new(channel);
    let peer = Peer::start().await;
    let deep = (0..30).fold(txn(puts(1)), |inner, _| txn(vec![nested(inner)]));
    let two = |a, b| txn(vec![a, b]);
    let branches = PbTxnRequest {
        success: vec![put_op("a", "1")],
        failure: vec![put_op("a", "2")],
        ..PbTxnRequest::default()
    };
    let cases = [
        ("128 operations", txn(puts(128))),
        ("129 operations", txn(puts(129))),
        (
            "128 and one nested",
            txn({
                let mut ops = puts(127);
                ops.push(nested(txn(vec![put_op("other", "")])));
                ops
            }),
        ),
        (
            "127 and one nested of one",
            txn({
                let mut ops = puts(126);
                ops.push(nested(txn(vec![put_op("other", "")])));
                ops
            }),
        ),
        ("thirty deep", deep),
        ("a key put twice", two(put_op("a", "1"), put_op("a", "2"))),
        (
            "a key put and deleted",
            two(put_op("a", "1"), delete_op("a", "")),
        ),
        (
            "a key put and deleted in a range",
            two(delete_op("", "b"), put_op("a", "1")),
        ),
        (
            "a key put into a deleted range",
            two(delete_op("a", "c"), put_op("b", "1")),
        ),
        (
            "a key put at the end of a deleted range",
            two(delete_op("a", "c"), put_op("c", "1")),
        ),
        (
            "a key put and all deleted",
            two(put_op("b", "1"), delete_op("a", "\0")),
        ),
        (
            "deleted, then put, in branches",
            two(
                nested(txn(vec![delete_op("a", "c")])),
                nested(txn(vec![put_op("b", "1")])),
            ),
        ),
        (
            "put, then deleted, in branches",
            two(
                nested(txn(vec![put_op("b", "1")])),
                nested(txn(vec![delete_op("a", "c")])),
            ),
        ),
        (
            "branches that exclude each other",
            txn(vec![nested(branches.clone())]),
        ),
        (
            "the same, and again outside",
            two(nested(branches), put_op("a", "3")),
        ),
        (
            "overlapping deletions",
            two(delete_op("a", "c"), delete_op("b", "d")),
        ),
        (
            "an inverted deletion",
            two(delete_op("c", "a"), put_op("b", "1")),
        ),
        (
            "an empty operation",
            txn(vec![PbTxnRequestOp { request: None }]),
        ),
        (
            "an empty nested txn",
            txn(vec![nested(PbTxnRequest::default())]),
        ),
        ("an empty txn", PbTxnRequest::default()),
        (
            "a comparison without key",
            PbTxnRequest {
                compare: vec![PbCompare::default()],
                ..PbTxnRequest::default()
            },
        ),
    ];
    for (case, request) in cases {
        let ours = lite.txn(request.clone()).await;
        let theirs = peer.api.txn(request).await;
        let outcome = |answer: &Result<PbTxnResponse, Status>| match answer {
            Ok(answer) => Ok(answer.header.as_ref().unwrap().revision),
            Err(status) => Err((status.code(), status.message().to_owned())),
        };
        assert_eq!(outcome(&ours), outcome(&theirs), "{case}");
    }
}

#[tokio::test]
async fn large_requests_are_refused_as_etcd_does() {
    let (_server, channel) = Server::in_process(Options::default());
    let lite = Api::new(channel);
    let peer = Peer::start().await;
    for bytes in [
        1 << 20,
        (3 << 19) - 100,
        3 << 19,
        2_000_000,
        2 << 20,
        5 << 20,
    ] {
        let ours = lite.put(put("k", bytes)).await;
        let theirs = peer.api.put(put("k", bytes)).await;
        let outcome = |answer: Result<PbPutResponse, Status>| {
            answer
                .map(|_| ())
                .map_err(|status| (status.code(), status.message().to_owned()))
        };
        assert_eq!(outcome(ours), outcome(theirs), "{bytes} bytes");
    }
    assert_eq!(lite.get("k").await.unwrap().version, 2);
}

#[tokio::test]
async fn nonsense_in_a_range_is_refused_or_harmless() {
    let (_server, channel) = Server::in_process(Options::default());
    let api = Api::new(channel);
    for key in ["a", "b", "c"] {
        api.put_value(key, "").await;
    }
    let all = || PbRangeRequest {
        key: vec![0],
        range_end: vec![0],
        ..PbRangeRequest::default()
    };
    let count = |answer: Result<PbRangeResponse, Status>| answer.map(|answer| answer.kvs.len());
    let limited = |limit| PbRangeRequest { limit, ..all() };
    assert_eq!(count(api.range(limited(i64::MIN)).await).unwrap(), 3);
    assert_eq!(count(api.range(limited(i64::MAX)).await).unwrap(), 3);
    let inverted = PbRangeRequest {
        key: b"c".into(),
        range_end: b"a".into(),
        ..PbRangeRequest::default()
    };
    assert_eq!(count(api.range(inverted).await).unwrap(), 0);
    for (request, code, message) in [
        (
            PbRangeRequest {
                sort_order: 3,
                ..all()
            },
            Code::InvalidArgument,
            "etcdserver: invalid sort option",
        ),
        (
            PbRangeRequest {
                sort_target: -1,
                ..all()
            },
            Code::InvalidArgument,
            "etcdserver: invalid sort option",
        ),
        (
            PbRangeRequest {
                revision: i64::MAX,
                ..all()
            },
            Code::OutOfRange,
            "etcdserver: mvcc: required revision is a future revision",
        ),
        (
            PbRangeRequest::default(),
            Code::InvalidArgument,
            "etcdserver: key is not provided",
        ),
    ] {
        let status = api.range(request).await.unwrap_err();
        assert_eq!(words(&status), (code, message));
    }
}

/// etcd itself dies of this one.
#[tokio::test]
async fn keeping_the_value_of_a_key_that_the_txn_deletes_is_refused_and_nothing_written() {
    let (_server, channel) = Server::in_process(Options::default());
    let api = Api::new(channel);
    let revision = api.put_value("b", "1").await;
    let keep = PbPutRequest {
        key: b"b".into(),
        ignore_value: true,
        ..PbPutRequest::default()
    };
    let keep = PbTxnRequestOp {
        request: Some(PbTxnOpRequest::RequestPut(keep)),
    };
    let status = api
        .txn(txn(vec![delete_op("a", "\0"), keep]))
        .await
        .unwrap_err();
    assert_eq!(
        words(&status),
        (Code::InvalidArgument, "etcdserver: key not found")
    );
    assert_eq!(api.get("b").await.unwrap().mod_revision, revision);
    assert_eq!(api.put_value("b", "2").await, revision + 1);
}

#[tokio::test]
async fn compactions_out_of_range_are_refused() {
    let (_server, channel) = Server::in_process(Options::default());
    let api = Api::new(channel);
    for _ in 0..3 {
        api.put_value("a", "").await;
    }
    let compact = |revision| {
        api.compact(PbCompactionRequest {
            revision,
            physical: true,
        })
    };
    let compacted = "etcdserver: mvcc: required revision has been compacted";
    let future = "etcdserver: mvcc: required revision is a future revision";
    assert_eq!(
        words(&compact(i64::MIN).await.unwrap_err()),
        (Code::OutOfRange, compacted)
    );
    assert_eq!(
        words(&compact(5).await.unwrap_err()),
        (Code::OutOfRange, future)
    );
    compact(4).await.unwrap();
    assert_eq!(
        words(&compact(4).await.unwrap_err()),
        (Code::OutOfRange, compacted)
    );
    assert_eq!(
        words(&compact(i64::MAX).await.unwrap_err()),
        (Code::OutOfRange, future)
    );
}

#[tokio::test]
async fn a_watch_that_cannot_be_is_cancelled_with_the_reason_and_the_stream_goes_on() {
    let (_server, channel) = Server::in_process(Options::default());
    let api = Api::new(channel);
    let mut stream = api.watch();
    for (wish, reason) in [
        (
            Wish {
                start_revision: -1,
                ..prefix("a")
            },
            "etcdserver: mvcc: required revision has been compacted",
        ),
        (
            Wish {
                key: b"b".into(),
                range_end: b"a".into(),
                ..Wish::default()
            },
            "mvcc: watcher range is empty",
        ),
    ] {
        let answer = stream.created(wish).await;
        assert!(answer.canceled);
        assert_eq!(
            (answer.watch_id, answer.cancel_reason.as_str()),
            (-1, reason)
        );
    }
    stream.cancel(77).await;
    let created = stream.created(prefix("a")).await;
    assert!(
        !created.canceled,
        "the unknown cancellation got no answer: {created:?}"
    );
    let revision = api.put_value("a", "").await;
    assert_eq!(stream.events_through(revision).await.len(), 1);
}

#[tokio::test]
async fn a_message_that_nests_too_deep_is_refused_and_the_server_lives() {
    let (_server, channel) = Server::in_process(Options::default());
    let api = Api::new(channel);
    let deep = (0..2_000).fold(txn(puts(1)), |inner, _| txn(vec![nested(inner)]));
    // Built and dropped on a thread with room for it; the server decodes no deeper than it may.
    assert!(api.txn(deep).await.is_err());
    assert_eq!(api.put_value("a", "").await, 2);
}
