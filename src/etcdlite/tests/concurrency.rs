//! Many clients at once lose nothing.

use etcd_client::proto::*;
use futures::future::join_all;

use super::client::{Api, put_op};
use crate::{Options, Server};

/// Reads a counter and writes the next number only if nobody did meanwhile; until it works.
async fn increment(api: &Api, key: &str) {
    loop {
        let now = api.get(key).await;
        let count: u64 = now
            .as_ref()
            .map_or(0, |kv| String::from_utf8_lossy(&kv.value).parse().unwrap());
        let compare = PbCompare {
            key: key.into(),
            target: PbCompareTarget::Mod.into(),
            target_union: Some(PbTargetUnion::ModRevision(
                now.map_or(0, |kv| kv.mod_revision),
            )),
            ..PbCompare::default()
        };
        let request = PbTxnRequest {
            compare: vec![compare],
            success: vec![put_op(key, &(count + 1).to_string())],
            failure: Vec::new(),
        };
        if api.txn(request).await.unwrap().succeeded {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_increments_lose_none() {
    let addr = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(addr, Options::default()).await.unwrap();
    let tasks = (0..8).map(|_| {
        // A connection each.
        let api = Api::new(server.channel());
        tokio::spawn(async move {
            for _ in 0..50 {
                increment(&api, "counter").await;
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    let counter = Api::new(server.channel()).get("counter").await.unwrap();
    assert_eq!(counter.value, b"400");
    assert_eq!(counter.version, 400);
    assert_eq!(counter.mod_revision, 401, "a refused txn takes no revision");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_range_shows_one_revision_while_others_write() {
    let (server, channel) = Server::in_process(Options::default());
    let reader = Api::new(channel);
    let writer = Api::new(server.channel());
    let writing = tokio::spawn(async move {
        for number in 0..200_u32 {
            let value = number.to_string();
            let success = (0..10)
                .map(|key| put_op(&format!("k{key}"), &value))
                .collect();
            writer
                .txn(PbTxnRequest {
                    success,
                    ..PbTxnRequest::default()
                })
                .await
                .unwrap();
        }
    });
    while !writing.is_finished() {
        let range = PbRangeRequest {
            key: b"k".into(),
            range_end: b"l".into(),
            ..Default::default()
        };
        let kvs = reader.range(range).await.unwrap().kvs;
        assert!(kvs.is_empty() || kvs.len() == 10);
        assert!(
            kvs.windows(2).all(|pair| pair[0].value == pair[1].value),
            "{kvs:?}"
        );
    }
    writing.await.unwrap();
}
