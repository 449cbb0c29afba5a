//! Timestamps, durations and field masks as text. Pure arithmetic on the proleptic Gregorian
//! calendar; no clock and no time zone database.

use super::number::put_u64;

/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z.
const FIRST_SECOND: i64 = -62_135_596_800;
const LAST_SECOND: i64 = 253_402_300_799;
/// About ten thousand years, the protobuf limit.
const MAX_DURATION: i64 = 315_576_000_000;

/// Days from 1970-01-01 to a date.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Exactly `count` digits at the start of `text`, and the rest.
fn digits(text: &[u8], count: usize) -> Option<(i64, &[u8])> {
    let (head, rest) = text.split_at_checked(count)?;
    let mut value = 0;
    for digit in head {
        value = value * 10 + i64::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    }
    Some((value, rest))
}

fn skip(text: &[u8], byte: u8) -> Option<&[u8]> {
    text.strip_prefix(&[byte])
}

/// `.` and one to nine digits as nanoseconds, or nothing as 0.
fn fraction(text: &[u8]) -> Option<(i32, &[u8])> {
    let Some(rest) = skip(text, b'.') else {
        return Some((0, text));
    };
    let count = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    if !(1..=9).contains(&count) {
        return None;
    }
    let (value, rest) = digits(rest, count)?;
    let scale = 10i64.pow(u32::try_from(9 - count).ok()?);
    Some((i32::try_from(value * scale).ok()?, rest))
}

/// RFC 3339 to seconds since 1970 and nanoseconds.
pub(crate) fn parse_timestamp(text: &str) -> Option<(i64, i32)> {
    let (year, rest) = digits(text.as_bytes(), 4)?;
    let (month, rest) = digits(skip(rest, b'-')?, 2)?;
    let (day, rest) = digits(skip(rest, b'-')?, 2)?;
    let (hour, rest) = digits(skip(rest, b'T')?, 2)?;
    let (minute, rest) = digits(skip(rest, b':')?, 2)?;
    let (second, rest) = digits(skip(rest, b':')?, 2)?;
    let (nanos, rest) = fraction(rest)?;
    let date = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
    if !date || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let offset = match rest {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), rest @ ..] => {
            let (hours, rest) = digits(rest, 2)?;
            let (minutes, rest) = digits(skip(rest, b':')?, 2)?;
            if !rest.is_empty() || hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = hours * 3600 + minutes * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    let seconds =
        days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    (FIRST_SECOND..=LAST_SECOND)
        .contains(&seconds)
        .then_some((seconds, nanos))
}

/// Appends RFC 3339 in UTC, with 0, 3, 6 or 9 digits of fraction. `None` when out of range.
pub(crate) fn put_timestamp(seconds: i64, nanos: i32, out: &mut Vec<u8>) -> Option<()> {
    if !(FIRST_SECOND..=LAST_SECOND).contains(&seconds) || !(0..1_000_000_000).contains(&nanos) {
        return None;
    }
    let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    let mut padded = |value: i64, width: u32, after: &[u8]| {
        for place in (0..width).rev() {
            out.push(b'0' + (value / 10i64.pow(place) % 10) as u8);
        }
        out.extend_from_slice(after);
    };
    padded(year, 4, b"-");
    padded(month, 2, b"-");
    padded(day, 2, b"T");
    padded(of_day / 3600, 2, b":");
    padded(of_day / 60 % 60, 2, b":");
    padded(of_day % 60, 2, b"");
    put_fraction(nanos.unsigned_abs(), out);
    out.push(b'Z');
    Some(())
}

fn put_fraction(nanos: u32, out: &mut Vec<u8>) {
    let (value, width) = match nanos {
        0 => return,
        n if n % 1_000_000 == 0 => (n / 1_000_000, 3),
        n if n % 1000 == 0 => (n / 1000, 6),
        n => (n, 9),
    };
    out.push(b'.');
    for place in (0..width).rev() {
        out.push(b'0' + (value / 10u32.pow(place) % 10) as u8);
    }
}

/// `1.5s` to seconds and nanoseconds of the same sign.
pub(crate) fn parse_duration(text: &str) -> Option<(i64, i32)> {
    let text = text.as_bytes().strip_suffix(b"s")?;
    let (negative, text) = match skip(text, b'-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let count = text.iter().take_while(|b| b.is_ascii_digit()).count();
    if !(1..=12).contains(&count) {
        return None;
    }
    let (seconds, rest) = digits(text, count)?;
    let (nanos, rest) = fraction(rest)?;
    if !rest.is_empty() || seconds > MAX_DURATION {
        return None;
    }
    Some(if negative {
        (-seconds, -nanos)
    } else {
        (seconds, nanos)
    })
}

/// Appends `1.5s`. `None` when out of range or when the signs differ.
pub(crate) fn put_duration(seconds: i64, nanos: i32, out: &mut Vec<u8>) -> Option<()> {
    let range = (-MAX_DURATION..=MAX_DURATION).contains(&seconds)
        && (-999_999_999..=999_999_999).contains(&nanos);
    if !range || (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0) {
        return None;
    }
    if seconds < 0 || nanos < 0 {
        out.push(b'-');
    }
    put_u64(out, seconds.unsigned_abs());
    put_fraction(nanos.unsigned_abs(), out);
    out.push(b's');
    Some(())
}

/// One camelCase path of a field mask as the proto's snake_case; `None` for an underscore.
pub(crate) fn path_to_snake(path: &str) -> Option<String> {
    let mut out = String::with_capacity(path.len() + 4);
    for c in path.chars() {
        match c {
            '_' => return None,
            'A'..='Z' => {
                out.push('_');
                out.push(c.to_ascii_lowercase());
            }
            c => out.push(c),
        }
    }
    Some(out)
}

/// The way back; `None` where camelCase could not tell it apart from another path.
pub(crate) fn path_to_camel(path: &str) -> Option<String> {
    let mut out = String::with_capacity(path.len());
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        match c {
            '_' => match chars.next() {
                Some(next @ 'a'..='z') => out.push(next.to_ascii_uppercase()),
                _ => return None,
            },
            'A'..='Z' => return None,
            c => out.push(c),
        }
    }
    Some(out)
}
