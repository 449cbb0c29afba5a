//! Metrics to a collector: at each interval what `/metrics` shows then, and once more at the end. One task
//! of its own; an export has a deadline, and what a collector missed is in the next one, as everything
//! is cumulative. Deliberately absent: a second registry, and a queue.

use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use metrics::{Counter, counter};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient,
};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use rand::Rng as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::metadata::{MetadataKey, MetadataMap, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use super::environment::{Environment, Signal};
use super::exposition::{self, Span};
use crate::running::supervise;
use crate::server::Recorded;

/// Where metrics go, and how often.
#[derive(Clone)]
pub(super) struct Push {
    recorded: Recorded,
    collector: MetricsServiceClient<Channel>,
    /// Secret.
    headers: MetadataMap,
    resource: Resource,
    interval: Duration,
    timeout: Duration,
    sent: Counter,
    failed: Counter,
    refused: Counter,
    /// Whether the last one failed, so that a loss is told once.
    is_lost: bool,
}

impl Push {
    /// Nothing is connected to yet.
    pub(super) fn new(
        recorded: Recorded,
        endpoint: &str,
        environment: &Environment,
        resource: Resource,
    ) -> Result<Push, String> {
        let timeout = environment.timeout(Signal::Metrics);
        let collector = collector(endpoint, environment, timeout)?;
        let exports = |outcome: &'static str| counter!("telemetry_metric_exports_total", "outcome" => outcome);
        Ok(Push {
            recorded,
            collector: MetricsServiceClient::new(collector),
            headers: metadata(environment.headers(Signal::Metrics)),
            resource,
            interval: environment.interval(),
            timeout,
            sent: exports("sent"),
            failed: exports("failed"),
            refused: counter!("telemetry_metric_points_refused_total"),
            is_lost: false,
        })
    }

    /// Begins; must be called within a runtime.
    pub(super) fn start(self) -> Pushing {
        let leave = CancellationToken::new();
        let task = AbortOnDropHandle::new(tokio::spawn(self.run(leave.clone())));
        Pushing {
            leave,
            task: Mutex::new(Some(task)),
        }
    }

    async fn run(mut self, leave: CancellationToken) {
        let push = self.clone();
        let begin = || push.clone().export_on();
        // Held until the last export is made, which shows it running.
        let mut exports = pin!(supervise("metrics export", |_| {}, begin));
        leave.run_until_cancelled(exports.as_mut()).await;
        self.export().await;
    }

    async fn export_on(mut self) {
        // A fleet that starts together does not send together.
        let mut wait = rand::rng().random_range(Duration::ZERO..=self.interval);
        loop {
            tokio::time::sleep(wait).await;
            self.export().await;
            wait = self.interval;
        }
    }

    async fn export(&mut self) {
        let request = self.request();
        let export = self.collector.export(request);
        // tonic's own deadline does not hold while it connects.
        let answer = match tokio::time::timeout(self.timeout, export).await {
            Ok(Ok(answer)) => answer.into_inner(),
            Ok(Err(status)) => {
                return self.lose(&format!("{:?}: {}", status.code(), status.message()));
            }
            Err(_) => return self.lose(&format!("no answer within {:?}", self.timeout)),
        };
        self.sent.increment(1);
        self.is_lost = false;
        if let Some(partial) = answer.partial_success
            && partial.rejected_data_points > 0
        {
            self.refused
                .increment(partial.rejected_data_points.unsigned_abs());
            tracing::debug!(cause = %partial.error_message, "metrics that the collector refused");
        }
    }

    fn request(&self) -> tonic::Request<ExportMetricsServiceRequest> {
        let span = Span::new(self.recorded.since, SystemTime::now());
        let scope = ScopeMetrics {
            scope: Some(InstrumentationScope {
                name: "platform".to_owned(),
                ..InstrumentationScope::default()
            }),
            metrics: exposition::metrics(&self.recorded.text(), span),
            ..ScopeMetrics::default()
        };
        let mut request = tonic::Request::new(ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(self.resource.clone()),
                scope_metrics: vec![scope],
                ..ResourceMetrics::default()
            }],
        });
        *request.metadata_mut() = self.headers.clone();
        request
    }

    fn lose(&mut self, cause: &str) {
        self.failed.increment(1);
        if !std::mem::replace(&mut self.is_lost, true) {
            tracing::warn!(%cause, "the collector did not take the metrics; they are sent on, at each interval");
        }
    }
}

/// The task that sends. Dropping it ends it.
pub(super) struct Pushing {
    leave: CancellationToken,
    task: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl Pushing {
    /// Sends once more and ends, within the deadline: whether it did. A second call finds it ended.
    pub(super) async fn shutdown(&self, deadline: Duration) -> bool {
        self.leave.cancel();
        let task = self
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match task {
            Some(task) => matches!(tokio::time::timeout(deadline, task).await, Ok(Ok(()))),
            None => true,
        }
    }
}

fn collector(
    endpoint: &str,
    environment: &Environment,
    timeout: Duration,
) -> Result<Channel, String> {
    let text = |error: tonic::transport::Error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        cause.unwrap_or_else(|| error.to_string())
    };
    let collector = Endpoint::from_shared(endpoint.to_owned()).map_err(text)?;
    let collector = match collector.uri().scheme_str() {
        Some("http") => collector,
        Some("https") => {
            let tls = match environment.certificate(Signal::Metrics) {
                Some(file) => {
                    let pem = std::fs::read(&file)
                        .map_err(|error| format!("certificate {}: {error}", file.display()))?;
                    ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))
                }
                None => ClientTlsConfig::new().with_native_roots(),
            };
            collector.tls_config(tls).map_err(text)?
        }
        _ => return Err("not a URL with http:// or https://".to_owned()),
    };
    let ours = concat!("platform/", env!("CARGO_PKG_VERSION"));
    let collector = collector.user_agent(ours).map_err(text)?;
    Ok(collector
        .connect_timeout(timeout)
        // A collector that fell silent is left for a new connection.
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(timeout)
        .connect_lazy())
}

/// Headers that are none are left out: their text may be secret, and only their names are told.
fn metadata(headers: Vec<(String, String)>) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    for (name, value) in headers {
        let key = MetadataKey::from_bytes(name.to_ascii_lowercase().as_bytes());
        match (key, MetadataValue::try_from(value)) {
            (Ok(key), Ok(value)) => drop(metadata.insert(key, value)),
            _ => {
                tracing::warn!(%name, "a header for the collector that is none is left out; see OTEL_EXPORTER_OTLP_HEADERS");
            }
        }
    }
    metadata
}
