//! Lists: packed or not, split or not, they come out as one array. Those of plain values are written at once, those of
//! messages item by item, since each is a frame of its own.

use super::{Data, Found, Kind, Printed, Printer, wrong};
use crate::schema::table::{self, Field, Type};
use crate::wire::{self, Raw, Reader};

impl<'s, 'a> Printer<'s, 'a> {
    /// Writes a list of plain values; says whether there is one to be seen.
    pub(super) fn flat_list(
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

    pub(super) fn step_list(&mut self, field: &'s Field) -> Printed<()> {
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
}
