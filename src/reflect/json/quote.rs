//! JSON strings, written. Control characters of every kind are escaped, C1 and DEL included, so
//! that what a server sends cannot steer the terminal it is shown on.

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Bytes that need a second look: quote, backslash, controls, DEL, and the lead byte of C1.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        special[byte] = true;
        byte += 1;
    }
    special[b'"' as usize] = true;
    special[b'\\' as usize] = true;
    special[0x7f] = true;
    special[0xc2] = true;
    special
};

/// Appends `text` in quotes.
pub(crate) fn quote(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut clean = 0;
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        if !SPECIAL[usize::from(byte)] {
            at += 1;
            continue;
        }
        let (escaped, width) = match byte {
            0xc2 => match bytes.get(at + 1) {
                Some(&next) if next < 0xa0 => (next, 2),
                _ => {
                    at += 2;
                    continue;
                }
            },
            byte => (byte, 1),
        };
        out.extend_from_slice(&bytes[clean..at]);
        escape(escaped, out);
        at += width;
        clean = at;
    }
    out.extend_from_slice(bytes.get(clean..).unwrap_or_default());
    out.push(b'"');
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}
