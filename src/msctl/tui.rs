//! The console: wait for whatever happens, drain what else is there, update, draw if anything visible
//! changed. Keys go before everything, and nothing here waits for etcd.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::report::Failure;
use crate::session::Session;
use crate::settings::{self, file::SettingsFile};
use effect::Effect;
use effect::run::Runner;
use event::{Event, Now};
use input::Input;
use keymap::Keymap;
use state::{Context, State, Suspension};
use term::Screen;
use theme::Theme;
use update::update;
use view::Look;

pub mod action;
pub mod effect;
pub mod event;
pub mod headless;
pub mod input;
pub mod key;
pub mod keymap;
pub mod outside;
pub mod picture;
pub mod state;
pub mod term;
pub mod text;
pub mod theme;
pub mod update;
pub mod view;

#[cfg(test)]
mod tests;

pub use state::View;

/// At most one frame in this time: more is not seen.
const FRAME: Duration = Duration::from_millis(8);

/// Events of the fleet taken in before a key is looked for again.
const DRAINED: Duration = Duration::from_millis(4);

/// Events that wait for the console; beyond it the feeds wait.
const INBOX: usize = 256;

/// How the console is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The page it opens on.
    pub view: View,
    /// Colours and glyphs.
    pub theme: Theme,
    /// What keys do.
    pub keymap: Keymap,
    /// The contexts that can be gone to.
    pub contexts: Vec<String>,
    /// Whether the console may be stopped.
    pub suspension: Suspension,
}

impl Options {
    /// The usual keys, and no other context to go to.
    pub fn new(view: View, theme: Theme) -> Self {
        Self {
            view,
            theme,
            keymap: Keymap::default(),
            contexts: Vec::new(),
            suspension: Suspension::Allowed,
        }
    }
}

/// Runs the console until the user ends it.
///
/// # Errors
/// When there is no terminal, or it goes away.
pub async fn run(session: Session, options: Options) -> Result<(), Failure> {
    let screen = Screen::enter().map_err(|error| {
        Failure::failed(format!("the console needs a terminal: {error}"))
            .next("Without one, use the commands: msctl services, msctl config list.")
    })?;
    let console = Console::new(session, options, screen).map_err(|error| lost(&error))?;
    // It holds all that shows, which is much for a stack.
    let ended = Box::pin(console.run()).await;
    ended.map_err(|error| lost(&error))
}

fn lost(error: &std::io::Error) -> Failure {
    Failure::failed(format!("the terminal is lost: {error}"))
}

/// What the console needs to know of a session's context.
fn context_of(session: &Session) -> Context {
    let context = session.context();
    Context {
        name: context.name.to_string(),
        author: session.author(),
        prefixes: context.prefixes.clone(),
        access: context.access,
        stage: context.stage,
    }
}

struct Console {
    state: State,
    look: Look,
    screen: Screen,
    runner: Runner,
    events: mpsc::Sender<Event>,
    inbox: mpsc::Receiver<Event>,
    /// The session of the context that is being gone to.
    opening: JoinSet<Result<Session, String>>,
    keys: Input,
    started: Instant,
    drawn: Option<Instant>,
    signals: [Signal; 3],
}

/// Whether the console goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Goes,
    Ends,
}

impl Console {
    fn new(session: Session, options: Options, screen: Screen) -> std::io::Result<Self> {
        let (events, inbox) = mpsc::channel(INBOX);
        let context = context_of(&session);
        let now = Now {
            mono: Duration::ZERO,
            wall: Timestamp::now(),
        };
        let mut state = State::new(context, Screen::size(), now);
        state.view = options.view;
        state.keymap = options.keymap;
        state.contexts = options.contexts;
        state.suspension = options.suspension;
        Ok(Self {
            runner: Runner::start(session, state.generation, events.clone()),
            events,
            opening: JoinSet::new(),
            state,
            look: Look {
                theme: options.theme,
                zone: TimeZone::system(),
            },
            screen,
            inbox,
            keys: Input::start(),
            started: Instant::now(),
            drawn: None,
            signals: [
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
                signal(SignalKind::interrupt())?,
            ],
        })
    }

    async fn run(mut self) -> std::io::Result<()> {
        loop {
            self.settle()?;
            let wake = self.wake();
            let event = tokio::select! {
                biased;
                key = self.keys.next() => match key {
                    Some(key) => key?,
                    None => return Ok(()),
                },
                () = ended(&mut self.signals) => return Ok(()),
                () = tokio::time::sleep_until(wake.into()) => Event::Tick,
                Some(opened) = self.opening.join_next() => {
                self.enter(opened.unwrap_or_else(|error| Err(error.to_string())));
                continue;
            }
                Some(event) = self.inbox.recv() => event,
            };
            if self.take(event).await? == Flow::Ends || self.drain().await? == Flow::Ends {
                return Ok(());
            }
        }
    }

    /// Takes what else is there, for a bounded time, keys first.
    async fn drain(&mut self) -> std::io::Result<Flow> {
        let until = Instant::now() + DRAINED;
        while Instant::now() < until {
            let event = match self.keys.waiting() {
                Some(event) => event?,
                None => match self.inbox.try_recv() {
                    Ok(event) => event,
                    Err(_) => break,
                },
            };
            if self.take(event).await? == Flow::Ends {
                return Ok(Flow::Ends);
            }
        }
        Ok(Flow::Goes)
    }

    /// Brings rows up to date and draws, where something visible changed and it is time.
    fn settle(&mut self) -> std::io::Result<()> {
        self.state.now = self.now();
        self.state.settle();
        if let Some(name) = self.state.theme_wish.take() {
            self.look.theme = Theme::named(&name).unwrap_or_else(|| self.look.theme.next());
            self.state.changed = true;
        }
        let due = self.drawn.is_none_or(|drawn| drawn.elapsed() >= FRAME);
        if self.state.changed && due {
            let (state, look) = (&self.state, &self.look);
            self.screen.draw(|buffer| view::draw(state, look, buffer))?;
            self.state.changed = false;
            self.drawn = Some(Instant::now());
        }
        Ok(())
    }

    /// When the console has to look again, should nothing happen.
    fn wake(&self) -> Instant {
        let far = Instant::now() + Duration::from_secs(60);
        let due = self.state.wake_at().map_or(far, |at| self.started + at);
        match self.drawn {
            Some(drawn) if self.state.changed => due.min(drawn + FRAME),
            _ => due,
        }
    }

    fn now(&self) -> Now {
        Now {
            mono: self.started.elapsed(),
            wall: Timestamp::now(),
        }
    }

    async fn take(&mut self, event: Event) -> std::io::Result<Flow> {
        if let Event::Resize(width, height) = event {
            self.state.changed |= self.screen.resize(width, height)?;
        }
        let now = self.now();
        let effects = update(&mut self.state, now, event);
        self.perform(effects).await
    }

    async fn perform(&mut self, effects: Vec<Effect>) -> std::io::Result<Flow> {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Quit => return Ok(Flow::Ends),
                Effect::Redraw => self.screen.forget()?,
                Effect::Suspend => {
                    self.screen.suspend()?;
                    let now = self.now();
                    self.state.size = Screen::size();
                    // Questions that fell due meanwhile: dropped, they would count as out for ever.
                    effects.extend(update(&mut self.state, now, Event::Resumed));
                }
                Effect::Copy(text) => {
                    if let Err(error) = self.screen.copy(&text) {
                        self.state
                            .say(state::toast::Tone::Bad, format!("not copied: {error}"));
                    }
                }
                Effect::EditOutside { text, suffix } => {
                    if self.edit(&text, suffix).await? == Flow::Ends {
                        return Ok(Flow::Ends);
                    }
                }
                Effect::SwitchContext(name) => {
                    // The command that prints its password may take its time.
                    self.opening.abort_all();
                    self.opening.spawn_blocking(move || open(&name));
                }
                other => self.runner.run(other),
            }
        }
        Ok(Flow::Goes)
    }

    /// Hands the terminal to the user's editor. News of the fleet are taken in meanwhile.
    async fn edit(&mut self, text: &str, suffix: &str) -> std::io::Result<Flow> {
        // Two readers of one terminal would steal each other's keys.
        self.keys.stop().await;
        let (state, inbox, started) = (&mut self.state, &mut self.inbox, self.started);
        let signals = &mut self.signals;
        let mut effects = Vec::new();
        let edited = self
            .screen
            .without(async {
                let edited = outside::edit(text, suffix);
                tokio::pin!(edited);
                loop {
                    tokio::select! {
                        edited = &mut edited => break Some(edited),
                        // The editor is ended with the console.
                        () = ended(signals) => break None,
                        Some(event) = inbox.recv() => {
                            let now = Now { mono: started.elapsed(), wall: Timestamp::now() };
                            effects.extend(update(state, now, event));
                        }
                    }
                }
            })
            .await?;
        let Some(edited) = edited else {
            return Ok(Flow::Ends);
        };
        self.keys = Input::start();
        self.state.size = Screen::size();
        let now = self.now();
        effects.extend(update(&mut self.state, now, Event::Edited(edited)));
        for effect in effects {
            match effect {
                Effect::Redraw => self.screen.forget()?,
                other => self.runner.run(other),
            }
        }
        Ok(Flow::Goes)
    }

    /// Goes to another context: what was known of the last one is forgotten, and answers that still
    /// come are dropped by their generation.
    fn enter(&mut self, opened: Result<Session, String>) {
        match opened {
            Ok(session) => {
                let now = self.now();
                self.state.switch(context_of(&session), now);
                let generation = self.state.generation;
                self.runner = Runner::start(session, generation, self.events.clone());
            }
            Err(why) => self.state.say(state::toast::Tone::Bad, why),
        }
    }
}

/// Opens a context of the settings file.
fn open(name: &str) -> Result<Session, String> {
    let context = SettingsFile::load().and_then(|file| settings::Context::from_file(&file, name));
    let session = context.and_then(Session::open);
    session.map_err(|why| why.to_string())
}

/// Waits for a signal that ends programs.
async fn ended(signals: &mut [Signal; 3]) {
    let [terminate, hangup, interrupt] = signals;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
        _ = interrupt.recv() => {}
    }
}
