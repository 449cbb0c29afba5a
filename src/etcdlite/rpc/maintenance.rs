//! The Maintenance service.
//! Invariant: figures are those of this server: bytes in memory, its own hash. Absent: snapshots and
//! downgrades, as there is no file and no other version.

use etcd_client::proto::{
    PbAlarmMember, PbAlarmRequest, PbAlarmResponse, PbDefragmentRequest, PbDefragmentResponse,
    PbDowngradeRequest, PbDowngradeResponse, PbHashKvRequest, PbHashKvResponse, PbHashRequest,
    PbHashResponse, PbMaintenanceService, PbMoveLeaderRequest, PbMoveLeaderResponse,
    PbSnapshotRequest, PbSnapshotResponse, PbStatusRequest, PbStatusResponse,
};
use tonic::{Request, Response, Status};

use super::Context;
use crate::{Refusal, VERSION};

#[derive(Debug)]
pub(super) struct Maintenance(pub(super) Context);

#[tonic::async_trait]
impl PbMaintenanceService for Maintenance {
    type SnapshotStream = futures::stream::Empty<Result<PbSnapshotResponse, Status>>;

    async fn status(
        &self,
        _: Request<PbStatusRequest>,
    ) -> Result<Response<PbStatusResponse>, Status> {
        let engine = &self.0.engine;
        let figures = engine.figures();
        let errors = figures.alarms.iter().map(|(member, kind)| {
            let name = if *kind == 1 { "NOSPACE" } else { "CORRUPT" };
            format!("memberID:{member} alarm:{name} ")
        });
        Ok(Response::new(PbStatusResponse {
            header: Some(engine.header(figures.revision)),
            version: VERSION.to_owned(),
            db_size: figures.bytes,
            db_size_in_use: figures.bytes,
            leader: engine.identity().member_id,
            raft_index: figures.raft_index,
            raft_applied_index: figures.raft_index,
            raft_term: figures.raft_term,
            errors: errors.collect(),
            is_learner: false,
            storage_version: "3.6.0".to_owned(),
            db_size_quota: 0,
            downgrade_info: None,
        }))
    }

    async fn alarm(
        &self,
        request: Request<PbAlarmRequest>,
    ) -> Result<Response<PbAlarmResponse>, Status> {
        let engine = &self.0.engine;
        let PbAlarmRequest {
            action,
            member_id,
            alarm,
        } = request.into_inner();
        let one = || vec![(member_id, alarm)];
        let alarms = match action {
            0 => engine.alarms(alarm),
            1 if engine.raise_alarm(member_id, alarm) => one(),
            2 if engine.end_alarm(member_id, alarm) => one(),
            _ => Vec::new(),
        };
        let alarms = alarms
            .into_iter()
            .map(|(member_id, alarm)| PbAlarmMember { member_id, alarm });
        let header = Some(engine.header(engine.revision()));
        Ok(Response::new(PbAlarmResponse {
            header,
            alarms: alarms.collect(),
        }))
    }

    /// Nothing is ever fragmented in memory, so this is done at once.
    async fn defragment(
        &self,
        _: Request<PbDefragmentRequest>,
    ) -> Result<Response<PbDefragmentResponse>, Status> {
        let engine = &self.0.engine;
        let header = Some(engine.header(engine.revision()));
        Ok(Response::new(PbDefragmentResponse { header }))
    }

    async fn hash(&self, _: Request<PbHashRequest>) -> Result<Response<PbHashResponse>, Status> {
        let hash = self.0.engine.hash(0)?;
        let header = Some(self.0.engine.header(hash.revision));
        Ok(Response::new(PbHashResponse {
            header,
            hash: hash.hash,
        }))
    }

    async fn hash_kv(
        &self,
        request: Request<PbHashKvRequest>,
    ) -> Result<Response<PbHashKvResponse>, Status> {
        let hash = self.0.engine.hash(request.into_inner().revision)?;
        Ok(Response::new(PbHashKvResponse {
            header: Some(self.0.engine.header(hash.revision)),
            hash: hash.hash,
            compact_revision: hash.compacted,
            hash_revision: hash.hashed,
        }))
    }

    async fn snapshot(
        &self,
        _: Request<PbSnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        Err(Status::unimplemented(
            "etcdlite keeps its data in memory and has no file to take a snapshot of",
        ))
    }

    async fn move_leader(
        &self,
        request: Request<PbMoveLeaderRequest>,
    ) -> Result<Response<PbMoveLeaderResponse>, Status> {
        let engine = &self.0.engine;
        if request.into_inner().target_id != engine.identity().member_id {
            return Err(Refusal::BadLeaderTransferee.into());
        }
        let header = Some(engine.header(engine.revision()));
        Ok(Response::new(PbMoveLeaderResponse { header }))
    }

    async fn downgrade(
        &self,
        _: Request<PbDowngradeRequest>,
    ) -> Result<Response<PbDowngradeResponse>, Status> {
        Err(Status::unimplemented(
            "etcdlite has one version and cannot be downgraded",
        ))
    }
}
