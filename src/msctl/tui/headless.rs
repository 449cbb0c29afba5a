//! The console without a terminal: a real frame of a real fleet, as a picture or as text. The same
//! state, update, effects and view; only the keys are given beforehand.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use tokio::sync::mpsc;

use super::effect::Effect;
use super::effect::run::Runner;
use super::event::{Event, Now};
use super::key::Key;
use super::state::State;
use super::state::calls::{Answer, Methods};
use super::state::freshness::Freshness;
use super::update::update;
use super::view::{self, Look};
use super::{INBOX, Options, context_of};
use crate::session::Session;

/// After the last key, so long answers are waited for.
const SETTLED: Duration = Duration::from_millis(1_500);

/// What to show.
#[derive(Clone, Debug)]
pub struct Shot {
    /// Columns and rows.
    pub size: (u16, u16),
    /// Pressed one after the other once the fleet is known.
    pub keys: Vec<Key>,
    /// At most so long the fleet is waited for.
    pub patience: Duration,
}

/// Runs the console over a fleet, presses the keys, and gives the frame that shows then. Where etcd
/// does not answer in time, the frame says so.
pub async fn shoot(session: Session, options: Options, shot: &Shot) -> Buffer {
    let (events, mut inbox) = mpsc::channel(INBOX);
    let started = Instant::now();
    let now = || Now {
        mono: started.elapsed(),
        wall: Timestamp::now(),
    };
    let mut state = State::new(context_of(&session), shot.size, now());
    state.view = options.view;
    state.keymap = options.keymap;
    let mut runner = Runner::start(session, state.generation, events);
    let mut keys = shot.keys.iter();
    let mut until = started + shot.patience;
    let mut known = false;
    loop {
        if !known && is_known(&state) {
            known = true;
            until = Instant::now() + SETTLED;
        }
        if known
            && !is_waiting(&state)
            && let Some(key) = keys.next()
        {
            take(&mut state, &mut runner, now(), Event::Key(*key));
            until = Instant::now() + SETTLED;
        }
        let wait = until.min(Instant::now() + Duration::from_millis(50));
        let event = match tokio::time::timeout_at(wait.into(), inbox.recv()).await {
            Ok(Some(event)) => event,
            Ok(None) => break,
            Err(_) if Instant::now() >= until => break,
            Err(_) => Event::Tick,
        };
        take(&mut state, &mut runner, now(), event);
    }
    state.now = now();
    state.messages.dismiss();
    state.settle();
    let look = Look {
        theme: options.theme,
        zone: TimeZone::system(),
    };
    let mut buffer = Buffer::empty(Rect::new(0, 0, shot.size.0, shot.size.1));
    view::draw(&state, &look, &mut buffer);
    buffer
}

fn take(state: &mut State, runner: &mut Runner, now: Now, event: Event) {
    let effects = update(state, now, event);
    state.settle();
    // What concerns a terminal has none here; what writes is not for a picture.
    for effect in effects {
        match effect {
            Effect::Save { .. }
            | Effect::Commit { .. }
            | Effect::Turn { .. }
            | Effect::Revoke(_) => {}
            other => runner.run(other),
        }
    }
}

/// Whether an answer is out that a person would wait for before the next key.
fn is_waiting(state: &State) -> bool {
    let asked = |methods: &Methods| *methods == Methods::Asked;
    state.calls.methods.values().any(asked)
        || state.calls.answer.as_ref().is_some_and(Answer::is_running)
}

/// Whether everything a first look wants has been answered.
fn is_known(state: &State) -> bool {
    let asked = |instance: &std::sync::Arc<fleet::Instance>| {
        state.directory.health(&instance.key).is_some()
    };
    matches!(state.freshness(), Freshness::Fresh { .. })
        && state.cluster.is_some()
        && state
            .directory
            .registry
            .services()
            .all(|(_, service)| service.instances().take(50).all(asked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings;
    use crate::tui::tests::text_of;
    use crate::tui::{View, theme::Theme};

    #[tokio::test]
    async fn a_frame_of_a_dead_etcd_says_that_it_is_dead() {
        let port = {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap().port()
        };
        let context = settings::Context::from_endpoints(&[format!("127.0.0.1:{port}")]);
        let session = Session::open(context).unwrap();
        let options = Options::new(View::Services, Theme::named("dark").unwrap());
        let shot = Shot {
            size: (80, 24),
            keys: Vec::new(),
            patience: Duration::from_secs(3),
        };
        let text = text_of(&shoot(session, options, &shot).await);
        assert!(text.contains("etcd does not answer"), "{text}");
    }
}
