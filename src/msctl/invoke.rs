//! Calling a method by name, for the command line and the console alike: from what a person types
//! to a method, a server that has it, a stream of requests and the events of the answer.
//!
//! A request that is no JSON of its message never reaches the server, and the error names the
//! field's path. Dropping an exchange cancels the call.

pub mod documents;
pub mod find;
pub mod headers;
pub mod kept;
pub mod lookup;
pub mod server;
pub mod target;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use reflect::{CallOptions, Event, Method, ParseOptions, PrintOptions, json_to_wire, wire_to_json};
use tokio::sync::mpsc;

pub use server::{Reach, Server};
pub use target::Target;

use crate::report::{Failure, Kind};

/// A call under way.
pub struct Exchange {
    call: reflect::Call,
    method: Method,
    broken: mpsc::Receiver<Failure>,
}

/// Begins a call: documents are encoded as they come, and the stream's end half-closes the call.
/// For methods that take one message the first document is the request, and no document means an
/// empty one.
///
/// # Errors
/// Metadata that HTTP/2 cannot carry. What is wrong with a document comes from [`Exchange::next`].
pub fn begin(
    server: &Server,
    method: &Method,
    options: CallOptions,
    parse: ParseOptions,
    documents: impl Stream<Item = Result<Vec<u8>, Failure>> + Send + 'static,
) -> Result<Exchange, Failure> {
    let (breaks, broken) = mpsc::channel(1);
    let input = method.input();
    let streams = method.client_streaming();
    let name = method.path().trim_start_matches('/').to_owned();
    let encoded = documents.enumerate().map(move |(index, document)| {
        if index > 0 && !streams {
            return Err(
                Failure::usage(format!("{name} takes one request and more are given"))
                    .next("Give one JSON document."),
            );
        }
        let wire = json_to_wire(&input, &document?, &parse);
        wire.map(Bytes::from)
            .map_err(|error| bad_request(&input, index, streams, &error))
    });
    // A call that was begun with a bad request is not sent: the stream stays open and the caller
    // hears of it.
    let requests = futures::stream::unfold(
        (Box::pin(encoded), Some(breaks), Sent::Nothing(streams)),
        |(mut encoded, breaks, sent)| async move {
            match encoded.next().await {
                Some(Ok(bytes)) => Some((bytes, (encoded, breaks, Sent::Something))),
                Some(Err(failure)) => {
                    if let Some(breaks) = breaks {
                        // The receiver lives as long as the exchange.
                        let _ = breaks.send(failure).await;
                    }
                    std::future::pending().await
                }
                None => match sent {
                    Sent::Nothing(false) => {
                        Some((Bytes::new(), (encoded, breaks, Sent::Something)))
                    }
                    Sent::Nothing(true) | Sent::Something => None,
                },
            }
        },
    );
    let call = reflect::call(server.channel.clone(), method, requests, options)
        .map_err(|error| Failure::usage(error.to_string()))?;
    Ok(Exchange {
        call,
        method: method.clone(),
        broken,
    })
}

/// Whether a request went out; `Nothing` knows whether none is a valid stream.
enum Sent {
    Nothing(bool),
    Something,
}

impl Exchange {
    /// The next event; `None` after the end.
    ///
    /// # Errors
    /// A document that is no request; the call is then over.
    pub async fn next(&mut self) -> Result<Option<Event>, Failure> {
        tokio::select! {
            biased;
            Some(failure) = self.broken.recv() => Err(failure),
            event = self.call.next() => Ok(event),
        }
    }

    /// Reads the answer with these descriptors from now on, where they have the method.
    pub fn read_with(&mut self, schema: &reflect::Schema) {
        if let Some(method) = schema.method(self.method.path()) {
            self.method = method;
        }
    }

    /// The method that is called.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// A response message as JSON text, safe for a terminal.
    ///
    /// # Errors
    /// When the bytes are not the message that the schema says.
    pub fn to_json(&self, message: &[u8], options: &PrintOptions) -> Result<String, Failure> {
        response(&self.method, message, options)
    }
}

/// A response message as JSON text, safe for a terminal.
///
/// # Errors
/// When the bytes are not the message that the schema says.
pub fn response(
    method: &Method,
    message: &[u8],
    options: &PrintOptions,
) -> Result<String, Failure> {
    let output = method.output();
    let mut json = Vec::with_capacity(message.len() * 2);
    wire_to_json(&output, message, options, &mut json).map_err(|error| {
        Failure::failed(format!("the answer is no {}: {error}", output.full_name()))
            .next("The server's schema may be another one; look with 'msctl describe'.")
    })?;
    Ok(crate::report::json::safe_text(&String::from_utf8_lossy(
        &json,
    )))
}

/// A call's status as the console's failure; `None` when it is OK.
#[must_use]
pub fn failure_of(status: &reflect::Status, schema: &reflect::Schema) -> Option<Failure> {
    if status.is_ok() {
        return None;
    }
    let code = status.code as i32;
    let message = if status.message.is_empty() {
        "(no message)"
    } else {
        status.message.as_str()
    };
    let mut json = Vec::new();
    status.to_json(schema, &mut json);
    let parsed: serde_json::Value = serde_json::from_slice(&json).unwrap_or_default();
    let details = parsed.get("details").cloned().unwrap_or_default();
    let failure = Failure::new(
        Kind::Grpc(code),
        format!("{} ({code}): {message}", status.code_name()),
    )
    .with_status(code, &status.message);
    Some(failure.with_details(details))
}

fn bad_request(
    input: &reflect::Message,
    index: usize,
    streams: bool,
    error: &reflect::JsonError,
) -> Failure {
    let which = if streams {
        format!("request {}", index + 1)
    } else {
        "the request".to_owned()
    };
    Failure::usage(format!("{which} is no {}: {error}", input.full_name())).next(format!(
        "'msctl describe {}' shows its fields.",
        input.full_name()
    ))
}
