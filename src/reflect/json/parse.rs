//! JSON text to wire bytes: one loop over an explicit stack of open objects and arrays.
//! A message's length is unknown until it ends, so one byte is left for it; the few that need
//! more are noted and spliced in by a single pass at the end. Hence time stays linear however
//! deep messages nest.

use std::borrow::Cow;
use std::ops::Range;

use super::lexer::{Fault, Lexed, Lexer};
use super::scalar::{self, Token};
use super::{JsonError, ParseOptions, UnknownFields, base64, text, time};
use crate::schema::Inner;
use crate::schema::table::{self, Field, Shape, Table, Type, WellKnown};
use crate::wire;

pub(crate) struct Parser<'s, 'a> {
    schema: &'s Inner,
    options: &'a ParseOptions,
    lexer: Lexer<'a>,
    out: &'a mut Vec<u8>,
    frames: Vec<Frame<'s>>,
    holes: Vec<Hole>,
    patches: Vec<Patch>,
    /// Bytes that the patches will add.
    extra: usize,
    /// Bit sets of fields and oneofs seen, one behind the other, one per open message.
    seen: Vec<u64>,
    /// Where the keys of the open maps stand in `out`.
    keys: Vec<Range<usize>>,
    /// Bytes that looking ahead for `@type` may still read, so that nested `Any`s whose type
    /// comes last cannot cost quadratic time.
    lookahead: usize,
}

/// A length or end tag still to be written.
enum Hole {
    Length { at: usize, extra: usize },
    Group { number: u32 },
}

/// A length that needs more than the one byte left for it at `at`.
struct Patch {
    at: usize,
    length: usize,
}

struct Frame<'s> {
    kind: Kind<'s>,
    /// Holes above this mark are closed with the frame.
    holes: usize,
    started: bool,
    place: Place,
}

#[derive(Clone, Copy)]
enum Kind<'s> {
    Message {
        table: &'s Table,
        seen: usize,
        any: bool,
    },
    List {
        field: &'s Field,
        packed: bool,
    },
    Map {
        field: &'s Field,
        keys: usize,
    },
    /// An `Any` of a type with its own JSON form: `{"@type": …, "value": …}`.
    AnyValue {
        table: &'s Table,
    },
    /// An `Any` as bytes: `{"@type": …, "@value": base64}`.
    AnyBytes,
}

/// What of a frame is being read, for the path of an error.
#[derive(Clone)]
enum Place {
    Start,
    Slot(u16),
    Key(Range<usize>),
    Index(usize),
}

/// Whether a value was written or, as an enum name unknown here, left out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Put {
    Done,
    Skipped,
}

impl<'s, 'a> Parser<'s, 'a> {
    pub(crate) fn new(
        schema: &'s Inner,
        json: &'a [u8],
        options: &'a ParseOptions,
        out: &'a mut Vec<u8>,
    ) -> Result<Parser<'s, 'a>, JsonError> {
        let lexer = Lexer::new(json).map_err(|fault| JsonError {
            path: String::new(),
            message: fault.message.into_owned(),
            offset: fault.offset,
        })?;
        Ok(Parser {
            schema,
            options,
            lexer,
            out,
            frames: Vec::new(),
            holes: Vec::new(),
            patches: Vec::new(),
            extra: 0,
            seen: Vec::new(),
            keys: Vec::new(),
            lookahead: json.len().saturating_mul(8).saturating_add(1024),
        })
    }

    /// The whole text is one message.
    pub(crate) fn root(&mut self, table: &'s Table) -> Result<(), JsonError> {
        let result = self
            .message(table, None, false, 0)
            .and_then(|()| self.run());
        self.settle(result)
    }

    /// The whole text is the value of one field; its tag is written as well.
    pub(crate) fn root_field(&mut self, field: &'s Field) -> Result<(), JsonError> {
        let result = self.field_value(field).and_then(|()| self.run());
        self.settle(result)
    }

    fn run(&mut self) -> Lexed<()> {
        while let Some(frame) = self.frames.last() {
            match frame.kind {
                Kind::Message { table, seen, any } => self.step_message(table, seen, any)?,
                Kind::List { field, packed } => self.step_list(field, packed)?,
                Kind::Map { field, keys } => self.step_map(field, keys)?,
                Kind::AnyValue { table } => self.step_any_value(table)?,
                Kind::AnyBytes => self.step_any_bytes()?,
            }
        }
        self.close(0);
        self.lexer.end()
    }

    fn settle(&mut self, result: Lexed<()>) -> Result<(), JsonError> {
        match result {
            Ok(()) => {
                self.splice();
                Ok(())
            }
            Err(Fault { message, offset }) => Err(JsonError {
                path: self.path(),
                message: message.into_owned(),
                offset,
            }),
        }
    }

    /// Writes the lengths that did not fit their byte, last first, moving each byte once.
    fn splice(&mut self) {
        self.patches.sort_unstable_by_key(|patch| patch.at);
        let mut end = self.out.len();
        let mut shift = self.extra;
        self.out.resize(end + shift, 0);
        for patch in self.patches.iter().rev() {
            self.out
                .copy_within(patch.at + 1..end, patch.at + 1 + shift);
            let width = wire::varint_len(patch.length as u64);
            shift -= width - 1;
            let mut value = patch.length;
            for at in 0..width {
                let more = if at + 1 < width { 0x80 } else { 0 };
                self.out[patch.at + shift + at] = (value & 0x7f) as u8 | more;
                value >>= 7;
            }
            end = patch.at;
        }
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for frame in &self.frames {
            match (&frame.kind, &frame.place) {
                (_, Place::Start) => {}
                (_, Place::Index(index)) => path.push_str(&format!("[{index}]")),
                (Kind::Message { table, .. }, Place::Slot(slot)) => {
                    push_name(&mut path, &table.fields[usize::from(*slot)].json_name);
                }
                (Kind::Map { .. }, Place::Key(range)) => {
                    path.push_str(&format!("[{:?}]", self.lexer.shown(range.clone())));
                }
                (_, Place::Key(range)) => push_name(&mut path, &self.lexer.shown(range.clone())),
                (_, Place::Slot(_)) => {}
            }
        }
        path
    }

    fn place(&mut self, place: Place) {
        if let Some(frame) = self.frames.last_mut() {
            frame.place = place;
        }
    }

    fn push(&mut self, kind: Kind<'s>, holes: usize) -> Lexed<()> {
        if self.frames.len() >= self.options.max_depth {
            let limit = self.options.max_depth;
            return self.lexer.fault(format!(
                "nested deeper than {limit} levels, which is the limit"
            ));
        }
        self.frames.push(Frame {
            kind,
            holes,
            started: false,
            place: Place::Start,
        });
        Ok(())
    }

    fn pop(&mut self) {
        if let Some(frame) = self.frames.pop() {
            if let Kind::Message { seen, .. } = frame.kind {
                self.seen.truncate(seen);
            }
            self.close(frame.holes);
        }
    }

    /// Writes a tag and leaves room for the length, or opens a group.
    fn open(&mut self, number: u32, delimited: bool) {
        if delimited {
            wire::put_tag(self.out, number, wire::START);
            self.holes.push(Hole::Group { number });
        } else {
            wire::put_tag(self.out, number, wire::LEN);
            self.holes.push(Hole::Length {
                at: self.out.len(),
                extra: self.extra,
            });
            self.out.push(0);
        }
    }

    fn close(&mut self, down_to: usize) {
        while self.holes.len() > down_to {
            match self.holes.pop() {
                Some(Hole::Length { at, extra }) => {
                    let length = self.out.len() - at - 1 + self.extra - extra;
                    if length < 0x80 {
                        self.out[at] = length as u8;
                    } else {
                        self.extra += wire::varint_len(length as u64) - 1;
                        self.patches.push(Patch { at, length });
                    }
                }
                Some(Hole::Group { number }) => wire::put_tag(self.out, number, wire::END),
                None => return,
            }
        }
    }

    /// Moves to the next member of the frame on top: true when there is one.
    #[inline]
    fn advance(&mut self, closer: u8) -> Lexed<bool> {
        let started = match self.frames.last_mut() {
            Some(frame) => std::mem::replace(&mut frame.started, true),
            None => false,
        };
        if started {
            if self.lexer.take(b',') {
                return Ok(true);
            }
            self.lexer.expect(closer, "or ','")?;
            return Ok(false);
        }
        Ok(!self.lexer.take(closer))
    }

    fn key(&mut self) -> Lexed<(Cow<'a, str>, Range<usize>)> {
        self.lexer.peek();
        let start = self.lexer.at + 1;
        let key = self.lexer.string()?;
        Ok((key, start..self.lexer.at.saturating_sub(1)))
    }

    fn step_message(&mut self, table: &'s Table, seen: usize, any: bool) -> Lexed<()> {
        // The slot that most likely comes next, as keys mostly come in order.
        let mut guess = match self.frames.last().map(|frame| &frame.place) {
            Some(Place::Slot(slot)) => slot + 1,
            _ => 0,
        };
        loop {
            if !self.advance(b'}')? {
                self.pop();
                return Ok(());
            }
            let (key, range) = self.key()?;
            let offset = range.start - 1;
            let Some(slot) = table.by_name(&key, guess) else {
                self.place(Place::Key(range));
                self.unknown_key(table, &key, any, offset)?;
                continue;
            };
            self.place(Place::Slot(slot));
            self.lexer.expect(b':', "after a field's name")?;
            guess = slot + 1;
            self.mark(seen, usize::from(slot), offset, "the field appears twice")?;
            let field = &table.fields[usize::from(slot)];
            if self.lexer.peek() == b'n' {
                self.lexer.literal("null")?;
                if field.shape != Shape::Single || !field.takes_null(self.schema) {
                    continue;
                }
                self.mark_oneof(table, seen, field, offset)?;
                self.null_value(field);
                continue;
            }
            self.mark_oneof(table, seen, field, offset)?;
            let depth = self.frames.len();
            self.field_value(field)?;
            if self.frames.len() != depth {
                return Ok(());
            }
        }
    }

    fn unknown_key(&mut self, table: &Table, key: &str, any: bool, offset: usize) -> Lexed<()> {
        let empty = any && table.fields.is_empty() && key == "value";
        let known = empty || (any && key == "@type");
        if !known && self.options.unknown_fields == UnknownFields::Reject {
            let message = if key.starts_with('[') {
                format!("{} has no such extension", table.full_name)
            } else {
                let names: Vec<String> = table
                    .fields
                    .iter()
                    .map(|f| f.json_name.to_string())
                    .collect();
                let hint = crate::schema::nearest(key, &names)
                    .map(|name| format!("; did you mean {name}?"))
                    .unwrap_or_default();
                format!("{} has no such field{hint}", table.full_name)
            };
            return Err(Fault {
                message: message.into(),
                offset,
            });
        }
        self.lexer.expect(b':', "after a field's name")?;
        self.lexer
            .skip(self.options.max_depth.saturating_sub(self.frames.len()))
    }

    fn mark(&mut self, base: usize, bit: usize, offset: usize, wrong: &'static str) -> Lexed<()> {
        let word = &mut self.seen[base + bit / 64];
        let mask = 1u64 << (bit % 64);
        if *word & mask != 0 {
            return Err(Fault {
                message: wrong.into(),
                offset,
            });
        }
        *word |= mask;
        Ok(())
    }

    #[inline]
    fn mark_oneof(
        &mut self,
        table: &Table,
        seen: usize,
        field: &Field,
        offset: usize,
    ) -> Lexed<()> {
        let Some(oneof) = field.oneof else {
            return Ok(());
        };
        let bit = table.fields.len().div_ceil(64) * 64 + usize::from(oneof);
        self.mark(seen, bit, offset, "").map_err(|_| Fault {
            message: format!(
                "another member of the oneof '{}' is already set",
                table.oneofs[usize::from(oneof)]
            )
            .into(),
            offset,
        })
    }

    /// A `Value` or `NullValue` that is null.
    fn null_value(&mut self, field: &Field) {
        if field.null_value {
            if !field.implicit {
                wire::put_tag(self.out, field.number, wire::VARINT);
                self.out.push(0);
            }
        } else {
            let holes = self.holes.len();
            self.open(field.number, field.delimited);
            self.out.extend_from_slice(&[0x08, 0x00]);
            self.close(holes);
        }
    }

    /// The value of a whole field, of whatever shape; null has been seen to.
    fn field_value(&mut self, field: &'s Field) -> Lexed<()> {
        match field.shape {
            Shape::Single => {
                let holes = self.holes.len();
                self.element(field, field.number, field.implicit, false, holes)
                    .map(drop)
            }
            Shape::List => {
                self.lexer.expect(b'[', "to begin a repeated field")?;
                self.open_list(field, self.holes.len())
            }
            Shape::Map(_) => {
                self.lexer.expect(b'{', "to begin a map")?;
                let keys = self.keys.len();
                self.push(Kind::Map { field, keys }, self.holes.len())
            }
        }
    }

    /// A list whose bracket has been read.
    fn open_list(&mut self, field: &'s Field, holes: usize) -> Lexed<()> {
        self.push(
            Kind::List {
                field,
                packed: field.packed,
            },
            holes,
        )?;
        if field.packed && self.lexer.peek() != b']' {
            self.open(field.number, false);
        }
        Ok(())
    }

    fn step_list(&mut self, field: &'s Field, packed: bool) -> Lexed<()> {
        loop {
            if !self.advance(b']')? {
                self.pop();
                return Ok(());
            }
            if let Some(Frame { place, .. }) = self.frames.last_mut() {
                *place = match place {
                    Place::Index(index) => Place::Index(*index + 1),
                    _ => Place::Index(0),
                };
            }
            if self.lexer.peek() == b'n' {
                if !field.takes_null(self.schema) {
                    return self.lexer.fault("null cannot stand in a repeated field");
                }
                self.lexer.literal("null")?;
                if packed {
                    self.out.push(0);
                } else {
                    self.null_value(field);
                }
                continue;
            }
            let depth = self.frames.len();
            let holes = self.holes.len();
            self.element(field, field.number, false, packed, holes)?;
            if self.frames.len() != depth {
                return Ok(());
            }
        }
    }

    fn step_map(&mut self, field: &'s Field, keys: usize) -> Lexed<()> {
        let Shape::Map(key_type) = field.shape else {
            return Ok(());
        };
        loop {
            if !self.advance(b'}')? {
                self.unique_keys(keys)?;
                self.pop();
                return Ok(());
            }
            let (key, range) = self.key()?;
            self.place(Place::Key(range));
            let offset = self.lexer.at;
            self.lexer.expect(b':', "after a key")?;
            let holes = self.holes.len();
            let entry = self.out.len();
            self.open(field.number, false);
            wire::put_tag(self.out, 1, table::wire_type(Type::Scalar(key_type), false));
            let start = self.out.len();
            scalar::put(key_type, &Token::Text(&key), self.out).map_err(|message| Fault {
                message: format!("the key: {message}").into(),
                offset,
            })?;
            self.keys.push(start..self.out.len());
            if self.lexer.peek() == b'n' {
                self.map_null(field, holes)?;
                continue;
            }
            let depth = self.frames.len();
            if self.element(field, 2, false, false, holes)? == Put::Skipped {
                self.out.truncate(entry);
                self.holes.truncate(holes);
                self.keys.pop();
            }
            if self.frames.len() != depth {
                return Ok(());
            }
        }
    }

    fn map_null(&mut self, field: &Field, holes: usize) -> Lexed<()> {
        if !field.takes_null(self.schema) {
            return self.lexer.fault("null cannot stand in a map");
        }
        self.lexer.literal("null")?;
        if field.null_value {
            self.out.extend_from_slice(&[0x10, 0x00]);
        } else {
            self.out.extend_from_slice(&[0x12, 0x02, 0x08, 0x00]);
        }
        self.close(holes);
        Ok(())
    }

    fn unique_keys(&mut self, from: usize) -> Lexed<()> {
        let out: &[u8] = self.out;
        let keys = &mut self.keys[from..];
        keys.sort_unstable_by(|a, b| out[a.clone()].cmp(&out[b.clone()]));
        let twice = keys
            .windows(2)
            .any(|pair| out[pair[0].clone()] == out[pair[1].clone()]);
        self.keys.truncate(from);
        if twice {
            self.place(Place::Start);
            return self.lexer.fault("a key appears twice in the map");
        }
        Ok(())
    }

    /// One value that is no list, map or null, with its tag unless it is packed. Closes the holes
    /// above `holes` when the value is complete; a message may leave that to its frame.
    #[inline]
    fn element(
        &mut self,
        field: &'s Field,
        number: u32,
        implicit: bool,
        packed: bool,
        holes: usize,
    ) -> Lexed<Put> {
        let start = self.out.len();
        match field.ty {
            Type::Scalar(ty) => {
                let (token, offset) = self.token()?;
                if !packed {
                    wire::put_tag(self.out, number, table::wire_type(field.ty, false));
                }
                let default = scalar::put(ty, &token, self.out)
                    .map_err(|message| Fault { message, offset })?;
                if default && implicit {
                    self.out.truncate(start);
                }
            }
            Type::Enum(id) => {
                let Some(value) = self.enumeration(field, id)? else {
                    return Ok(Put::Skipped);
                };
                if !(implicit && value == 0) {
                    if !packed {
                        wire::put_tag(self.out, number, wire::VARINT);
                    }
                    wire::put_varint(self.out, i64::from(value) as u64);
                }
            }
            Type::Message(id) => {
                let table = self.schema.table(id);
                let delimited = field.delimited;
                self.message(table, Some(number), delimited, holes)?;
                return Ok(Put::Done);
            }
        }
        self.close(holes);
        Ok(Put::Done)
    }

    fn token(&mut self) -> Lexed<(Token<'a>, usize)> {
        let first = self.lexer.peek();
        let offset = self.lexer.at;
        let token = match first {
            b'"' => Token::String(self.lexer.string()?),
            b'-' | b'0'..=b'9' => Token::Number(self.lexer.number()?),
            b't' => {
                self.lexer.literal("true")?;
                Token::Bool(true)
            }
            b'f' => {
                self.lexer.literal("false")?;
                Token::Bool(false)
            }
            _ => {
                let found = self.lexer.found();
                return self
                    .lexer
                    .fault(format!("expected a single value, found {found}"));
            }
        };
        Ok((token, offset))
    }

    /// An enum's number; `None` for an unknown name that is to be dropped.
    fn enumeration(&mut self, field: &Field, id: usize) -> Lexed<Option<i32>> {
        let (token, offset) = self.token()?;
        let table = self.schema.enum_table(id);
        let message = match &token {
            Token::String(name) => match table.number(name) {
                Some(number) => return Ok(Some(number)),
                None if self.options.unknown_fields == UnknownFields::Drop => return Ok(None),
                None => text::unknown_value(&table.names(), name),
            },
            token => match token.enum_number() {
                Ok(number) if field.closed && table.name(number).is_none() => {
                    format!("the enum is closed and has no value {number}").into()
                }
                Ok(number) => return Ok(Some(number)),
                Err(message) => message,
            },
        };
        Err(Fault { message, offset })
    }

    /// A message's value. `number` is `None` for the outermost, which has no tag.
    fn message(
        &mut self,
        table: &'s Table,
        number: Option<u32>,
        delimited: bool,
        holes: usize,
    ) -> Lexed<()> {
        self.lexer.peek();
        if let Some(number) = number {
            self.open(number, delimited);
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
                self.open(5, false);
                return self.push_struct(inner, holes);
            }
            b'[' => {
                let inner = self.inner(table, 6, WellKnown::ListValue)?;
                self.lexer.at += 1;
                self.open(6, false);
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

    fn step_any_value(&mut self, table: &'s Table) -> Lexed<()> {
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

    fn step_any_bytes(&mut self) -> Lexed<()> {
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

fn push_name(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}
