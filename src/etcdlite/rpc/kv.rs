//! The KV service.
//! Absent: `RangeStream`, which no etcd before 3.7 has.

use etcd_client::proto::{
    PbCompactionRequest, PbCompactionResponse, PbDeleteRequest, PbDeleteResponse, PbKvService,
    PbPutRequest, PbPutResponse, PbRangeRequest, PbRangeResponse, PbRangeStreamResponse,
    PbTxnRequest, PbTxnResponse,
};
use tonic::{Request, Response, Status};

use super::{Context, check_size};

#[derive(Debug)]
pub(super) struct Kv(pub(super) Context);

#[tonic::async_trait]
impl PbKvService for Kv {
    type RangeStreamStream = futures::stream::Empty<Result<PbRangeStreamResponse, Status>>;

    async fn range(
        &self,
        request: Request<PbRangeRequest>,
    ) -> Result<Response<PbRangeResponse>, Status> {
        Ok(Response::new(self.0.engine.range(request.get_ref())?))
    }

    async fn range_stream(
        &self,
        _: Request<PbRangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        Err(Status::unimplemented(
            "unknown method RangeStream for service etcdserverpb.KV",
        ))
    }

    async fn put(&self, request: Request<PbPutRequest>) -> Result<Response<PbPutResponse>, Status> {
        check_size(request.get_ref())?;
        Ok(Response::new(self.0.engine.put(request.into_inner())?))
    }

    async fn delete_range(
        &self,
        request: Request<PbDeleteRequest>,
    ) -> Result<Response<PbDeleteResponse>, Status> {
        check_size(request.get_ref())?;
        Ok(Response::new(self.0.engine.delete(request.into_inner())?))
    }

    async fn txn(&self, request: Request<PbTxnRequest>) -> Result<Response<PbTxnResponse>, Status> {
        check_size(request.get_ref())?;
        Ok(Response::new(self.0.engine.txn(request.into_inner())?))
    }

    async fn compact(
        &self,
        request: Request<PbCompactionRequest>,
    ) -> Result<Response<PbCompactionResponse>, Status> {
        Ok(Response::new(self.0.engine.compact(request.into_inner())?))
    }
}
