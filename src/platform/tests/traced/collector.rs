//! An OpenTelemetry collector that keeps what it is sent.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
    trace::v1::Span,
};
use tokio::{net::TcpListener, task::AbortHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

/// A span with the `service.name` of who sent it.
pub type Sent = (String, Span);

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Sent>>>);

#[tonic::async_trait]
impl TraceService for Kept {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut kept = self.0.lock().unwrap();
        for one in request.into_inner().resource_spans {
            let facts = one.resource.unwrap_or_default().attributes;
            let name = facts.into_iter().find(|fact| fact.key == "service.name");
            let name = match name.and_then(|name| name.value?.value) {
                Some(Value::StringValue(name)) => name,
                other => panic!("no service.name: {other:?}"),
            };
            for span in one.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                kept.push((name.clone(), span));
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

pub struct Collector {
    pub url: String,
    kept: Kept,
    task: AbortHandle,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let kept = Kept::default();
        let service = TraceServiceServer::new(kept.clone());
        let serve = Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        let task = tokio::spawn(async move { serve.await.unwrap() }).abort_handle();
        Self { url, kept, task }
    }

    /// The spans of one trace, by the id as text.
    pub fn trace(&self, id: &str) -> Vec<Sent> {
        let kept = self.kept.0.lock().unwrap();
        let of_trace = kept.iter().filter(|(_, span)| hex(&span.trace_id) == id);
        of_trace.cloned().collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
