//! Text for cells: measured, shortened, wrapped; numbers, times and sizes as people read
//! them. Pure.
//! Making text safe is `fleet::safe`; the painter applies it to every cell, whoever wrote it.

use std::{borrow::Cow, time::Duration};

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// How many cells a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The text in at most `room` cells; where it does not fit it ends in the ellipsis.
pub fn fit<'a>(text: &'a str, room: usize, ellipsis: &str) -> Cow<'a, str> {
    if text.len() <= room || text.width() <= room {
        return Cow::Borrowed(text);
    }
    if room == 0 {
        return Cow::Borrowed("");
    }
    let room = room.saturating_sub(ellipsis.width());
    let mut used = 0;
    let mut out = String::with_capacity(room + ellipsis.len());
    for character in text.chars() {
        let cells = character.width().unwrap_or(0);
        if used + cells > room {
            break;
        }
        used += cells;
        out.push(character);
    }
    out.push_str(ellipsis);
    Cow::Owned(out)
}

/// An id in at most `room` cells, shortened in the middle: its end is what tells it from its neighbours.
pub fn fit_id<'a>(id: &'a str, room: usize, ellipsis: &str) -> Cow<'a, str> {
    if id.len() <= room || id.width() <= room {
        return Cow::Borrowed(id);
    }
    let characters: Vec<char> = id.chars().collect();
    let keep = room.saturating_sub(ellipsis.width());
    if keep < 2 || characters.iter().any(|c| c.width() != Some(1)) {
        return fit(id, room, ellipsis);
    }
    let tail = keep.div_ceil(2);
    let head = keep - tail;
    let mut out: String = characters[..head].iter().collect();
    out.push_str(ellipsis);
    out.extend(&characters[characters.len() - tail..]);
    Cow::Owned(out)
}

/// A number with its digits grouped by a space: `18 204`.
pub fn number(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut out = String::with_capacity(digits.len() + 6);
    if value < 0 {
        out.push('-');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// A measured time: `312µs`, `2ms`, `1.25s`.
pub fn latency(time: Duration) -> String {
    let micros = time.as_micros();
    match micros {
        0..1_000 => format!("{micros}µs"),
        1_000..10_000 => format!("{:.1}ms", micros as f64 / 1e3),
        10_000..1_000_000 => format!("{}ms", micros / 1_000),
        _ => format!("{:.2}s", time.as_secs_f64()),
    }
}

/// A measured time where the fraction is no news: `<1ms`, `2ms`, `1.25s`.
pub fn millis(time: Duration) -> String {
    match time.as_millis() {
        0 => "<1ms".into(),
        millis @ 1..1_000 => format!("{millis}ms"),
        _ => latency(time),
    }
}

/// `1 error`, `2 errors`.
pub fn count(count: usize, thing: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!(
        "{} {thing}{ending}",
        number(i64::try_from(count).unwrap_or(i64::MAX))
    )
}

/// Time that is left: `6.8s`, `41.0s`, `58m`.
pub fn left(seconds: f64) -> String {
    if seconds < 100.0 {
        format!("{seconds:.1}s")
    } else {
        fleet::finding::age(Duration::from_secs_f64(seconds))
    }
}

/// A size in bytes with a binary unit: `812 B`, `1.5 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Lines of at most `room` cells, broken at spaces where there are any. Existing line ends are kept.
pub fn wrap(text: &str, room: usize) -> Vec<String> {
    let room = room.max(1);
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        let mut used = 0;
        for word in paragraph.split_inclusive(' ') {
            let cells = word.trim_end().width();
            if used > 0 && used + cells > room {
                lines.push(std::mem::take(&mut line).trim_end().to_owned());
                used = 0;
            }
            if cells > room {
                for character in word.chars() {
                    let cell = character.width().unwrap_or(0);
                    if used + cell > room {
                        lines.push(std::mem::take(&mut line));
                        used = 0;
                    }
                    line.push(character);
                    used += cell;
                }
            } else {
                line.push_str(word);
                used += word.width();
            }
        }
        lines.push(line.trim_end().to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_and_times_read_as_people_write_them() {
        assert_eq!(number(18_204), "18 204");
        assert_eq!(number(-1_234_567), "-1 234 567");
        assert_eq!(number(i64::MIN), "-9 223 372 036 854 775 808");
        assert_eq!(latency(Duration::from_micros(2_310)), "2.3ms");
        assert_eq!(size(1_572_864), "1.5 MiB");
    }

    #[test]
    fn an_id_is_shortened_in_the_middle_and_a_sentence_at_its_end() {
        assert_eq!(fit_id("order-7f3a-4411-9f0e-1", 11, "…"), "order…f0e-1");
        assert_eq!(fit("timeout of the write", 8, "…"), "timeout…");
    }

    proptest! {
        #[test]
        fn nothing_fitted_exceeds_its_room(text in ".{0,40}", room in 1usize..30) {
            let text = fleet::safe::escape(&text).into_owned();
            prop_assert!(width(&fit(&text, room, "…")) <= room);
            prop_assert!(width(&fit_id(&text, room, "…")) <= room.max(1));
            for line in wrap(&text, room) {
                prop_assert!(width(&line) <= room.max(2));
            }
        }
    }
}
