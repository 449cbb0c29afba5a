//! A bare client: messages in, messages out, over any channel.
//! Invariant: nothing is hidden; a status comes back as it came. Every wait has a deadline.

use std::time::Duration;

use etcd_client::proto::*;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::watch::Wish;

const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone)]
pub(super) struct Api {
    channel: Channel,
}

macro_rules! methods {
    ($($name:ident: $path:literal, $request:ty => $response:ty;)*) => {
        $(pub(super) async fn $name(&self, request: $request) -> Result<$response, Status> {
            self.unary(concat!("/etcdserverpb.", $path), request).await
        })*
    };
}

impl Api {
    pub(super) fn new(channel: Channel) -> Self {
        Self { channel }
    }

    methods! {
        range: "KV/Range", PbRangeRequest => PbRangeResponse;
        put: "KV/Put", PbPutRequest => PbPutResponse;
        delete: "KV/DeleteRange", PbDeleteRequest => PbDeleteResponse;
        txn: "KV/Txn", PbTxnRequest => PbTxnResponse;
        compact: "KV/Compact", PbCompactionRequest => PbCompactionResponse;
        grant: "Lease/LeaseGrant", PbLeaseGrantRequest => PbLeaseGrantResponse;
        revoke: "Lease/LeaseRevoke", PbLeaseRevokeRequest => PbLeaseRevokeResponse;
        time_to_live: "Lease/LeaseTimeToLive", PbLeaseTimeToLiveRequest => PbLeaseTimeToLiveResponse;
        leases: "Lease/LeaseLeases", PbLeaseLeasesRequest => PbLeaseLeasesResponse;
        status: "Maintenance/Status", PbStatusRequest => PbStatusResponse;
        alarm: "Maintenance/Alarm", PbAlarmRequest => PbAlarmResponse;
        hash_kv: "Maintenance/HashKV", PbHashKvRequest => PbHashKvResponse;
        move_leader: "Maintenance/MoveLeader", PbMoveLeaderRequest => PbMoveLeaderResponse;
        defragment: "Maintenance/Defragment", PbDefragmentRequest => PbDefragmentResponse;
        members: "Cluster/MemberList", PbMemberListRequest => PbMemberListResponse;
        member_remove: "Cluster/MemberRemove", PbMemberRemoveRequest => PbMemberRemoveResponse;
        authenticate: "Auth/Authenticate", PbAuthenticateRequest => PbAuthenticateResponse;
        auth_enable: "Auth/AuthEnable", PbAuthEnableRequest => PbAuthEnableResponse;
        auth_disable: "Auth/AuthDisable", PbAuthDisableRequest => PbAuthDisableResponse;
        users: "Auth/UserList", PbAuthUserListRequest => PbAuthUserListResponse;
        user: "Auth/UserGet", PbAuthUserGetRequest => PbAuthUserGetResponse;
        role: "Auth/RoleGet", PbAuthRoleGetRequest => PbAuthRoleGetResponse;
    }

    pub(super) async fn unary<Q, R>(&self, path: &'static str, request: Q) -> Result<R, Status>
    where
        Q: prost::Message + Send + Sync + 'static,
        R: prost::Message + Default + Send + Sync + 'static,
    {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        grpc.ready()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let path = PathAndQuery::from_static(path);
        let codec = ProstCodec::<Q, R>::default();
        let call = grpc.unary(Request::new(request), path, codec);
        let answer = tokio::time::timeout(DEADLINE, call).await;
        answer
            .expect("an answer in time")
            .map(tonic::Response::into_inner)
    }

    /// Renews a lease once, on a stream of its own.
    pub(super) async fn keep_alive(&self, id: i64) -> Result<PbLeaseKeepAliveResponse, Status> {
        let mut stream = self
            .keep_alives(vec![PbLeaseKeepAliveRequest { id }])
            .await?;
        stream
            .message()
            .await
            .map(|answer| answer.expect("an answer to the renewal"))
    }

    pub(super) async fn keep_alives(
        &self,
        requests: Vec<PbLeaseKeepAliveRequest>,
    ) -> Result<Streaming<PbLeaseKeepAliveResponse>, Status> {
        let requests = tokio_stream::iter(requests).chain(futures::stream::pending());
        self.streaming("/etcdserverpb.Lease/LeaseKeepAlive", requests)
            .await
    }

    pub(super) fn watch(&self) -> WatchStream {
        let (requests, receiver) = mpsc::channel(64);
        let api = self.clone();
        let opening = async move {
            api.streaming("/etcdserverpb.Watch/Watch", ReceiverStream::new(receiver))
                .await
        };
        WatchStream {
            requests,
            answers: Answers::Opening(opening.boxed()),
        }
    }

    async fn streaming<Q, R>(
        &self,
        path: &'static str,
        requests: impl futures::Stream<Item = Q> + Send + 'static,
    ) -> Result<Streaming<R>, Status>
    where
        Q: prost::Message + Send + Sync + 'static,
        R: prost::Message + Default + Send + Sync + 'static,
    {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        grpc.ready()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let path = PathAndQuery::from_static(path);
        let codec = ProstCodec::<Q, R>::default();
        let call = grpc.streaming(Request::new(requests), path, codec);
        let opened = tokio::time::timeout(DEADLINE, call)
            .await
            .expect("a stream in time");
        opened.map(tonic::Response::into_inner)
    }

    pub(super) async fn put_value(&self, key: &str, value: &str) -> i64 {
        let request = PbPutRequest {
            key: key.into(),
            value: value.into(),
            ..PbPutRequest::default()
        };
        self.put(request)
            .await
            .expect("a put")
            .header
            .unwrap()
            .revision
    }

    pub(super) async fn delete_key(&self, key: &str) -> i64 {
        let request = PbDeleteRequest {
            key: key.into(),
            ..PbDeleteRequest::default()
        };
        self.delete(request)
            .await
            .expect("a deletion")
            .header
            .unwrap()
            .revision
    }

    pub(super) async fn get(&self, key: &str) -> Option<PbKeyValue> {
        let request = PbRangeRequest {
            key: key.into(),
            ..PbRangeRequest::default()
        };
        self.range(request).await.expect("a range").kvs.pop()
    }
}

/// An open watch stream.
pub(super) struct WatchStream {
    requests: mpsc::Sender<PbWatchRequest>,
    answers: Answers,
}

/// etcd opens a stream with its first answer, so requests go out before that.
enum Answers {
    Opening(BoxFuture<'static, Result<Streaming<PbWatchResponse>, Status>>),
    Open(Box<Streaming<PbWatchResponse>>),
}

impl WatchStream {
    pub(super) async fn create(&self, wish: Wish) {
        let mut union = PbWatchRequestUnion::CreateRequest(Default::default());
        if let PbWatchRequestUnion::CreateRequest(create) = &mut union {
            create.key = wish.key;
            create.range_end = wish.range_end;
            create.start_revision = wish.start_revision;
            create.filters = wish.filters;
            create.prev_kv = wish.prev_kv;
            create.progress_notify = wish.progress_notify;
            create.fragment = wish.fragment;
            create.watch_id = wish.watch_id;
        }
        self.send(union).await;
    }

    /// Creates a watch and reads its announcement.
    pub(super) async fn created(&mut self, wish: Wish) -> PbWatchResponse {
        self.create(wish).await;
        let created = self.next().await;
        assert!(created.created, "{created:?}");
        created
    }

    pub(super) async fn cancel(&self, id: i64) {
        let mut union = PbWatchRequestUnion::CancelRequest(Default::default());
        if let PbWatchRequestUnion::CancelRequest(cancel) = &mut union {
            cancel.watch_id = id;
        }
        self.send(union).await;
    }

    pub(super) async fn ask_progress(&self) {
        self.send(PbWatchRequestUnion::ProgressRequest(Default::default()))
            .await;
    }

    async fn send(&self, union: PbWatchRequestUnion) {
        let request = PbWatchRequest {
            request_union: Some(union),
        };
        self.requests.send(request).await.expect("an open stream");
    }

    pub(super) async fn next(&mut self) -> PbWatchResponse {
        self.try_next()
            .await
            .expect("no error")
            .expect("an open stream")
    }

    pub(super) async fn try_next(&mut self) -> Result<Option<PbWatchResponse>, Status> {
        let next = async {
            if let Answers::Opening(opening) = &mut self.answers {
                self.answers = Answers::Open(Box::new(opening.await?));
            }
            match &mut self.answers {
                Answers::Open(answers) => answers.message().await,
                Answers::Opening(_) => Ok(None),
            }
        };
        tokio::time::timeout(DEADLINE, next)
            .await
            .expect("an answer in time")
    }

    /// Events up to and with those of `revision`.
    pub(super) async fn events_through(&mut self, revision: i64) -> Vec<PbEvent> {
        let mut events: Vec<PbEvent> = Vec::new();
        while events
            .last()
            .is_none_or(|event| mod_revision(event) < revision)
        {
            events.extend(self.next().await.events);
        }
        events
    }
}

pub(super) fn mod_revision(event: &PbEvent) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}

/// Everything with this prefix.
pub(super) fn prefix(prefix: &str) -> Wish {
    let mut range_end = prefix.as_bytes().to_vec();
    *range_end.last_mut().expect("a prefix") += 1;
    Wish {
        key: prefix.into(),
        range_end,
        ..Wish::default()
    }
}

pub(super) fn put_op(key: &str, value: &str) -> PbTxnRequestOp {
    let put = PbPutRequest {
        key: key.into(),
        value: value.into(),
        ..PbPutRequest::default()
    };
    PbTxnRequestOp {
        request: Some(PbTxnOpRequest::RequestPut(put)),
    }
}

pub(super) fn delete_op(key: &str, range_end: &str) -> PbTxnRequestOp {
    let delete = PbDeleteRequest {
        key: key.into(),
        range_end: range_end.into(),
        ..PbDeleteRequest::default()
    };
    PbTxnRequestOp {
        request: Some(PbTxnOpRequest::RequestDeleteRange(delete)),
    }
}
