//! The Lease service.
//! Invariant: a lease that is not there is no error for time-to-live and keep-alive, as in etcd: they
//! answer −1 and 0.

use etcd_client::proto::{
    PbLeaseGrantRequest, PbLeaseGrantResponse, PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse,
    PbLeaseLeasesRequest, PbLeaseLeasesResponse, PbLeaseRevokeRequest, PbLeaseRevokeResponse,
    PbLeaseService, PbLeaseStatus, PbLeaseTimeToLiveRequest, PbLeaseTimeToLiveResponse,
};
use futures::stream::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Context, keep_alive};

#[derive(Debug)]
pub(super) struct Lease(pub(super) Context);

#[tonic::async_trait]
impl PbLeaseService for Lease {
    type LeaseKeepAliveStream = BoxStream<'static, Result<PbLeaseKeepAliveResponse, Status>>;

    async fn lease_grant(
        &self,
        request: Request<PbLeaseGrantRequest>,
    ) -> Result<Response<PbLeaseGrantResponse>, Status> {
        let request = request.into_inner();
        let granted = self.0.engine.lease_grant(request.id, request.ttl)?;
        Ok(Response::new(PbLeaseGrantResponse {
            header: Some(self.0.engine.header(granted.revision)),
            id: granted.id,
            ttl: granted.ttl,
            error: String::new(),
        }))
    }

    async fn lease_revoke(
        &self,
        request: Request<PbLeaseRevokeRequest>,
    ) -> Result<Response<PbLeaseRevokeResponse>, Status> {
        let revision = self.0.engine.lease_revoke(request.into_inner().id)?;
        let header = Some(self.0.engine.header(revision));
        Ok(Response::new(PbLeaseRevokeResponse { header }))
    }

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<PbLeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        Ok(Response::new(keep_alive::answers(
            self.0.clone(),
            request.into_inner(),
        )))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<PbLeaseTimeToLiveRequest>,
    ) -> Result<Response<PbLeaseTimeToLiveResponse>, Status> {
        let request = request.into_inner();
        let engine = &self.0.engine;
        let mut response = PbLeaseTimeToLiveResponse {
            header: Some(engine.header(engine.revision())),
            id: request.id,
            ttl: -1,
            ..PbLeaseTimeToLiveResponse::default()
        };
        if let Some(remaining) = engine.lease_remaining(request.id) {
            response.ttl = remaining.ttl;
            response.granted_ttl = remaining.granted;
            if request.keys {
                response.keys = remaining.keys;
            }
        }
        Ok(Response::new(response))
    }

    async fn lease_leases(
        &self,
        _: Request<PbLeaseLeasesRequest>,
    ) -> Result<Response<PbLeaseLeasesResponse>, Status> {
        let engine = &self.0.engine;
        let leases = engine
            .lease_ids()
            .into_iter()
            .map(|id| PbLeaseStatus { id })
            .collect();
        let header = Some(engine.header(engine.revision()));
        Ok(Response::new(PbLeaseLeasesResponse { header, leases }))
    }
}
