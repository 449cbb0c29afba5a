//! What each action does to state. The list of actions, with their keys and words, is `action`'s.

use fleet::drain::Turn;

use arrange::{keep_filter, start_filter};
use leave::{interrupt, quit};
use look::{config_of_service, events_of_this, raw};
use prompt::{accept_prompt, prompt};
use values::{choose, edit_outside, fold, resolve, unset};

use super::{palette, past, save, set_filter, show, turn, write};
use crate::change::rollback::Target;
use crate::tui::action::Action;
use crate::tui::effect::Effect;
use crate::tui::state::calls::Pane as CallPane;
use crate::tui::state::config::{self, Choice};
use crate::tui::state::overlay::{Overlay, Purpose};
use crate::tui::state::table::Motion;
use crate::tui::state::toast::Tone;
use crate::tui::state::{State, Suspension, View};

mod arrange;
mod calls;
mod complete;
mod explain;
mod go;
mod help;
mod leave;
mod look;
mod prompt;
mod values;
mod yank;

pub(super) use arrange::{Sorting, sort};
pub(super) use calls::ask_methods;
pub(super) use go::{go, go_to_service, open};
pub(super) use leave::unless_drafts;
pub(super) use prompt::read;

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
        A::Drain => turn::ask(state, Turn::Out),
        A::Undrain => turn::ask(state, Turn::Back),
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
