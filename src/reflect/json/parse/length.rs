//! Lengths of what is not yet written: one byte is left for each, and the few that need more are
//! spliced in by a single pass at the end. Hence time stays linear however deep messages nest.

use super::Parser;
use crate::json::lexer::Lexed;
use crate::wire;

/// A length or end tag still to be written.
pub(super) enum Hole {
    Length { at: usize, extra: usize },
    Group { number: u32 },
}

/// A length that needs more than the one byte left for it at `at`.
pub(super) struct Patch {
    at: usize,
    length: usize,
}

impl Parser<'_, '_> {
    /// As [`Self::open`], for what its reader has to follow into; refused where that is too deep for it.
    pub(super) fn nest(&mut self, number: u32, delimited: bool) -> Lexed<()> {
        let limit = self.options.max_nesting;
        if self.holes.len() >= limit {
            return self.lexer.fault(format!(
                "messages nest deeper than {limit} levels, which is as deep as they are read"
            ));
        }
        self.open(number, delimited);
        Ok(())
    }

    /// Writes a tag and leaves room for the length, or opens a group.
    pub(super) fn open(&mut self, number: u32, delimited: bool) {
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

    pub(super) fn close(&mut self, down_to: usize) {
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

    /// Writes the lengths that did not fit their byte, last first, moving each byte once.
    pub(super) fn splice(&mut self) {
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
}
