//! (state, keys, state): what keys do, through the real update.

use fleet::drain::Turn;
use fleet::{Change, Outcome, Revision};

use super::*;
use crate::tui::event::Deed;
use crate::tui::state::findings::About;
use crate::tui::state::overlay::Overlay;
use crate::tui::state::services::Pane;
use crate::tui::state::toast::Tone;
use crate::tui::state::{View, config};

fn console() -> State {
    let mut state = blank(120, 40);
    fleet(&mut state);
    state
}

fn service(state: &State) -> String {
    state
        .services
        .of()
        .map(ToString::to_string)
        .unwrap_or_default()
}

fn selected(state: &State) -> String {
    state
        .services
        .instance()
        .map(|i| i.record.id.to_string())
        .unwrap_or_default()
}

#[test]
fn keys_move_and_go_in_and_back() {
    for (keys, pane, service_then, instance) in [
        ("", Pane::Services, "order", "order-7f3a-1"),
        ("j", Pane::Services, "user", "user-1"),
        ("j k", Pane::Services, "order", "order-7f3a-1"),
        ("G", Pane::Services, "audit", "audit-1"),
        ("G g g", Pane::Services, "order", "order-7f3a-1"),
        ("enter j j", Pane::Instances, "order", "order-7f3a-3"),
        ("enter G enter", Pane::Detail, "order", "order-91c0-1"),
        (
            "enter j enter esc",
            Pane::Instances,
            "order",
            "order-7f3a-2",
        ),
        ("enter j esc", Pane::Services, "order", "order-7f3a-2"),
        ("tab j tab", Pane::Services, "order", "order-7f3a-2"),
        (
            "enter / 9 1 c enter",
            Pane::Instances,
            "order",
            "order-91c0-1",
        ),
        ("2 1", Pane::Services, "order", "order-7f3a-1"),
        ("enter j 2 [", Pane::Instances, "order", "order-7f3a-2"),
        ("j g x", Pane::Services, "user", "user-1"),
    ] {
        let mut state = console();
        press(&mut state, keys);
        assert_eq!(state.view, View::Services, "{keys}");
        assert_eq!(
            (state.services.pane, service(&state)),
            (pane, service_then.into()),
            "{keys}"
        );
        assert_eq!(selected(&state), instance, "{keys}");
    }
}

#[test]
fn views_are_reached_by_digit_and_history() {
    let mut state = console();
    for (key, view) in [
        ("2", View::Config),
        ("3", View::Calls),
        ("4", View::Leases),
        ("5", View::Events),
        ("6", View::Keys),
        ("7", View::Doctor),
        ("0", View::Overview),
        ("M", View::Messages),
        ("[", View::Overview),
        ("[", View::Doctor),
        ("]", View::Overview),
        ("1", View::Services),
    ] {
        press(&mut state, key);
        assert_eq!(state.view, view, "{key}");
    }
}

#[test]
fn a_filter_and_a_cursor_are_kept_over_a_change_of_page() {
    let mut state = console();
    press(&mut state, "/ u s e r enter 4 1");
    assert_eq!(state.services.services.filter_text(), "user");
    assert_eq!(service(&state), "user");
    press(&mut state, "esc");
    assert_eq!(state.services.services.filter_text(), "");
    assert_eq!(service(&state), "user");
}

#[test]
fn keys_typed_faster_than_frames_find_their_rows() {
    let mut state = console();
    for key in ["2", "j", "j", "enter", "G", "enter"] {
        // No settle between: all in one batch, as a paste into the terminal is.
        update(&mut state, at(41), Event::Key(key.parse().unwrap()));
    }
    let editing = state
        .config
        .editing
        .as_ref()
        .expect("the last key is being edited");
    assert_eq!(editing.key.to_string(), "order/timeout.write");
}

#[test]
fn the_cursor_stays_on_its_instance_when_others_come_and_go() {
    let mut state = console();
    press(&mut state, "enter j");
    let gone = Change::Delete {
        key: "/services/order/order-7f3a-1".into(),
        revision: Revision(18_300),
    };
    changed(&mut state, Source::Services, gone);
    state.settle();
    assert_eq!(selected(&state), "order-7f3a-2");
}

#[test]
fn deregistering_asks_and_is_guarded_by_what_was_seen() {
    let mut state = console();
    let effects = press(&mut state, "enter j x");
    assert!(effects.is_empty());
    assert!(matches!(state.overlay, Some(Overlay::Question(_))));
    assert!(press(&mut state, "n").is_empty());
    assert!(state.overlay.is_none());
    let effects = press(&mut state, "x y");
    let [
        Effect::Commit {
            plan,
            deed: Deed::Deregister(what),
        },
    ] = effects.as_slice()
    else {
        panic!("{effects:?}");
    };
    assert_eq!(what, "order-7f3a-2");
    assert_eq!(plan.edits()[0].seen.revision(), Revision(712));
}

#[test]
fn a_drain_names_the_instance_and_the_context_and_is_guarded_by_what_was_shown() {
    let mut state = console();
    assert!(press(&mut state, "enter j u").is_empty());
    let said = &state.messages.newest().next().unwrap().text;
    assert_eq!(said, "order-7f3a-2: not drained");
    assert!(press(&mut state, "d").is_empty());
    let asked = screen(&state, "dark");
    for words in ["Drain order-7f3a-2 in demo?", "the process goes on"] {
        assert!(asked.contains(words), "{words}:\n{asked}");
    }
    assert!(!asked.contains("no other instance"), "{asked}");
    assert!(press(&mut state, "enter").is_empty(), "enter is no yes");
    let effects = press(&mut state, "d y");
    let [
        Effect::Turn {
            instances,
            what,
            turn,
        },
    ] = effects.as_slice()
    else {
        panic!("{effects:?}");
    };
    assert_eq!((what.as_str(), *turn), ("order-7f3a-2", Turn::Out));
    assert_eq!(instances[0].mod_revision, Revision(712));
    let deed = Deed::Turn(*turn, what.clone());
    let revision = Revision(18_301);
    let reply = Reply::Written(deed, Ok(Outcome::Applied { revision }));
    update(&mut state, at(42), Event::Reply(0, reply));
    let said = &state.messages.newest().next().unwrap().text;
    assert_eq!(
        said,
        "order-7f3a-2 drained, revision 18301; u takes it back"
    );
    // What was said does not lie over what is asked next.
    press(&mut state, "d");
    let asked = screen(&state, "dark");
    assert!(asked.contains("y yes   N no"), "{asked}");
}

#[test]
fn in_a_narrow_terminal_the_time_a_lease_has_is_legible() {
    let mut state = blank(80, 24);
    fleet(&mut state);
    press(&mut state, "4");
    let shown = screen(&state, "dark");
    let times = shown.lines().filter(|line| line.contains("/10s"));
    assert_eq!(times.count(), 10, "{shown}");
}

#[test]
fn without_glyphs_the_overview_has_none_either_and_news_are_no_warnings() {
    let mut state = blank(120, 40);
    let record = r#"{"service":"order","id":"order-of-a-name-that-is-far-too-long-for-it","weight":0,
        "endpoints":["grpc://10.0.0.77:1"],"metadata":{"drained.weight":"100"}}"#;
    let key = "/services/order/order-of-a-name-that-is-far-too-long-for-it";
    let put = entry(key, record, 18_300, 11);
    changed(&mut state, Source::Services, Change::Put(put));
    press(&mut state, "0");
    let shown = screen(&state, "ascii");
    assert!(shown.is_ascii(), "{shown}");
    let drained = shown.lines().find(|line| line.contains("drained:"));
    assert!(!drained.unwrap().contains('!'), "{shown}");
}

#[test]
fn draining_the_last_of_a_service_says_that_calls_go_on() {
    let mut state = console();
    press(&mut state, "/ a u d i t enter enter d");
    let asked = screen(&state, "dark");
    assert!(asked.contains("audit has no other instance"), "{asked}");
}

#[test]
fn of_the_marked_only_those_are_drained_that_are_not_yet() {
    let mut state = console();
    let record = r#"{"service":"order","id":"order-7f3a-1","weight":0,
        "metadata":{"drained.weight":"100"}}"#;
    let put = entry("/services/order/order-7f3a-1", record, 18_300, 11);
    changed(&mut state, Source::Services, Change::Put(put));
    state.settle();
    let effects = press(&mut state, "enter space space d y");
    let [Effect::Turn { instances, .. }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!(instances.len(), 1);
    assert_eq!(instances[0].record.id.as_str(), "order-7f3a-2");
    let effects = press(&mut state, "u y");
    let [Effect::Turn { instances, .. }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!(instances[0].record.id.as_str(), "order-7f3a-1");
}

#[test]
fn marked_instances_are_deregistered_together() {
    let mut state = console();
    let effects = press(&mut state, "enter space space x y");
    let [Effect::Commit { plan, .. }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!(plan.edits().len(), 2);
}

#[test]
fn a_read_only_context_refuses_before_it_asks() {
    for keys in [
        "enter x",
        "enter d",
        "enter u",
        "2 j j enter enter",
        "2 j j enter x",
        "2 j j enter ctrl-s",
        "4 x",
    ] {
        let mut state = console();
        state.context.access = Access::ReadOnly;
        let effects = press(&mut state, keys);
        assert!(
            effects.is_empty() && state.overlay.is_none(),
            "{keys}: {effects:?}"
        );
        let last = state.messages.newest().next().expect("a refusal");
        assert_eq!(last.tone, Tone::Bad, "{keys}");
        assert!(last.text.contains("read-only"), "{keys}: {}", last.text);
    }
}

#[test]
fn production_wants_the_name_of_the_context() {
    let mut state = console();
    state.context.stage = Stage::Production;
    assert!(press(&mut state, "enter x y enter").is_empty());
    assert!(press(&mut state, "x d e m o").is_empty());
    assert_eq!(press(&mut state, "enter").len(), 1);
}

#[test]
fn leaving_with_unsaved_changes_asks() {
    let mut state = console();
    assert_eq!(press(&mut state, "q"), [Effect::Quit]);
    press(&mut state, "2 j j enter G enter ctrl-u 5 s enter");
    assert!(press(&mut state, "q").is_empty());
    assert!(press(&mut state, "n").is_empty());
    assert_eq!(press(&mut state, "q y"), [Effect::Quit]);
}

#[test]
fn the_palette_runs_what_it_finds() {
    let mut state = console();
    press(&mut state, ": l e a s e s enter");
    assert_eq!(state.view, View::Leases);
    press(&mut state, ": u s e r enter");
    assert_eq!(
        (state.view, service(&state)),
        (View::Services, "user".into())
    );
    press(&mut state, ": t h e m e space a s c enter");
    assert_eq!(state.theme_wish.as_deref(), Some("ascii"));
}

#[test]
fn what_is_copied_names_the_row() {
    let mut state = console();
    assert_eq!(press(&mut state, "y"), [Effect::Copy("order".into())]);
    let copied = press(&mut state, "enter y");
    assert_eq!(
        copied,
        [Effect::Copy("order-7f3a-1 grpc://10.0.0.4:9000".into())]
    );
    press(&mut state, "2 j j enter");
    let secret = press(&mut state, "y");
    assert_eq!(
        secret,
        [Effect::Copy(format!(
            "order/db.password {}",
            fleet::config::secret::MASK
        ))]
    );
}

#[test]
fn an_answer_to_another_context_changes_nothing() {
    let mut state = console();
    state.generation = 1;
    update(
        &mut state,
        at(42),
        health("order", "order-7f3a-1", fleet::Health::Hung, 0),
    );
    let key = "/services/order/order-7f3a-1".into();
    assert_eq!(state.directory.state_of(&key), fleet::Health::Serving);
}

#[test]
fn etcd_going_away_and_coming_back_is_said_once_and_loses_nothing() {
    let mut state = console();
    let stale = |cause: &str| Event::Feed(0, Feed::Stale(Source::Services, cause.into()));
    update(&mut state, at(50), stale("connection refused"));
    update(
        &mut state,
        at(51),
        Event::Feed(0, Feed::Stale(Source::Config, "refused".into())),
    );
    state.settle();
    assert_eq!(state.services.services.rows().len(), 3);
    press(&mut state, "enter j enter");
    assert_eq!(selected(&state), "order-7f3a-2");
    for source in [Source::Services, Source::Config] {
        update(
            &mut state,
            at(60),
            Event::Feed(0, Feed::Fresh(source, Revision(18_204))),
        );
    }
    let said: Vec<_> = state
        .messages
        .newest()
        .map(|message| message.text.clone())
        .collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("etcd is back"));
}

#[test]
fn a_proof_of_freshness_alone_draws_nothing() {
    let mut state = console();
    press(&mut state, "5");
    state.changed = false;
    let fresh = |source| Event::Feed(0, Feed::Fresh(source, Revision(18_204)));
    for source in [Source::Services, Source::Config, Source::Status] {
        update(&mut state, at(42), fresh(source));
    }
    for second in 43..60 {
        update(&mut state, at(second), Event::Tick);
        state.settle();
    }
    assert!(!state.changed);
}

#[test]
fn a_write_whose_outcome_is_unknown_keeps_the_draft() {
    let mut state = console();
    press(
        &mut state,
        "2 j j enter G enter ctrl-u 5 s enter ctrl-s ctrl-s",
    );
    let outcome = Ok(Outcome::Unknown {
        cause: "the link broke".into(),
    });
    update(
        &mut state,
        at(42),
        Event::Reply(0, Reply::Written(Deed::SaveConfig(1), outcome)),
    );
    assert_eq!(state.config.drafts.len(), 1);
    assert_eq!(state.config.pane, config::Pane::Keys);
    assert!(
        state
            .messages
            .newest()
            .next()
            .unwrap()
            .text
            .contains("unknown")
    );
}

#[test]
fn enter_on_a_finding_goes_to_the_instance_it_is_about() {
    let mut state = console();
    press(&mut state, "7 / h u n g enter enter");
    assert_eq!(
        (state.view, state.services.pane),
        (View::Services, Pane::Instances)
    );
    assert_eq!(service(&state), "order");
    assert_eq!(selected(&state), "order-7f3a-2");
    press(&mut state, "7 esc / p o i s o n enter");
    let effects = press(&mut state, "enter");
    assert!(
        matches!(effects.as_slice(), [Effect::Read(key)] if key.to_string().ends_with("poison")),
        "{effects:?}"
    );
}

#[test]
fn a_services_findings_are_those_of_its_instances_and_records() {
    let mut state = console();
    let stale = r#"{"revision":812,"liveness":{"alive":false,"detail":"queue stuck"},
        "watch":{"revision":700,"stale":"refused"},"written_at":"2026-11-23T13:00:00Z"}"#;
    let put = entry("/status/order/order-7f3a-1", stale, 18_300, 0);
    changed(&mut state, Source::Status, Change::Put(put));
    state.settle();
    let order = fleet::ServiceName::new("order").unwrap();
    let found = state.directory.summary(&order).unwrap().findings.join(", ");
    for words in [
        "1 hung",
        "1 not alive",
        "1 old view",
        "1 record unreadable",
        "1 value refused",
    ] {
        assert!(found.contains(words), "{words}: {found}");
    }
    let in_doctor = |state: &State| {
        state
            .doctor
            .list
            .rows()
            .iter()
            .filter(|(_, row)| matches!(&row.about, About::Key(key) if key.to_string().contains("/order/")))
            .count()
    };
    press(&mut state, "7");
    let summary = state.directory.summary(&order).unwrap();
    let counted = summary.errors + summary.warnings;
    assert_eq!(counted, in_doctor(&state), "the page and the doctor agree");
}

#[test]
fn config_keys_are_ordered_by_any_column() {
    let mut state = console();
    press(&mut state, "2 j j enter");
    let first = |state: &State| state.config.keys.rows()[0].id().to_string();
    assert_eq!(first(&state), "db.password");
    press(&mut state, "S S S R");
    assert_eq!(first(&state), "timeout.write", "the newest");
    press(&mut state, "S");
    assert_eq!(first(&state), "timeout.read", "not everyone runs it");
}

#[test]
fn another_context_keeps_what_is_the_users_and_drops_answers_to_the_last() {
    let mut state = console();
    state.contexts = vec!["staging".into()];
    press(&mut state, ":");
    type_text(&mut state, "context sta");
    let effects = press(&mut state, "enter");
    assert_eq!(effects, [Effect::SwitchContext("staging".into())]);
    let mut context = state.context.clone();
    context.name = "staging".into();
    state.keymap.rebind("quit", &["ctrl-q"]).unwrap();
    let now = state.now;
    state.switch(context, now);
    assert_eq!(
        state.keymap.keys_of(crate::tui::action::Action::Quit),
        "ctrl-q"
    );
    assert!(!state.is_loaded(), "nothing is known of it yet");
    let late = Feed::Fresh(Source::Services, Revision(9));
    update(&mut state, now, Event::Feed(0, late));
    assert!(!state.is_loaded(), "an answer of the last context");
    // With changes pending it asks first.
    let mut state = console();
    state.contexts = vec!["staging".into()];
    press(&mut state, "2 j j enter G enter ctrl-u 5 s enter :");
    type_text(&mut state, "context staging");
    assert!(press(&mut state, "enter").is_empty());
    let effects = press(&mut state, "y");
    assert_eq!(effects, [Effect::SwitchContext("staging".into())]);
}

#[test]
fn a_console_that_holds_the_fleets_etcd_does_not_stop_it() {
    let mut state = console();
    state.suspension = crate::tui::state::Suspension::HoldsEtcd;
    assert!(press(&mut state, "ctrl-z").is_empty());
    assert!(
        state
            .messages
            .newest()
            .next()
            .unwrap()
            .text
            .contains("etcd")
    );
}

#[test]
fn the_palette_finds_what_works_elsewhere_and_says_where() {
    let mut state = console();
    press(&mut state, ":");
    type_text(&mut state, "revoke-lease");
    assert!(press(&mut state, "enter").is_empty());
    let said = &state.messages.newest().next().unwrap().text;
    assert!(said.contains("works in: leases"), "{said}");
}

#[test]
fn a_click_on_a_column_title_orders_by_it_and_again_turns_it_round() {
    use crate::tui::key::{Mouse, MouseKind};
    let click = |state: &mut State, title: &str| {
        let mut buffer = cells(state, "dark");
        let drawn = text_of(&buffer);
        let find = |(row, line): (usize, &str)| {
            let at = line.find(title)?;
            Some((line[..at].chars().count(), row))
        };
        let (column, row) = drawn.lines().enumerate().find_map(find).unwrap();
        let (column, row) = (u16::try_from(column).unwrap(), u16::try_from(row).unwrap());
        let titles = crate::tui::view::draw(state, &look("dark"), &mut buffer);
        let index = titles.at(column, row).unwrap();
        let mouse = Mouse {
            kind: MouseKind::Press,
            column,
            row,
        };
        update(state, at(41), Event::Title(mouse, index));
        state.settle();
    };
    let mut state = console();
    press(&mut state, "2 j j enter");
    let order = |state: &State| state.config.keys.table.sort;
    click(&mut state, "SINCE");
    assert_eq!((order(&state).column, order(&state).descending), (3, false));
    click(&mut state, "SINCE");
    assert_eq!((order(&state).column, order(&state).descending), (3, true));
    press(&mut state, "1");
    assert_eq!(state.view, View::Services);
    click(&mut state, "VERSION");
    assert_eq!(state.services.services.table.sort.column, 2);
    click(&mut state, "INSTANCE ");
    let sort = state.services.instances.table.sort;
    assert_eq!((sort.column, sort.descending), (0, true));
    press(&mut state, "5");
    click(&mut state, "SUBJECT");
    assert_eq!(state.events.list.table.sort.column, 3);
    // A title without an order stays what it is.
    press(&mut state, "4");
    click(&mut state, "KEYS");
    assert_eq!(state.leases.list.table.sort.column, 0);
}

#[test]
fn events_are_ordered_and_the_newest_is_followed_wherever_it_stands() {
    let mut state = console();
    press(&mut state, "5");
    for (at, key) in [(0, "m"), (1, "z"), (2, "a")] {
        let put = entry(&format!("/config/order/{key}"), "1", 18_300 + at, 0);
        changed(&mut state, Source::Config, Change::Put(put));
    }
    state.settle();
    let shown = |state: &State| -> Vec<String> {
        let rows = state.events.list.rows().iter();
        let shown = rows.filter_map(|number| state.events.get(*number));
        let keys = shown.filter(|one| one.subject.starts_with("order/") && one.subject.len() == 7);
        keys.map(|one| one.subject[6..].to_owned()).collect()
    };
    let current = |state: &State| {
        let number = state.events.list.current().unwrap();
        state.events.get(*number).unwrap().subject.clone()
    };
    assert_eq!(shown(&state), ["m", "z", "a"]);
    assert_eq!(current(&state), "order/a");
    press(&mut state, "R");
    assert_eq!(shown(&state), ["a", "z", "m"]);
    assert_eq!(current(&state), "order/a");
    press(&mut state, "S S S");
    assert_eq!(shown(&state), ["a", "m", "z"]);
    assert!(state.events.following);
    press(&mut state, "j");
    assert!(!state.events.following);
}
