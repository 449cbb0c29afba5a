//! The mouse: the wheel moves what it is over, a click selects, a second click opens, tabs and
//! column titles are clicked as they are drawn. Where a title stands only the view knows: it tells.

use super::act::{Sorting, go, open, sort};
use super::show;
use crate::tui::effect::Effect;
use crate::tui::key::{Mouse, MouseKind};
use crate::tui::state::area::{Area, MINIMUM};
use crate::tui::state::calls::{self, TreeRow};
use crate::tui::state::overlay::Overlay;
use crate::tui::state::services::Pane;
use crate::tui::state::table::Motion;
use crate::tui::state::{State, View, config, layout};

/// How many rows the wheel turns.
const WHEEL: isize = 3;

/// Takes a mouse event.
pub(super) fn mouse(state: &mut State, mouse: Mouse) -> Vec<Effect> {
    if state.size.0 < MINIMUM.0 || state.size.1 < MINIMUM.1 {
        return Vec::new();
    }
    state.settle();
    state.changed = true;
    match mouse.kind {
        MouseKind::WheelUp => wheel(state, mouse, -WHEEL),
        MouseKind::WheelDown => wheel(state, mouse, WHEEL),
        MouseKind::Press => return press(state, mouse),
    }
    Vec::new()
}

fn wheel(state: &mut State, mouse: Mouse, by: isize) {
    match &mut state.overlay {
        Some(Overlay::Palette(_)) => super::palette::step(state, by.signum()),
        Some(Overlay::Reader(_)) => go(state, Motion::Rows(by)),
        Some(_) => {}
        None => {
            focus(state, mouse);
            go(state, Motion::Rows(by));
        }
    }
}

fn press(state: &mut State, mouse: Mouse) -> Vec<Effect> {
    let frame = layout::frame(state);
    if frame.tabs.contains(mouse.column, mouse.row) && state.overlay.is_none() {
        if let Some(view) = tab_at(mouse.column) {
            show(state, view);
        }
        return Vec::new();
    }
    if state.overlay.is_some() || !frame.body.contains(mouse.column, mouse.row) {
        return Vec::new();
    }
    let Some((rows, line)) = focus(state, mouse) else {
        return Vec::new();
    };
    if rows.is_empty() {
        return Vec::new();
    }
    if select(state, usize::from(line)) {
        open(state)
    } else {
        Vec::new()
    }
}

/// Orders a list by the column whose title was clicked; clicked again, the other way round.
pub(super) fn title(state: &mut State, mouse: Mouse, column: usize) -> Vec<Effect> {
    if state.overlay.is_some() {
        return Vec::new();
    }
    state.changed = true;
    if state.view == View::Services {
        let panes = layout::services(state);
        state.services.pane = if panes.services.contains(mouse.column, mouse.row) {
            Pane::Services
        } else {
            Pane::Instances
        };
    }
    sort(state, Sorting::By(column));
    Vec::new()
}

/// The page whose tab stands at a column. Tabs are drawn from column 1: ` 1 Services  2 Config …`.
fn tab_at(column: u16) -> Option<View> {
    let mut x = 1;
    for (_, view) in View::TABS {
        let width = u16::try_from(view.title().len() + 2).unwrap_or(0);
        if (x..x + width).contains(&column) {
            return Some(view);
        }
        x += width + 2;
    }
    None
}

/// Gives the focus to the pane under the mouse. Returns its rows and which of them was hit.
fn focus(state: &mut State, mouse: Mouse) -> Option<(Area, u16)> {
    let hit = |area: Area, titles: u16| {
        let (_, rows) = area.top(titles);
        rows.contains(mouse.column, mouse.row)
            .then(|| (rows, mouse.row - rows.y))
    };
    let body = layout::frame(state).body;
    match state.view {
        View::Services => {
            let panes = layout::services(state);
            if state.services.pane == Pane::Detail {
                return None;
            }
            if let Some(found) = hit(panes.services, 1) {
                state.services.pane = Pane::Services;
                return Some(found);
            }
            let found = hit(panes.instances, 2)?;
            state.services.pane = Pane::Instances;
            Some(found)
        }
        View::Config => match state.config.pane {
            config::Pane::Scopes | config::Pane::Keys | config::Pane::History => {
                hit(layout::config(state).list, 1)
            }
            _ => None,
        },
        View::Calls => {
            let panes = layout::calls(state);
            if let Some(found) = hit(panes.methods, 0) {
                state.calls.pane = calls::Pane::Methods;
                return Some(found);
            }
            if let Some((_, line)) = hit(panes.request, 1) {
                if let Some(request) = state.calls.request_mut() {
                    let column = usize::from(mouse.column.saturating_sub(panes.request.x));
                    request.place(usize::from(line), column);
                    state.calls.pane = calls::Pane::Request;
                }
            } else if hit(panes.response, 1).is_some() {
                state.calls.pane = calls::Pane::Response;
            }
            None
        }
        View::Leases | View::Events | View::Keys => hit(body, 1),
        View::Doctor => hit(body, 1),
        View::Overview | View::Messages => None,
    }
}

/// Puts the cursor on a line of the pane with the focus. Returns whether it was there already.
fn select(state: &mut State, line: usize) -> bool {
    macro_rules! click {
        ($list:expr, $key:expr) => {{
            let before = $list.table.cursor();
            let rows = $list.rows().len();
            let hit = $list.table.visible(rows).start + line;
            $list.click(line, $key);
            hit == before && hit < rows
        }};
    }
    match state.view {
        View::Services if state.services.pane == Pane::Services => {
            click!(state.services.services, Clone::clone)
        }
        View::Services => click!(state.services.instances, |instance| instance.key.clone()),
        View::Config if state.config.pane == config::Pane::Scopes => {
            click!(state.config.scopes, |row| row.scope.clone())
        }
        View::Config if state.config.pane == config::Pane::History => {
            match &mut state.config.history {
                Some(history) => click!(history.list, |at| *at),
                None => false,
            }
        }
        View::Config => click!(state.config.keys, config::Line::id),
        View::Calls => {
            let again = click!(state.calls.tree, TreeRow::key);
            state.calls.choose();
            again
        }
        View::Leases => click!(state.leases.list, |row| row.id),
        View::Events => {
            state.events.following = false;
            click!(state.events.list, |number| *number)
        }
        View::Keys => click!(state.keys.list, |row| row.key.clone()),
        View::Doctor => {
            click!(state.doctor.list, |(at, row)| (
                row.about.clone(),
                row.finding.code,
                *at
            ))
        }
        View::Overview | View::Messages => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_click_on_a_tab_finds_its_page() {
        assert_eq!(tab_at(1), Some(View::Services));
        assert_eq!(tab_at(10), Some(View::Services));
        assert_eq!(tab_at(11), None);
        assert_eq!(tab_at(13), Some(View::Config));
        assert_eq!(tab_at(0), None);
        assert_eq!(tab_at(400), None);
    }
}
