//! The palette: every action that works here, every page, every service, every theme, by name.

use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};

use crate::tui::action::{ACTIONS, Scope};
use crate::tui::effect::Effect;
use crate::tui::state::editor::{Editor, Shape};
use crate::tui::state::overlay::{Overlay, Palette, PaletteEntry, PaletteRun};
use crate::tui::state::toast::Tone;
use crate::tui::state::{State, View};
use crate::tui::theme::Theme;

/// At most so many entries fit the eye.
const SHOWN: usize = 200;

/// At most so many services are searched for.
const SERVICES_SEARCHED: usize = 20_000;

/// Opens it.
pub(super) fn open(state: &mut State) {
    state.overlay = Some(Overlay::Palette(Palette {
        editor: Editor::new(Shape::Line, ""),
        entries: Vec::new(),
        cursor: 0,
    }));
    search(state);
}

/// Finds what fits what is typed.
pub(super) fn search(state: &mut State) {
    let Some(Overlay::Palette(palette)) = &state.overlay else {
        return;
    };
    let typed = palette.editor.text();
    let entries = find(state, typed.trim());
    if let Some(Overlay::Palette(palette)) = &mut state.overlay {
        palette.entries = entries;
        palette.cursor = 0;
    }
}

fn find(state: &State, typed: &str) -> Vec<PaletteEntry> {
    // What works where the palette was opened: the page's own scopes and the global ones.
    let scopes = page_scopes(state);
    let mut found: Vec<(u32, PaletteEntry)> = Vec::new();
    let mut matcher = Matcher::new(Config::DEFAULT);
    let pattern = Pattern::parse(typed, CaseMatching::Ignore, Normalization::Smart);
    let mut buffer = Vec::new();
    let mut score = |text: &str| {
        if typed.is_empty() {
            return Some(0);
        }
        pattern.score(Utf32Str::new(text, &mut buffer), &mut matcher)
    };
    for spec in ACTIONS {
        let works = spec.scopes.iter().any(|scope| scopes.contains(scope));
        let typed_in = spec.scopes.iter().all(|scope| scope.is_text());
        // What works elsewhere is found by its name, and says where.
        if !works && (typed.is_empty() || typed_in) {
            continue;
        }
        // What was run lately comes first among equals.
        let recent = state
            .palette_history
            .iter()
            .rposition(|name| name == spec.name);
        let bonus = recent.map_or(0, |at| u32::try_from(at + 1).unwrap_or(0));
        if let Some(points) = score(spec.name) {
            let points = if works { points * 4 + bonus } else { points };
            found.push((
                points,
                PaletteEntry {
                    run: PaletteRun::Action(spec.action),
                    name: spec.name.to_owned(),
                    help: spec.help.to_owned(),
                },
            ));
        }
    }
    if !typed.is_empty() {
        for name in Theme::NAMES {
            let name = format!("theme {name}");
            if let Some(points) = score(&name) {
                let theme = name.trim_start_matches("theme ").to_owned();
                let help = "Take this theme.".into();
                found.push((
                    points * 4,
                    PaletteEntry {
                        run: PaletteRun::Theme(theme),
                        name,
                        help,
                    },
                ));
            }
        }
        for context in &state.contexts {
            let name = format!("context {context}");
            if let Some(points) = score(&name) {
                found.push((
                    points * 4 + 2,
                    PaletteEntry {
                        run: PaletteRun::Context(context.clone()),
                        name,
                        help: "Go to this context.".into(),
                    },
                ));
            }
        }
        for service in state.service_names().take(SERVICES_SEARCHED) {
            if let Some(points) = score(service.as_str()) {
                found.push((
                    points * 4 + 1,
                    PaletteEntry {
                        run: PaletteRun::Service(service.to_string()),
                        name: service.to_string(),
                        help: "Go to this service.".into(),
                    },
                ));
            }
        }
    }
    found.sort_by_key(|(points, _)| std::cmp::Reverse(*points));
    found
        .into_iter()
        .take(SHOWN)
        .map(|(_, entry)| entry)
        .collect()
}

fn page_scopes(state: &State) -> Vec<Scope> {
    let page = state.scopes_of_page();
    page.iter()
        .copied()
        .filter(|scope| !scope.is_text())
        .chain([Scope::Global])
        .collect()
}

/// Goes to another context, unless something would be lost with this one.
fn switch(state: &mut State, name: String) -> Vec<Effect> {
    if state.config.sent.is_some() {
        state.say(Tone::Warn, "a save is on its way; wait for its answer");
        return Vec::new();
    }
    if state.config.drafts.is_empty() {
        state.say(Tone::Plain, format!("going to {name}"));
    }
    let verb = format!("Go to {name}");
    super::act::unless_drafts(state, &verb, Effect::SwitchContext(name))
}

/// Moves among the entries.
pub(super) fn step(state: &mut State, by: isize) {
    if let Some(Overlay::Palette(palette)) = &mut state.overlay {
        let last = palette.entries.len().saturating_sub(1);
        palette.cursor = palette.cursor.saturating_add_signed(by).min(last);
    }
}

/// Runs the entry under the cursor.
pub(super) fn run(state: &mut State) -> Vec<Effect> {
    let Some(Overlay::Palette(palette)) = state.overlay.take() else {
        return Vec::new();
    };
    let Some(entry) = palette.entries.into_iter().nth(palette.cursor) else {
        return Vec::new();
    };
    state.palette_history.retain(|name| *name != entry.name);
    state.palette_history.push(entry.name);
    if state.palette_history.len() > 50 {
        state.palette_history.remove(0);
    }
    match entry.run {
        PaletteRun::Action(action) if !super::works(state, action) => {
            let spec = action.spec();
            let places: Vec<_> = spec.scopes.iter().map(|scope| scope.heading()).collect();
            let text = format!("'{}' works in: {}", spec.name, places.join(", "));
            state.say(Tone::Plain, text);
            Vec::new()
        }
        PaletteRun::Action(action) => super::act::act(state, action),
        PaletteRun::Context(name) => switch(state, name),
        PaletteRun::Theme(name) => {
            state.theme_wish = Some(name);
            Vec::new()
        }
        PaletteRun::Service(name) => {
            if let Ok(service) = fleet::ServiceName::new(&name) {
                super::show(state, View::Services);
                super::act::go_to_service(state, service);
            }
            Vec::new()
        }
    }
}
