//! Starting, stopping, faults, and the services beside KV, Lease and Watch.

use std::time::Duration;

use etcd_client::proto::*;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::client::{Api, prefix};
use crate::watch::Wish;
use crate::{Error, Options, Server, VERSION};

fn words(status: &Status) -> (Code, &str) {
    (status.code(), status.message())
}

async fn bound() -> (Server, Api) {
    let addr = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(addr, Options::default()).await.unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    let channel = tonic::transport::Endpoint::from_shared(url)
        .unwrap()
        .connect_lazy();
    (server, Api::new(channel))
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let (server, _) = bound().await;
    let addr = server.local_addr().unwrap();
    let error = Server::bind(addr, Options::default()).await.unwrap_err();
    assert!(matches!(error, Error::AddressInUse { .. }), "{error:?}");
    assert!(
        error.to_string().starts_with(&format!("{addr} is in use.")),
        "{error}"
    );
}

#[tokio::test]
async fn a_port_is_free_again_after_a_shutdown_and_after_a_drop() {
    let (server, api) = bound().await;
    let addr = server.local_addr().unwrap();
    api.put_value("a", "").await;
    server.shutdown().await;
    let again = Server::bind(addr, Options::default()).await.unwrap();
    assert!(api.get("a").await.is_none(), "the data is gone");
    drop(again);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while let Err(error) = Server::bind(addr, Options::default()).await {
        assert!(tokio::time::Instant::now() < deadline, "{error}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_shutdown_ends_streams_and_refuses_what_comes_after() {
    let (server, api) = bound().await;
    let mut watch = api.watch();
    watch.created(prefix("a")).await;
    let id = grant(&api, 100).await;
    let requests = vec![PbLeaseKeepAliveRequest { id }];
    let mut renewals = api.keep_alives(requests).await.unwrap();
    assert_eq!(renewals.message().await.unwrap().unwrap().ttl, 100);
    let in_process = Api::new(server.channel());
    in_process.put_value("a", "").await;
    server.shutdown().await;
    assert_eq!(
        watch.next().await.events.len(),
        1,
        "what happened before is told"
    );
    let ended = watch.try_next().await.unwrap_err();
    assert_eq!(
        words(&ended),
        (Code::Unavailable, "etcdserver: server stopped")
    );
    let ended = renewals.message().await.unwrap_err();
    assert_eq!(
        words(&ended),
        (Code::Unavailable, "etcdserver: server stopped")
    );
    for api in [api, in_process] {
        let refused = api
            .put(PbPutRequest {
                key: b"a".into(),
                ..Default::default()
            })
            .await;
        assert_eq!(refused.unwrap_err().code(), Code::Unavailable);
    }
}

#[tokio::test]
async fn a_pause_holds_answers_and_events_and_a_resume_gives_them() {
    let (server, api) = bound().await;
    let mut watch = api.watch();
    watch.created(prefix("a")).await;
    let faults = server.faults();
    faults.pause();
    let put = tokio::spawn({
        let api = api.clone();
        async move { api.put_value("a", "").await }
    });
    // Nothing can come, so there is nothing to wait for but a moment.
    let early = tokio::time::timeout(Duration::from_millis(50), watch.next()).await;
    assert!(early.is_err() && !put.is_finished());
    faults.resume();
    assert_eq!(put.await.unwrap(), 2);
    assert_eq!(watch.next().await.events.len(), 1);
}

#[tokio::test]
async fn dropped_streams_say_so_and_new_ones_work() {
    let (server, api) = bound().await;
    let mut watch = api.watch();
    watch.created(prefix("a")).await;
    server.faults().drop_streams();
    assert_eq!(
        watch.try_next().await.unwrap_err().code(),
        Code::Unavailable
    );
    let mut watch = api.watch();
    watch.created(prefix("a")).await;
    api.put_value("a", "").await;
    assert_eq!(watch.next().await.events.len(), 1);
}

#[tokio::test]
async fn an_expired_lease_takes_its_keys_at_one_revision_and_is_gone() {
    let (server, api) = bound().await;
    let id = grant(&api, 1).await;
    for key in ["c", "a", "b"] {
        let put = PbPutRequest {
            key: key.into(),
            lease: id,
            ..PbPutRequest::default()
        };
        api.put(put).await.unwrap();
    }
    let mut watch = api.watch();
    watch
        .created(Wish {
            filters: vec![0],
            ..prefix("a")
        })
        .await;
    watch
        .created(Wish {
            key: vec![0],
            range_end: vec![0],
            ..Wish::default()
        })
        .await;
    assert!(server.faults().expire_lease(id));
    assert!(!server.faults().expire_lease(id + 1));
    let gone = loop {
        let answer = watch.next().await;
        if answer.watch_id == 1 {
            break answer.events;
        }
    };
    let keys: Vec<_> = gone
        .iter()
        .map(|event| event.kv.clone().unwrap().key)
        .collect();
    assert_eq!(keys, [b"a", b"b", b"c"]);
    assert!(
        gone.iter()
            .all(|event| event.kv.as_ref().unwrap().mod_revision == 5)
    );
    assert_eq!(api.keep_alive(id).await.unwrap().ttl, 0);
    let left = PbLeaseTimeToLiveRequest { id, keys: true };
    assert_eq!(api.time_to_live(left).await.unwrap().ttl, -1);
}

#[tokio::test]
async fn a_lease_runs_out_by_itself() {
    let options = Options {
        min_lease_ttl: 1,
        ..Options::default()
    };
    let (_server, channel) = Server::in_process(options);
    let api = Api::new(channel);
    let id = grant(&api, 1).await;
    let put = PbPutRequest {
        key: b"a".into(),
        lease: id,
        ..PbPutRequest::default()
    };
    let revision = api.put(put).await.unwrap().header.unwrap().revision;
    let mut watch = api.watch();
    watch.created(prefix("a")).await;
    let events = watch.events_through(revision + 1).await;
    assert_eq!(events[0].r#type, 1);
}

#[tokio::test]
async fn history_is_compacted_by_itself_where_asked() {
    let options = Options {
        auto_compact_revisions: Some(100),
        ..Options::default()
    };
    let (_server, channel) = Server::in_process(options);
    let api = Api::new(channel);
    for _ in 0..1_000 {
        api.put_value("a", "").await;
    }
    let compacted = api
        .hash_kv(PbHashKvRequest { revision: 0 })
        .await
        .unwrap()
        .compact_revision;
    assert!((800..=901).contains(&compacted), "{compacted}");
}

#[tokio::test]
async fn progress_comes_to_quiet_watches_by_itself() {
    let options = Options {
        progress_notify_interval: Duration::from_millis(20),
        ..Options::default()
    };
    let (_server, channel) = Server::in_process(options);
    let api = Api::new(channel);
    let mut watch = api.watch();
    watch
        .created(Wish {
            progress_notify: true,
            ..prefix("a")
        })
        .await;
    let revision = api.put_value("elsewhere", "").await;
    loop {
        let answer = watch.next().await;
        assert!(answer.events.is_empty() && answer.watch_id == 0);
        if answer.header.unwrap().revision == revision {
            return;
        }
    }
}

#[tokio::test]
async fn the_other_services_answer_as_one_member_without_authentication() {
    let (server, api) = bound().await;
    let member = server.identity().member_id;
    let status = api.status(PbStatusRequest {}).await.unwrap();
    assert_eq!((status.version.as_str(), status.leader), (VERSION, member));
    let members = api
        .members(PbMemberListRequest { linearizable: true })
        .await
        .unwrap()
        .members;
    assert_eq!(members[0].id, member);
    assert_eq!(
        members[0].client_ur_ls,
        [format!("http://{}", server.local_addr().unwrap())]
    );
    let removed = api
        .member_remove(PbMemberRemoveRequest { id: 1 })
        .await
        .unwrap_err();
    assert_eq!(
        words(&removed),
        (Code::NotFound, "etcdserver: member not found")
    );
    let moved = api
        .move_leader(PbMoveLeaderRequest { target_id: 1 })
        .await
        .unwrap_err();
    assert_eq!(
        words(&moved),
        (
            Code::FailedPrecondition,
            "etcdserver: bad leader transferee"
        )
    );
    api.move_leader(PbMoveLeaderRequest { target_id: member })
        .await
        .unwrap();
    api.defragment(PbDefragmentRequest {}).await.unwrap();
    let snapshot = api
        .unary::<_, PbSnapshotResponse>("/etcdserverpb.Maintenance/Snapshot", PbSnapshotRequest {})
        .await;
    assert_eq!(snapshot.unwrap_err().code(), Code::Unimplemented);
    let mut health = HealthClient::new(server.channel());
    let checked = health
        .check(HealthCheckRequest {
            service: String::new(),
        })
        .await
        .unwrap();
    assert_eq!(checked.into_inner().status, 1);
}

#[tokio::test]
async fn authentication_is_off_in_etcds_words() {
    let (_server, api) = bound().await;
    let denied = api
        .authenticate(PbAuthenticateRequest::default())
        .await
        .unwrap_err();
    assert_eq!(
        words(&denied),
        (
            Code::FailedPrecondition,
            "etcdserver: authentication is not enabled"
        )
    );
    let denied = api.auth_enable(PbAuthEnableRequest {}).await.unwrap_err();
    assert_eq!(
        words(&denied),
        (
            Code::FailedPrecondition,
            "etcdserver: root user does not exist"
        )
    );
    api.auth_disable(PbAuthDisableRequest {}).await.unwrap();
    assert!(
        api.users(PbAuthUserListRequest {})
            .await
            .unwrap()
            .users
            .is_empty()
    );
    let user = api
        .user(PbAuthUserGetRequest {
            name: "a".to_owned(),
        })
        .await
        .unwrap_err();
    assert_eq!(
        words(&user),
        (Code::FailedPrecondition, "etcdserver: user name not found")
    );
    let role = api
        .role(PbAuthRoleGetRequest {
            role: "a".to_owned(),
        })
        .await
        .unwrap_err();
    assert_eq!(
        words(&role),
        (Code::FailedPrecondition, "etcdserver: role name not found")
    );
}

#[tokio::test]
async fn an_alarm_refuses_growth_until_it_ends() {
    let (_server, api) = bound().await;
    api.put_value("a", "").await;
    let alarm = |action| PbAlarmRequest {
        action,
        member_id: 7,
        alarm: 1,
    };
    assert_eq!(api.alarm(alarm(1)).await.unwrap().alarms.len(), 1);
    let put = || PbPutRequest {
        key: b"a".into(),
        ..PbPutRequest::default()
    };
    let full = api.put(put()).await.unwrap_err();
    assert_eq!(
        words(&full),
        (
            Code::ResourceExhausted,
            "etcdserver: mvcc: database space exceeded"
        )
    );
    assert_eq!(
        api.status(PbStatusRequest {}).await.unwrap().errors.len(),
        1
    );
    api.delete_key("a").await;
    assert_eq!(api.alarm(alarm(0)).await.unwrap().alarms[0].member_id, 7);
    api.alarm(alarm(2)).await.unwrap();
    api.put(put()).await.unwrap();
}

#[tokio::test]
async fn a_slow_reader_of_much_history_gets_all_of_it() {
    let (_server, channel) = Server::in_process(Options::default());
    let api = Api::new(channel);
    let mut watch = api.watch();
    watch.created(prefix("a")).await;
    // Far more than fits into the buffers between the two, while nobody reads.
    let value = "x".repeat(20_000);
    for _ in 0..500 {
        api.put_value("a", &value).await;
    }
    let events = watch.events_through(501).await;
    assert_eq!(events.len(), 500);
}

async fn grant(api: &Api, ttl: i64) -> i64 {
    api.grant(PbLeaseGrantRequest { id: 0, ttl })
        .await
        .unwrap()
        .id
}
