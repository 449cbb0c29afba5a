//! The Auth service of a server that has authentication off, and can have nothing else.
//! Invariant: answers are those of an etcd without users and roles; adding one is refused, as it would
//! not be kept. Written by hand because two of its messages are not exported to implement its trait.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::Poll;

use etcd_client::proto::{
    PbAuthDisableRequest, PbAuthDisableResponse, PbAuthEnableRequest, PbAuthEnableResponse,
    PbAuthRoleListRequest, PbAuthRoleListResponse, PbAuthUserListRequest, PbAuthUserListResponse,
    PbAuthenticateRequest, PbAuthenticateResponse, PbResponseHeader,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use super::{Context, MAX_MESSAGE_BYTES};
use crate::Refusal;

/// Any request whose content does not matter.
#[derive(Clone, PartialEq, prost::Message)]
struct Anything {}

#[derive(Clone, PartialEq, prost::Message)]
struct AuthStatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<PbResponseHeader>,
    #[prost(bool, tag = "2")]
    enabled: bool,
    #[prost(uint64, tag = "3")]
    auth_revision: u64,
}

/// The revision of an auth store that nobody touched.
const AUTH_REVISION: u64 = 1;

#[derive(Debug, Clone)]
pub(super) struct Auth(pub(super) Context);

impl NamedService for Auth {
    const NAME: &'static str = "etcdserverpb.Auth";
}

impl tower::Service<http::Request<Body>> for Auth {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let engine = &self.0.engine;
        let header = Some(engine.header(engine.revision()));
        let path = request.uri().path();
        match path.rsplit('/').next().unwrap_or_default() {
            "AuthEnable" => answer(request, |_: PbAuthEnableRequest| {
                Err::<PbAuthEnableResponse, _>(Refusal::RootUserNotExist.into())
            }),
            "AuthDisable" => answer(request, move |_: PbAuthDisableRequest| {
                Ok(PbAuthDisableResponse { header })
            }),
            "AuthStatus" => answer(request, move |_: Anything| {
                Ok(AuthStatusResponse {
                    header,
                    enabled: false,
                    auth_revision: AUTH_REVISION,
                })
            }),
            "Authenticate" => answer(request, |_: PbAuthenticateRequest| {
                Err::<PbAuthenticateResponse, _>(Refusal::AuthNotEnabled.into())
            }),
            "UserList" => answer(request, move |_: PbAuthUserListRequest| {
                Ok(PbAuthUserListResponse {
                    header,
                    users: Vec::new(),
                })
            }),
            "RoleList" => answer(request, move |_: PbAuthRoleListRequest| {
                Ok(PbAuthRoleListResponse {
                    header,
                    roles: Vec::new(),
                })
            }),
            "UserGet" | "UserDelete" | "UserChangePassword" | "UserGrantRole"
            | "UserRevokeRole" => refuse(request, Refusal::UserNotFound.into()),
            "RoleGet" | "RoleDelete" | "RoleGrantPermission" | "RoleRevokePermission" => {
                refuse(request, Refusal::RoleNotFound.into())
            }
            "UserAdd" | "RoleAdd" => refuse(
                request,
                Status::unimplemented("etcdlite has no authentication and keeps no users or roles"),
            ),
            method => {
                let message = format!("unknown method {method} for service {}", Self::NAME);
                refuse(request, Status::unimplemented(message))
            }
        }
    }
}

type Answered = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

fn refuse(request: http::Request<Body>, status: Status) -> Answered {
    answer(request, move |_: Anything| Err::<Anything, _>(status))
}

fn answer<Q, R, F>(request: http::Request<Body>, make: F) -> Answered
where
    Q: prost::Message + Default + 'static,
    R: prost::Message + Default + 'static,
    F: FnOnce(Q) -> Result<R, Status> + Send + 'static,
{
    let method = Method {
        make: Some(make),
        messages: std::marker::PhantomData::<fn(Q) -> R>,
    };
    async move {
        let codec = ProstCodec::<R, Q>::default();
        let mut grpc =
            Grpc::new(codec).apply_max_message_size_config(Some(MAX_MESSAGE_BYTES), None);
        Ok(grpc.unary(method, request).await)
    }
    .boxed()
}

struct Method<F, M> {
    make: Option<F>,
    messages: std::marker::PhantomData<M>,
}

impl<Q, R, F> UnaryService<Q> for Method<F, fn(Q) -> R>
where
    F: FnOnce(Q) -> Result<R, Status>,
{
    type Response = R;
    type Future = Ready<Result<Response<R>, Status>>;

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let answer = self.make.take().map(|make| make(request.into_inner()));
        let once = || Err(Status::internal("a method was called twice"));
        ready(answer.unwrap_or_else(once).map(Response::new))
    }
}
