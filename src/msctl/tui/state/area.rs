//! Rectangles of cells, and how a page is divided into panes. State, mouse and view use the same
//! division, so that a click lands on what was drawn there. Pure; nothing here draws.

/// A rectangle of cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Area {
    /// Left column.
    pub x: u16,
    /// Upper row.
    pub y: u16,
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

impl Area {
    /// The whole terminal.
    pub fn of(width: u16, height: u16) -> Self {
        Self {
            x: 0,
            y: 0,
            width,
            height,
        }
    }

    /// The upper `rows` and the rest.
    pub fn top(self, rows: u16) -> (Self, Self) {
        let rows = rows.min(self.height);
        (
            Self {
                height: rows,
                ..self
            },
            Self {
                y: self.y + rows,
                height: self.height - rows,
                ..self
            },
        )
    }

    /// The rest and the lower `rows`.
    pub fn bottom(self, rows: u16) -> (Self, Self) {
        let rows = rows.min(self.height);
        self.top(self.height - rows)
    }

    /// The left `columns` and the rest.
    pub fn left(self, columns: u16) -> (Self, Self) {
        let columns = columns.min(self.width);
        (
            Self {
                width: columns,
                ..self
            },
            Self {
                x: self.x + columns,
                width: self.width - columns,
                ..self
            },
        )
    }

    /// Without `columns` on either side.
    pub fn inset(self, columns: u16) -> Self {
        let columns = columns.min(self.width / 2);
        Self {
            x: self.x + columns,
            width: self.width - 2 * columns,
            ..self
        }
    }

    /// Whether a cell lies inside.
    pub fn contains(self, column: u16, row: u16) -> bool {
        (self.x..self.x.saturating_add(self.width)).contains(&column)
            && (self.y..self.y.saturating_add(self.height)).contains(&row)
    }

    /// Whether it holds no cell.
    pub fn is_empty(self) -> bool {
        self.width == 0 || self.height == 0
    }
}

/// The fixed lines around a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Path, context, etcd.
    pub header: Area,
    /// The views and the filter.
    pub tabs: Area,
    /// The page.
    pub body: Area,
    /// The keys that work here.
    pub footer: Area,
}

/// The smallest terminal a page is drawn in; below it one line says so.
pub const MINIMUM: (u16, u16) = (40, 8);

impl Frame {
    /// Divides a terminal of at least [`MINIMUM`].
    pub fn of(width: u16, height: u16) -> Self {
        let (header, rest) = Area::of(width, height).top(1);
        let (tabs, rest) = rest.top(1);
        let (body, footer) = rest.bottom(1);
        Self {
            header,
            tabs,
            body,
            footer,
        }
    }
}

/// Divides rows among panes that want `wants[i]` rows and need `needs[i]`: first what each needs, in
/// order, then what each wants, in order; what is left over goes to the last.
pub fn share(rows: u16, needs: &[u16], wants: &[u16]) -> Vec<u16> {
    let mut left = rows;
    let mut given: Vec<u16> = needs
        .iter()
        .map(|need| {
            let get = (*need).min(left);
            left -= get;
            get
        })
        .collect();
    for (given, want) in given.iter_mut().zip(wants) {
        let more = want.saturating_sub(*given).min(left);
        *given += more;
        left -= more;
    }
    if let Some(last) = given.last_mut() {
        *last += left;
    }
    given
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn needs_come_before_wants() {
        assert_eq!(share(20, &[4, 4, 2], &[10, 10, 5]), [10, 8, 2]);
        assert_eq!(share(5, &[4, 4, 2], &[10, 10, 5]), [4, 1, 0]);
        assert_eq!(share(40, &[4, 4, 2], &[10, 10, 5]), [10, 10, 20]);
    }

    proptest! {
        #[test]
        fn divided_areas_stay_inside(w in 0u16..300, h in 0u16..100, n in 0u16..400) {
            let whole = Area::of(w, h);
            let (a, b) = whole.top(n);
            prop_assert_eq!(a.height + b.height, h);
            let (a, b) = whole.left(n);
            prop_assert_eq!(a.width + b.width, w);
            let inset = whole.inset(n);
            prop_assert!(inset.x + inset.width <= w);
        }
    }
}
