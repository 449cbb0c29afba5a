//! Messages that have a JSON form of their own, and the `Any` that may hold them.

use super::{Data, Frame, Kind, Printed, Printer, wrong};
use crate::json::scalar::{self, Wrong};
use crate::json::{base64, quote, time};
use crate::schema::table::{Field, Shape, Table, Type, WellKnown};
use crate::wire::{self, Raw, Reader};

impl<'s, 'a> Printer<'s, 'a> {
    pub(super) fn message(&mut self, table: &'s Table, data: Data<'a>) -> Printed<()> {
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
                    parts => self.merge(parts, data)?,
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

    pub(super) fn any_bytes(&mut self, url: &str, value: &[u8]) {
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
