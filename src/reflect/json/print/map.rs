//! Maps, sorted by key so that the text is stable; of equal keys the last one counts.

use buffa_descriptor::ScalarType;

use super::{Data, Found, Frame, Kind, Printed, Printer, wrong};
use crate::json::{number, scalar};
use crate::schema::table::{self, Field, Shape, Type};
use crate::wire::{self, Raw, Reader};

/// One map entry, by key.
pub(super) struct Entry<'a> {
    pub(super) key: Key<'a>,
    /// Its value as found, in `data`; `None` is the default.
    value: Option<Raw>,
    data: Data<'a>,
}

#[derive(Clone)]
pub(super) enum Key<'a> {
    Number(u64),
    Text(Data<'a>),
}

impl<'s, 'a> Printer<'s, 'a> {
    pub(super) fn map(
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
    fn entry(
        &mut self,
        field: &Field,
        key: ScalarType,
        data: &Data<'a>,
    ) -> Printed<Option<Entry<'a>>> {
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
            let merged = self.merge(&parts, data)?;
            let end = merged.bytes().len();
            entry.value = Some(Raw {
                number: 2,
                wire: wire::LEN,
                a: 0,
                b: end,
            });
            entry.data = merged;
        }
        Ok(Some(entry))
    }

    pub(super) fn step_map(
        &mut self,
        field: &'s Field,
        entries: &[Entry<'a>],
        from: usize,
    ) -> Printed<()> {
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

pub(super) fn print_key(ty: ScalarType, key: &Key<'_>, out: &mut Vec<u8>) -> Printed<()> {
    match key {
        Key::Text(data) => scalar::print_bytes(ScalarType::String, data.bytes(), out),
        Key::Number(number) => {
            out.push(b'"');
            match ty {
                ScalarType::Bool => {
                    out.extend_from_slice(if *number != 0 { b"true" } else { b"false" });
                }
                ScalarType::Uint64 | ScalarType::Fixed64 => number::put_u64(out, *number),
                _ => number::put_i64(out, *number as i64),
            }
            out.push(b'"');
            Ok(())
        }
    }
}
