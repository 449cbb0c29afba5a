//! Protobuf's wire format, read and written by hand: tags, varints, lengths, groups.
//! Invariant: nothing here recurses or trusts a length; every read is bounded by its slice.
//! What the bytes mean is `table.rs`; this file knows no descriptor.

/// How deep groups may nest. Skipping one means reading it, so an unbounded depth would cost time
/// that grows with its square; protobuf's own decoders stop at 100 as well.
const MAX_GROUP_DEPTH: usize = 100;

/// Why bytes are not a protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("the message ends in the middle of a value")]
    Truncated,
    #[error("a variable-length integer runs over ten bytes")]
    Overlong,
    #[error("a field has the number 0 or one beyond the highest")]
    Number,
    #[error("a field has the unknown wire type {0}")]
    WireType(u8),
    #[error("a group ends that never began, or under another number")]
    Group,
    #[error("groups are nested deeper than {MAX_GROUP_DEPTH}")]
    Depth,
}

pub(crate) const VARINT: u8 = 0;
pub(crate) const FIXED64: u8 = 1;
pub(crate) const LEN: u8 = 2;
pub(crate) const START: u8 = 3;
pub(crate) const END: u8 = 4;
pub(crate) const FIXED32: u8 = 5;

/// One field as it stands on the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw {
    pub(crate) number: u32,
    pub(crate) wire: u8,
    /// The value of a varint or fixed field; the payload's start for the others.
    pub(crate) a: u64,
    /// The payload's end (exclusive) for length-delimited fields and groups.
    pub(crate) b: usize,
}

impl Raw {
    pub(crate) fn payload<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        data.get(self.start()..self.b).unwrap_or_default()
    }

    pub(crate) fn start(&self) -> usize {
        usize::try_from(self.a).unwrap_or(usize::MAX)
    }
}

/// Reads fields one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) data: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Reader<'a> {
        Reader { data, at: 0 }
    }

    #[inline]
    pub(crate) fn done(&self) -> bool {
        self.at >= self.data.len()
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, WireError> {
        match self.data.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = *self.data.get(self.at).ok_or(WireError::Truncated)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(WireError::Overlong)
    }

    pub(crate) fn fixed32(&mut self) -> Result<u32, WireError> {
        let bytes = self
            .data
            .get(self.at..self.at + 4)
            .ok_or(WireError::Truncated)?;
        self.at += 4;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    pub(crate) fn fixed64(&mut self) -> Result<u64, WireError> {
        let low = self.fixed32()?;
        let high = self.fixed32()?;
        Ok(u64::from(low) | u64::from(high) << 32)
    }

    #[inline]
    fn tag(&mut self) -> Result<(u32, u8), WireError> {
        let tag = u32::try_from(self.varint()?).map_err(|_| WireError::Number)?;
        if tag >> 3 == 0 {
            return Err(WireError::Number);
        }
        Ok((tag >> 3, (tag & 7) as u8))
    }

    /// The next field; `None` at the end.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Raw>, WireError> {
        if self.done() {
            return Ok(None);
        }
        let (number, wire) = self.tag()?;
        let (a, b) = match wire {
            VARINT => (self.varint()?, 0),
            FIXED64 => (self.fixed64()?, 0),
            FIXED32 => (u64::from(self.fixed32()?), 0),
            LEN => {
                let length = usize::try_from(self.varint()?).map_err(|_| WireError::Truncated)?;
                let end = self.at.checked_add(length).ok_or(WireError::Truncated)?;
                if end > self.data.len() {
                    return Err(WireError::Truncated);
                }
                let start = self.at;
                self.at = end;
                (start as u64, end)
            }
            START => {
                let start = self.at;
                let end = self.skip_group(number)?;
                (start as u64, end)
            }
            END => return Err(WireError::Group),
            other => return Err(WireError::WireType(other)),
        };
        Ok(Some(Raw { number, wire, a, b }))
    }

    /// Moves behind the end tag of the group `number` and returns where its payload ends.
    fn skip_group(&mut self, number: u32) -> Result<usize, WireError> {
        let mut open = vec![number];
        loop {
            let before = self.at;
            if self.done() {
                return Err(WireError::Truncated);
            }
            let (number, wire) = self.tag()?;
            match wire {
                VARINT => drop(self.varint()?),
                FIXED64 => drop(self.fixed64()?),
                FIXED32 => drop(self.fixed32()?),
                LEN => {
                    let length =
                        usize::try_from(self.varint()?).map_err(|_| WireError::Truncated)?;
                    self.at = self.at.checked_add(length).ok_or(WireError::Truncated)?;
                    if self.at > self.data.len() {
                        return Err(WireError::Truncated);
                    }
                }
                START if open.len() >= MAX_GROUP_DEPTH => return Err(WireError::Depth),
                START => open.push(number),
                END => {
                    if open.pop() != Some(number) {
                        return Err(WireError::Group);
                    }
                    if open.is_empty() {
                        return Ok(before);
                    }
                }
                other => return Err(WireError::WireType(other)),
            }
        }
    }
}

#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_tag(out: &mut Vec<u8>, number: u32, wire: u8) {
    put_varint(out, u64::from(number) << 3 | u64::from(wire));
}

/// A length-delimited field whose payload is at hand.
pub(crate) fn put_len(out: &mut Vec<u8>, number: u32, payload: &[u8]) {
    put_tag(out, number, LEN);
    put_varint(out, payload.len() as u64);
    out.extend_from_slice(payload);
}

pub(crate) fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}
