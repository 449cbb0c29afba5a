//! A request's place in its trace: what its caller sent, or a new one. Everything done for it, the making of
//! a stream included, is done within: logs carry the id, and calls made for it belong to the same trace.

use http::{HeaderMap, Method};

use super::call::{Call, Surface};
use crate::{
    telemetry::{Kind, REQUEST, Span},
    trace::{self, Context},
};

/// See the module.
pub(super) struct Traced {
    pub(super) context: Context,
    /// For the logs of what is done within.
    logged: tracing::Span,
    /// For a collector, where there is one.
    sent: Option<Span>,
    below: Option<opentelemetry::Context>,
}

impl Traced {
    pub(super) fn begin(call: &Call, headers: &HeaderMap) -> Self {
        let parent = Context::sent(headers);
        let context = parent.as_ref().map_or_else(Context::root, Context::child);
        // Probes come every few seconds for ever; they would drown the calls.
        let is_call = call.surface() == Surface::Api;
        let logged = if is_call {
            tracing::info_span!(target: REQUEST, "request", trace_id = %context.trace_id(), method = call.method())
        } else {
            tracing::Span::none()
        };
        let sent = is_call
            .then(|| Span::begin(Kind::Server, &context, parent.as_ref(), call.method()))
            .flatten();
        let below = sent.as_ref().map(Span::as_parent);
        Self {
            context,
            logged,
            sent,
            below,
        }
    }

    /// One step of the work on the request.
    pub(super) fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        let _logged = self.logged.enter();
        let _below = self.below.clone().map(opentelemetry::Context::attach);
        trace::enter(self.context.clone(), work)
    }

    /// The answer has ended. `http` is the verb and the status of a call over HTTP.
    pub(super) fn end(&mut self, code: tonic::Code, http: Option<(&Method, u16)>) {
        if let Some(mut span) = self.sent.take() {
            if let Some((verb, status)) = http {
                span.say("http.request.method", verb.as_str().to_owned());
                span.say("http.response.status_code", i64::from(status));
            }
            span.end(code);
        }
    }
}
