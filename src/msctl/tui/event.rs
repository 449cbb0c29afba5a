//! Everything that can happen to the console, closed: keys, changes of the fleet, answers, time.
//! What comes from a task carries the generation of the context it was asked in; answers of an
//! older one are dropped in one place.

use std::time::Duration;

use fleet::config::canary::Standing;
use fleet::config::{ConfigKey, Scope};
use fleet::drain::Turn;
use fleet::release::Recorded;
use fleet::rollout::Verdict;
use fleet::{Change, Entry, Health, Key as EtcdKey, LeaseId, Outcome, Revision, ServiceName};
use jiff::Timestamp;

use super::key::{Key, Mouse};
use super::state::calls::{Method, Progress};
use super::state::config::past::WayBack;
use crate::change::history::Told;

/// Time as the console knows it, handed in with every event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since the console started; never goes back.
    pub mono: Duration,
    /// The wall clock; may jump.
    pub wall: Timestamp,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A key was pressed.
    Key(Key),
    /// Text was pasted.
    Paste(String),
    /// The mouse did something.
    Mouse(Mouse),
    /// The title of this column was clicked, as it was drawn last.
    Title(Mouse, usize),
    /// The terminal has this many columns and rows now.
    Resize(u16, u16),
    /// The console has the terminal again.
    Resumed,
    /// An external editor ended: the text, or why there is none.
    Edited(Result<String, String>),
    /// Time went on.
    Tick,
    /// News of the fleet.
    Feed(u64, Feed),
    /// An answer to an effect.
    Reply(u64, Reply),
}

/// Which mirrored prefix news are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Registrations.
    Services,
    /// Config.
    Config,
    /// What instances say of themselves.
    Status,
    /// What services say of their config.
    Schema,
}

/// Whether more of the first list follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// More follows.
    More,
    /// That was all.
    Last,
}

/// News of the fleet.
#[derive(Clone, Debug)]
pub enum Feed {
    /// A part of the first list.
    Listed(Source, Revision, Vec<Entry>, Part),
    /// Changes of one revision, or a part of them.
    Changed(Source, Revision, Vec<Change>),
    /// Another store answers than the one that was followed: its revisions are no measure of this
    /// one's. What differs comes as changes.
    Replaced(Source),
    /// What is held was proved to be the truth.
    Fresh(Source, Revision),
    /// The link or the watch is lost.
    Stale(Source, String),
    /// How the members of etcd are.
    Link(Vec<MemberDot>),
}

/// A member of etcd, as the header shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDot {
    /// `host:port`.
    pub endpoint: String,
    /// Connected, not connected, not tried.
    pub up: Option<bool>,
    /// Why it was last down.
    pub error: Option<String>,
}

/// An instance's answer to the question for its health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthAnswer {
    /// Whose.
    pub key: EtcdKey,
    /// The answer.
    pub health: Health,
    /// What was said beside it.
    pub detail: String,
    /// How long it took.
    pub latency: Option<Duration>,
}

/// etcd's answer to the question for a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseAnswer {
    /// Which.
    pub id: LeaseId,
    /// Seconds granted.
    pub granted: i64,
    /// Seconds left; `None`: there is no such lease.
    pub ttl: Option<i64>,
    /// Its keys, where they were asked for.
    pub keys: Option<Vec<EtcdKey>>,
}

/// A member with what it says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// Its name, or its address.
    pub name: String,
    /// Where clients reach it.
    pub endpoint: String,
    /// Its version, or why it did not answer.
    pub status: Result<MemberFacts, String>,
}

/// What a member says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberFacts {
    /// The server's version.
    pub version: String,
    /// Whether it leads.
    pub leads: bool,
    /// Size of its database in bytes.
    pub db_size: u64,
    /// The revision of its store.
    pub revision: Revision,
    /// What it complains of.
    pub errors: Vec<String>,
}

/// The cluster as it answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// Its members.
    pub members: Vec<MemberView>,
    /// Raised alarms, in words.
    pub alarms: Vec<String>,
    /// Why it is not known which alarms are raised, where it is not.
    pub alarms_unknown: Option<String>,
    /// The same as the rules of findings look at it.
    pub examined: fleet::finding::Cluster,
}

impl ClusterView {
    /// The name of the member that leads.
    pub fn leader(&self) -> Option<&str> {
        self.members
            .iter()
            .find(|member| member.status.as_ref().is_ok_and(|facts| facts.leads))
            .map(|member| member.name.as_str())
    }
}

/// A raw key without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFacts {
    /// The key.
    pub key: EtcdKey,
    /// When it was written.
    pub mod_revision: Revision,
    /// How many times.
    pub version: i64,
}

/// What a write was for; its answer is told accordingly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// The Config page's save of this number.
    SaveConfig(u64),
    /// Records of instances were deleted.
    Deregister(String),
    /// Instances were drained, or given their calls back.
    Turn(Turn, String),
}

/// The answer to an effect.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Health of some instances. More of the same question may follow.
    Health(Vec<HealthAnswer>),
    /// The question for health is answered in full.
    HealthDone,
    /// Leases; those that could not be asked are missing.
    Leases(Vec<LeaseAnswer>),
    /// Every lease there is.
    LeaseList(Result<Vec<LeaseId>, String>),
    /// The cluster.
    Cluster(Result<ClusterView, String>),
    /// Raw keys, and whether there are more than are listed.
    Keys(Result<(Vec<KeyFacts>, bool), String>),
    /// One key as it stands.
    Raw(EtcdKey, Result<Option<Entry>, String>),
    /// What came of a write.
    Written(Deed, Result<Outcome, String>),
    /// What becomes of a canary that was watched.
    Judged(Box<Standing>, Result<Verdict, String>),
    /// What changed a scope's config, or one key of it, the newest first.
    History(Scope, Option<ConfigKey>, Result<Told, String>),
    /// Who wrote what stands in these scopes, by revision.
    Records(Vec<Scope>, Result<Vec<Recorded>, String>),
    /// A way back that was found.
    WayBack(Scope, Result<WayBack, String>),
    /// What came of a lease's revocation.
    Revoked(LeaseId, Result<(), String>),
    /// A service's methods.
    Methods(ServiceName, Result<Vec<Method>, String>),
    /// News of a call.
    Call(u64, Progress),
}
