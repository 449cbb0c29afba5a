//! To an OpenTelemetry collector, over OTLP and gRPC: a span for each request answered and each call
//! made, those that the service makes with `tracing` below them, and at each interval what `/metrics`
//! shows. Off unless asked for. Nothing waits for the collector: spans that do not fit the queue are
//! dropped, every export and the end have deadlines.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{KeyValue, Value};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanProcessor as _,
};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use crate::{Error, trace};
use environment::{Environment, Signal};
use push::{Push, Pushing};
use queue::{Counted, Queue};

mod environment;
mod exposition;
mod push;
mod queue;
mod span;

pub(crate) use span::{Kind, Span, is_recording, parent};

/// The name of the spans of requests that are there for logs alone: the collector gets better ones.
pub(crate) const REQUEST: &str = "platform::request";

/// What is sent, and where to; see the module.
///
/// ```no_run
/// # async fn service() -> Result<(), platform::Error> {
/// use platform::{Platform, telemetry::Telemetry};
///
/// let telemetry = Telemetry::new("order").start()?; // to OTEL_EXPORTER_OTLP_ENDPOINT, if it is set
/// // tracing_subscriber::registry().with(fmt::layer()).with(telemetry.layer()).init();
/// let platform = Platform::builder("order").telemetry(telemetry).start().await?;
/// # let _ = platform;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is sent before start()"]
pub struct Telemetry {
    service: String,
    endpoint: Option<String>,
    environment: Environment,
    attributes: Vec<KeyValue>,
    share: f64,
}

impl Telemetry {
    /// Spans and metrics of the service of this name (`service.name`), to the collector that the
    /// environment's `OTEL_EXPORTER_OTLP_ENDPOINT` names, such as `http://127.0.0.1:4317`; to nobody
    /// without it. OpenTelemetry's other variables hold as well, and rank above what is said here:
    /// `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_METRIC_EXPORT_INTERVAL`, and those with
    /// `METRICS` or `TRACES` for one of them alone.
    pub fn new(service: impl Into<String>) -> Telemetry {
        Telemetry {
            service: service.into(),
            endpoint: None,
            environment: Environment::of_process(),
            attributes: Vec::new(),
            share: 1.0,
        }
    }

    /// Another collector than the environment's, for spans and metrics.
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Telemetry {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// These variables in place of the process's own. Headers and certificates for spans are the
    /// process's own all the same.
    pub fn environment(
        mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Telemetry {
        self.environment = Environment::of(variables);
        self
    }

    /// A fact about this process, such as `service.version` or `service.instance.id`; those in
    /// `OTEL_RESOURCE_ATTRIBUTES` are added by themselves, and count more.
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Telemetry {
        self.attributes.push(fact(name.into(), value.into()));
        self
    }

    /// The share, 0 to 1, of the traces beginning here that are recorded; all by default. Of those
    /// that begin elsewhere each is recorded whose first process says so.
    pub fn share(mut self, share: f64) -> Telemetry {
        self.share = share;
        self
    }

    /// Begins; the collector may be down. From now on requests and calls of this process are sent, and
    /// its metrics at each interval (a minute, unless the environment says otherwise), until
    /// [`Exporter::shutdown`]. One exporter counts per process: the last one started. Must be called
    /// within a tokio runtime; a process with a metrics recorder of its own installs that before, and
    /// sends them itself.
    ///
    /// # Errors
    /// [`Error::Telemetry`] when the endpoint is no URL, or the certificate to trust cannot be read.
    pub fn start(self) -> Result<Exporter, Error> {
        let endpoint = |signal| {
            let endpoint = self.endpoint.as_deref();
            let endpoint = endpoint.or_else(|| self.environment.endpoint(signal))?;
            (!self.environment.is_off(signal)).then(|| endpoint.to_owned())
        };
        let (traces, metrics) = (endpoint(Signal::Traces), endpoint(Signal::Metrics));
        if traces.is_none() && metrics.is_none() {
            return Ok(Exporter(None));
        }
        for signal in [Signal::Traces, Signal::Metrics] {
            if let Some(protocol) = self.environment.foreign_protocol(signal) {
                tracing::warn!(
                    protocol,
                    ?signal,
                    "only OTLP over gRPC is spoken here, and is used; the collector's port for it is usually 4317"
                );
            }
        }
        // Counters made before there is a recorder would count into nothing.
        let recorded = crate::server::recorder();
        let named = self.environment.service_name().unwrap_or(self.service);
        let told = self.environment.attributes().collect::<Vec<_>>();
        let resource = Resource::builder()
            .with_attributes(self.attributes)
            .with_attributes(told.into_iter().map(|(name, value)| fact(name, value)))
            .with_service_name(named)
            .build();
        let failed = |endpoint: String| move |cause: String| Error::Telemetry { endpoint, cause };
        let spans = traces.map(|endpoint| {
            let timeout = self.environment.timeout(Signal::Traces);
            Spans::to(&endpoint, timeout, &resource).map_err(failed(endpoint))
        });
        let spans = spans.transpose()?;
        let pushing = recorded.zip(metrics).map(|(recorded, endpoint)| {
            let facts = ResourceAttributesWithSchema::from(&resource).attributes.0;
            let resource = ProtoResource {
                attributes: facts,
                ..ProtoResource::default()
            };
            Push::new(recorded.clone(), &endpoint, &self.environment, resource)
                .map(Push::start)
                .map_err(failed(endpoint))
        });
        let pushing = pushing.transpose()?;
        trace::record_share(self.share);
        let running = Arc::new(Running { spans, pushing });
        IN_USE.store(Some(running.clone()));
        Ok(Exporter(Some(running)))
    }
}

fn fact(name: String, value: String) -> KeyValue {
    KeyValue::new(name, Value::from(value))
}

/// The one that requests and calls of this process are sent by.
static IN_USE: ArcSwapOption<Running> = ArcSwapOption::const_empty();

struct Running {
    spans: Option<Spans>,
    pushing: Option<Pushing>,
}

struct Spans {
    queue: Queue,
    provider: SdkTracerProvider,
}

impl Spans {
    fn to(endpoint: &str, timeout: Duration, resource: &Resource) -> Result<Spans, String> {
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(timeout)
            .build()
            .map_err(|error| error.to_string())?;
        let mut batches = BatchSpanProcessor::builder(Counted::of(exporter)).build();
        batches.set_resource(resource);
        let queue = Queue::of(batches);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(queue.clone())
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
            .with_resource(resource.clone())
            .build();
        Ok(Spans { queue, provider })
    }

    /// Sends what is queued and ends, within the deadline: whether it did.
    async fn shutdown(&self, deadline: Duration) -> bool {
        let queue = self.queue.clone();
        // The exporter's thread is waited for in a thread: the runtime turns on.
        let flushed = tokio::task::spawn_blocking(move || queue.shutdown_within(deadline));
        matches!(flushed.await, Ok(true))
    }
}

impl Running {
    fn send(&self, span: SpanData) {
        if let Some(spans) = &self.spans {
            spans.queue.put(span);
        }
    }
}

/// A running export. Clones are the same one. It ends with [`Exporter::shutdown`], which a drain
/// calls for the exporter that was given to the platform's builder.
#[derive(Clone)]
pub struct Exporter(Option<Arc<Running>>);

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "Exporter(on)",
            None => "Exporter(off)",
        })
    }
}

impl Exporter {
    /// Whether there is a collector to send to.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// For the process's subscriber: the spans that the service makes with `tracing`, of level INFO
    /// and above, are sent as well, below those of the requests they are made in.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: tracing::Subscriber + for<'span> LookupSpan<'span>,
    {
        let spans = self.0.as_ref().and_then(|running| running.spans.as_ref());
        spans.map(|spans| {
            let tracer = spans.provider.tracer("platform");
            // The way to the collector is no part of what is sent over it.
            let own = filter_fn(|of| {
                let crate_name = of.target().split("::").next().unwrap_or_default();
                *of.level() <= tracing::Level::INFO
                    && of.target() != REQUEST
                    && !["h2", "hyper", "hyper_util", "tonic", "tower"].contains(&crate_name)
            });
            tracing_opentelemetry::layer()
                .with_tracer(tracer)
                .with_filter(own)
        })
    }

    /// Sends what is queued and the metrics once more, and ends, within `deadline`; spans that could
    /// not be sent by then are lost, and counted. Cancelling it loses the same.
    pub async fn shutdown(&self, deadline: Duration) {
        let Some(running) = self.0.clone() else {
            return;
        };
        let ours = IN_USE.load_full();
        if ours.is_some_and(|ours| Arc::ptr_eq(&ours, &running)) {
            IN_USE.store(None);
        }
        let spans = async {
            match &running.spans {
                Some(spans) => spans.shutdown(deadline).await,
                None => true,
            }
        };
        let metrics = async {
            match &running.pushing {
                Some(pushing) => pushing.shutdown(deadline).await,
                None => true,
            }
        };
        let (spans, metrics) = tokio::join!(spans, metrics);
        if !spans || !metrics {
            tracing::warn!(
                ?deadline,
                spans,
                metrics,
                "the last spans or metrics did not reach the collector in time"
            );
        }
    }
}
