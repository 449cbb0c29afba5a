//! Spans to an OpenTelemetry collector, over OTLP and gRPC: one for each request answered and each
//! call made, and those that the service makes with `tracing` below them. Off unless asked for.
//! Nothing waits for the collector: what does not fit the queue is dropped, and the end has a deadline.
//! Deliberately absent: metrics, which collectors scrape from `/metrics`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{KeyValue, Value};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanProcessor as _,
};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use crate::{Error, trace};
use queue::{Counted, Queue};

mod queue;
mod span;

pub(crate) use span::{Kind, Span, parent};

/// Where the endpoint stands, as OpenTelemetry has it everywhere.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

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
    attributes: Vec<KeyValue>,
    share: f64,
}

impl Telemetry {
    /// Spans of the service of this name (`service.name`), to the collector that the environment's
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` names, such as `http://127.0.0.1:4317`; to nobody without it.
    pub fn new(service: impl Into<String>) -> Telemetry {
        Telemetry {
            service: service.into(),
            endpoint: std::env::var(ENDPOINT).ok().filter(|one| !one.is_empty()),
            attributes: Vec::new(),
            share: 1.0,
        }
    }

    /// Another collector than the environment's.
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Telemetry {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// A fact about this process, such as `service.version` or `service.instance.id`; those in
    /// `OTEL_RESOURCE_ATTRIBUTES` are added by themselves.
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Telemetry {
        let value = Value::from(value.into());
        self.attributes.push(KeyValue::new(name.into(), value));
        self
    }

    /// The share, 0 to 1, of the traces beginning here that are recorded; all by default. Of those
    /// that begin elsewhere each is recorded whose first process says so.
    pub fn share(mut self, share: f64) -> Telemetry {
        self.share = share;
        self
    }

    /// Begins; the collector may be down. From now on requests and calls of this process are sent,
    /// until [`Exporter::shutdown`]. One exporter counts per process: the last one started. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Telemetry`] when the endpoint is no URL.
    pub fn start(self) -> Result<Exporter, Error> {
        let Some(endpoint) = self.endpoint else {
            return Ok(Exporter(None));
        };
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&endpoint)
            .build()
            .map_err(|error| Error::Telemetry {
                endpoint,
                cause: error.to_string(),
            })?;
        let resource = Resource::builder()
            .with_service_name(self.service)
            .with_attributes(self.attributes)
            .build();
        let mut batches = BatchSpanProcessor::builder(Counted::of(exporter)).build();
        batches.set_resource(&resource);
        let queue = Queue::of(batches);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(queue.clone())
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
            .with_resource(resource)
            .build();
        trace::record_share(self.share);
        let running = Arc::new(Running { queue, provider });
        IN_USE.store(Some(running.clone()));
        Ok(Exporter(Some(running)))
    }
}

/// The one that requests and calls of this process are sent by.
static IN_USE: ArcSwapOption<Running> = ArcSwapOption::const_empty();

struct Running {
    queue: Queue,
    provider: SdkTracerProvider,
}

impl Running {
    fn send(&self, span: SpanData) {
        self.queue.put(span);
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
        self.0.as_ref().map(|running| {
            let tracer = running.provider.tracer("platform");
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

    /// Sends what is queued and ends, within `deadline`; what could not be sent by then is lost,
    /// and counted. Cancelling it loses the same.
    pub async fn shutdown(&self, deadline: Duration) {
        let Some(running) = self.0.clone() else {
            return;
        };
        let ours = IN_USE.load_full();
        if ours.is_some_and(|ours| Arc::ptr_eq(&ours, &running)) {
            IN_USE.store(None);
        }
        // The exporter's thread is waited for in a thread: the runtime turns on.
        let flushed =
            tokio::task::spawn_blocking(move || running.queue.shutdown_within(deadline)).await;
        if !matches!(flushed, Ok(true)) {
            tracing::warn!(
                ?deadline,
                "the last spans did not reach the collector in time"
            );
        }
    }
}
