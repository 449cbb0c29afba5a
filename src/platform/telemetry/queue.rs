//! The bounded queue before the collector, shared by what ends spans, and what came of them, counted.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, counter};
use opentelemetry::Context;
use opentelemetry_otlp::SpanExporter as Otlp;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor};

/// Takes spans that are over; never waits. Clones are the same queue.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    batches: Arc<BatchSpanProcessor>,
    ended: Counter,
}

impl Queue {
    pub(super) fn of(batches: BatchSpanProcessor) -> Queue {
        Queue {
            batches: Arc::new(batches),
            ended: counter!("telemetry_spans_total", "outcome" => "ended"),
        }
    }

    /// Dropped where the queue is full.
    pub(super) fn put(&self, span: SpanData) {
        self.ended.increment(1);
        self.batches.on_end(span);
    }

    /// Whether everything was sent, or refused, by then. Blocks.
    pub(super) fn shutdown_within(&self, deadline: Duration) -> bool {
        matches!(
            self.batches.shutdown_with_timeout(deadline),
            Ok(()) | Err(OTelSdkError::AlreadyShutdown)
        )
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        self.put(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        // The queue ends with its exporter's shutdown, not with the provider of a layer.
        Ok(())
    }
}

/// An exporter whose successes and failures are counted.
#[derive(Debug)]
pub(super) struct Counted {
    exporter: Otlp,
    sent: Counter,
    failed: Counter,
}

impl Counted {
    pub(super) fn of(exporter: Otlp) -> Counted {
        let spans = |outcome: &'static str| counter!("telemetry_spans_total", "outcome" => outcome);
        Counted {
            exporter,
            sent: spans("sent"),
            failed: spans("failed"),
        }
    }
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len() as u64;
        let result = self.exporter.export(batch).await;
        match &result {
            Ok(()) => self.sent.increment(count),
            Err(error) => {
                self.failed.increment(count);
                tracing::debug!(%error, count, "spans that the collector did not take");
            }
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
