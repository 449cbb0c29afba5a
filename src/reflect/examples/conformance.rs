//! The program that the official Protobuf conformance runner tests: length-prefixed requests on
//! stdin, answers on stdout. JSON goes through this crate's codec, and so do the runner's own
//! messages; binary to binary goes through the descriptor library, since nothing here re-encodes.
//! Run by `tests/conformance/run.sh`.

use std::error::Error;
use std::io::{Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use buffa_descriptor::DynamicMessage;
use reflect::{
    Message, ParseOptions, PrintOptions, Schema, UnknownFields, json_to_wire, wire_to_json,
};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args()
        .nth(1)
        .ok_or("usage: conformance DESCRIPTOR_SET")?;
    let schema = Schema::from_descriptor_set(&std::fs::read(path)?)?;
    let request_type = schema
        .message("conformance.ConformanceRequest")
        .ok_or("no request type")?;
    let answer_type = schema
        .message("conformance.ConformanceResponse")
        .ok_or("no answer type")?;
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut length = [0; 4];
    while input.read_exact(&mut length).is_ok() {
        let mut request = vec![0; usize::try_from(u32::from_le_bytes(length))?];
        input.read_exact(&mut request)?;
        let mut text = Vec::new();
        let answer =
            match wire_to_json(&request_type, &request, &PrintOptions::default(), &mut text) {
                Ok(()) => answer(&schema, &serde_json::from_slice(&text)?),
                Err(cause) => json!({"parseError": cause.to_string()}),
            };
        let answer = json_to_wire(
            &answer_type,
            answer.to_string().as_bytes(),
            &ParseOptions::default(),
        )?;
        output.write_all(&u32::try_from(answer.len())?.to_le_bytes())?;
        output.write_all(&answer)?;
        output.flush()?;
    }
    Ok(())
}

fn answer(schema: &Schema, request: &Value) -> Value {
    let text = |name: &str| request[name].as_str();
    let Some(message) = schema.message(text("messageType").unwrap_or_default()) else {
        return json!({"skipped": "unknown message type"});
    };
    let to_json = match text("requestedOutputFormat") {
        Some("JSON") => true,
        Some("PROTOBUF") => false,
        _ => return json!({"skipped": "only binary and JSON"}),
    };
    let wire = if let Some(payload) = text("protobufPayload") {
        match STANDARD.decode(payload) {
            Ok(wire) if to_json => wire,
            Ok(wire) => return through_library(schema, &message, &wire),
            Err(cause) => return json!({"runtimeError": cause.to_string()}),
        }
    } else if let Some(payload) = text("jsonPayload") {
        let ignore = text("testCategory") == Some("JSON_IGNORE_UNKNOWN_PARSING_TEST");
        let unknown_fields = if ignore {
            UnknownFields::Drop
        } else {
            UnknownFields::Reject
        };
        let options = ParseOptions {
            unknown_fields,
            ..ParseOptions::default()
        };
        match json_to_wire(&message, payload.as_bytes(), &options) {
            Ok(wire) => wire,
            Err(cause) => return json!({"parseError": cause.to_string()}),
        }
    } else {
        return json!({"skipped": "only binary and JSON"});
    };
    if !to_json {
        return json!({"protobufPayload": STANDARD.encode(wire)});
    }
    let mut out = Vec::new();
    match wire_to_json(&message, &wire, &PrintOptions::default(), &mut out) {
        Ok(()) => json!({"jsonPayload": String::from_utf8_lossy(&out)}),
        // Bytes that are no message were not parsed; a message that JSON cannot say was.
        Err(cause) if decode(schema, &message, &wire).is_none() => {
            json!({"parseError": cause.to_string()})
        }
        Err(cause) => json!({"serializeError": cause.to_string()}),
    }
}

fn decode(schema: &Schema, message: &Message, wire: &[u8]) -> Option<DynamicMessage> {
    let index = schema.pool().message_index(message.full_name())?;
    DynamicMessage::decode(schema.pool().clone(), index, wire).ok()
}

fn through_library(schema: &Schema, message: &Message, wire: &[u8]) -> Value {
    match decode(schema, message, wire) {
        Some(decoded) => json!({"protobufPayload": STANDARD.encode(decoded.encode_to_vec())}),
        None => json!({"parseError": "not a message"}),
    }
}
