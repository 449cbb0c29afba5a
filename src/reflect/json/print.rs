//! Wire bytes to JSON text: one loop over an explicit stack of open messages, lists and maps.
//! Each message's fields are noted first and then written in declaration order, so that what
//! protobuf allows on the wire (fields in any order, split lists, repeated singulars that merge,
//! map keys twice) comes out as one object.

mod list;
mod map;
mod scan;
mod well_known;

use std::rc::Rc;

use buffa_descriptor::ScalarType;

use super::scalar::{self, Wrong};
use super::{JsonError, PrintOptions};
use crate::schema::Inner;
use crate::schema::table::{Field, Shape, Table, Type};
use crate::wire::{Raw, WireError};
use map::{Entry, print_key};

/// Indentation grows no further than this, or deep nesting would make the text quadratic.
const MAX_INDENT_LEVELS: usize = 64;

/// How often a message's bytes may be copied, on average, because parts of it come in parts again:
/// senders do it hardly ever, and hostile nesting would otherwise cost the square of its size.
const MERGE_FACTOR: usize = 8;

pub(crate) struct Printer<'s, 'a> {
    schema: &'s Inner,
    options: &'a PrintOptions,
    out: &'a mut Vec<u8>,
    frames: Vec<Frame<'s, 'a>>,
    /// The fields found in the open messages, one message behind the other.
    found: Vec<Found>,
    /// Frames that have no bracket of their own: those below an `Any` shown in its message's.
    bare: usize,
    /// Bytes that messages in parts may still take to be put together.
    merge_left: usize,
}

/// One known field on the wire.
#[derive(Clone, Copy)]
struct Found {
    slot: u16,
    raw: Raw,
}

/// Wire bytes: the caller's, or some put together here because a message came in parts.
#[derive(Clone)]
enum Data<'a> {
    Input(&'a [u8]),
    Merged(Rc<[u8]>, usize, usize),
}

impl<'a> Data<'a> {
    fn bytes(&self) -> &[u8] {
        match self {
            Data::Input(bytes) => bytes,
            Data::Merged(bytes, start, end) => &bytes[*start..*end],
        }
    }

    fn part(&self, raw: &Raw) -> Data<'a> {
        match self {
            Data::Input(bytes) => Data::Input(raw.payload(bytes)),
            Data::Merged(bytes, start, _) => {
                Data::Merged(bytes.clone(), start + raw.start(), start + raw.b)
            }
        }
    }
}

struct Frame<'s, 'a> {
    kind: Kind<'s, 'a>,
    data: Data<'a>,
    /// `found` is cut to this length when the frame is done.
    base: usize,
    /// The next of `found`, and where they end.
    next: usize,
    end: usize,
    /// Whether nothing has been written inside yet.
    empty: bool,
}

enum Kind<'s, 'a> {
    Message {
        table: &'s Table,
        slot: usize,
    },
    /// Only lists of messages: the others are written in one go.
    List {
        field: &'s Field,
        index: usize,
    },
    Map {
        field: &'s Field,
        entries: Rc<[Entry<'a>]>,
        at: usize,
    },
    /// Below what an `Any` holds: closes it, and takes over when its content is malformed.
    Any {
        url: String,
        value: Data<'a>,
        restart: usize,
        closer: bool,
    },
}

type Printed<T> = Result<T, Wrong>;

fn wrong(error: WireError) -> Wrong {
    error.to_string().into()
}

impl<'s, 'a> Printer<'s, 'a> {
    pub(crate) fn new(
        schema: &'s Inner,
        options: &'a PrintOptions,
        out: &'a mut Vec<u8>,
    ) -> Printer<'s, 'a> {
        Printer {
            schema,
            options,
            out,
            frames: Vec::new(),
            found: Vec::new(),
            bare: 0,
            merge_left: 0,
        }
    }

    pub(crate) fn root(&mut self, table: &'s Table, wire: &'a [u8]) -> Result<(), JsonError> {
        self.merge_left = MERGE_FACTOR * wire.len() + MERGE_FACTOR;
        let result = self.message(table, Data::Input(wire));
        self.run(result)
    }

    /// Only one field's value.
    pub(crate) fn root_field(
        &mut self,
        table: &'s Table,
        slot: u16,
        wire: &'a [u8],
    ) -> Result<(), JsonError> {
        self.merge_left = MERGE_FACTOR * wire.len() + MERGE_FACTOR;
        let result = self.lone_field(table, slot, wire);
        self.run(result)
    }

    fn lone_field(&mut self, table: &'s Table, slot: u16, wire: &'a [u8]) -> Printed<()> {
        let data = Data::Input(wire);
        let (base, end) = self.scan(table, &data)?;
        let range = self.slot_range(base, end, slot);
        let field = &table.fields[usize::from(slot)];
        if range.is_empty() || !self.field_value(field, &data, range.start, range.end)? {
            self.default(field);
        }
        Ok(())
    }

    fn slot_range(&self, base: usize, end: usize, slot: u16) -> std::ops::Range<usize> {
        let found = &self.found[base..end];
        let from = found.partition_point(|f| f.slot < slot);
        let to = found.partition_point(|f| f.slot <= slot);
        base + from..base + to
    }

    /// Works off the frames; what is wrong inside an `Any` costs that `Any` alone.
    fn run(&mut self, mut result: Printed<()>) -> Result<(), JsonError> {
        loop {
            match result {
                Ok(()) if self.frames.is_empty() => return Ok(()),
                Ok(()) => result = self.step(),
                Err(message) => {
                    let path = super::shortened(self.path());
                    if !self.degrade() {
                        return Err(JsonError {
                            path,
                            message: message.into_owned(),
                            offset: 0,
                        });
                    }
                    result = Ok(());
                }
            }
        }
    }

    fn step(&mut self) -> Printed<()> {
        match self.frames.last().map(|frame| &frame.kind) {
            Some(Kind::Message { table, slot }) => {
                let (table, slot) = (*table, *slot);
                self.step_message(table, slot)
            }
            Some(Kind::List { field, .. }) => {
                let field = *field;
                self.step_list(field)
            }
            Some(Kind::Map { field, entries, at }) => {
                let (field, entries, at) = (*field, entries.clone(), *at);
                self.step_map(field, &entries, at)
            }
            Some(Kind::Any { closer, .. }) => {
                let closer = *closer;
                self.frames.pop();
                self.bare -= usize::from(!closer);
                if closer {
                    self.line(self.depth());
                    self.out.push(b'}');
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Replaces the innermost `Any` by its type and bytes. False when there is none.
    fn degrade(&mut self) -> bool {
        while let Some(frame) = self.frames.pop() {
            self.found.truncate(frame.base);
            if let Kind::Any {
                url,
                value,
                restart,
                closer,
            } = frame.kind
            {
                self.bare -= usize::from(!closer);
                self.out.truncate(restart);
                self.any_bytes(&url, value.bytes());
                return true;
            }
        }
        false
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for frame in &self.frames {
            match &frame.kind {
                Kind::Message { table, slot } => {
                    if let Some(field) = slot.checked_sub(1).and_then(|at| table.fields.get(at)) {
                        if !path.is_empty() {
                            path.push('.');
                        }
                        path.push_str(&field.json_name);
                    }
                }
                Kind::List { index, .. } => {
                    path.push_str(&format!("[{}]", index.saturating_sub(1)));
                }
                Kind::Map { field, entries, at } => {
                    if let Some(entry) = at.checked_sub(1).and_then(|at| entries.get(at))
                        && let Shape::Map(ty) = field.shape
                    {
                        let mut key = Vec::new();
                        let _ = print_key(ty, &entry.key, &mut key);
                        path.push_str(&format!("[{}]", String::from_utf8_lossy(&key)));
                    }
                }
                Kind::Any { .. } => {}
            }
        }
        path
    }

    /// Levels of objects and arrays that are open.
    fn depth(&self) -> usize {
        self.frames.len() - self.bare
    }

    /// A new line, when lines are wanted.
    fn line(&mut self, depth: usize) {
        if let Some(width) = self.options.indent {
            self.out.push(b'\n');
            let spaces = usize::from(width) * depth.min(MAX_INDENT_LEVELS);
            self.out.resize(self.out.len() + spaces, b' ');
        }
    }

    /// Begins a member of the frame on top: comma, line.
    #[inline]
    fn begin(&mut self) {
        if let Some(frame) = self.frames.last_mut()
            && !std::mem::replace(&mut frame.empty, false)
        {
            self.out.push(b',');
        }
        if self.options.indent.is_some() {
            let depth = self.depth();
            self.line(depth);
        }
    }

    #[inline]
    fn key(&mut self, field: &Field) {
        self.begin();
        let key = if self.options.proto_names {
            &field.proto_key
        } else {
            &field.json_key
        };
        self.out.extend_from_slice(key);
        self.space();
    }

    #[inline]
    fn space(&mut self) {
        if self.options.indent.is_some() {
            self.out.push(b' ');
        }
    }

    /// Ends the frame on top with its closing bracket.
    fn finish(&mut self, closer: u8) {
        if let Some(frame) = self.frames.pop() {
            self.found.truncate(frame.base);
            if !frame.empty && self.options.indent.is_some() {
                let depth = self.depth();
                self.line(depth);
            }
        }
        self.out.push(closer);
    }

    /// Parts of one message merge exactly as if their bytes stood together.
    fn merge(&mut self, parts: &[Raw], data: &Data<'a>) -> Printed<Data<'a>> {
        let mut merged = Vec::new();
        for raw in parts {
            merged.extend_from_slice(raw.payload(data.bytes()));
        }
        let length = merged.len();
        self.merge_left = self
            .merge_left
            .checked_sub(length)
            .ok_or("too many messages inside each other come in parts")?;
        Ok(Data::Merged(merged.into(), 0, length))
    }

    fn push(&mut self, frame: Frame<'s, 'a>) -> Printed<()> {
        if self.frames.len() >= self.options.max_depth {
            let limit = self.options.max_depth;
            return Err(format!("nested deeper than {limit} levels, which is the limit").into());
        }
        self.frames.push(frame);
        Ok(())
    }

    fn step_message(&mut self, table: &'s Table, mut slot: usize) -> Printed<()> {
        let Some(frame) = self.frames.last() else {
            return Ok(());
        };
        let (mut next, end) = (frame.next, frame.end);
        let data = frame.data.clone();
        let depth = self.frames.len();
        loop {
            let target = if next < end {
                usize::from(self.found[next].slot)
            } else {
                table.fields.len()
            };
            while self.options.emit_defaults && slot < target {
                self.unset(&table.fields[slot]);
                slot += 1;
            }
            if next >= end {
                self.finish(b'}');
                return Ok(());
            }
            let mut run = next + 1;
            while run < end && usize::from(self.found[run].slot) == target {
                run += 1;
            }
            let field = &table.fields[target];
            slot = target + 1;
            self.save(run, slot);
            let (before, empty) = (self.out.len(), self.frames[depth - 1].empty);
            self.key(field);
            if !self.field_value(field, &data, next, run)? {
                // Nothing in it counts.
                self.out.truncate(before);
                self.frames[depth - 1].empty = empty;
                if self.options.emit_defaults {
                    self.unset(field);
                }
            }
            next = run;
            if self.frames.len() != depth {
                return Ok(());
            }
        }
    }

    fn save(&mut self, run: usize, to: usize) {
        if let Some(frame) = self.frames.last_mut() {
            frame.next = run;
            if let Kind::Message { slot, .. } = &mut frame.kind {
                *slot = to;
            }
        }
    }

    /// A field that is not set, where such are wanted.
    fn unset(&mut self, field: &Field) {
        if field.extension || field.oneof.is_some() {
            return;
        }
        let message = matches!(field.ty, Type::Message(_));
        if field.shape != Shape::Single || field.implicit || (message && self.options.emit_null) {
            self.key(field);
            self.default(field);
        }
    }

    fn default(&mut self, field: &Field) {
        let text: &[u8] = match (field.shape, field.ty) {
            (Shape::List, _) => b"[]",
            (Shape::Map(_), _) => b"{}",
            (Shape::Single, Type::Message(_)) => b"null",
            (Shape::Single, _) if !field.implicit => b"null",
            (Shape::Single, Type::Enum(id)) => {
                let first = self.schema.enum_table(id).first;
                return self.enumeration(field, id, first);
            }
            (Shape::Single, Type::Scalar(ty)) => return scalar::print(ty, 0, self.out),
        };
        self.out.extend_from_slice(text);
    }

    fn enumeration(&mut self, field: &Field, id: usize, number: i32) {
        if field.null_value {
            self.out.extend_from_slice(b"null");
            return;
        }
        match self
            .schema
            .enum_table(id)
            .name(number)
            .filter(|_| !self.options.enum_numbers)
        {
            Some(name) => self.out.extend_from_slice(name),
            None => super::number::put_i64(self.out, i64::from(number)),
        }
    }

    /// The value of `found[from..to]`, all of one field. False when none of it counts.
    fn field_value(
        &mut self,
        field: &'s Field,
        data: &Data<'a>,
        from: usize,
        to: usize,
    ) -> Printed<bool> {
        match (field.shape, field.ty) {
            (Shape::Map(key), _) => self.map(field, key, data, from, to),
            (Shape::List, Type::Message(_)) => {
                self.out.push(b'[');
                let base = self.found.len();
                let kind = Kind::List { field, index: 0 };
                let data = data.clone();
                self.push(Frame {
                    kind,
                    data,
                    base,
                    next: from,
                    end: to,
                    empty: true,
                })?;
                Ok(true)
            }
            (Shape::List, _) => self.flat_list(field, data, from, to),
            (Shape::Single, Type::Message(id)) => {
                let inner = self.schema.table(id);
                if to - from == 1 {
                    let part = data.part(&self.found[from].raw);
                    self.message(inner, part)?;
                } else {
                    let parts: Vec<Raw> = self.found[from..to].iter().map(|f| f.raw).collect();
                    let merged = self.merge(&parts, data)?;
                    self.message(inner, merged)?;
                }
                Ok(true)
            }
            (Shape::Single, _) => {
                let last = self.found[from..to]
                    .iter()
                    .rev()
                    .find(|f| self.set(field, f))
                    .copied();
                let Some(last) = last else { return Ok(false) };
                if field.implicit
                    && !self.options.emit_defaults
                    && is_default(field, &last.raw, data)
                {
                    return Ok(false);
                }
                self.flat(field, &last.raw, data)?;
                Ok(true)
            }
        }
    }

    /// A scalar or enum.
    #[inline]
    fn flat(&mut self, field: &Field, raw: &Raw, data: &Data<'_>) -> Printed<()> {
        match field.ty {
            Type::Scalar(ty @ (ScalarType::String | ScalarType::Bytes)) => {
                scalar::print_bytes(ty, raw.payload(data.bytes()), self.out)
            }
            Type::Scalar(ty) => {
                scalar::print(ty, raw.a, self.out);
                Ok(())
            }
            Type::Enum(id) => {
                self.enumeration(field, id, raw.a as i32);
                Ok(())
            }
            Type::Message(_) => Ok(()),
        }
    }
}

fn is_default(field: &Field, raw: &Raw, data: &Data<'_>) -> bool {
    match field.ty {
        Type::Scalar(ScalarType::String | ScalarType::Bytes) => {
            raw.payload(data.bytes()).is_empty()
        }
        Type::Scalar(ScalarType::Int32 | ScalarType::Uint32 | ScalarType::Sint32)
        | Type::Enum(_) => raw.a as u32 == 0,
        _ => raw.a == 0,
    }
}
