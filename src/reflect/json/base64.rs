//! Base64 as protobuf's JSON has it: written standard with padding, read in either alphabet with
//! or without padding.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const INVALID: u8 = 0xff;

const VALUE: [u8; 256] = {
    let mut value = [INVALID; 256];
    let mut at = 0;
    while at < 64 {
        value[ALPHABET[at] as usize] = at as u8;
        at += 1;
    }
    value[b'-' as usize] = 62;
    value[b'_' as usize] = 63;
    value
};

/// Appends `bytes` as base64, without quotes.
pub(super) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len().div_ceil(3) * 4);
    let digit = |bits: u32| ALPHABET[(bits & 63) as usize];
    let mut chunks = bytes.chunks_exact(3);
    for chunk in &mut chunks {
        let bits = u32::from(chunk[0]) << 16 | u32::from(chunk[1]) << 8 | u32::from(chunk[2]);
        out.extend_from_slice(&[
            digit(bits >> 18),
            digit(bits >> 12),
            digit(bits >> 6),
            digit(bits),
        ]);
    }
    match *chunks.remainder() {
        [a] => {
            let bits = u32::from(a) << 16;
            out.extend_from_slice(&[digit(bits >> 18), digit(bits >> 12), b'=', b'=']);
        }
        [a, b] => {
            let bits = u32::from(a) << 16 | u32::from(b) << 8;
            out.extend_from_slice(&[digit(bits >> 18), digit(bits >> 12), digit(bits >> 6), b'=']);
        }
        _ => {}
    }
}

/// Appends what `text` stands for. `None` when it is no base64; `out` may then hold a part of it.
pub(super) fn decode(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let bytes = text.as_bytes();
    let digits = match bytes {
        [rest @ .., b'=', b'='] if bytes.len().is_multiple_of(4) => rest,
        [rest @ .., b'='] if bytes.len().is_multiple_of(4) => rest,
        _ => bytes,
    };
    out.reserve(digits.len() / 4 * 3 + 2);
    let mut chunks = digits.chunks_exact(4);
    for chunk in &mut chunks {
        let [a, b, c, d] = [chunk[0], chunk[1], chunk[2], chunk[3]].map(|x| VALUE[usize::from(x)]);
        if (a | b | c | d) & 0xc0 != 0 {
            return None;
        }
        out.extend_from_slice(&[a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]);
    }
    let rest = chunks.remainder();
    let value = |at: usize| rest.get(at).map_or(0, |&x| VALUE[usize::from(x)]);
    let (a, b, c) = (value(0), value(1), value(2));
    if (a | b | c) & 0xc0 != 0 {
        return None;
    }
    match rest.len() {
        0 => Some(()),
        2 => {
            out.push(a << 2 | b >> 4);
            Some(())
        }
        3 => {
            out.extend_from_slice(&[a << 2 | b >> 4, b << 4 | c >> 2]);
            Some(())
        }
        _ => None,
    }
}
