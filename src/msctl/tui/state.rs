//! All that the console knows and shows, in one place. No drawing, no task, no I/O: only `update` and
//! the actions it runs change it, and the view only reads it.

use std::collections::HashSet;
use std::time::Duration;

use fleet::{LeaseId, Prefixes, Revision, ServiceName};
use jiff::Timestamp;

use crate::settings::{Access, Stage};
use crate::tui::action::Scope;
use crate::tui::event::{ClusterView, MemberDot, Now, Source};
use crate::tui::key::Key;
use crate::tui::keymap::Keymap;

pub mod area;
pub mod calls;
pub mod config;
pub mod directory;
pub mod editor;
pub mod events;
pub mod findings;
pub mod freshness;
pub mod keys;
pub mod layout;
pub mod leases;
pub mod list;
pub mod overlay;
pub mod services;
pub mod table;
pub mod toast;

use calls::CallsPage;
use config::ConfigPage;
use directory::Directory;
use editor::Editor;
use events::EventsPage;
use findings::DoctorPage;
use freshness::{Feed, Freshness};
use keys::KeysPage;
use leases::LeasesPage;
use overlay::Overlay;
use services::ServicesPage;
use toast::{Messages, Tone};

/// A page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum View {
    /// The cluster and the fleet at a glance.
    Overview,
    /// Services and instances.
    #[default]
    Services,
    /// Config.
    Config,
    /// Calling methods.
    Calls,
    /// Leases.
    Leases,
    /// The journal.
    Events,
    /// Raw keys.
    Keys,
    /// Findings.
    Doctor,
    /// What the console said.
    Messages,
}

impl View {
    /// The pages of the second line, in its order, with their digit.
    pub const TABS: [(char, Self); 8] = [
        ('1', Self::Services),
        ('2', Self::Config),
        ('3', Self::Calls),
        ('4', Self::Leases),
        ('5', Self::Events),
        ('6', Self::Keys),
        ('7', Self::Doctor),
        ('0', Self::Overview),
    ];

    /// What it is called.
    pub fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Services => "Services",
            Self::Config => "Config",
            Self::Calls => "Calls",
            Self::Leases => "Leases",
            Self::Events => "Events",
            Self::Keys => "Keys",
            Self::Doctor => "Doctor",
            Self::Messages => "Messages",
        }
    }

    /// The page of a name, as a command line says it.
    pub fn named(name: &str) -> Option<Self> {
        let all = Self::TABS
            .iter()
            .map(|(_, view)| *view)
            .chain([Self::Messages]);
        all.into_iter()
            .find(|view| view.title().eq_ignore_ascii_case(name))
    }
}

/// Which fleet is looked at, and what may be done to it.
#[derive(Clone, Debug)]
pub struct Context {
    /// Its name.
    pub name: String,
    /// Who changes it, for the history.
    pub author: String,
    /// Where its keys lie.
    pub prefixes: Prefixes,
    /// Whether writes are possible.
    pub access: Access,
    /// How carefully to ask.
    pub stage: Stage,
}

/// Whether the console may be stopped with ctrl-z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Suspension {
    /// It may.
    #[default]
    Allowed,
    /// The fleet's etcd runs in this process and would stand still with it.
    HoldsEtcd,
}

/// When something periodic was done last, and whether it is on its way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beat {
    /// When it was asked last.
    pub asked: Option<Duration>,
    /// Whether the answer is out.
    pub out: bool,
}

/// The periodic questions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beats {
    /// The TTL of what shows.
    pub leases: Beat,
    /// The health of what shows, and a few of the rest.
    pub health: Beat,
    /// The list of all leases, while its page shows.
    pub lease_list: Beat,
    /// The cluster.
    pub cluster: Beat,
    /// Where the sweep over the whole fleet stands.
    pub sweep: usize,
}

/// Everything.
#[derive(Debug)]
pub struct State {
    /// Which fleet.
    pub context: Context,
    /// Counts contexts; answers to an older one are dropped.
    pub generation: u64,
    /// Columns and rows of the terminal.
    pub size: (u16, u16),
    /// The time of the last event.
    pub now: Now,
    /// The fleet.
    pub directory: Directory,
    directory_refreshed: Duration,
    /// The mirrors: services, config, status, schemas.
    pub feeds: [Feed; 4],
    /// How etcd's members are to this process.
    pub members: Vec<MemberDot>,
    /// What the cluster says of itself.
    pub cluster: Option<Result<ClusterView, String>>,
    /// The page that shows.
    pub view: View,
    /// Pages shown before and, after going back, those to come.
    pub history: (Vec<View>, Vec<View>),
    /// Page.
    pub services: ServicesPage,
    /// Page.
    pub config: ConfigPage,
    /// Page.
    pub calls: CallsPage,
    /// Page.
    pub leases: LeasesPage,
    /// Page.
    pub events: EventsPage,
    /// Page.
    pub keys: KeysPage,
    /// Page.
    pub doctor: DoctorPage,
    /// Page, and toasts.
    pub messages: Messages,
    /// What lies over the page.
    pub overlay: Option<Overlay>,
    /// The filter being typed, and what stood before.
    pub filtering: Option<(Editor, String)>,
    /// The message of the next save.
    pub save_message: String,
    /// What came back from an editor is for the value or the request.
    pub keymap: Keymap,
    /// Keys of a sequence begun.
    pub pending: Vec<Key>,
    /// What was run from the palette, the newest last.
    pub palette_history: Vec<String>,
    /// The contexts that can be gone to.
    pub contexts: Vec<String>,
    /// Whether the console may be stopped.
    pub suspension: Suspension,
    /// The theme asked for by name, until the view has it.
    pub theme_wish: Option<String>,
    /// The periodic questions.
    pub beats: Beats,
    /// Leases whose end explains an event, to be asked for.
    pub suspects: HashSet<LeaseId>,
    /// Whether something visible is different from what was drawn.
    pub changed: bool,
}

impl State {
    /// A console that has seen nothing yet.
    pub fn new(context: Context, size: (u16, u16), now: Now) -> Self {
        Self {
            directory: Directory::new(context.prefixes.clone()),
            config: ConfigPage::new(context.prefixes.clone()),
            context,
            generation: 0,
            size: known_size(size),
            now,
            directory_refreshed: Duration::ZERO,
            feeds: Default::default(),
            members: Vec::new(),
            cluster: None,
            view: View::Services,
            history: Default::default(),
            services: ServicesPage::default(),
            calls: CallsPage::default(),
            leases: LeasesPage::default(),
            events: EventsPage::default(),
            keys: KeysPage::default(),
            doctor: DoctorPage::default(),
            messages: Messages::default(),
            overlay: None,
            filtering: None,
            save_message: String::new(),
            keymap: Keymap::default(),
            pending: Vec::new(),
            palette_history: Vec::new(),
            contexts: Vec::new(),
            suspension: Suspension::Allowed,
            theme_wish: None,
            beats: Beats::default(),
            suspects: HashSet::new(),
            changed: true,
        }
    }

    /// Goes to another context: only what is the user's own is kept.
    pub fn switch(&mut self, context: Context, now: Now) {
        let mut next = Self::new(context, self.size, now);
        next.generation = self.generation + 1;
        next.view = self.view;
        next.keymap = std::mem::take(&mut self.keymap);
        next.contexts = std::mem::take(&mut self.contexts);
        next.palette_history = std::mem::take(&mut self.palette_history);
        next.messages = std::mem::take(&mut self.messages);
        next.suspension = self.suspension;
        *self = next;
        let name = self.context.name.clone();
        self.say(Tone::Plain, format!("this is {name} now"));
    }

    /// One mirror.
    pub fn feed(&self, source: Source) -> &Feed {
        &self.feeds[source as usize]
    }

    /// One mirror.
    pub fn feed_mut(&mut self, source: Source) -> &mut Feed {
        &mut self.feeds[source as usize]
    }

    /// The newest revision etcd showed.
    pub fn revision(&self) -> Revision {
        self.feeds
            .iter()
            .map(|feed| feed.revision)
            .max()
            .unwrap_or_default()
    }

    /// Another store answers: the revisions of the one before say nothing of it.
    pub fn forget_revisions(&mut self) {
        for feed in &mut self.feeds {
            feed.revision = Revision::default();
        }
    }

    /// How far etcd's word reaches, by the worst of the mirrors. Schemas do not count: what they say
    /// is help, and a user may have no right to read them.
    pub fn freshness(&self) -> Freshness {
        let rank = |freshness: &Freshness| match freshness {
            Freshness::Stale { .. } => 0,
            Freshness::Loading => 1,
            Freshness::Fresh { .. } => 2,
        };
        self.feeds[..Source::Schema as usize]
            .iter()
            .map(|feed| &feed.freshness)
            .min_by_key(|freshness| {
                let at = match freshness {
                    Freshness::Stale { since: at, .. } | Freshness::Fresh { at } => *at,
                    Freshness::Loading => Duration::ZERO,
                };
                (rank(freshness), at)
            })
            .cloned()
            .unwrap_or_default()
    }

    /// Whether the first list of services has come.
    pub fn is_loaded(&self) -> bool {
        self.feed(Source::Services).revision > Revision::ZERO
    }

    /// Where keys mean something now, the innermost first.
    pub fn scopes(&self) -> &'static [Scope] {
        use Scope as S;
        match &self.overlay {
            Some(Overlay::Palette(_)) => return &[S::Palette],
            Some(Overlay::Question(question)) => {
                return if question.typed.is_some() {
                    &[S::Prompt]
                } else {
                    &[S::Question]
                };
            }
            Some(Overlay::Prompt(_)) => return &[S::Prompt],
            Some(Overlay::Reader(_)) => return &[S::Reader, S::Global],
            None => {}
        }
        if self.filtering.is_some() {
            return &[S::Filter];
        }
        self.scopes_of_page()
    }

    /// Where keys mean something on the page itself, whatever lies over it.
    pub fn scopes_of_page(&self) -> &'static [Scope] {
        use Scope as S;
        match self.view {
            View::Services => match self.services.pane {
                services::Pane::Services => &[S::ServiceList, S::Services, S::List, S::Global],
                services::Pane::Instances => &[S::Instances, S::Services, S::List, S::Global],
                services::Pane::Detail => &[S::Instances, S::Services, S::Reader, S::Global],
            },
            View::Config => match self.config.pane {
                config::Pane::Scopes => &[S::ConfigScopes, S::List, S::Global],
                config::Pane::Keys => &[S::ConfigKeys, S::List, S::Global],
                config::Pane::Value => &[S::ConfigValue],
                config::Pane::Review => &[S::Review],
                config::Pane::History => &[S::History, S::List, S::Global],
                config::Pane::Conflict => &[S::Conflict, S::Reader, S::Global],
            },
            View::Calls => match self.calls.pane {
                calls::Pane::Methods => &[S::Methods, S::List, S::Global],
                calls::Pane::Request => &[S::Request],
                calls::Pane::Response => &[S::Response, S::Reader, S::Global],
                calls::Pane::Headers => &[S::Headers],
                calls::Pane::Past => &[S::CallHistory, S::Reader, S::Global],
            },
            View::Leases => &[S::Leases, S::List, S::Global],
            View::Events => &[S::Events, S::List, S::Global],
            View::Keys => &[S::Keys, S::List, S::Global],
            View::Doctor => &[S::Findings, S::List, S::Global],
            View::Overview | View::Messages => &[S::Reader, S::Global],
        }
    }

    /// Says something.
    pub fn say(&mut self, tone: Tone, text: impl Into<String>) {
        self.messages.say(self.now.mono, self.now.wall, tone, text);
        self.changed = true;
    }

    /// The names of the running services, in order.
    pub fn service_names(&self) -> impl Iterator<Item = &ServiceName> {
        self.directory.registry.services().map(|(name, _)| name)
    }

    /// Whether the page shows time left, so that it changes by itself.
    pub fn shows_gauges(&self) -> bool {
        if self.overlay.is_some() {
            return false;
        }
        match self.view {
            View::Services => self
                .services
                .instances
                .rows()
                .iter()
                .take(200)
                .any(|i| i.lease.is_some()),
            View::Leases => !self.leases.list.rows().is_empty(),
            _ => false,
        }
    }

    /// Brings summaries and rows of the page that shows up to date, where it is time. Everything
    /// that grows with the fleet happens here and never while drawing.
    pub fn settle(&mut self) {
        let now = self.now.mono;
        let size = u32::try_from(self.directory.registry.instance_count() / 1_000);
        let rest = Duration::from_millis(1).saturating_mul(size.unwrap_or(u32::MAX));
        self.directory.forget(now);
        if self.directory.is_dirty() && (rest.is_zero() || now >= self.directory_refreshed + rest) {
            let what = self.directory.refresh(now);
            self.directory_refreshed = now;
            self.services.outdate(what);
            self.leases.list.outdate();
            self.doctor.list.outdate();
            self.config.scopes.outdate();
            self.config.keys.outdate();
            self.calls.tree.outdate();
            self.changed |= matches!(self.view, View::Services | View::Overview | View::Doctor);
        }
        let wall: Timestamp = self.now.wall;
        let registry = &self.directory.registry;
        let rebuilt = match self.view {
            View::Services => {
                let first = self.services.rebuild(&self.directory, now, wall);
                // A new service under the cursor has its instances listed at once.
                self.services.rebuild(&self.directory, now, wall) || first
            }
            View::Config => self.config.rebuild(&self.directory, now),
            View::Calls => self
                .calls
                .rebuild(registry.services().map(|(name, _)| name), now),
            View::Leases => self.leases.rebuild(&self.directory, now),
            View::Events => self.events.rebuild(now),
            View::Keys => self.keys.rebuild(now),
            View::Doctor | View::Overview => {
                self.doctor
                    .rebuild(&self.directory, self.cluster.as_ref(), now)
            }
            View::Messages => false,
        };
        self.changed |= rebuilt;
        layout::fit(self);
    }

    /// When something visible changes or something is due without any event.
    pub fn wake_at(&self) -> Option<Duration> {
        let now = self.now.mono;
        let next_second = Duration::from_secs(now.as_secs() + 1);
        let mut wakes = vec![self.messages.until()];
        if self.shows_gauges()
            || matches!(self.freshness(), Freshness::Stale { .. })
            || (self.view == View::Calls
                && self
                    .calls
                    .answer
                    .as_ref()
                    .is_some_and(calls::Answer::is_running))
        {
            wakes.push(Some(next_second));
        }
        wakes.push(crate::tui::update::poll::due(self));
        wakes.push(self.directory.calm_at());
        if self.directory.is_dirty() {
            wakes.push(Some(now + Duration::from_millis(100)));
        }
        let outdated = match self.view {
            View::Services => {
                self.services.services.is_outdated() || self.services.instances.is_outdated()
            }
            View::Events => self.events.list.is_outdated(),
            View::Leases => self.leases.list.is_outdated(),
            View::Config => self.config.scopes.is_outdated() || self.config.keys.is_outdated(),
            View::Doctor | View::Overview => self.doctor.list.is_outdated(),
            _ => false,
        };
        if outdated {
            wakes.push(Some(now + Duration::from_millis(100)));
        }
        wakes.into_iter().flatten().min()
    }
}

/// A terminal that does not tell its size is taken for the usual one.
pub fn known_size(size: (u16, u16)) -> (u16, u16) {
    if size.0 == 0 || size.1 == 0 {
        (80, 24)
    } else {
        size
    }
}
