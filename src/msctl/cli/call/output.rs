//! What a call prints: each answer as it comes, or everything as one object.

use reflect::{Event, Metadata, PrintOptions, Schema};
use serde_json::{Map, Value as Json, json};
use tokio_util::task::AbortOnDropHandle;

use crate::invoke::find::Found;
use crate::invoke::{Exchange, failure_of};
use crate::report::{Failure, Format, Report};

/// The check of descriptors that were kept; `None` where the server was asked.
pub(super) type Check = Option<AbortOnDropHandle<Option<Schema>>>;

/// Before an answer is read: the descriptors are those that the server has now.
async fn settle(exchange: &mut Exchange, check: &mut Check, report: &Report) {
    if let Some(check) = check.take()
        && let Ok(Some(schema)) = check.await
    {
        report.detail("the server's descriptors have changed since they were kept");
        exchange.read_with(&schema);
    }
}

/// Prints each answer as it comes.
pub(super) async fn messages(
    mut exchange: Exchange,
    mut check: Check,
    print: &PrintOptions,
    report: &mut Report,
) -> Result<(), Failure> {
    while let Some(event) = exchange.next().await? {
        match event {
            Event::Headers { headers, after } => {
                report.detail(&format!(
                    "headers after {:.1} ms",
                    after.as_secs_f64() * 1e3
                ));
                tell(&headers, report);
            }
            Event::Message { bytes, .. } => {
                settle(&mut exchange, &mut check, report).await;
                let text = exchange.to_json(&bytes, print)?;
                if report.format() == Format::Yaml {
                    let document: Json = serde_json::from_str(&text).unwrap_or(Json::String(text));
                    report.event(&document)?;
                } else {
                    report.text(&format!("{text}\n"))?;
                }
            }
            Event::End(end) => {
                settle(&mut exchange, &mut check, report).await;
                report.detail(&format!(
                    "{} after {:.1} ms",
                    end.status.code_name(),
                    end.timings.total.as_secs_f64() * 1e3
                ));
                tell(&end.trailers, report);
                if let Some(failure) = failure_of(&end.status, exchange.method().schema()) {
                    return Err(failure);
                }
            }
        }
    }
    Ok(())
}

fn tell(metadata: &Metadata, report: &Report) {
    for (name, value) in metadata.iter() {
        report.detail(&format!("  {name}: {}", value.shown()));
    }
}

/// Prints everything as one object once the call has ended; its exit code is the status's all the
/// same.
pub(super) async fn envelope(
    mut exchange: Exchange,
    mut check: Check,
    found: &Found,
    print: &PrintOptions,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut messages: Vec<Json> = Vec::new();
    let mut first_headers = Json::Object(Map::new());
    while let Some(event) = exchange.next().await? {
        match event {
            Event::Headers { headers, .. } => first_headers = object(&headers),
            Event::Message { bytes, .. } => {
                settle(&mut exchange, &mut check, report).await;
                let text = exchange.to_json(&bytes, print)?;
                messages.push(serde_json::from_str(&text).unwrap_or(Json::String(text)));
            }
            Event::End(end) => {
                settle(&mut exchange, &mut check, report).await;
                let schema = exchange.method().schema();
                let mut status = Vec::new();
                end.status.to_json(schema, &mut status);
                let mut status: Json = serde_json::from_slice(&status).unwrap_or_default();
                status["name"] = json!(end.status.code_name());
                let millis = |time: std::time::Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
                let envelope = json!({
                    "method": found.method.path().trim_start_matches('/'),
                    "address": found.server.address,
                    "instance": found.server.instance.as_ref().map(|i| i.record.id.to_string()),
                    "status": status,
                    "headers": first_headers,
                    "messages": messages,
                    "trailers": object(&end.trailers),
                    "timings_ms": {
                        "connect": millis(found.server.connected_in),
                        "headers": end.timings.headers.map(millis),
                        "first_message": end.timings.first_message.map(millis),
                        "total": millis(end.timings.total),
                    },
                });
                report.one(&envelope, |envelope, _| {
                    serde_json::to_string_pretty(envelope).unwrap_or_default()
                })?;
                return match failure_of(&end.status, schema) {
                    Some(failure) => Err(failure),
                    None => Ok(()),
                };
            }
        }
    }
    Err(Failure::failed("the call ended without a status"))
}

/// Headers as an object; a name that comes several times has its values in a list.
fn object(metadata: &Metadata) -> Json {
    let mut map: Map<String, Json> = Map::new();
    for (name, value) in metadata.iter() {
        let value = json!(value.shown());
        match map.get_mut(name) {
            None => {
                map.insert(name.to_owned(), value);
            }
            Some(Json::Array(values)) => values.push(value),
            Some(first) => *first = json!([first.clone(), value]),
        }
    }
    Json::Object(map)
}
