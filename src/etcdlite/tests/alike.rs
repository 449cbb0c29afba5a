//! What random sequences cannot wait for, told by etcdlite and by a real etcd in the same words: a
//! short lease that runs out, progress on request, a large backlog in fragments.

use etcd_client::proto::*;
use tokio::runtime::Runtime;

use super::client::{Api, put_op};
use super::peer::Peer;
use crate::watch::Wish;
use crate::{Options, Server};

/// One side's answers, without what differs from run to run.
async fn told(api: &Api) -> Vec<String> {
    let mut told = Vec::new();
    lease(api, &mut told).await;
    progress(api, &mut told).await;
    fragments(api, &mut told).await;
    told
}

fn wish(key: &str) -> Wish {
    Wish {
        key: key.into(),
        ..Wish::default()
    }
}

/// A lease of a second, which etcd raises to what its elections allow.
async fn lease(api: &Api, told: &mut Vec<String>) {
    let granted = api.grant(PbLeaseGrantRequest { ttl: 1, id: 77 }).await;
    told.push(format!("granted {}", granted.unwrap().ttl));
    let put = PbPutRequest {
        key: b"held".to_vec(),
        value: b"v".to_vec(),
        lease: 77,
        ..PbPutRequest::default()
    };
    let at = api.put(put.clone()).await.unwrap().header.unwrap().revision;
    let mut watch = api.watch();
    watch
        .created(Wish {
            prev_kv: true,
            start_revision: at + 1,
            ..wish("held")
        })
        .await;
    let gone = watch.next().await;
    let event = gone.events.first().cloned().unwrap();
    let kv = event.kv.unwrap();
    told.push(format!(
        "gone: type {} at +{} version {} value {:?} before {:?} events {}",
        event.r#type,
        kv.mod_revision - at,
        kv.version,
        kv.value,
        event.prev_kv.map(|kv| (kv.value, kv.lease)),
        gone.events.len(),
    ));
    told.push(format!(
        "read {:?}",
        api.get("held").await.map(|kv| kv.value)
    ));
    let asked = PbLeaseTimeToLiveRequest { id: 77, keys: true };
    let left = api.time_to_live(asked).await.unwrap();
    told.push(format!(
        "left {} of {} {:?}",
        left.ttl, left.granted_ttl, left.keys
    ));
    told.push(format!(
        "kept {:?}",
        api.keep_alive(77).await.map(|kept| kept.ttl)
    ));
    let refused = api.put(put).await.unwrap_err();
    told.push(format!("put {:?} {}", refused.code(), refused.message()));
    let refused = api
        .revoke(PbLeaseRevokeRequest { id: 77 })
        .await
        .unwrap_err();
    told.push(format!("revoke {:?} {}", refused.code(), refused.message()));
}

async fn progress(api: &Api, told: &mut Vec<String>) {
    let mut watch = api.watch();
    watch.created(wish("quiet")).await;
    watch.created(wish("loud")).await;
    let at = api.put_value("loud", "1").await;
    let events = watch.events_through(at).await;
    told.push(format!("{} events", events.len()));
    // Both watches are up to date by now, the quiet one only once etcd has gone over it.
    let answer = loop {
        watch.ask_progress().await;
        let answer = watch.next().await;
        if answer
            .header
            .as_ref()
            .is_some_and(|header| header.revision >= at)
        {
            break answer;
        }
    };
    told.push(format!(
        "progress of watch {}: +{} created {} canceled {} events {}",
        answer.watch_id,
        answer.header.unwrap().revision - at,
        answer.created,
        answer.canceled,
        answer.events.len(),
    ));
}

/// A backlog of more than one message may hold. etcd gathers it and cuts it into fragments, etcdlite
/// hands on smaller answers; what arrives is the same.
async fn fragments(api: &Api, told: &mut Vec<String>) {
    const LARGE: usize = 700 << 10;
    let mut first = 0;
    let mut last = 0;
    for number in 0..6_u8 {
        let put = PbPutRequest {
            key: format!("large/{number}").into_bytes(),
            value: vec![number; LARGE],
            ..PbPutRequest::default()
        };
        last = api.put(put).await.unwrap().header.unwrap().revision;
        first = if first == 0 { last } else { first };
    }
    let small = PbTxnRequest {
        success: (0..3)
            .map(|number| put_op(&format!("large/s{number}"), "s"))
            .collect(),
        ..PbTxnRequest::default()
    };
    last = last.max(api.txn(small).await.unwrap().header.unwrap().revision);
    let mut watch = api.watch();
    watch
        .created(Wish {
            range_end: b"large0".to_vec(),
            start_revision: first,
            fragment: true,
            ..wish("large/")
        })
        .await;
    let mut events = Vec::new();
    loop {
        let answer = watch.next().await;
        let is_last = !answer.fragment;
        let size: usize = answer
            .events
            .iter()
            .filter_map(|event| Some(event.kv.as_ref()?.value.len()))
            .sum();
        assert!(size <= 4 << 20, "{size} bytes in one part");
        events.extend(answer.events.into_iter().filter_map(|event| event.kv));
        let complete = events.last().is_some_and(|kv| kv.mod_revision >= last);
        if complete && is_last {
            break;
        }
    }
    told.extend(events.into_iter().map(|kv| {
        format!(
            "{} +{} {} bytes",
            String::from_utf8_lossy(&kv.key),
            kv.mod_revision - first,
            kv.value.len()
        )
    }));
}

#[test]
fn a_short_lease_progress_and_fragments_are_told_as_etcd_tells_them() {
    Runtime::new().unwrap().block_on(async {
        let (_server, channel) = Server::in_process(Options::default());
        let peer = Peer::start().await;
        let lite = Api::new(channel);
        let (ours, theirs) = tokio::join!(told(&lite), told(&peer.api));
        assert_eq!(ours, theirs, "etcdlite, and etcd {}", peer.version);
    });
}
