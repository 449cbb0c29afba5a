//! The Cluster service: one member, which cannot be changed.
//! Absent: adding, removing and moving members; the answer says so.

use etcd_client::proto::{
    PbClusterService, PbMember, PbMemberAddRequest, PbMemberAddResponse, PbMemberListRequest,
    PbMemberListResponse, PbMemberPromoteRequest, PbMemberPromoteResponse, PbMemberRemoveRequest,
    PbMemberRemoveResponse, PbMemberUpdateRequest, PbMemberUpdateResponse,
};
use tonic::{Request, Response, Status};

use super::Context;
use crate::Refusal;

#[derive(Debug)]
pub(super) struct Cluster(pub(super) Context);

impl Cluster {
    fn is_member(&self, id: u64) -> Result<(), Refusal> {
        if id == self.0.engine.identity().member_id {
            Ok(())
        } else {
            Err(Refusal::MemberNotFound)
        }
    }
}

fn fixed() -> Status {
    Status::unimplemented("etcdlite is one member in memory; its membership cannot be changed")
}

#[tonic::async_trait]
impl PbClusterService for Cluster {
    async fn member_list(
        &self,
        _: Request<PbMemberListRequest>,
    ) -> Result<Response<PbMemberListResponse>, Status> {
        let identity = self.0.engine.identity();
        Ok(Response::new(PbMemberListResponse {
            // etcd gives no revision here either.
            header: Some(self.0.engine.header(0)),
            members: vec![PbMember {
                id: identity.member_id,
                name: identity.name.clone(),
                peer_ur_ls: Vec::new(),
                client_ur_ls: identity.client_urls.clone(),
                is_learner: false,
            }],
        }))
    }

    async fn member_add(
        &self,
        _: Request<PbMemberAddRequest>,
    ) -> Result<Response<PbMemberAddResponse>, Status> {
        Err(fixed())
    }

    async fn member_remove(
        &self,
        request: Request<PbMemberRemoveRequest>,
    ) -> Result<Response<PbMemberRemoveResponse>, Status> {
        self.is_member(request.into_inner().id)?;
        Err(fixed())
    }

    async fn member_update(
        &self,
        request: Request<PbMemberUpdateRequest>,
    ) -> Result<Response<PbMemberUpdateResponse>, Status> {
        self.is_member(request.into_inner().id)?;
        Err(fixed())
    }

    async fn member_promote(
        &self,
        request: Request<PbMemberPromoteRequest>,
    ) -> Result<Response<PbMemberPromoteResponse>, Status> {
        self.is_member(request.into_inner().id)?;
        Err(Refusal::MemberNotLearner.into())
    }
}
