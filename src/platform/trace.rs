//! W3C trace context: which trace a piece of work belongs to, carried from the call a service answers
//! to the calls it makes. The server makes one for every request, both protocols alike; channels
//! send their own below it. Deliberately absent: where spans go (`telemetry` says).

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header with the ids.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The header with what vendors add; passed on as it is.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The most of `tracestate` that is passed on, as the specification asks for at least.
const STATE: usize = 512;

/// A span's place in its trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    trace: u128,
    span: u64,
    is_sampled: bool,
    state: Option<HeaderValue>,
}

tokio::task_local! {
    static CONTEXT: Context;
}

/// Runs `work` as part of a trace: calls made within belong to it. For tasks of one's own, which
/// inherit nothing: `tokio::spawn(trace::within(trace::current().unwrap_or_else(Context::root), …))`.
pub async fn within<F: Future>(context: Context, work: F) -> F::Output {
    CONTEXT.scope(context, work).await
}

/// As [`within`], for work that does not wait: one look at a stream, say.
pub fn enter<T>(context: Context, work: impl FnOnce() -> T) -> T {
    CONTEXT.sync_scope(context, work)
}

/// The place of this task's work; `None` outside of a request.
pub fn current() -> Option<Context> {
    CONTEXT.try_with(Clone::clone).ok()
}

/// Which share of the traces that begin here are recorded, as a bound on half of a trace's id.
static RECORDED: AtomicU64 = AtomicU64::new(u64::MAX);

/// From now on so large a share (0 to 1) of the traces that begin in this process are recorded.
/// Those that begin elsewhere are recorded where their first process says so.
pub(crate) fn record_share(share: f64) {
    let bound = share.clamp(0.0, 1.0) * u64::MAX as f64;
    RECORDED.store(bound as u64, Ordering::Relaxed);
}

impl Context {
    /// The beginning of a trace.
    pub fn root() -> Context {
        let trace: u128 = rand::random::<u128>().max(1);
        let bound = RECORDED.load(Ordering::Relaxed);
        Context {
            trace,
            span: an_id(),
            is_sampled: bound > 0 && trace as u64 <= bound,
            state: None,
        }
    }

    /// A span of the same trace.
    #[must_use]
    pub fn child(&self) -> Context {
        Context {
            span: an_id(),
            ..self.clone()
        }
    }

    /// What a caller sent; `None` when it sent nothing that can be read, as the specification has
    /// it: then a new trace begins.
    pub fn sent(headers: &HeaderMap) -> Option<Context> {
        let mut parents = headers.get_all(TRACEPARENT).into_iter();
        let mut context = parse(parents.next()?.to_str().ok()?)?;
        if parents.next().is_some() {
            return None;
        }
        context.state = state(headers);
        Some(context)
    }

    /// Puts it into the headers of a call, in place of what stands there.
    pub fn send(&self, headers: &mut HeaderMap) {
        // Hexadecimal digits and dashes are always a valid value.
        if let Ok(mut value) = HeaderValue::from_str(&self.to_string()) {
            // Never the same twice: of no use to the table of headers that a connection keeps, and
            // in its way.
            value.set_sensitive(true);
            headers.insert(TRACEPARENT, value);
        }
        match &self.state {
            Some(state) => headers.insert(TRACESTATE, state.clone()),
            None => headers.remove(TRACESTATE),
        };
    }

    /// The id of the trace: 32 hexadecimal digits as text. It is the same in every process that had
    /// a part in a request, and so the one to search logs for.
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }

    /// The id of the span, 16 hexadecimal digits.
    pub fn span_id(&self) -> String {
        format!("{:016x}", self.span)
    }

    /// Whether its spans are to be recorded.
    pub fn is_sampled(&self) -> bool {
        self.is_sampled
    }

    pub(crate) fn ids(&self) -> (u128, u64) {
        (self.trace, self.span)
    }

    /// A span whose ids are known from elsewhere.
    pub(crate) fn of(trace: u128, span: u64, is_sampled: bool, state: Option<HeaderValue>) -> Self {
        Context {
            trace,
            span,
            is_sampled,
            state,
        }
    }

    pub(crate) fn state(&self) -> Option<&HeaderValue> {
        self.state.as_ref()
    }
}

/// As `traceparent` has it.
impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.is_sampled);
        write!(f, "00-{:032x}-{:016x}-{flags:02x}", self.trace, self.span)
    }
}

fn an_id() -> u64 {
    rand::random::<u64>().max(1)
}

/// `00-<32 digits>-<16 digits>-<2 digits>`; later versions may have more behind it.
fn parse(text: &str) -> Option<Context> {
    let text = text.trim_matches([' ', '\t']);
    let (known, rest) = text.split_at_checked(55)?;
    let mut parts = known.split('-');
    let version = u8::try_from(hex(parts.next()?, 2)?).ok()?;
    let trace = hex(parts.next()?, 32)?;
    let span = u64::try_from(hex(parts.next()?, 16)?).ok()?;
    let flags = hex(parts.next()?, 2)?;
    let is_whole = match version {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.is_empty() || rest.starts_with('-'),
    };
    (is_whole && parts.next().is_none() && trace != 0 && span != 0).then_some(Context {
        trace,
        span,
        is_sampled: flags & 1 == 1,
        state: None,
    })
}

/// Lower case only, as the specification says.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (text.len() == digits && text.bytes().all(is_hex))
        .then(|| u128::from_str_radix(text, 16).ok())?
}

fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(TRACESTATE).into_iter();
    let first = values.next()?;
    let whole = match values.next() {
        None => first.clone(),
        Some(second) => {
            let all = [first, second].into_iter().chain(values);
            let all: Vec<&[u8]> = all.map(HeaderValue::as_bytes).collect();
            HeaderValue::from_bytes(&all.join(&b',')).ok()?
        }
    };
    (!whole.is_empty() && whole.len() <= STATE).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn a_context_is_read_as_the_specification_says() {
        let good = format!("00-{TRACE}-{SPAN}-01");
        for (text, expected) in [
            (good.clone(), Some(true)),
            (format!("00-{TRACE}-{SPAN}-00"), Some(false)),
            (format!("00-{TRACE}-{SPAN}-ff"), Some(true)),
            (format!("  {good} "), Some(true)),
            (format!("cc-{TRACE}-{SPAN}-01-more"), Some(true)),
            (format!("cc-{TRACE}-{SPAN}-01"), Some(true)),
            (format!("cc-{TRACE}-{SPAN}-01more"), None),
            (format!("00-{TRACE}-{SPAN}-01-more"), None),
            (format!("ff-{TRACE}-{SPAN}-01"), None),
            (format!("00-{}-{SPAN}-01", "0".repeat(32)), None),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), None),
            (good.to_uppercase(), None),
            (good.replace('-', "_"), None),
            (format!("00-{TRACE}-{SPAN}-0"), None),
            (format!("00-{TRACE}{SPAN}-01--"), None),
            ("é".repeat(40), None),
            (String::new(), None),
        ] {
            let read = parse(&text);
            assert_eq!(read.as_ref().map(Context::is_sampled), expected, "{text}");
            if let Some(read) = read {
                assert_eq!((&*read.trace_id(), &*read.span_id()), (TRACE, SPAN));
            }
        }
    }

    #[test]
    fn what_is_sent_is_read_as_a_child_of_the_same_trace() {
        let mut headers = HeaderMap::new();
        headers.insert(
            TRACEPARENT,
            format!("00-{TRACE}-{SPAN}-01").parse().unwrap(),
        );
        headers.append(TRACESTATE, "a=1".parse().unwrap());
        headers.append(TRACESTATE, "b=2,c=3".parse().unwrap());
        let child = Context::sent(&headers).unwrap().child();
        child.send(&mut headers);
        let read = Context::sent(&headers).unwrap();
        assert_eq!(read, child);
        assert_eq!(read.trace_id(), TRACE);
        assert_ne!(read.span_id(), SPAN);
        assert_eq!(headers[TRACESTATE], "a=1,b=2,c=3");
        Context::root().send(&mut headers);
        assert!(!headers.contains_key(TRACESTATE), "that of another trace");
    }

    #[test]
    fn a_state_beyond_measure_and_two_parents_are_not_passed_on() {
        let mut headers = HeaderMap::new();
        let parent: HeaderValue = format!("00-{TRACE}-{SPAN}-01").parse().unwrap();
        headers.insert(TRACEPARENT, parent.clone());
        headers.insert(TRACESTATE, "x".repeat(STATE + 1).parse().unwrap());
        assert_eq!(Context::sent(&headers).unwrap().state, None);
        headers.append(TRACEPARENT, parent);
        assert_eq!(Context::sent(&headers), None);
    }

    #[tokio::test]
    async fn work_within_belongs_to_the_trace() {
        assert_eq!(current(), None);
        let root = Context::root();
        within(root.clone(), async {
            assert_eq!(current(), Some(root.clone()));
            let child = root.child();
            enter(child.clone(), || assert_eq!(current(), Some(child.clone())));
        })
        .await;
    }
}
