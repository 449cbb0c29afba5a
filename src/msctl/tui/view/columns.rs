//! Rows in aligned columns: as wide as what shows wants, narrower where room is short, and the least
//! important column first to go.

use super::paint::{Focus, Paint, Span, width};
use crate::tui::state::area::Area;
use crate::tui::state::table::Sort;
use crate::tui::text;
use crate::tui::theme::Role;

/// Between two columns.
const GAP: u16 = 2;

/// Before the first column: the cursor's mark.
const LEAD: u16 = 3;

/// Which side a column's texts stand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Texts.
    Left,
    /// Numbers.
    Right,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// Its title.
    pub(super) title: &'static str,
    /// The fewest cells it is of use in.
    pub(super) least: u16,
    /// The most cells it takes.
    pub(super) most: u16,
    /// The smaller, the longer it stays.
    pub(super) rank: u8,
    /// Where its texts stand.
    pub(super) side: Side,
    /// The smaller, the sooner it gets room beyond its least.
    grows: u8,
}

impl Column {
    pub(super) const fn left(title: &'static str, least: u16, most: u16, rank: u8) -> Self {
        Self {
            title,
            least,
            most,
            rank,
            side: Side::Left,
            grows: rank,
        }
    }

    pub(super) const fn right(title: &'static str, least: u16, most: u16, rank: u8) -> Self {
        Self {
            title,
            least,
            most,
            rank,
            side: Side::Right,
            grows: rank,
        }
    }
}

impl Column {
    /// Takes what room the others leave.
    pub(super) const fn late(self) -> Self {
        Self {
            grows: u8::MAX,
            ..self
        }
    }
}

/// A row: the cells' spans.
pub(super) type Row<'a> = Vec<Vec<Span<'a>>>;

/// What a table is drawn of.
pub(super) struct Grid<'a> {
    /// The columns.
    pub(super) columns: &'a [Column],
    /// The rows that show.
    pub(super) rows: Vec<Row<'a>>,
    /// Which of them is under the cursor.
    pub(super) cursor: Option<usize>,
    /// Which of them are marked.
    pub(super) marked: Vec<usize>,
    /// The order, where the list has one.
    pub(super) sort: Option<Sort>,
    /// Whether the list has the focus.
    pub(super) focus: Focus,
}

impl Grid<'_> {
    /// Draws titles and rows.
    pub(super) fn draw(&self, paint: &mut Paint<'_>, area: Area) {
        if area.is_empty() {
            return;
        }
        let placed = self.place(area.width);
        for (index, (column, place)) in self.columns.iter().zip(&placed).enumerate() {
            let Some((x, cells)) = *place else { continue };
            let sorted = self.sort.filter(|sort| sort.column == index);
            let arrow = match sorted {
                Some(Sort {
                    descending: true, ..
                }) => paint.marks().descending,
                Some(_) => paint.marks().ascending,
                None => "",
            };
            let title = [
                Span::new(arrow, Role::Accent),
                Span::new(column.title, Role::Title),
            ];
            let at = area.x + x;
            if self.sort.is_some() {
                let title = Area {
                    x: at,
                    y: area.y,
                    width: cells,
                    height: 1,
                };
                paint.title(title, index);
            }
            // The arrow stands in the gap, so that titles do not move when the order does.
            let (at, cells) = if arrow.is_empty() {
                (at, cells)
            } else {
                (at - 1, cells + 1)
            };
            put(paint, at, area.y, cells, &title, column.side);
        }
        for (index, row) in self.rows.iter().enumerate() {
            let Ok(line) = u16::try_from(index + 1) else {
                break;
            };
            if line >= area.height {
                break;
            }
            let y = area.y + line;
            for ((column, place), cell) in self.columns.iter().zip(&placed).zip(row) {
                if let Some((x, cells)) = *place {
                    put(paint, area.x + x, y, cells, cell, column.side);
                }
            }
            if self.marked.contains(&index) {
                let mark = paint.marks().marked;
                paint.text(area.x + 2, y, 1, mark, Role::Accent);
            }
            if self.cursor == Some(index) {
                paint.cursor(area, y, self.focus);
            }
        }
    }

    /// Column and width of each column that is shown.
    fn place(&self, room: u16) -> Vec<Option<(u16, u16)>> {
        let exact: Vec<u16> = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| {
                let widest = self
                    .rows
                    .iter()
                    .filter_map(|row| row.get(index))
                    .map(|c| width(c));
                let widest = widest.max().unwrap_or(0).max(text::width(column.title));
                u16::try_from(widest)
                    .unwrap_or(u16::MAX)
                    .clamp(column.least, column.most)
            })
            .collect();
        // In steps of four where there is room, so that columns do not dance while rows come and go.
        let steps = |cells: u16, column: &Column| {
            (cells.saturating_add(3) / 4 * 4).clamp(column.least, column.most)
        };
        let stepped: Vec<u16> = exact
            .iter()
            .zip(self.columns)
            .map(|(cells, column)| steps(*cells, column))
            .collect();
        let total: usize = stepped.iter().map(|cells| usize::from(*cells + GAP)).sum();
        let wants = if total + usize::from(LEAD) <= usize::from(room) {
            stepped
        } else {
            exact
        };
        let mut shown: Vec<bool> = vec![true; self.columns.len()];
        loop {
            let need: u16 = LEAD
                + self
                    .columns
                    .iter()
                    .zip(&shown)
                    .filter(|(_, shown)| **shown)
                    .map(|(column, _)| column.least + GAP)
                    .sum::<u16>();
            if need <= room.saturating_add(GAP) {
                break;
            }
            let goes = (0..self.columns.len())
                .filter(|index| shown[*index] && self.columns[*index].rank > 0)
                .max_by_key(|index| self.columns[*index].rank);
            match goes {
                Some(index) => shown[index] = false,
                None => break,
            }
        }
        let given: Vec<u16> = {
            let fixed: u16 = LEAD
                + (0..shown.len())
                    .filter(|index| shown[*index])
                    .map(|index| self.columns[index].least + GAP)
                    .sum::<u16>();
            let mut spare = room.saturating_add(GAP).saturating_sub(fixed);
            let mut order: Vec<usize> = (0..shown.len()).filter(|index| shown[*index]).collect();
            order.sort_by_key(|index| self.columns[*index].grows);
            let mut given: Vec<u16> = self.columns.iter().map(|column| column.least).collect();
            for index in order {
                let more = wants[index].saturating_sub(given[index]).min(spare);
                given[index] += more;
                spare -= more;
            }
            given
        };
        let mut x = LEAD;
        shown
            .iter()
            .zip(given)
            .map(|(shown, cells)| {
                if !shown || x >= room {
                    return None;
                }
                let place = (x, cells.min(room - x));
                x += cells + GAP;
                Some(place)
            })
            .collect()
    }
}

fn put(paint: &mut Paint<'_>, x: u16, y: u16, cells: u16, spans: &[Span<'_>], side: Side) {
    let taken = u16::try_from(width(spans)).unwrap_or(u16::MAX).min(cells);
    let x = match side {
        Side::Left => x,
        Side::Right => x + cells - taken,
    };
    paint.spans(x, y, cells, spans);
}
