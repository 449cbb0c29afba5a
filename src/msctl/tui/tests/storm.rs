//! Whatever comes, in whatever order and size, nothing panics and the cursor stays visible.

use fleet::Change;
use proptest::prelude::*;

use super::*;
use crate::tui::action::ACTIONS;
use crate::tui::key::{Mouse, MouseKind};

fn key() -> impl Strategy<Value = String> {
    let bound: Vec<String> = ACTIONS
        .iter()
        .flat_map(|spec| spec.keys)
        .flat_map(|keys| keys.split(' '))
        .map(str::to_owned)
        .collect();
    prop_oneof![
        4 => prop::sample::select(bound),
        1 => "[a-z0-9{}:<!]".prop_map(|text| text),
        1 => Just("backspace".to_owned()),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Key(String),
    Paste(String),
    Size(u16, u16),
    Mouse(u8, u16, u16),
    Put(u8, u8, bool),
    Gone(u8, u8),
    Config(u8, String),
    Health(u8),
    Stale,
    Fresh,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => key().prop_map(Step::Key),
        1 => ".{0,12}".prop_map(Step::Paste),
        2 => (0u16..200, 0u16..60).prop_map(|(w, h)| Step::Size(w, h)),
        2 => (0u8..3, 0u16..200, 0u16..60).prop_map(|(k, x, y)| Step::Mouse(k, x, y)),
        1 => (0u8..4, 0u8..6, any::<bool>()).prop_map(|(s, i, good)| Step::Put(s, i, good)),
        1 => (0u8..4, 0u8..6).prop_map(|(s, i)| Step::Gone(s, i)),
        1 => (0u8..4, "\\PC{0,8}").prop_map(|(k, v)| Step::Config(k, v)),
        1 => (0u8..6).prop_map(Step::Health),
        1 => Just(Step::Stale),
        1 => Just(Step::Fresh),
        1 => (0u64..20).prop_map(Step::Wait),
    ]
}

fn apply(state: &mut State, revision: i64, step: Step) {
    let now = state.now;
    match step {
        Step::Key(key) => {
            press(state, &key);
        }
        Step::Paste(text) => drop(update(state, now, Event::Paste(text))),
        Step::Size(width, height) => drop(update(state, now, Event::Resize(width, height))),
        Step::Mouse(kind, column, row) => {
            let kind =
                [MouseKind::Press, MouseKind::WheelUp, MouseKind::WheelDown][usize::from(kind)];
            update(state, now, Event::Mouse(Mouse { kind, column, row }));
        }
        Step::Put(service, id, good) => {
            let value = if good {
                format!(r#"{{"service":"s{service}","id":"i{id}","endpoints":["grpc://h:1"]}}"#)
            } else {
                "\u{1b}".to_owned()
            };
            let key = format!("/services/s{service}/i{id}");
            changed(
                state,
                Source::Services,
                Change::Put(entry(&key, &value, revision, 5)),
            );
        }
        Step::Gone(service, id) => {
            let key = format!("/services/s{service}/i{id}").into();
            changed(
                state,
                Source::Services,
                Change::Delete {
                    key,
                    revision: Revision(revision),
                },
            );
        }
        Step::Config(key, value) => {
            let key = format!("/config/order/k{key}");
            changed(
                state,
                Source::Config,
                Change::Put(entry(&key, &value, revision, 0)),
            );
        }
        Step::Health(id) => {
            drop(update(
                state,
                now,
                health("order", &format!("order-7f3a-{id}"), Health::Hung, 0),
            ));
        }
        Step::Stale => {
            drop(update(
                state,
                now,
                Event::Feed(0, Feed::Stale(Source::Services, "x".into())),
            ));
        }
        Step::Fresh => {
            let fresh = Feed::Fresh(Source::Services, Revision(revision));
            drop(update(state, now, Event::Feed(0, fresh)));
        }
        Step::Wait(seconds) => {
            let now = at(now.mono.as_secs() + seconds);
            drop(update(state, now, Event::Tick));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_sequence_of_events_and_sizes_panics(steps in prop::collection::vec(step(), 1..80)) {
        let mut state = blank(100, 30);
        fleet(&mut state);
        for (index, step) in steps.into_iter().enumerate() {
            apply(&mut state, 19_000 + i64::try_from(index).unwrap(), step);
            state.settle();
            let shown = screen(&state, if index % 2 == 0 { "dark" } else { "ascii" });
            let escaped = shown.contains(char::is_control) && shown.contains('\x1b');
            prop_assert!(!escaped);
            let list = &state.services.services;
            let len = list.rows().len();
            let visible = list.table.visible(len);
            prop_assert!(visible.is_empty() || visible.contains(&list.table.cursor()));
        }
    }
}
