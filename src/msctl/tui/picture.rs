//! A frame as a picture: cells become an SVG, so that documents show what the console really draws.
//! Text stays text; every cell is placed by itself, so that no viewer's font shifts a column.

use std::fmt::Write as _;

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};
use unicode_width::UnicodeWidthStr as _;

/// Width of a cell in the picture's units.
const CELL: f64 = 8.4;

/// Height of a row.
const ROW: f64 = 18.0;

/// Around the cells.
const MARGIN: f64 = 12.0;

/// The background and foreground that the terminal itself would have.
#[derive(Clone, Copy, Debug)]
pub struct Paper {
    /// Behind everything.
    pub background: &'static str,
    /// Text without a colour.
    pub foreground: &'static str,
}

/// A dark terminal.
pub const DARK: Paper = Paper {
    background: "#12161c",
    foreground: "#d6dbe2",
};

/// A light terminal.
pub const LIGHT: Paper = Paper {
    background: "#fbfbf9",
    foreground: "#23282f",
};

/// Draws a buffer.
pub fn svg(buffer: &Buffer, paper: Paper) -> String {
    let area = buffer.area;
    let width = f64::from(area.width) * CELL + 2.0 * MARGIN;
    let height = f64::from(area.height) * ROW + 2.0 * MARGIN;
    let mut out = String::with_capacity(64 * 1024);
    // Writing to a string does not fail.
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"ui-monospace, 'JetBrains Mono', \
         'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"14\" xml:space=\"preserve\">"
    );
    let _ = writeln!(
        out,
        "<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{}\"/>",
        paper.background
    );
    for y in 0..area.height {
        backgrounds(&mut out, buffer, y, paper);
        texts(&mut out, buffer, y, paper);
    }
    out.push_str("</svg>\n");
    out
}

/// The colours of a cell: behind and in front.
fn colours(buffer: &Buffer, x: u16, y: u16, paper: Paper) -> (Option<String>, String, Modifier) {
    let Some(cell) = buffer.cell((x, y)) else {
        return (None, paper.foreground.to_owned(), Modifier::empty());
    };
    let front = colour(cell.fg).unwrap_or_else(|| paper.foreground.to_owned());
    let behind = colour(cell.bg);
    if cell.modifier.contains(Modifier::REVERSED) {
        let behind = behind.unwrap_or_else(|| paper.background.to_owned());
        return (Some(front), behind, cell.modifier);
    }
    (behind, front, cell.modifier)
}

fn backgrounds(out: &mut String, buffer: &Buffer, y: u16, paper: Paper) {
    let mut x = 0;
    while x < buffer.area.width {
        let (behind, ..) = colours(buffer, x, y, paper);
        let start = x;
        while x < buffer.area.width && colours(buffer, x, y, paper).0 == behind {
            x += 1;
        }
        if let Some(behind) = behind {
            let _ = writeln!(
                out,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{ROW}\" fill=\"{behind}\"/>",
                MARGIN + f64::from(start) * CELL,
                MARGIN + f64::from(y) * ROW,
                f64::from(x - start) * CELL,
            );
        }
    }
}

fn texts(out: &mut String, buffer: &Buffer, y: u16, paper: Paper) {
    let mut x = 0;
    while x < buffer.area.width {
        let (_, front, modifier) = colours(buffer, x, y, paper);
        let start = x;
        let mut text = String::new();
        let mut places = String::new();
        while x < buffer.area.width {
            let (_, next, with) = colours(buffer, x, y, paper);
            if next != front || with != modifier {
                break;
            }
            let symbol = buffer.cell((x, y)).map_or(" ", |cell| cell.symbol());
            let _ = write!(places, "{:.1} ", MARGIN + f64::from(x) * CELL);
            // A viewer places one position for each character, so a cell of several takes the first.
            let shown = symbol.chars().next().unwrap_or(' ');
            escape(&mut text, shown);
            x += u16::try_from(symbol.width().max(1)).unwrap_or(1);
        }
        x = x.max(start + 1);
        if text.trim().is_empty() {
            continue;
        }
        let weight = if modifier.contains(Modifier::BOLD) {
            " font-weight=\"600\""
        } else {
            ""
        };
        let faint = if modifier.contains(Modifier::DIM) {
            " opacity=\"0.6\""
        } else {
            ""
        };
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{:.1}\" fill=\"{front}\"{weight}{faint}>{text}</text>",
            places.trim_end(),
            MARGIN + f64::from(y) * ROW + 13.5,
        );
    }
}

fn escape(out: &mut String, character: char) {
    match character {
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '&' => out.push_str("&amp;"),
        // XML has no place for control characters, however escaped.
        c if c.is_control() => out.push(' '),
        c => out.push(c),
    }
}

fn colour(colour: Color) -> Option<String> {
    let named = match colour {
        Color::Reset => return None,
        Color::Rgb(r, g, b) => return Some(format!("#{r:02x}{g:02x}{b:02x}")),
        Color::Black => "#1b1f24",
        Color::Red => "#e5534b",
        Color::Green => "#57ab5a",
        Color::Yellow => "#c69026",
        Color::Blue => "#539bf5",
        Color::Magenta => "#b083f0",
        Color::Cyan => "#39c5cf",
        Color::Gray => "#adbac7",
        Color::DarkGray => "#768390",
        Color::White => "#ffffff",
        _ => "#adbac7",
    };
    Some(named.to_owned())
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    use super::*;

    #[test]
    fn every_cell_is_placed_and_nothing_breaks_the_picture() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 12, 2));
        buffer.set_string(0, 0, "a<b>&\u{65e5}c", Style::new().fg(Color::Rgb(1, 2, 3)));
        buffer.set_string(0, 1, "sel", Style::new().bg(Color::Red));
        let picture = svg(&buffer, DARK);
        assert!(picture.contains("a&lt;b&gt;&amp;\u{65e5}c"), "{picture}");
        assert!(picture.contains("#010203") && picture.contains("#e5534b"));
        assert!(picture.starts_with("<svg") && picture.ends_with("</svg>\n"));
    }
}
