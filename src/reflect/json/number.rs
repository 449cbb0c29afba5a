//! Numbers as protobuf's JSON has them: integers may be written `1.0` or `1e3`, floats as words.
//! Integers are read exactly, never through a float.

use std::io::Write as _;

/// The sign and magnitude of an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Integer {
    pub(crate) negative: bool,
    pub(crate) magnitude: u64,
}

impl Integer {
    pub(crate) fn as_i64(self) -> Option<i64> {
        if self.negative {
            0i64.checked_sub_unsigned(self.magnitude)
        } else {
            i64::try_from(self.magnitude).ok()
        }
    }

    pub(crate) fn as_u64(self) -> Option<u64> {
        (!self.negative || self.magnitude == 0).then_some(self.magnitude)
    }
}

/// Why a number is not an integer of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotInteger {
    /// No JSON number at all.
    Syntax,
    /// It has a fraction.
    Fraction,
    /// Beyond 64 bits.
    Range,
}

/// The parts of a JSON number: sign, digits before and after the point, exponent.
struct Parts<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

/// The length of the JSON number at the start of `text`, 0 when there is none.
pub(crate) fn length(text: &[u8]) -> usize {
    let digits = |at: usize| text[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut at = usize::from(text.first() == Some(&b'-'));
    match text.get(at) {
        Some(b'0') => at += 1,
        Some(b'1'..=b'9') => at += digits(at),
        _ => return 0,
    }
    if text.get(at) == Some(&b'.') {
        let count = digits(at + 1);
        if count == 0 {
            return 0;
        }
        at += 1 + count;
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        let count = text
            .get(at + 1 + sign..)
            .map_or(0, |_| digits(at + 1 + sign));
        if count == 0 {
            return 0;
        }
        at += 1 + sign + count;
    }
    at
}

fn parts(text: &str) -> Option<Parts<'_>> {
    let bytes = text.as_bytes();
    if bytes.is_empty() || length(bytes) != bytes.len() {
        return None;
    }
    let (negative, bytes) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, bytes),
    };
    let (mantissa, exponent) = match bytes.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(at) => {
            let text = std::str::from_utf8(&bytes[at + 1..]).ok()?;
            // An exponent beyond i64 is as good as the largest: the digits decide zero or range.
            let huge = if text.starts_with('-') {
                i64::MIN / 2
            } else {
                i64::MAX / 2
            };
            (
                &bytes[..at],
                text.parse()
                    .unwrap_or(huge)
                    .clamp(i64::MIN / 2, i64::MAX / 2),
            )
        }
        None => (bytes, 0),
    };
    let (whole, fraction) = match mantissa.iter().position(|&b| b == b'.') {
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        None => (mantissa, &[][..]),
    };
    Some(Parts {
        negative,
        whole,
        fraction,
        exponent,
    })
}

/// Reads an integer, exactly.
pub(crate) fn integer(text: &str) -> Result<Integer, NotInteger> {
    if let Some(integer) = short(text.as_bytes()) {
        return Ok(integer);
    }
    let Parts {
        negative,
        whole,
        fraction,
        exponent,
    } = parts(text).ok_or(NotInteger::Syntax)?;
    // value = digits × 10^scale, trailing zeros folded into the scale.
    let mut scale = exponent.saturating_sub(i64::try_from(fraction.len()).unwrap_or(i64::MAX));
    let zeros = |digits: &[u8]| digits.iter().rev().take_while(|&&d| d == b'0').count();
    let trailing = match zeros(fraction) {
        all if all == fraction.len() => all + zeros(whole),
        some => some,
    };
    scale = scale.saturating_add(i64::try_from(trailing).unwrap_or(i64::MAX));
    let count = whole.len() + fraction.len() - trailing;
    let mut magnitude = 0u64;
    for &digit in whole.iter().chain(fraction).take(count) {
        magnitude = magnitude
            .checked_mul(10)
            .and_then(|m| m.checked_add(u64::from(digit - b'0')))
            .ok_or(if scale < 0 {
                NotInteger::Fraction
            } else {
                NotInteger::Range
            })?;
    }
    if magnitude == 0 {
        return Ok(Integer {
            negative,
            magnitude,
        });
    }
    if scale < 0 {
        return Err(NotInteger::Fraction);
    }
    for _ in 0..scale.min(20) {
        magnitude = magnitude.checked_mul(10).ok_or(NotInteger::Range)?;
    }
    Ok(Integer {
        negative,
        magnitude,
    })
}

/// Plain digits that cannot overflow: nearly every integer there is.
fn short(bytes: &[u8]) -> Option<Integer> {
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, bytes),
    };
    if digits.is_empty() || digits.len() > 18 || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    let mut magnitude = 0u64;
    for &digit in digits {
        let value = digit.wrapping_sub(b'0');
        if value > 9 {
            return None;
        }
        magnitude = magnitude * 10 + u64::from(value);
    }
    Some(Integer {
        negative,
        magnitude,
    })
}

/// Reads a JSON number as the nearest double; infinite when it is out of range.
pub(crate) fn double(text: &str) -> Option<f64> {
    (!text.is_empty() && length(text.as_bytes()) == text.len()).then(|| text.parse().ok())?
}

/// Reads a JSON number as the nearest single; infinite when it is out of range.
pub(crate) fn single(text: &str) -> Option<f32> {
    (!text.is_empty() && length(text.as_bytes()) == text.len()).then(|| text.parse().ok())?
}

const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
2021222324252627282930313233343536373839\
4041424344454647484950515253545556575859\
6061626364656667686970717273747576777879\
8081828384858687888990919293949596979899";

pub(crate) fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    let mut buffer = [0u8; 20];
    let mut at = buffer.len();
    while value >= 100 {
        let pair = (value % 100) as usize * 2;
        value /= 100;
        at -= 2;
        buffer[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    if value >= 10 {
        let pair = value as usize * 2;
        at -= 2;
        buffer[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    } else {
        at -= 1;
        buffer[at] = b'0' + value as u8;
    }
    out.extend_from_slice(&buffer[at..]);
}

pub(crate) fn put_i64(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    put_u64(out, value.unsigned_abs());
}

/// The shortest digits that read back as the same double; words for what is no number.
pub(crate) fn put_double(out: &mut Vec<u8>, value: f64) {
    if !words(out, value) {
        let plain = value == 0.0 || (1e-5..1e17).contains(&value.abs());
        // Writing to a Vec cannot fail.
        let _ = if plain {
            write!(out, "{value}")
        } else {
            write!(out, "{value:e}")
        };
    }
}

/// As [`put_double`], with the digits of a single.
pub(crate) fn put_single(out: &mut Vec<u8>, value: f32) {
    if !words(out, f64::from(value)) {
        let plain = value == 0.0 || (1e-5..1e9).contains(&value.abs());
        let _ = if plain {
            write!(out, "{value}")
        } else {
            write!(out, "{value:e}")
        };
    }
}

fn words(out: &mut Vec<u8>, value: f64) -> bool {
    let word: &[u8] = if value.is_nan() {
        b"\"NaN\""
    } else if value == f64::INFINITY {
        b"\"Infinity\""
    } else if value == f64::NEG_INFINITY {
        b"\"-Infinity\""
    } else {
        return false;
    };
    out.extend_from_slice(word);
    true
}
