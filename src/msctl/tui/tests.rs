//! The console without a terminal: events in, state and cells out.

use std::time::Duration;

use fleet::{Change, Entry, Health, LeaseId, Revision};
use jiff::tz::TimeZone;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::effect::Effect;
use super::event::{
    ClusterView, Event, Feed, HealthAnswer, LeaseAnswer, MemberDot, MemberFacts, MemberView, Now,
    Part, Reply, Source,
};
use super::state::{Context, State};
use super::theme::Theme;
use super::update::update;
use super::view::{self, Look};
use crate::settings::{Access, Stage};

mod calls;
mod config;
mod doctor;
mod law;
mod lines;
mod moves;
mod scale;
mod screens;
mod storm;
mod wiped;

/// Time `seconds` after the console started, at 13:02:52 by the clock then.
pub(super) fn at(seconds: u64) -> Now {
    let start: jiff::Timestamp = "2026-11-23T13:02:52Z".parse().unwrap();
    let mono = Duration::from_secs(seconds);
    Now {
        mono,
        wall: start + jiff::SignedDuration::try_from(mono).unwrap(),
    }
}

/// A console of a context called `demo` that has seen nothing.
pub(super) fn blank(width: u16, height: u16) -> State {
    let context = Context {
        name: "demo".into(),
        author: "tester".into(),
        prefixes: fleet::Prefixes::default(),
        access: Access::ReadWrite,
        stage: Stage::Ordinary,
    };
    State::new(context, (width, height), at(0))
}

pub(super) fn entry(key: &str, value: &str, revision: i64, lease: i64) -> Entry {
    Entry {
        key: key.into(),
        value: value.as_bytes().into(),
        create_revision: Revision(revision),
        mod_revision: Revision(revision),
        version: 1,
        lease: LeaseId::new(lease),
    }
}

fn instance(service: &str, id: &str, version: &str, host: u8, zone: &str, lease: i64) -> Entry {
    let value = format!(
        r#"{{"service":"{service}","id":"{id}","version":"{version}",
            "endpoints":["grpc://10.0.0.{host}:9000","http://10.0.0.{host}:9000"],
            "metadata":{{"zone":"{zone}"}},"started_at":"2026-11-23T09:50:00Z"}}"#
    );
    entry(
        &format!("/services/{service}/{id}"),
        &value,
        700 + lease,
        lease,
    )
}

fn status(service: &str, id: &str, revision: i64, rejected: &str) -> Entry {
    let value = format!(
        r#"{{"revision":{revision},"rejected":[{rejected}],"liveness":{{"alive":true}},
            "watch":{{"revision":{revision}}},"written_at":"2026-11-23T13:00:00Z"}}"#
    );
    entry(&format!("/status/{service}/{id}"), &value, 900, 0)
}

/// The fleet of the sketches: `order` with one hung instance and one of another version, `user` with
/// one that is gone, some config.
pub(super) fn fleet(state: &mut State) {
    let services = vec![
        instance("audit", "audit-1", "0.9.0", 40, "a", 31),
        instance("order", "order-7f3a-1", "1.4.2", 4, "a", 11),
        instance("order", "order-7f3a-2", "1.4.2", 5, "b", 12),
        instance("order", "order-7f3a-3", "1.4.2", 6, "b", 13),
        instance("order", "order-7f3a-4", "1.4.2", 7, "c", 14),
        instance("order", "order-7f3a-5", "1.4.2", 8, "c", 15),
        instance("order", "order-91c0-1", "1.4.1", 9, "a", 16),
        entry("/services/order/poison", "{", 750, 0),
        instance("user", "user-1", "1.4.2", 20, "a", 21),
        instance("user", "user-2", "1.4.2", 21, "b", 22),
        instance("user", "user-3", "1.4.2", 22, "c", 23),
    ];
    let config = vec![
        entry("/config/global/timeout.read", "1x", 790, 0),
        entry("/config/global/timeout.write", "1s", 640, 0),
        entry("/config/order/db.password", "hunter2", 650, 0),
        entry("/config/order/page.size", "50", 655, 0),
        entry(
            "/config/order/retry",
            "{attempts: 3, backoff: 100ms}",
            660,
            0,
        ),
        entry("/config/order/timeout.write", "2s", 811, 0),
    ];
    let refused = r#"{"key":"global/timeout.read","revision":790,"error":"\"1x\" is no duration"}"#;
    let statuses = vec![
        status("order", "order-7f3a-1", 812, ""),
        status("order", "order-7f3a-2", 812, ""),
        status("order", "order-7f3a-3", 812, ""),
        status("order", "order-7f3a-4", 812, ""),
        status("order", "order-7f3a-5", 812, ""),
        status("order", "order-91c0-1", 812, refused),
        status("user", "user-1", 812, ""),
        status("user", "user-2", 780, ""),
    ];
    let revision = Revision(18_204);
    let listed =
        |source, entries| Event::Feed(0, Feed::Listed(source, revision, entries, Part::Last));
    for event in [
        listed(Source::Services, services),
        listed(Source::Config, config),
        listed(Source::Status, statuses),
        listed(Source::Schema, Vec::new()),
        Event::Feed(0, Feed::Link(vec![dot("m1"), dot("m2"), dot("m3")])),
        Event::Reply(0, Reply::Cluster(Ok(cluster()))),
        health("order", "order-7f3a-1", Health::Serving, 2),
        health("order", "order-7f3a-2", Health::Hung, 0),
        health("order", "order-7f3a-3", Health::Serving, 3),
        health("order", "order-7f3a-4", Health::Serving, 2),
        health("order", "order-7f3a-5", Health::NotServing, 2),
        health("order", "order-91c0-1", Health::Serving, 3),
        health("user", "user-1", Health::Serving, 4),
        health("user", "user-2", Health::Serving, 5),
        health("user", "user-3", Health::Unreachable, 0),
    ] {
        update(state, at(0), event);
    }
    let leases = (11..=31).map(|id| LeaseAnswer {
        id: LeaseId::new(id).unwrap(),
        granted: 10,
        ttl: Some(10 - (id * 3) % 7),
        keys: None,
    });
    update(
        state,
        at(40),
        Event::Reply(0, Reply::Leases(leases.collect())),
    );
    for source in [Source::Services, Source::Config, Source::Status] {
        update(state, at(41), Event::Feed(0, Feed::Fresh(source, revision)));
    }
    state.settle();
}

fn dot(name: &str) -> MemberDot {
    MemberDot {
        endpoint: format!("{name}:2379"),
        up: Some(true),
        error: None,
    }
}

pub(super) fn cluster() -> ClusterView {
    let member = |name: &str, leads| MemberView {
        name: name.into(),
        endpoint: format!("{name}:2379"),
        status: Ok(MemberFacts {
            version: "3.5.21".into(),
            leads,
            db_size: 4_812_800,
            revision: Revision(18_204),
            errors: Vec::new(),
        }),
    };
    ClusterView {
        members: vec![member("m1", true), member("m2", false), member("m3", false)],
        alarms: Vec::new(),
        alarms_unknown: None,
        examined: fleet::finding::Cluster::default(),
    }
}

pub(super) fn health(service: &str, id: &str, health: Health, millis: u64) -> Event {
    let detail = match health {
        Health::Hung => "no answer within 1s",
        Health::Unreachable => "connection refused",
        _ => "",
    };
    Event::Reply(
        0,
        Reply::Health(vec![HealthAnswer {
            key: format!("/services/{service}/{id}").into(),
            health,
            detail: detail.into(),
            latency: (millis > 0).then(|| Duration::from_millis(millis)),
        }]),
    )
}

/// A change that etcd tells of.
pub(super) fn changed(state: &mut State, source: Source, change: Change) {
    let revision = change.revision();
    let now = state.now;
    update(
        state,
        now,
        Event::Feed(0, Feed::Changed(source, revision, vec![change])),
    );
}

/// Presses keys, named and separated by spaces. Gives the effects that are no periodic questions.
pub(super) fn press(state: &mut State, keys: &str) -> Vec<Effect> {
    let mut effects = Vec::new();
    for key in keys.split_whitespace() {
        let now = state.now;
        effects.extend(update(state, now, Event::Key(key.parse().unwrap())));
        state.settle();
    }
    effects.retain(|effect| {
        !matches!(
            effect,
            Effect::ProbeHealth(_)
                | Effect::ProbeLeases { .. }
                | Effect::AskCluster
                | Effect::ListLeases
                | Effect::ListKeys
                | Effect::ReadRecords(_)
        )
    });
    effects
}

/// Types a text, character by character.
pub(super) fn type_text(state: &mut State, text: &str) {
    for character in text.chars() {
        let now = state.now;
        update(state, now, Event::Key(super::key::Key::char(character)));
        state.settle();
    }
}

pub(super) fn look(theme: &str) -> Look {
    Look {
        theme: Theme::named(theme).unwrap(),
        zone: TimeZone::UTC,
    }
}

/// What shows, as cells.
pub(super) fn cells(state: &State, theme: &str) -> Buffer {
    let mut buffer = Buffer::empty(Rect::new(0, 0, state.size.0, state.size.1));
    view::draw(state, &look(theme), &mut buffer);
    buffer
}

/// What shows, as text.
pub(super) fn screen(state: &State, theme: &str) -> String {
    text_of(&cells(state, theme))
}

pub(super) fn text_of(buffer: &Buffer) -> String {
    use unicode_width::UnicodeWidthStr as _;
    let mut out = String::new();
    for y in 0..buffer.area.height {
        let mut line = String::new();
        let mut x = 0;
        while x < buffer.area.width {
            let symbol = buffer.cell((x, y)).map_or(" ", |cell| cell.symbol());
            line.push_str(symbol);
            x += u16::try_from(symbol.width().max(1)).unwrap();
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
