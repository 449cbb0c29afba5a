//! Which fields a message has on the wire, and which of them count: the last member of a oneof, no
//! unknown number of a closed enum, nothing under another wire type than its own.

use super::{Data, Found, Printed, Printer, wrong};
use crate::schema::table::{self, Field, Shape, Table, Type};
use crate::wire::{self, Reader};

impl<'a> Printer<'_, 'a> {
    /// Notes the known fields of a message, ordered by slot; returns where they stand in `found`.
    pub(super) fn scan(&mut self, table: &Table, data: &Data<'a>) -> Printed<(usize, usize)> {
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
    pub(super) fn settle_oneofs(&mut self, table: &Table, base: usize) {
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
    pub(super) fn set(&self, field: &Field, found: &Found) -> bool {
        match field.ty {
            Type::Enum(id) if field.closed => self
                .schema
                .enum_table(id)
                .name(found.raw.a as i32)
                .is_some(),
            _ => true,
        }
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
