//! Server reflection, server side, as a function: one request's bytes to one response's. v1 and
//! v1alpha have the same bytes. Files go out as they came in, so that HTTP rules and every other
//! option survive, which re-encoding through generated types would drop.

use buffa::Message as _;

use crate::schema::Schema;
use crate::wire::{LEN, Reader, VARINT, put_len, put_tag, put_varint};

/// gRPC's code for what does not exist.
const NOT_FOUND: u64 = 5;
const INVALID_ARGUMENT: u64 = 3;

/// Answers one `ServerReflectionRequest` with a `ServerReflectionResponse`. What cannot be
/// answered is an error inside the response, as the protocol wants it.
pub fn answer(schema: &Schema, request: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut asked = None;
    let mut reader = Reader::new(request);
    while let Ok(Some(field)) = reader.next() {
        if field.wire != LEN {
            continue;
        }
        match field.number {
            1 => put_len(&mut out, 1, field.payload(request)),
            3..=7 => asked = Some((field.number, field.payload(request))),
            _ => {}
        }
    }
    put_len(&mut out, 2, request);
    let Some((kind, payload)) = asked else {
        put_error(&mut out, INVALID_ARGUMENT, "nothing was asked");
        return out;
    };
    let name = String::from_utf8_lossy(payload);
    match kind {
        3 => put_files(schema, schema.pool().file_by_name(&name), &name, &mut out),
        4 => put_files(
            schema,
            schema.pool().file_containing_symbol(&name),
            &name,
            &mut out,
        ),
        5 => {
            let (name, number) = extension(payload);
            let found = schema
                .pool()
                .message_index(&name)
                .and_then(|index| schema.pool().extension_for(index, number))
                .and_then(|e| schema.pool().file_containing_symbol(e.full_name()));
            put_files(
                schema,
                found,
                &format!("extension {number} of {name}"),
                &mut out,
            );
        }
        6 => match schema.pool().message_index(&name) {
            Some(index) => {
                let mut inner = Vec::new();
                put_len(&mut inner, 1, name.as_bytes());
                for extension in schema.pool().extensions_of(index) {
                    put_tag(&mut inner, 2, VARINT);
                    put_varint(&mut inner, u64::from(extension.field().number()));
                }
                put_len(&mut out, 5, &inner);
            }
            None => put_error(&mut out, NOT_FOUND, &format!("no message {name}")),
        },
        _ => {
            let mut inner = Vec::new();
            for service in schema.services() {
                let mut entry = Vec::new();
                put_len(&mut entry, 1, service.full_name().as_bytes());
                put_len(&mut inner, 1, &entry);
            }
            put_len(&mut out, 6, &inner);
        }
    }
    out
}

/// `ExtensionRequest`: the containing type and the field's number.
fn extension(payload: &[u8]) -> (String, u32) {
    let (mut name, mut number) = (String::new(), 0);
    let mut reader = Reader::new(payload);
    while let Ok(Some(field)) = reader.next() {
        match (field.number, field.wire) {
            (1, LEN) => name = String::from_utf8_lossy(field.payload(payload)).into_owned(),
            (2, VARINT) => number = field.a as u32,
            _ => {}
        }
    }
    (name, number)
}

type File = crate::schema::File;

/// A file and all that it imports, which spares the client a round trip per level.
fn put_files(schema: &Schema, found: Option<&File>, asked: &str, out: &mut Vec<u8>) {
    let Some(first) = found else {
        return put_error(out, NOT_FOUND, &format!("not found: {asked}"));
    };
    let mut files = vec![first];
    let mut at = 0;
    while let Some(file) = files.get(at) {
        let imports: Vec<&File> = file
            .dependency
            .iter()
            .filter_map(|name| schema.pool().file_by_name(name))
            .collect();
        for import in imports {
            if !files.iter().any(|known| known.name == import.name) {
                files.push(import);
            }
        }
        at += 1;
    }
    let mut inner = Vec::new();
    for file in files {
        put_len(&mut inner, 1, &file.encode_to_vec());
    }
    put_len(out, 4, &inner);
}

fn put_error(out: &mut Vec<u8>, code: u64, about: &str) {
    let mut inner = Vec::new();
    put_tag(&mut inner, 1, VARINT);
    put_varint(&mut inner, code);
    put_len(&mut inner, 2, about.as_bytes());
    put_len(out, 7, &inner);
}
