//! The span of one request or call, with the ids that its trace context has: it is there only while
//! somebody takes it, and is sent when it ends, however it ends.

use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use tonic::Code;

use super::{IN_USE, Running};
use crate::trace;

/// Which side of a call a span is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A request that is answered here.
    Server,
    /// A call that is made here.
    Client,
}

/// See the module. Dropped before its end it ends as cancelled.
pub(crate) struct Span {
    exporter: Arc<Running>,
    /// `None` once it is sent.
    data: Option<SpanData>,
}

impl std::fmt::Debug for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Span({:?})", self.data.as_ref().map(|data| &data.name))
    }
}

/// Whether spans of this process go anywhere.
pub(crate) fn is_recording() -> bool {
    IN_USE.load().is_some()
}

impl Span {
    /// `None` when nobody exports, or the trace is not to be recorded. `method` is
    /// `/pkg.Service/Method`, or what else is answered.
    pub(crate) fn begin(
        kind: Kind,
        context: &trace::Context,
        parent: Option<&trace::Context>,
        method: &str,
    ) -> Option<Span> {
        let exporter = IN_USE.load_full()?;
        if !context.is_sampled() {
            return None;
        }
        let name = method.trim_start_matches('/').to_owned();
        let mut attributes = vec![KeyValue::new("rpc.system", "grpc")];
        if let Some((service, method)) = name.split_once('/') {
            attributes.push(KeyValue::new("rpc.service", service.to_owned()));
            attributes.push(KeyValue::new("rpc.method", method.to_owned()));
        }
        let parent = parent.map(|parent| SpanId::from(parent.ids().1));
        let now = SystemTime::now();
        let data = SpanData {
            span_context: span_context(context, false),
            parent_span_id: parent.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: parent.is_some() && kind == Kind::Server,
            span_kind: match kind {
                Kind::Server => SpanKind::Server,
                Kind::Client => SpanKind::Client,
            },
            name: name.into(),
            start_time: now,
            end_time: now,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::builder("platform").build(),
        };
        Some(Span {
            exporter,
            data: Some(data),
        })
    }

    /// What spans made below it with `tracing` need to find it.
    pub(crate) fn as_parent(&self) -> Context {
        let context = self.data.as_ref().map(|data| data.span_context.clone());
        let context = context.unwrap_or(SpanContext::NONE);
        Context::new().with_remote_span_context(context)
    }

    /// A fact that is known by its end.
    pub(crate) fn say(&mut self, name: &'static str, value: impl Into<opentelemetry::Value>) {
        if let Some(data) = &mut self.data {
            data.attributes.push(KeyValue::new(name, value));
        }
    }

    /// It is over, with this outcome. Only the first word counts.
    pub(crate) fn end(&mut self, code: Code) {
        let Some(mut data) = self.data.take() else {
            return;
        };
        let status = i64::from(code as i32);
        data.attributes
            .push(KeyValue::new("rpc.grpc.status_code", status));
        if is_error(&data.span_kind, code) {
            data.status = Status::error(code.description());
        }
        data.end_time = SystemTime::now().max(data.start_time);
        self.exporter.send(data);
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

/// As OpenTelemetry's conventions for RPC have it: to a server its caller's mistakes are no error.
fn is_error(kind: &SpanKind, code: Code) -> bool {
    match kind {
        SpanKind::Server => matches!(
            code,
            Code::Unknown
                | Code::DeadlineExceeded
                | Code::Unimplemented
                | Code::Internal
                | Code::Unavailable
                | Code::DataLoss
        ),
        _ => code != Code::Ok,
    }
}

/// The place in its trace of what runs now: the innermost span that the service made with `tracing`
/// where these are exported, else the request that is answered.
pub(crate) fn parent() -> Option<trace::Context> {
    let request = trace::current();
    if IN_USE.load().is_none() {
        return request;
    }
    let inner = Context::map_current(|context| context.span().span_context().clone());
    if !inner.is_valid() {
        return request;
    }
    let trace = u128::from_be_bytes(inner.trace_id().to_bytes());
    let span = u64::from_be_bytes(inner.span_id().to_bytes());
    let state = request
        .as_ref()
        .and_then(|request| request.state().cloned());
    Some(trace::Context::of(trace, span, inner.is_sampled(), state))
}

fn span_context(context: &trace::Context, is_remote: bool) -> SpanContext {
    let (trace, span) = context.ids();
    let flags = if context.is_sampled() {
        TraceFlags::SAMPLED
    } else {
        TraceFlags::default()
    };
    SpanContext::new(
        TraceId::from(trace),
        SpanId::from(span),
        flags,
        is_remote,
        TraceState::default(),
    )
}
