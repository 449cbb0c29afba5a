//! JSON text to wire bytes: one loop over an explicit stack of open objects and arrays.
//! Invariant: what stands in `out` is never moved before the end, so places in it stay true.

mod length;
mod well_known;

use std::borrow::Cow;
use std::ops::Range;

use super::lexer::{Fault, Lexed, Lexer};
use super::scalar::{self, Token};
use super::{JsonError, ParseOptions, UnknownFields, text};
use crate::schema::Inner;
use crate::schema::table::{self, Field, Shape, Table, Type};
use crate::wire;
use length::{Hole, Patch};

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
                path: super::shortened(self.path()),
                message: message.into_owned(),
                offset,
            }),
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
            self.nest(field.number, false)?;
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
}

fn push_name(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}
