//! Messages that have a JSON form of their own, and the `Any` that may hold them.

use super::{Kind, Parser, Place};
use crate::json::lexer::{Fault, Lexed};
use crate::json::scalar::{self, Token};
use crate::json::{UnknownFields, base64, text, time};
use crate::schema::table::{self, Table, Type, WellKnown};
use crate::wire;

impl<'s> Parser<'s, '_> {
    /// A message's value. `number` is `None` for the outermost, which has no tag.
    pub(super) fn message(
        &mut self,
        table: &'s Table,
        number: Option<u32>,
        delimited: bool,
        holes: usize,
    ) -> Lexed<()> {
        self.lexer.peek();
        if let Some(number) = number {
            self.nest(number, delimited)?;
        }
        match table.kind {
            WellKnown::Plain => {
                self.lexer.expect(b'{', "to begin a message")?;
                return self.push_message(table, false, holes);
            }
            WellKnown::Struct => {
                self.lexer.expect(b'{', "to begin a Struct")?;
                return self.push_struct(table, holes);
            }
            WellKnown::ListValue => {
                self.lexer.expect(b'[', "to begin a ListValue")?;
                return self.push_values(table, holes);
            }
            WellKnown::Value => return self.value(table, holes),
            WellKnown::Any => return self.any(holes),
            WellKnown::Timestamp | WellKnown::Duration | WellKnown::FieldMask => {
                self.textual(table.kind)?;
            }
            WellKnown::Wrapper(ty) => {
                let (token, offset) = self.token()?;
                let start = self.out.len();
                wire::put_tag(self.out, 1, table::wire_type(Type::Scalar(ty), false));
                let default = scalar::put(ty, &token, self.out)
                    .map_err(|message| Fault { message, offset })?;
                if default {
                    self.out.truncate(start);
                }
            }
        }
        self.close(holes);
        Ok(())
    }

    fn push_message(&mut self, table: &'s Table, any: bool, holes: usize) -> Lexed<()> {
        let seen = self.seen.len();
        let words = table.fields.len().div_ceil(64) + table.oneofs.len().div_ceil(64);
        self.push(Kind::Message { table, seen, any }, holes)?;
        self.seen.resize(seen + words, 0);
        Ok(())
    }

    fn push_struct(&mut self, table: &'s Table, holes: usize) -> Lexed<()> {
        let Some(slot) = table.by_number(1) else {
            return self.lexer.fault("not a Struct");
        };
        let keys = self.keys.len();
        self.push(
            Kind::Map {
                field: &table.fields[usize::from(slot)],
                keys,
            },
            holes,
        )
    }

    fn push_values(&mut self, table: &'s Table, holes: usize) -> Lexed<()> {
        let Some(slot) = table.by_number(1) else {
            return self.lexer.fault("not a ListValue");
        };
        self.open_list(&table.fields[usize::from(slot)], holes)
    }

    /// The message that field `number` of `table` holds.
    fn inner(&self, table: &Table, number: u32, kind: WellKnown) -> Lexed<&'s Table> {
        let slot = table.by_number(number);
        match slot.map(|slot| table.fields[usize::from(slot)].ty) {
            Some(Type::Message(id)) if self.schema.table(id).kind == kind => {
                Ok(self.schema.table(id))
            }
            _ => self
                .lexer
                .fault("the schema's google.protobuf.Value is not the well-known one"),
        }
    }

    fn value(&mut self, table: &Table, holes: usize) -> Lexed<()> {
        match self.lexer.peek() {
            b'{' => {
                let inner = self.inner(table, 5, WellKnown::Struct)?;
                self.lexer.at += 1;
                self.nest(5, false)?;
                return self.push_struct(inner, holes);
            }
            b'[' => {
                let inner = self.inner(table, 6, WellKnown::ListValue)?;
                self.lexer.at += 1;
                self.nest(6, false)?;
                return self.push_values(inner, holes);
            }
            b'n' => {
                self.lexer.literal("null")?;
                self.out.extend_from_slice(&[0x08, 0x00]);
            }
            _ => {
                let (token, offset) = self.token()?;
                match &token {
                    Token::Bool(value) => self.out.extend_from_slice(&[0x20, u8::from(*value)]),
                    Token::String(text) => wire::put_len(self.out, 3, text.as_bytes()),
                    token => {
                        let value = token
                            .double()
                            .map_err(|message| Fault { message, offset })?;
                        self.out.push(0x11);
                        self.out.extend_from_slice(&value.to_le_bytes());
                    }
                }
            }
        }
        self.close(holes);
        Ok(())
    }

    fn textual(&mut self, kind: WellKnown) -> Lexed<()> {
        self.lexer.peek();
        let offset = self.lexer.at;
        let value = self.lexer.string()?;
        if kind != WellKnown::FieldMask {
            return text::put_time(kind, &value, self.out)
                .map_err(|message| Fault { message, offset });
        }
        for path in value.split(',').filter(|_| !value.is_empty()) {
            let Some(snake) = time::path_to_snake(path) else {
                let message = format!("a field mask in JSON is camelCase, found {path:?}").into();
                return Err(Fault { message, offset });
            };
            wire::put_len(self.out, 1, snake.as_bytes());
        }
        Ok(())
    }

    fn any(&mut self, holes: usize) -> Lexed<()> {
        self.lexer.expect(b'{', "to begin an Any")?;
        let offset = self.lexer.at;
        let (url, bytes) = self.look_for_type()?;
        let Some(url) = url else {
            if self.lexer.take(b'}') {
                self.close(holes);
                return Ok(());
            }
            return Err(Fault {
                message: "an Any needs its \"@type\"".into(),
                offset,
            });
        };
        wire::put_len(self.out, 1, url.as_bytes());
        self.open(2, false);
        if bytes {
            return self.push(Kind::AnyBytes, holes);
        }
        let name = url
            .rsplit_once('/')
            .map(|(_, name)| name)
            .unwrap_or_default();
        let Some(id) = self
            .schema
            .message_id_by_name(name)
            .filter(|_| !name.is_empty())
        else {
            let message = format!(
                "the type {url:?} is not in the schema; give its bytes as \"@value\" in base64"
            );
            return Err(Fault {
                message: message.into(),
                offset,
            });
        };
        let table = self.schema.table(id);
        match table.kind {
            WellKnown::Plain => self.push_message(table, true, holes),
            _ => self.push(Kind::AnyValue { table }, holes),
        }
    }

    /// The type of the object whose brace has been read, and whether it is given as bytes.
    fn look_for_type(&mut self) -> Lexed<(Option<String>, bool)> {
        let mut ahead = self.lexer.clone();
        let mut url = None;
        let mut bytes = false;
        while ahead.peek() == b'"' {
            let offset = ahead.at;
            let key = ahead.string()?;
            ahead.expect(b':', "after a field's name")?;
            if key == "@type" {
                if url.is_some() {
                    return Err(Fault {
                        message: "\"@type\" appears twice".into(),
                        offset,
                    });
                }
                url = Some(ahead.string()?.into_owned());
                // The common form has the type first; then only the key behind it matters.
                let mut next = ahead.clone();
                if next.take(b',') && next.peek() == b'"' && next.string()? != "@value" {
                    break;
                }
            } else {
                bytes |= key == "@value";
                ahead.skip(self.options.max_depth.saturating_sub(self.frames.len()))?;
            }
            if !ahead.take(b',') || (url.is_some() && bytes) {
                break;
            }
        }
        let read = ahead.at - self.lexer.at;
        match self.lookahead.checked_sub(read) {
            Some(left) => self.lookahead = left,
            None => {
                return self
                    .lexer
                    .fault("put \"@type\" first in nested Any messages");
            }
        }
        Ok((url, bytes))
    }

    pub(super) fn step_any_value(&mut self, table: &'s Table) -> Lexed<()> {
        if !self.advance(b'}')? {
            self.pop();
            return Ok(());
        }
        let (key, range) = self.key()?;
        let offset = self.lexer.at;
        self.lexer.expect(b':', "after a field's name")?;
        match key.as_ref() {
            "@type" => self.lexer.string().map(drop),
            "value" => {
                if matches!(self.frames.last(), Some(f) if matches!(f.place, Place::Key(_))) {
                    return Err(Fault {
                        message: "\"value\" appears twice".into(),
                        offset,
                    });
                }
                self.place(Place::Key(range));
                let holes = self.holes.len();
                self.message(table, None, false, holes)
            }
            _ if self.options.unknown_fields == UnknownFields::Drop => self
                .lexer
                .skip(self.options.max_depth.saturating_sub(self.frames.len())),
            _ => {
                self.place(Place::Key(range));
                let message = format!("an Any of {} has only \"value\"", table.full_name);
                Err(Fault {
                    message: message.into(),
                    offset,
                })
            }
        }
    }

    pub(super) fn step_any_bytes(&mut self) -> Lexed<()> {
        if !self.advance(b'}')? {
            self.pop();
            return Ok(());
        }
        let (key, range) = self.key()?;
        self.place(Place::Key(range));
        self.lexer.expect(b':', "after a field's name")?;
        let offset = self.lexer.at;
        let text = self.lexer.string()?;
        match key.as_ref() {
            "@type" => Ok(()),
            "@value" => base64::decode(&text, self.out).ok_or(Fault {
                message: "not base64".into(),
                offset,
            }),
            _ => Err(Fault {
                message: "an Any as bytes has only \"@value\"".into(),
                offset,
            }),
        }
    }
}
