//! Every page as it looks, at the sizes and in the states that matter. Set `MSCTL_PICTURES` to a
//! folder to have each as an SVG there.

use std::sync::Arc;
use std::time::Duration;

use fleet::{Change, Conflict, Health, LeaseId, Revision, Seen};

use super::*;
use crate::tui::event::{Deed, KeyFacts};
use crate::tui::picture;
use crate::tui::state::View;
use crate::tui::state::calls::{Ended, Kind, Method, Progress};

/// Compares with the snapshot, and keeps a picture where one is wanted.
pub(super) fn check(name: &str, state: &State, theme: &str) {
    let buffer = cells(state, theme);
    if let Some(folder) = std::env::var_os("MSCTL_PICTURES") {
        let paper = if theme == "light" {
            picture::LIGHT
        } else {
            picture::DARK
        };
        let path = std::path::Path::new(&folder).join(format!("{name}.svg"));
        std::fs::write(path, picture::svg(&buffer, paper)).unwrap();
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text_of(&buffer)));
}

fn console(width: u16, height: u16) -> State {
    let mut state = blank(width, height);
    fleet(&mut state);
    state
}

#[test]
fn services_at_the_usual_sizes() {
    for (width, height) in [(80, 24), (100, 30), (180, 50)] {
        let mut state = console(width, height);
        check(&format!("services_{width}x{height}"), &state, "dark");
        press(&mut state, "enter j");
        check(&format!("instances_{width}x{height}"), &state, "dark");
        press(&mut state, "enter");
        check(&format!("instance_{width}x{height}"), &state, "dark");
    }
}

#[test]
fn a_terminal_that_is_too_small_says_so_in_one_line() {
    let state = console(20, 5);
    check("small_20x5", &state, "dark");
    assert!(screen(&state, "dark").contains("too small") || screen(&state, "dark").contains('…'));
}

#[test]
fn ascii_without_colour() {
    let mut state = console(100, 30);
    press(&mut state, "enter j");
    check("instances_ascii", &state, "ascii");
    assert!(screen(&state, "ascii").is_ascii());
}

#[test]
fn light_and_sixteen_colours_say_the_same() {
    let mut state = console(100, 30);
    press(&mut state, "enter j");
    let dark = screen(&state, "dark");
    for theme in ["light", "16", "none"] {
        assert_eq!(screen(&state, theme), dark, "{theme}");
    }
    check("instances_light", &state, "light");
}

#[test]
fn before_etcd_answers_and_when_it_never_does() {
    let mut state = blank(100, 30);
    state.settle();
    check("connecting", &state, "dark");
    let cause = "connection refused".to_owned();
    update(
        &mut state,
        at(2),
        Event::Feed(0, Feed::Stale(Source::Services, cause)),
    );
    state.settle();
    check("unreachable", &state, "dark");
}

#[test]
fn an_empty_registry_says_what_to_do() {
    let mut state = blank(100, 30);
    for source in [Source::Services, Source::Config, Source::Status] {
        let listed = Feed::Listed(source, Revision(1), Vec::new(), Part::Last);
        update(&mut state, at(0), Event::Feed(0, listed));
    }
    state.settle();
    check("empty", &state, "dark");
}

#[test]
fn stale_data_is_kept_and_marked_with_its_age() {
    let mut state = console(100, 30);
    let cause = "10.0.0.1:2379: connection refused".to_owned();
    update(
        &mut state,
        at(60),
        Event::Feed(0, Feed::Stale(Source::Services, cause)),
    );
    let down = ["m1", "m2", "m3"].map(|name| MemberDot {
        endpoint: format!("{name}:2379"),
        up: Some(false),
        error: Some("connection refused".into()),
    });
    update(
        &mut state,
        at(62),
        Event::Feed(0, Feed::Link(down.to_vec())),
    );
    state.settle();
    check("stale", &state, "dark");
    assert!(screen(&state, "dark").contains("stale 21s"));
}

#[test]
fn production_is_red_and_asks_for_the_name() {
    let mut state = console(100, 30);
    state.context.stage = Stage::Production;
    state.context.name = "prod-eu".into();
    press(&mut state, "enter j x");
    type_text(&mut state, "prod");
    check("production", &state, "dark");
}

#[test]
fn filters_show_what_they_leave() {
    let mut state = console(100, 30);
    press(&mut state, "/");
    type_text(&mut state, "!serving");
    check("filter_typed", &state, "dark");
    press(&mut state, "enter");
    check("filter_kept", &state, "dark");
    press(&mut state, "/ ctrl-u n o n e enter");
    check("filter_nothing", &state, "dark");
}

#[test]
fn palette_help_and_messages() {
    let mut state = console(100, 30);
    press(&mut state, ":");
    check("palette", &state, "dark");
    type_text(&mut state, "lea");
    check("palette_search", &state, "dark");
    press(&mut state, "esc ?");
    check("help_services", &state, "dark");
    press(&mut state, "esc p M");
    check("messages", &state, "dark");
}

fn config(width: u16, height: u16) -> State {
    let mut state = console(width, height);
    press(&mut state, "2 j j enter");
    state
}

#[test]
fn config_from_key_to_rollout() {
    for (width, height) in [(80, 24), (100, 30), (180, 50)] {
        let mut state = config(width, height);
        check(&format!("config_{width}x{height}"), &state, "dark");
        press(&mut state, "G enter ctrl-u");
        type_text(&mut state, "5s");
        check(&format!("config_edit_{width}x{height}"), &state, "dark");
        press(&mut state, "enter k k enter ctrl-u");
        type_text(&mut state, "{attempts: 5, backoff: 100ms}");
        press(&mut state, "enter m");
        type_text(&mut state, "slow disk on b");
        press(&mut state, "enter");
        check(&format!("config_diff_{width}x{height}"), &state, "dark");
        press(&mut state, "ctrl-s");
        check(&format!("config_confirm_{width}x{height}"), &state, "dark");
        press(&mut state, "y");
        let saved = Ok(fleet::Outcome::Applied {
            revision: Revision(812),
        });
        update(
            &mut state,
            at(41),
            Event::Reply(0, Reply::Written(Deed::SaveConfig(1), saved)),
        );
        state.settle();
        check(&format!("config_rollout_{width}x{height}"), &state, "dark");
    }
}

#[test]
fn a_value_that_is_no_yaml_says_why() {
    let mut state = config(100, 30);
    press(&mut state, "G enter ctrl-u");
    type_text(&mut state, "{a: [");
    press(&mut state, "enter");
    check("config_bad_yaml", &state, "dark");
}

#[test]
fn a_conflict_shows_base_theirs_and_mine() {
    let mut state = config(100, 30);
    press(&mut state, "G enter ctrl-u");
    type_text(&mut state, "5s");
    press(&mut state, "enter ctrl-s ctrl-s");
    let key = fleet::Key::from("/config/order/timeout.write");
    let seen = Seen::At(entry("/config/order/timeout.write", "2s", 811, 0));
    let theirs = entry("/config/order/timeout.write", "3s", 813, 0);
    changed(&mut state, Source::Config, Change::Put(theirs.clone()));
    let conflicts = vec![Conflict {
        key,
        seen,
        current: Some(theirs),
    }];
    let refused = Ok(fleet::Outcome::Refused { conflicts });
    update(
        &mut state,
        at(45),
        Event::Reply(0, Reply::Written(Deed::SaveConfig(1), refused)),
    );
    state.settle();
    check("config_conflict", &state, "dark");
    press(&mut state, "m");
    check("config_conflict_mine", &state, "dark");
}

pub(super) fn calls(width: u16, height: u16) -> State {
    let mut state = console(width, height);
    press(&mut state, "3 G enter");
    let method = |service: &str, name: &str, kind| Method {
        service: service.into(),
        name: name.into(),
        kind,
        template: "{\n  \"id\": \"\"\n}".into(),
        about: "Gives one user.\nid: string, required  Resource id, 1 to 64 characters".into(),
    };
    let methods = vec![
        method("user.v1.UserService", "Get", Kind::Unary),
        method("user.v1.UserService", "List", Kind::Unary),
        method("user.v1.UserService", "Watch", Kind::ServerStream),
        method("grpc.health.v1.Health", "Check", Kind::Unary),
    ];
    let service = fleet::ServiceName::new("user").unwrap();
    update(
        &mut state,
        at(41),
        Event::Reply(0, Reply::Methods(service, Ok(methods))),
    );
    state.settle();
    press(&mut state, "j j");
    state
}

pub(super) fn news(state: &mut State, seconds: u64, progress: Progress) {
    let id = state.calls.answer.as_ref().unwrap().id;
    update(
        state,
        at(seconds),
        Event::Reply(0, Reply::Call(id, progress)),
    );
    state.settle();
}

#[test]
fn a_call_from_method_to_answer() {
    for (width, height) in [(80, 24), (100, 30), (180, 50)] {
        let mut state = calls(width, height);
        check(&format!("calls_{width}x{height}"), &state, "dark");
        press(&mut state, "enter");
        type_text(&mut state, "1");
        press(&mut state, "ctrl-enter");
        check(&format!("calls_running_{width}x{height}"), &state, "dark");
        news(
            &mut state,
            41,
            Progress::Sent {
                to: "user-1".into(),
            },
        );
        let user = "{\n  \"id\": \"1\",\n  \"name\": \"Ada\"\n}".to_owned();
        news(&mut state, 41, Progress::Message(user));
        news(
            &mut state,
            41,
            Progress::Ended(Ended {
                code: "OK".into(),
                ok: true,
                message: String::new(),
                details: Vec::new(),
                trailers: vec![("x-served-by".into(), "user-1".into())],
                took: Duration::from_micros(3_100),
            }),
        );
        check(&format!("calls_answer_{width}x{height}"), &state, "dark");
    }
}

#[test]
fn a_call_that_fails_says_how() {
    let mut state = calls(100, 30);
    press(&mut state, "s");
    news(
        &mut state,
        42,
        Progress::Sent {
            to: "user-1".into(),
        },
    );
    news(
        &mut state,
        42,
        Progress::Ended(Ended {
            code: "NOT_FOUND".into(),
            ok: false,
            message: "there is no user '9'".into(),
            details: vec!["{\"@type\":\"google.rpc.ResourceInfo\"}".into()],
            trailers: Vec::new(),
            took: Duration::from_millis(2),
        }),
    );
    check("calls_error", &state, "dark");
    press(&mut state, "s");
    news(
        &mut state,
        43,
        Progress::Failed("no instance of user serves".into()),
    );
    check("calls_failed", &state, "dark");
}

#[test]
fn leases_events_keys_doctor_and_overview() {
    let mut state = console(120, 30);
    changed(
        &mut state,
        Source::Config,
        Change::Put(entry("/config/order/timeout.write", "5s", 18_205, 0)),
    );
    let gone = |id: &str, revision| Change::Delete {
        key: format!("/services/order/{id}").into(),
        revision: Revision(revision),
    };
    changed(&mut state, Source::Services, gone("order-7f3a-3", 18_206));
    changed(&mut state, Source::Services, gone("order-7f3a-4", 18_207));
    let lease = |id, ttl, keys: &[&str]| LeaseAnswer {
        id: LeaseId::new(id).unwrap(),
        granted: 10,
        ttl,
        keys: Some(keys.iter().map(|key| fleet::Key::from(*key)).collect()),
    };
    let answers = vec![
        lease(
            11,
            Some(7),
            &["/services/order/order-7f3a-1", "/status/order/order-7f3a-1"],
        ),
        lease(12, Some(9), &["/services/order/order-7f3a-2"]),
        lease(13, None, &[]),
        lease(14, Some(6), &[]),
    ];
    update(&mut state, at(41), Event::Reply(0, Reply::Leases(answers)));
    update(
        &mut state,
        at(41),
        health("order", "order-7f3a-2", Health::Serving, 4),
    );
    let ids = (11..=14).filter_map(LeaseId::new).collect();
    update(
        &mut state,
        at(42),
        Event::Reply(0, Reply::LeaseList(Ok(ids))),
    );
    press(&mut state, "4");
    check("leases", &state, "dark");
    press(&mut state, "enter");
    check("lease_in_full", &state, "dark");
    press(&mut state, "esc 5");
    check("events", &state, "dark");
    press(&mut state, "6");
    let key = |key: &str, revision| KeyFacts {
        key: key.into(),
        mod_revision: Revision(revision),
        version: 2,
    };
    let keys = vec![
        key("/config/order/page.size", 655),
        key("/services/order/o\u{1b}[2J", 700),
    ];
    update(
        &mut state,
        at(42),
        Event::Reply(0, Reply::Keys(Ok((keys, false)))),
    );
    state.settle();
    check("keys", &state, "dark");
    press(&mut state, "7");
    check("doctor", &state, "dark");
    press(&mut state, "0");
    check("overview", &state, "dark");
    assert_eq!(state.view, View::Overview);
}

#[test]
fn a_raw_record_is_shown_in_full() {
    let mut state = console(100, 30);
    press(&mut state, "enter v");
    let raw = entry(
        "/services/order/order-7f3a-1",
        r#"{"service":"order","id":"x"}"#,
        711,
        11,
    );
    let key = raw.key.clone();
    update(
        &mut state,
        at(41),
        Event::Reply(0, Reply::Raw(key, Ok(Some(raw)))),
    );
    check("raw", &state, "dark");
    let _ = Arc::new(());
}
