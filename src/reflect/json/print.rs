//! Wire bytes to JSON text: one loop over an explicit stack of open messages, lists and maps.
//! Each message's fields are noted first and then written in declaration order, so that what
//! protobuf allows on the wire (fields in any order, split lists, repeated singulars that merge,
//! map keys twice) comes out as one object.

use std::rc::Rc;

use buffa_descriptor::ScalarType;

use super::scalar::{self, Wrong};
use super::{JsonError, PrintOptions, base64, quote, time};
use crate::schema::Inner;
use crate::schema::table::{self, Field, Shape, Table, Type, WellKnown};
use crate::wire::{self, Raw, Reader, WireError};

/// Indentation grows no further than this, or deep nesting would make the text quadratic.
const MAX_INDENT_LEVELS: usize = 64;

pub(crate) struct Printer<'s, 'a> {
    schema: &'s Inner,
    options: &'a PrintOptions,
    out: &'a mut Vec<u8>,
    frames: Vec<Frame<'s, 'a>>,
    /// The fields found in the open messages, one message behind the other.
    found: Vec<Found>,
    /// Frames that have no bracket of their own: those below an `Any` shown in its message's.
    bare: usize,
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

/// One map entry, by key.
struct Entry<'a> {
    key: Key<'a>,
    /// Its value as found, in `data`; `None` is the default.
    value: Option<Raw>,
    data: Data<'a>,
}

#[derive(Clone)]
enum Key<'a> {
    Number(u64),
    Text(Data<'a>),
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
        }
    }

    pub(crate) fn root(&mut self, table: &'s Table, wire: &'a [u8]) -> Result<(), JsonError> {
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
                    let path = self.path();
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

    fn push(&mut self, frame: Frame<'s, 'a>) -> Printed<()> {
        if self.frames.len() >= self.options.max_depth {
            let limit = self.options.max_depth;
            return Err(format!("nested deeper than {limit} levels, which is the limit").into());
        }
        self.frames.push(frame);
        Ok(())
    }

    /// Notes the known fields of a message, ordered by slot; returns where they stand in `found`.
    fn scan(&mut self, table: &Table, data: &Data<'a>) -> Printed<(usize, usize)> {
        let base = self.found.len();
        let mut reader = Reader::new(data.bytes());
        let mut sorted = true;
        let mut oneofs = false;
        let mut last = 0;
        while let Some(raw) = reader.next().map_err(wrong)? {
            let Some(slot) = table.by_number(raw.number) else {
                continue;
            };
            let field = &table.fields[usize::from(slot)];
            if !fits(field, raw.wire) {
                continue;
            }
            sorted &= slot >= last;
            oneofs |= field.oneof.is_some();
            last = slot;
            self.found.push(Found { slot, raw });
        }
        if oneofs {
            self.settle_oneofs(table, base);
        }
        if !sorted {
            self.found[base..].sort_by_key(|found| found.slot);
        }
        Ok((base, self.found.len()))
    }

    /// Of each oneof only the last run of its last member counts.
    fn settle_oneofs(&mut self, table: &Table, base: usize) {
        let member = |found: &Found| {
            let field = &table.fields[usize::from(found.slot)];
            field.oneof.filter(|_| self.set(field, found))
        };
        let members = self.found[base..]
            .iter()
            .filter(|f| member(f).is_some())
            .count();
        if members < 2 {
            return;
        }
        let mut last: Vec<Option<u16>> = vec![None; table.oneofs.len()];
        let mut over: Vec<bool> = vec![false; table.oneofs.len()];
        let mut keep = vec![true; self.found.len() - base];
        for (keep, found) in keep.iter_mut().zip(&self.found[base..]).rev() {
            let Some(oneof) = member(found).map(usize::from) else {
                continue;
            };
            match last[oneof] {
                None => last[oneof] = Some(found.slot),
                Some(slot) if slot != found.slot => over[oneof] = true,
                Some(_) => {}
            }
            *keep = !over[oneof];
        }
        let mut at = base;
        for (offset, keep) in keep.into_iter().enumerate() {
            if keep {
                self.found[at] = self.found[base + offset];
                at += 1;
            }
        }
        self.found.truncate(at);
    }

    /// Whether the value counts: a closed enum's unknown number is an unknown field.
    fn set(&self, field: &Field, found: &Found) -> bool {
        match field.ty {
            Type::Enum(id) if field.closed => self
                .schema
                .enum_table(id)
                .name(found.raw.a as i32)
                .is_some(),
            _ => true,
        }
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
                    // Parts of one message merge exactly as if their bytes stood together.
                    let mut merged = Vec::new();
                    for found in &self.found[from..to] {
                        merged.extend_from_slice(found.raw.payload(data.bytes()));
                    }
                    let end = merged.len();
                    self.message(inner, Data::Merged(merged.into(), 0, end))?;
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

    fn flat_list(
        &mut self,
        field: &Field,
        data: &Data<'a>,
        from: usize,
        to: usize,
    ) -> Printed<bool> {
        self.out.push(b'[');
        let depth = self.depth() + 1;
        let mut empty = true;
        for at in from..to {
            let found = self.found[at];
            if found.raw.wire != wire::LEN || !field.packable() {
                self.list_item(field, &found, data, &mut empty, depth)?;
                continue;
            }
            let mut reader = Reader::new(found.raw.payload(data.bytes()));
            while !reader.done() {
                let wire = table::wire_type(field.ty, false);
                let a = match wire {
                    wire::FIXED32 => reader.fixed32().map(u64::from),
                    wire::FIXED64 => reader.fixed64(),
                    _ => reader.varint(),
                }
                .map_err(wrong)?;
                let raw = Raw {
                    number: found.raw.number,
                    wire,
                    a,
                    b: 0,
                };
                let found = Found {
                    slot: found.slot,
                    raw,
                };
                self.list_item(field, &found, data, &mut empty, depth)?;
            }
        }
        if empty && !self.options.emit_defaults {
            return Ok(false);
        }
        if !empty {
            self.line(depth - 1);
        }
        self.out.push(b']');
        Ok(true)
    }

    #[inline]
    fn list_item(
        &mut self,
        field: &Field,
        found: &Found,
        data: &Data<'_>,
        empty: &mut bool,
        depth: usize,
    ) -> Printed<()> {
        if !self.set(field, found) {
            return Ok(());
        }
        if !std::mem::replace(empty, false) {
            self.out.push(b',');
        }
        self.line(depth);
        self.flat(field, &found.raw, data)
    }

    fn step_list(&mut self, field: &'s Field) -> Printed<()> {
        loop {
            let depth = self.frames.len();
            let Some(frame) = self.frames.last_mut() else {
                return Ok(());
            };
            if frame.next >= frame.end {
                self.finish(b']');
                return Ok(());
            }
            let at = frame.next;
            frame.next += 1;
            if let Kind::List { index, .. } = &mut frame.kind {
                *index += 1;
            }
            let part = frame.data.part(&self.found[at].raw);
            self.begin();
            if let Type::Message(id) = field.ty {
                self.message(self.schema.table(id), part)?;
            }
            if self.frames.len() != depth {
                return Ok(());
            }
        }
    }

    fn map(
        &mut self,
        field: &'s Field,
        key: ScalarType,
        data: &Data<'a>,
        from: usize,
        to: usize,
    ) -> Printed<bool> {
        let mut entries = Vec::with_capacity(to - from);
        for at in from..to {
            let part = data.part(&self.found[at].raw);
            if let Some(entry) = self.entry(field, key, &part)? {
                entries.push(entry);
            }
        }
        // Sorted by key the text is stable; of equal keys the last one counts.
        entries.sort_by(|a, b| order(key, &a.key, &b.key));
        entries.reverse();
        entries.dedup_by(|a, b| order(key, &a.key, &b.key).is_eq());
        entries.reverse();
        if entries.is_empty() && !self.options.emit_defaults {
            return Ok(false);
        }
        self.out.push(b'{');
        let kind = Kind::Map {
            field,
            entries: entries.into(),
            at: 0,
        };
        let base = self.found.len();
        self.push(Frame {
            kind,
            data: data.clone(),
            base,
            next: 0,
            end: 0,
            empty: true,
        })?;
        Ok(true)
    }

    /// Reads an entry; `None` when its value is a closed enum's unknown number.
    fn entry(&self, field: &Field, key: ScalarType, data: &Data<'a>) -> Printed<Option<Entry<'a>>> {
        let mut entry = Entry {
            key: Key::Number(0),
            value: None,
            data: data.clone(),
        };
        if key == ScalarType::String {
            entry.key = Key::Text(Data::Input(&[]));
        }
        let mut parts: Vec<Raw> = Vec::new();
        let mut reader = Reader::new(data.bytes());
        while let Some(raw) = reader.next().map_err(wrong)? {
            match raw.number {
                1 if raw.wire == table::wire_type(Type::Scalar(key), false) => {
                    entry.key = match raw.wire {
                        wire::LEN => Key::Text(data.part(&raw)),
                        _ => Key::Number(normal_key(key, raw.a)),
                    };
                }
                2 if raw.wire == table::wire_type(field.ty, false) => {
                    if matches!(field.ty, Type::Message(_)) {
                        parts.push(raw);
                    }
                    entry.value = Some(raw);
                    if !self.set(field, &Found { slot: 0, raw }) {
                        return Ok(None);
                    }
                }
                _ => {}
            }
        }
        if parts.len() > 1 {
            let mut merged = Vec::new();
            for raw in &parts {
                merged.extend_from_slice(raw.payload(data.bytes()));
            }
            let end = merged.len();
            entry.value = Some(Raw {
                number: 2,
                wire: wire::LEN,
                a: 0,
                b: end,
            });
            entry.data = Data::Merged(merged.into(), 0, end);
        }
        Ok(Some(entry))
    }

    fn step_map(&mut self, field: &'s Field, entries: &[Entry<'a>], from: usize) -> Printed<()> {
        let Shape::Map(key) = field.shape else {
            return Ok(());
        };
        let depth = self.frames.len();
        for (at, entry) in entries.iter().enumerate().skip(from) {
            if let Some(Frame {
                kind: Kind::Map { at: next, .. },
                ..
            }) = self.frames.last_mut()
            {
                *next = at + 1;
            }
            self.begin();
            print_key(key, &entry.key, self.out)?;
            self.out.push(b':');
            self.space();
            match (field.ty, &entry.value) {
                (Type::Message(id), value) => {
                    let part = match value {
                        Some(raw) => entry.data.part(raw),
                        None => Data::Input(&[]),
                    };
                    self.message(self.schema.table(id), part)?;
                }
                (_, Some(raw)) => self.flat(field, raw, &entry.data)?,
                (Type::Enum(id), None) => {
                    let first = self.schema.enum_table(id).first;
                    self.enumeration(field, id, first);
                }
                (Type::Scalar(ty), None) => scalar::print(ty, 0, self.out),
            }
            if self.frames.len() != depth {
                return Ok(());
            }
        }
        self.finish(b'}');
        Ok(())
    }

    fn message(&mut self, table: &'s Table, data: Data<'a>) -> Printed<()> {
        match table.kind {
            WellKnown::Plain => {
                self.out.push(b'{');
                let (base, end) = self.scan(table, &data)?;
                let kind = Kind::Message { table, slot: 0 };
                self.push(Frame {
                    kind,
                    data,
                    base,
                    next: base,
                    end,
                    empty: true,
                })
            }
            WellKnown::Struct | WellKnown::ListValue => {
                let Some(field) = table
                    .by_number(1)
                    .map(|slot| &table.fields[usize::from(slot)])
                else {
                    return Err("not the well-known Struct".into());
                };
                self.only_field(table, field, &data)
            }
            WellKnown::Value => self.value(table, &data),
            WellKnown::Any => self.any(&data),
            WellKnown::Wrapper(_) => {
                let (base, end) = self.scan(table, &data)?;
                let slot = table.by_number(1).unwrap_or_default();
                let range = self.slot_range(base, end, slot);
                let field = &table.fields[usize::from(slot)];
                let last = self.found[range].last().copied();
                self.found.truncate(base);
                match (last, field.ty) {
                    (Some(found), _) => self.flat(field, &found.raw, &data),
                    (None, Type::Scalar(ty)) => {
                        scalar::print(ty, 0, self.out);
                        Ok(())
                    }
                    (None, _) => Ok(()),
                }
            }
            WellKnown::Timestamp | WellKnown::Duration => self.time(table, &data),
            WellKnown::FieldMask => self.field_mask(&data),
        }
    }

    /// A `Struct` or `ListValue`: its one field stands for it.
    fn only_field(&mut self, table: &Table, field: &'s Field, data: &Data<'a>) -> Printed<()> {
        let (base, end) = self.scan(table, data)?;
        let open = self.frames.len();
        let written = base < end && self.field_value(field, data, base, end)?;
        if !written {
            let empty: &[u8] = if field.shape == Shape::List {
                b"[]"
            } else {
                b"{}"
            };
            self.out.extend_from_slice(empty);
        }
        match self.frames.get_mut(open) {
            Some(frame) => frame.base = base,
            None => self.found.truncate(base),
        }
        Ok(())
    }

    fn value(&mut self, table: &'s Table, data: &Data<'a>) -> Printed<()> {
        let (base, end) = self.scan(table, data)?;
        let Some(last) = self.found[base..end].last().copied() else {
            return Err("a google.protobuf.Value that holds nothing has no JSON form".into());
        };
        let field = &table.fields[usize::from(last.slot)];
        if last.raw.number == 2 && !f64::from_bits(last.raw.a).is_finite() {
            return Err("a google.protobuf.Value cannot be NaN or infinite".into());
        }
        match field.ty {
            Type::Message(id) => {
                let inner = self.schema.table(id);
                let parts: Vec<Raw> = self.found[base..end].iter().map(|f| f.raw).collect();
                self.found.truncate(base);
                let part = match parts.as_slice() {
                    [only] => data.part(only),
                    parts => {
                        let mut merged = Vec::new();
                        for raw in parts {
                            merged.extend_from_slice(raw.payload(data.bytes()));
                        }
                        let end = merged.len();
                        Data::Merged(merged.into(), 0, end)
                    }
                };
                self.message(inner, part)
            }
            _ => {
                self.found.truncate(base);
                self.flat(field, &last.raw, data)
            }
        }
    }

    fn any(&mut self, data: &Data<'a>) -> Printed<()> {
        let (mut url, mut value) = (Data::Input(&[]), Data::Input(&[]));
        let mut reader = Reader::new(data.bytes());
        while let Some(raw) = reader.next().map_err(wrong)? {
            match (raw.number, raw.wire) {
                (1, wire::LEN) => url = data.part(&raw),
                (2, wire::LEN) => value = data.part(&raw),
                _ => {}
            }
        }
        let url = match std::str::from_utf8(url.bytes()) {
            Ok(url) => url.to_owned(),
            Err(_) => return Err("the type of an Any is not UTF-8".into()),
        };
        if url.is_empty() && value.bytes().is_empty() {
            self.out.extend_from_slice(b"{}");
            return Ok(());
        }
        let name = url
            .rsplit_once('/')
            .map(|(_, name)| name)
            .unwrap_or_default();
        let Some(id) = self.schema.message_id_by_name(name) else {
            self.any_bytes(&url, value.bytes());
            return Ok(());
        };
        let inner = self.schema.table(id);
        let plain = inner.kind == WellKnown::Plain;
        let base = self.found.len();
        let restart = self.out.len();
        let kind = Kind::Any {
            url: url.clone(),
            value: value.clone(),
            restart,
            closer: !plain,
        };
        let data = Data::Input(&[]);
        self.push(Frame {
            kind,
            data,
            base,
            next: 0,
            end: 0,
            empty: true,
        })?;
        self.bare += usize::from(plain);
        if plain {
            self.message(inner, value)?;
            self.type_member(&url);
            return Ok(());
        }
        self.out.push(b'{');
        self.type_member(&url);
        self.begin();
        self.out.extend_from_slice(b"\"value\":");
        self.space();
        self.message(inner, value)
    }

    fn type_member(&mut self, url: &str) {
        self.begin();
        self.out.extend_from_slice(b"\"@type\":");
        self.space();
        quote(url, self.out);
    }

    fn any_bytes(&mut self, url: &str, value: &[u8]) {
        let depth = self.depth();
        self.out.push(b'{');
        self.line(depth + 1);
        self.out.extend_from_slice(b"\"@type\":");
        self.space();
        quote(url, self.out);
        self.out.push(b',');
        self.line(depth + 1);
        self.out.extend_from_slice(b"\"@value\":");
        self.space();
        self.out.push(b'"');
        base64::encode(value, self.out);
        self.out.push(b'"');
        self.line(depth);
        self.out.push(b'}');
    }

    fn time(&mut self, table: &Table, data: &Data<'a>) -> Printed<()> {
        let (mut seconds, mut nanos) = (0i64, 0i32);
        let mut reader = Reader::new(data.bytes());
        while let Some(raw) = reader.next().map_err(wrong)? {
            match (raw.number, raw.wire) {
                (1, wire::VARINT) => seconds = raw.a as i64,
                (2, wire::VARINT) => nanos = raw.a as i32,
                _ => {}
            }
        }
        self.out.push(b'"');
        match table.kind {
            WellKnown::Timestamp => time::put_timestamp(seconds, nanos, self.out),
            _ => time::put_duration(seconds, nanos, self.out),
        }
        .ok_or_else(|| {
            format!(
                "{seconds} s and {nanos} ns are no valid {}",
                table.full_name
            )
        })?;
        self.out.push(b'"');
        Ok(())
    }

    fn field_mask(&mut self, data: &Data<'a>) -> Printed<()> {
        let mut text = String::new();
        let mut reader = Reader::new(data.bytes());
        let mut first = true;
        while let Some(raw) = reader.next().map_err(wrong)? {
            if (raw.number, raw.wire) != (1, wire::LEN) {
                continue;
            }
            if !std::mem::replace(&mut first, false) {
                text.push(',');
            }
            let path = std::str::from_utf8(raw.payload(data.bytes()))
                .map_err(|_| Wrong::from("a path of the field mask is not UTF-8"))?;
            let camel = time::path_to_camel(path)
                .ok_or_else(|| format!("the field mask path {path:?} has no camelCase form"))?;
            text.push_str(&camel);
        }
        quote(&text, self.out);
        Ok(())
    }
}

/// Whether a field may stand on the wire like this; otherwise it is an unknown one.
fn fits(field: &Field, wire: u8) -> bool {
    let own = match field.shape {
        Shape::Map(_) => wire::LEN,
        _ => table::wire_type(field.ty, field.delimited),
    };
    wire == own || (wire == wire::LEN && field.packable())
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

/// A key's number in a form in which equal keys are equal.
fn normal_key(ty: ScalarType, raw: u64) -> u64 {
    match ty {
        ScalarType::Int32 | ScalarType::Sfixed32 => i64::from(raw as u32 as i32) as u64,
        ScalarType::Uint32 | ScalarType::Fixed32 => u64::from(raw as u32),
        ScalarType::Sint32 => i64::from(wire::unzigzag(u64::from(raw as u32)) as i32) as u64,
        ScalarType::Sint64 => wire::unzigzag(raw) as u64,
        ScalarType::Bool => u64::from(raw != 0),
        _ => raw,
    }
}

fn order(ty: ScalarType, a: &Key<'_>, b: &Key<'_>) -> std::cmp::Ordering {
    match (a, b) {
        (Key::Text(a), Key::Text(b)) => a.bytes().cmp(b.bytes()),
        (Key::Number(a), Key::Number(b)) => match ty {
            ScalarType::Uint64 | ScalarType::Fixed64 => a.cmp(b),
            _ => (*a as i64).cmp(&(*b as i64)),
        },
        (Key::Text(_), Key::Number(_)) => std::cmp::Ordering::Greater,
        (Key::Number(_), Key::Text(_)) => std::cmp::Ordering::Less,
    }
}

fn print_key(ty: ScalarType, key: &Key<'_>, out: &mut Vec<u8>) -> Printed<()> {
    match key {
        Key::Text(data) => scalar::print_bytes(ScalarType::String, data.bytes(), out),
        Key::Number(number) => {
            out.push(b'"');
            match ty {
                ScalarType::Bool => {
                    out.extend_from_slice(if *number != 0 { b"true" } else { b"false" });
                }
                ScalarType::Uint64 | ScalarType::Fixed64 => super::number::put_u64(out, *number),
                _ => super::number::put_i64(out, *number as i64),
            }
            out.push(b'"');
            Ok(())
        }
    }
}
