//! What each action does to state. The list of actions, with their keys and words, is `action`'s.

use fleet::Seen;
use fleet::config::{ConfigKey, Scope as ConfigScope};

use super::{palette, past, save, set_filter, show, write};
use crate::change::rollback::Target;
use crate::tui::action::Action;
use crate::tui::effect::Effect;
use crate::tui::state::calls::Pane as CallPane;
use crate::tui::state::config::tree::Arrangement;
use crate::tui::state::config::{self, Choice, Wanted};
use crate::tui::state::editor::{Editor, Shape};
use crate::tui::state::overlay::{Overlay, Prompt, Purpose, Reader};
use crate::tui::state::services::Pane;
use crate::tui::state::table::Motion;
use crate::tui::state::toast::Tone;
use crate::tui::state::{State, Suspension, View, services};

mod calls;
mod complete;
mod explain;
mod go;
mod help;
mod yank;

pub(super) use calls::ask_methods;
pub(super) use go::{go, go_to_service, open};

/// Runs an action where the focus is.
pub(super) fn act(state: &mut State, action: Action) -> Vec<Effect> {
    use Action as A;
    match action {
        A::Open | A::OpenMethod | A::EditValue => return open(state),
        A::Back => go::back(state),
        A::CallService => return calls::call_service(state),
        A::ConfigOfService => config_of_service(state),
        A::EventsOfThis => events_of_this(state),
        A::ProbeNow => {
            state.beats.health.asked = None;
            state.beats.leases.asked = None;
            state.say(
                Tone::Plain,
                "asking the health and the leases of what shows",
            );
        }
        A::Deregister => write::deregister(state),
        A::RawRecord => return raw(state),
        A::Save => save::review(state),
        A::Commit => return save::commit(state),
        A::SideBySide => state.config.turn_layout(),
        A::TryOnSome => {
            save::leave(state);
            let proposed = save::proposed(state);
            prompt(state, Purpose::Canary, &proposed);
        }
        A::LeaveReview => save::leave(state),
        A::ReviewDown => go(state, Motion::Rows(1)),
        A::ReviewUp => go(state, Motion::Rows(-1)),
        A::ReviewPageDown => go(state, Motion::Page(1)),
        A::ReviewPageUp => go(state, Motion::Page(-1)),
        A::Promote => save::promote(state),
        A::AbortCanary => save::abort(state),
        A::WatchCanary => return save::watch(state),
        A::Complete => complete::complete(state),
        A::NewKey => prompt(state, Purpose::NewKey, ""),
        A::Unset => unset(state),
        A::Discard => return past::undo(state),
        A::KeyHistory => return past::of_key(state),
        A::ScopeHistory => return past::of_scope(state),
        A::GoBackTo => return past::back(state, Target::To),
        A::TakeBack => return past::back(state, Target::Of),
        A::ToggleTree => state.config.toggle_tree(),
        A::Fold => fold(state),
        A::Explain => explain::explain(state),
        A::Reveal | A::RevealReview => state.config.reveal(),
        A::Message => {
            let message = state.save_message.clone();
            prompt(state, Purpose::Message, &message);
        }
        A::EditOutside => return edit_outside(state),
        A::AcceptValue => state.config.accept(),
        A::BreakLine => {
            if let Some(editing) = &mut state.config.editing {
                editing
                    .editor
                    .press(crate::tui::key::Key::plain(crate::tui::key::Code::Enter));
                editing.error = None;
            }
        }
        A::LeaveValue => state.config.leave(),
        A::TakeTheirs => choose(state, Choice::Theirs),
        A::TakeMine => choose(state, Choice::Mine),
        A::TakeBoth => choose(state, Choice::Both),
        A::Resolve => resolve(state),
        A::LeaveConflict => {
            state.config.clash = None;
            state.config.pane = config::Pane::Keys;
        }
        A::Send | A::SendShort => return calls::send(state),
        A::CancelCall => return calls::cancel(state),
        A::PickInstance => calls::pick_instance(state),
        A::EditHeaders => calls::edit_headers(state),
        A::PastRequests => calls::past(state),
        A::TakeRequest => state.calls.take_past(),
        A::ResetRequest => calls::reset_request(state),
        A::CopyCommand => return yank::command(state),
        A::LeaveRequest => state.calls.pane = CallPane::Methods,
        A::RevokeLease => {
            if let Some(id) = state.leases.list.current().map(|row| row.id) {
                write::revoke(state, id);
            }
        }
        A::Follow => {
            state.events.following = !state.events.following;
            state.events.list.outdate_now();
        }
        A::Mark => {
            if let Some(key) = state
                .services
                .instance()
                .map(|instance| instance.key.clone())
            {
                state.services.instances.table.toggle_mark(&key);
                go(state, Motion::Rows(1));
            }
        }
        A::Copy => return yank::row(state),
        A::NextPane => go::pane(state, 1),
        A::PreviousPane => go::pane(state, -1),
        A::SortNext => sort(state, Sorting::Next),
        A::SortReverse => sort(state, Sorting::Reverse),
        A::StartFilter => start_filter(state),
        A::OpenPalette => palette::open(state),
        A::Help => help::open(state),
        A::Down => go(state, Motion::Rows(1)),
        A::Up => go(state, Motion::Rows(-1)),
        A::Top => go(state, Motion::Top),
        A::Bottom => go(state, Motion::Bottom),
        A::HalfDown => go(state, Motion::Half(1)),
        A::HalfUp => go(state, Motion::Half(-1)),
        A::PageDown => go(state, Motion::Page(1)),
        A::PageUp => go(state, Motion::Page(-1)),
        A::ViewServices => show(state, View::Services),
        A::ViewConfig => show(state, View::Config),
        A::ViewCalls => show(state, View::Calls),
        A::ViewLeases => show(state, View::Leases),
        A::ViewEvents => show(state, View::Events),
        A::ViewKeys => show(state, View::Keys),
        A::ViewDoctor => show(state, View::Doctor),
        A::ViewOverview => show(state, View::Overview),
        A::ViewMessages => show(state, View::Messages),
        A::HistoryBack => go::history(state, -1),
        A::HistoryForward => go::history(state, 1),
        A::NextTheme => state.theme_wish = Some(String::new()),
        A::Redraw => return vec![Effect::Redraw],
        A::Suspend if state.suspension == Suspension::HoldsEtcd => {
            let text = "this process holds the demo's etcd, which would stand still with it; use \
                        another terminal, or q";
            state.say(Tone::Plain, text);
        }
        A::Suspend => return vec![Effect::Suspend],
        A::Quit => return quit(state),
        A::Interrupt => return interrupt(state),
        A::KeepFilter => keep_filter(state),
        A::DropFilter => {
            state.filtering = None;
            set_filter(state, "");
        }
        A::PaletteRun => return palette::run(state),
        A::PaletteNext => palette::step(state, 1),
        A::PalettePrevious => palette::step(state, -1),
        A::PaletteClose | A::No | A::PromptCancel => state.overlay = None,
        A::Yes => {
            if let Some(Overlay::Question(question)) = state.overlay.take() {
                return write::agreed(state, question.then);
            }
        }
        A::PromptAccept => return accept_prompt(state),
    }
    Vec::new()
}

fn quit(state: &mut State) -> Vec<Effect> {
    if state.config.drafts.is_empty() {
        return vec![Effect::Quit];
    }
    // Losing a draft is asked in any context, and never takes a typed name.
    let count = state.config.drafts.len();
    state.overlay = Some(Overlay::Question(crate::tui::state::overlay::Question {
        text: format!("{count} changes are not saved. Leave and lose them?"),
        lines: state
            .config
            .drafts
            .keys()
            .take(10)
            .map(ToString::to_string)
            .collect(),
        typed: None,
        then: Effect::Quit,
    }));
    Vec::new()
}

fn interrupt(state: &mut State) -> Vec<Effect> {
    if state.overlay.take().is_some() {
        return Vec::new();
    }
    if state.filtering.is_some() {
        return act(state, Action::DropFilter);
    }
    match state.view {
        View::Config if state.config.pane == config::Pane::Review => {
            act(state, Action::LeaveReview)
        }
        View::Config => act(state, Action::LeaveValue),
        View::Calls => act(state, Action::LeaveRequest),
        _ => Vec::new(),
    }
}

fn prompt(state: &mut State, purpose: Purpose, text: &str) {
    let editor = Editor::new(Shape::Line, text);
    state.overlay = Some(Overlay::Prompt(Prompt {
        purpose,
        editor,
        error: None,
    }));
}

fn accept_prompt(state: &mut State) -> Vec<Effect> {
    match state.overlay.take() {
        Some(Overlay::Question(question)) => {
            let name_given = question
                .typed
                .as_ref()
                .is_some_and(|(name, typed)| *name == typed.text().trim());
            if name_given {
                return write::agreed(state, question.then);
            }
            let name = question.typed.as_ref().map_or("", |(name, _)| name);
            let text = format!("not done: that is not the name of the context, '{name}'");
            state.say(Tone::Warn, text);
        }
        Some(Overlay::Prompt(prompt)) => match prompt.purpose {
            Purpose::Message => state.save_message = prompt.editor.text().trim().to_owned(),
            Purpose::NewKey => new_key(state, prompt),
            Purpose::Canary => return save::try_on(state, prompt),
            Purpose::Instance => calls::take_instance(state, prompt),
        },
        other => state.overlay = other,
    }
    Vec::new()
}

fn new_key(state: &mut State, mut prompt: Prompt) {
    let Some(scope) = state.config.scope.clone() else {
        return;
    };
    match ConfigKey::new(scope, prompt.editor.text().trim()) {
        Ok(key) => {
            state.config.unfold_to(key.path());
            state.config.keys.table.select_key(key.path().into());
            state.config.edit(key);
        }
        Err(error) => {
            prompt.error = Some(error.to_string());
            state.overlay = Some(Overlay::Prompt(prompt));
        }
    }
}

fn fold(state: &mut State) {
    let page = &mut state.config;
    let why = if page.arrangement == Arrangement::Flat {
        "the list is flat; t lays it out as a tree"
    } else if !page.keys.filter_text().is_empty() {
        "a filter shows all that passes it; esc drops it"
    } else if page.toggle_fold() {
        return;
    } else {
        "this stands in no folder"
    };
    state.say(Tone::Plain, why);
}

fn unset(state: &mut State) {
    if !write::allowed(state) {
        return;
    }
    let Some(key) = state.config.current() else {
        return;
    };
    let drafted = state
        .config
        .drafts
        .get(&key)
        .map(|draft| draft.seen.clone());
    let seen = drafted.unwrap_or_else(|| Seen::from(state.config.entry(&key).cloned()));
    if seen == Seen::Absent {
        let text = format!("{key} has no value of its own; there is nothing to unset");
        state.config.discard(&key);
        return state.say(Tone::Plain, text);
    }
    state.config.want(key, seen, Wanted::Unset, None);
}

fn choose(state: &mut State, choice: Choice) {
    if !state.config.choose(choice) {
        let text = "both changed the same; take theirs or mine";
        state.say(Tone::Plain, text);
    }
}

fn resolve(state: &mut State) {
    if !state.config.resolve() {
        state.say(Tone::Warn, "choose for each key first: t theirs, m mine");
    } else if state.config.drafts.is_empty() {
        state.say(
            Tone::Good,
            "theirs is kept everywhere; nothing is left to save",
        );
    } else {
        save::review(state);
    }
}

fn edit_outside(state: &mut State) -> Vec<Effect> {
    if state.view == View::Config && state.config.pane == config::Pane::Keys {
        open(state);
    }
    let (text, suffix) = match state.view {
        View::Config => (
            state.config.editing.as_ref().map(|e| e.editor.text()),
            ".yaml",
        ),
        _ => (state.calls.request().map(Editor::text), ".json"),
    };
    text.map(|text| Effect::EditOutside { text, suffix })
        .into_iter()
        .collect()
}

fn config_of_service(state: &mut State) {
    let Some(service) = state.services.of().cloned() else {
        return;
    };
    show(state, View::Config);
    state.config.open(ConfigScope::Service(service));
}

fn events_of_this(state: &mut State) {
    let filter = match state.services.pane {
        Pane::Services => state.services.of().map(ToString::to_string),
        _ => state
            .services
            .instance()
            .map(|instance| instance.record.id.to_string()),
    };
    show(state, View::Events);
    state.events.list.set_filter(&filter.unwrap_or_default());
}

fn raw(state: &mut State) -> Vec<Effect> {
    let key = match state.view {
        View::Services => state
            .services
            .instance()
            .map(|instance| instance.key.clone()),
        View::Leases => {
            let row = state.leases.list.current();
            row.and_then(|row| row.instance.as_ref())
                .map(|instance| instance.key.clone())
        }
        _ => None,
    };
    key.map(Effect::Read).into_iter().collect()
}

/// What was found stays under the cursor, also when the filter goes.
fn keep_filter(state: &mut State) {
    state.filtering = None;
    go(state, Motion::Rows(0));
}

fn start_filter(state: &mut State) {
    if let Some(text) = super::filter_text(state) {
        let text = text.to_owned();
        state.filtering = Some((Editor::new(Shape::Line, &text), text));
    }
}

#[derive(Clone, Copy)]
enum Sorting {
    Next,
    Reverse,
}

fn sort(state: &mut State, sorting: Sorting) {
    macro_rules! on {
        ($list:expr, $columns:expr) => {
            match sorting {
                Sorting::Next => $list.sort_next($columns),
                Sorting::Reverse => $list.reverse(),
            }
        };
    }
    match (state.view, state.services.pane) {
        (View::Services, Pane::Services) => {
            on!(state.services.services, services::SERVICE_COLUMNS.len());
        }
        (View::Services, _) => on!(state.services.instances, services::INSTANCE_COLUMNS.len()),
        (View::Config, _) if state.config.arrangement == Arrangement::Tree => {
            let text = "a tree is in the order of its names; t shows the flat list";
            state.say(Tone::Plain, text);
        }
        (View::Config, _) => on!(state.config.keys, config::rows::COLUMNS),
        (View::Keys, _) => on!(state.keys.list, crate::tui::state::keys::COLUMNS),
        (View::Leases, _) => {
            on!(state.leases.list, crate::tui::state::leases::COLUMNS.len());
        }
        _ => {}
    }
}

/// Opens a text in full.
pub(super) fn read(state: &mut State, title: impl Into<String>, lines: Vec<String>) {
    state.overlay = Some(Overlay::Reader(Reader::new(title, lines)));
}
