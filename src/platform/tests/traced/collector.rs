//! An OpenTelemetry collector that keeps what it is sent.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::{
            ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::{Metric, NumberDataPoint, metric::Data, number_data_point},
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
            let name = text(&facts, "service.name").expect("no service.name");
            for span in one.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                kept.push((name.clone(), span));
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// One export of metrics: what it says of its sender, with which headers, and what stood there.
#[derive(Clone)]
pub struct Export {
    pub resource: Vec<KeyValue>,
    pub headers: http::HeaderMap,
    pub metrics: Vec<Metric>,
}

impl Export {
    /// The value of a counter or gauge at these labels.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let metric = self.metrics.iter().find(|metric| metric.name == name)?;
        let points: &[NumberDataPoint] = match metric.data.as_ref()? {
            Data::Sum(sum) => &sum.data_points,
            Data::Gauge(gauge) => &gauge.data_points,
            other => panic!("{name} is no number: {other:?}"),
        };
        let fits = |point: &&NumberDataPoint| {
            let has = |(name, value): &(&str, &str)| {
                text(&point.attributes, name).as_deref() == Some(value)
            };
            labels.iter().all(has)
        };
        match points.iter().find(fits)?.value? {
            number_data_point::Value::AsInt(value) => Some(value as f64),
            number_data_point::Value::AsDouble(value) => Some(value),
        }
    }
}

/// What one attribute says.
pub fn text(facts: &[KeyValue], name: &str) -> Option<String> {
    let fact = facts.iter().find(|fact| fact.key == name)?;
    match fact.value.clone()?.value? {
        Value::StringValue(value) => Some(value),
        _ => None,
    }
}

#[derive(Clone, Default)]
struct Exports {
    kept: Arc<Mutex<Vec<Export>>>,
    /// Points that are said to be refused, of every export.
    refuses: i64,
}

#[tonic::async_trait]
impl MetricsService for Exports {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let headers = request.metadata().clone().into_headers();
        for one in request.into_inner().resource_metrics {
            let scopes = one.scope_metrics.into_iter();
            self.kept.lock().unwrap().push(Export {
                resource: one.resource.unwrap_or_default().attributes,
                headers: headers.clone(),
                metrics: scopes.flat_map(|scope| scope.metrics).collect(),
            });
        }
        let partial_success = (self.refuses > 0).then(|| ExportMetricsPartialSuccess {
            rejected_data_points: self.refuses,
            error_message: "too many labels".to_owned(),
        });
        Ok(Response::new(ExportMetricsServiceResponse {
            partial_success,
        }))
    }
}

pub struct Collector {
    pub url: String,
    kept: Kept,
    exports: Exports,
    task: AbortHandle,
}

impl Collector {
    pub async fn start() -> Self {
        Self::refusing(0).await
    }

    /// One that says of each export of metrics that it refused so many points.
    pub async fn refusing(points: i64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let kept = Kept::default();
        let exports = Exports {
            refuses: points,
            ..Exports::default()
        };
        let serve = Server::builder()
            .add_service(TraceServiceServer::new(kept.clone()))
            .add_service(MetricsServiceServer::new(exports.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let task = tokio::spawn(async move { serve.await.unwrap() }).abort_handle();
        Self {
            url,
            kept,
            exports,
            task,
        }
    }

    /// Every export of metrics, the first one first.
    pub fn exports(&self) -> Vec<Export> {
        self.exports.kept.lock().unwrap().clone()
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
