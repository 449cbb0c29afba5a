//! What a JSON body mentions, as field mask paths. The body has been parsed before; what cannot
//! be read here is left out.

use crate::json::Lexer;
use crate::schema::Inner;
use crate::schema::table::{Shape, Table, Type, WellKnown};

/// Deeper members count as their ancestor at this depth.
const MAX_DEPTH: usize = 32;
const MAX_SKIP: usize = 10_000;

/// The proto paths of all values that the body gives, relative to its message.
pub(super) fn paths(schema: &Inner, table: &Table, body: &[u8]) -> Vec<String> {
    let mut paths = Vec::new();
    if let Ok(mut lexer) = Lexer::new(body) {
        // The text is known to be well formed; an error would only cut the list short.
        let _ = collect(schema, table, &mut lexer, "", MAX_DEPTH, &mut paths);
    }
    paths
}

fn collect(
    schema: &Inner,
    table: &Table,
    lexer: &mut Lexer<'_>,
    prefix: &str,
    depth: usize,
    paths: &mut Vec<String>,
) -> Option<()> {
    lexer.take(b'{').then_some(())?;
    while lexer.peek() == b'"' {
        let key = lexer.string().ok()?;
        lexer.take(b':').then_some(())?;
        match table.field(&key) {
            None => lexer.skip(MAX_SKIP).ok()?,
            Some(field) => {
                let path = if prefix.is_empty() {
                    field.name.to_string()
                } else {
                    format!("{prefix}.{}", field.name)
                };
                let inner = match field.ty {
                    Type::Message(id) if field.shape == Shape::Single => Some(schema.table(id)),
                    _ => None,
                };
                let before = paths.len();
                match inner {
                    Some(inner)
                        if inner.kind == WellKnown::Plain && depth > 0 && lexer.peek() == b'{' =>
                    {
                        collect(schema, inner, lexer, &path, depth - 1, paths)?;
                    }
                    _ => lexer.skip(MAX_SKIP).ok()?,
                }
                if paths.len() == before {
                    paths.push(path);
                }
            }
        }
        if !lexer.take(b',') {
            break;
        }
    }
    lexer.take(b'}').then_some(())
}

/// The key of an object that has exactly one member.
pub(super) fn only_key(body: &[u8]) -> Option<String> {
    let mut lexer = Lexer::new(body).ok()?;
    lexer.take(b'{').then_some(())?;
    let key = lexer.string().ok()?.into_owned();
    lexer.take(b':').then_some(())?;
    lexer.skip(MAX_SKIP).ok()?;
    lexer.take(b'}').then_some(key)
}
