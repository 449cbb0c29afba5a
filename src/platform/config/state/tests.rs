//! Config layers as revisions come in.

use std::time::Duration;

use fleet::config::value;
use proptest::prelude::*;

use super::*;
use crate::config::live::{ConfigValue, Live, Typed};

fn edit(text: &str, revision: i64) -> Edit {
    Edit::Put(
        value::parse(text.as_bytes()),
        Origin::Service {
            revision: Revision(revision),
        },
    )
}

fn put(state: &mut State, path: &str, text: &str, revision: i64) -> Vec<String> {
    let step = state.step(Layer::Service, vec![(path.into(), edit(text, revision))]);
    step.refused.into_iter().map(|one| one.key).collect()
}

fn file(state: &mut State, path: &str, text: &str) {
    let value = value::parse(text.as_bytes());
    state.step(
        Layer::File,
        vec![(
            path.into(),
            Edit::Put(value, Origin::File("config.yaml".into())),
        )],
    );
}

fn live<T: ConfigValue>(state: &mut State, path: &str) -> Live<T> {
    let found = state
        .effective()
        .get(path)
        .and_then(|found| T::read(&found.value).ok());
    let live = Live::new(
        path.into(),
        found.unwrap_or_else(|| panic!("{path} has no value")),
        None,
    );
    state.watch(&path.into(), live.watcher()).unwrap();
    live
}

fn state() -> State {
    State::new("order", Secrets::default())
}

#[test]
fn a_bad_value_is_refused_for_its_key_alone_and_the_last_good_one_stays() {
    let mut state = state();
    put(&mut state, "timeout.write", "2s", 5);
    put(&mut state, "page.size", "10", 6);
    let timeout = live::<Duration>(&mut state, "timeout.write");
    let page = live::<u64>(&mut state, "page.size");
    let edits = vec![
        ("timeout.write".into(), edit("soon", 7)),
        ("page.size".into(), edit("20", 7)),
    ];
    let step = state.step(Layer::Service, edits);
    assert_eq!(step.refused.len(), 1);
    assert_eq!((timeout.get(), page.get()), (Duration::from_secs(2), 20));
    let rejected = state.rejected();
    assert_eq!(
        (rejected[0].key.as_str(), rejected[0].revision),
        ("order/timeout.write", 7)
    );
    assert!(rejected[0].error.contains("soon") && rejected[0].error.contains("duration"));
    put(&mut state, "timeout.write", "3s", 8);
    assert!(state.rejected().is_empty(), "a good value clears it");
    assert_eq!(timeout.get(), Duration::from_secs(3));
}

#[test]
fn a_deleted_key_falls_back_to_the_layer_below() {
    let mut state = state();
    file(&mut state, "timeout", "{write: 1s}");
    put(&mut state, "timeout.write", "5s", 5);
    let timeout = live::<Duration>(&mut state, "timeout.write");
    assert_eq!(timeout.get(), Duration::from_secs(5));
    state.step(Layer::Service, vec![("timeout.write".into(), Edit::Remove)]);
    assert_eq!(timeout.get(), Duration::from_secs(1));
}

#[test]
fn a_value_that_is_no_yaml_is_refused_whoever_uses_it() {
    let mut state = state();
    put(&mut state, "a", "1", 5);
    assert_eq!(put(&mut state, "a", "{", 6), ["order/a"]);
    assert_eq!(state.effective().get("a").unwrap().value, Value::from(1));
}

#[test]
fn a_bad_value_found_by_a_first_user_falls_back() {
    let mut state = state();
    file(&mut state, "timeout.write", "1s");
    put(&mut state, "timeout.write", "soon", 5);
    let live = Live::new("timeout.write".into(), Duration::ZERO, None);
    let step = state
        .watch(&"timeout.write".into(), live.watcher())
        .unwrap();
    assert_eq!(step.refused[0].key, "order/timeout.write");
    assert_eq!(live.get(), Duration::from_secs(1));
}

#[test]
fn a_bad_local_value_is_the_callers_error() {
    let mut state = state();
    file(&mut state, "timeout.write", "soon");
    let live = Live::new("timeout.write".into(), Duration::ZERO, None);
    let (origin, error) = state
        .watch(&"timeout.write".into(), live.watcher())
        .unwrap_err();
    assert_eq!(origin.to_string(), "config.yaml");
    assert!(error.contains("soon"), "{error}");
}

#[test]
fn a_bad_part_of_a_mapping_is_refused_and_the_rest_stands() {
    #[derive(serde::Deserialize, Clone, Debug, PartialEq)]
    struct Retry {
        max: u32,
        name: String,
    }
    let mut state = state();
    file(&mut state, "retry", "{max: 3, name: a}");
    let retry = live::<Typed<Retry>>(&mut state, "retry");
    let edits = vec![
        ("retry.max".into(), edit("many", 7)),
        ("retry.name".into(), edit("b", 7)),
    ];
    state.step(Layer::Service, edits);
    let now = retry.get();
    assert!(now.max == 3, "{now:?}");
    assert!(
        state
            .rejected()
            .iter()
            .any(|one| one.key == "order/retry.max")
    );
}

#[test]
fn a_bad_value_that_a_deletion_reveals_is_refused_too() {
    let mut state = state();
    put(&mut state, "timeout", "5s", 5);
    let timeout = live::<Duration>(&mut state, "timeout");
    let bad = Edit::Put(
        value::parse(b"soon"),
        Origin::Global {
            revision: Revision(6),
        },
    );
    state.step(Layer::Global, vec![("timeout".into(), bad)]);
    assert!(state.rejected().is_empty(), "hidden, so nobody reads it");
    state.step(Layer::Service, vec![("timeout".into(), Edit::Remove)]);
    assert_eq!(
        timeout.get(),
        Duration::from_secs(5),
        "nothing good is left: the last good one stays"
    );
    assert_eq!(state.rejected()[0].key, "global/timeout");
}

#[test]
fn a_value_that_makes_the_services_own_code_panic_is_refused_for_its_key_alone() {
    #[derive(Clone, Debug, PartialEq)]
    struct Even(u64);
    impl<'de> serde::Deserialize<'de> for Even {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Even, D::Error> {
            let number = u64::deserialize(from)?;
            assert!(number.is_multiple_of(2), "the service's own fault");
            Ok(Even(number))
        }
    }
    let mut state = state();
    put(&mut state, "pairs", "2", 5);
    let pairs = live::<Typed<Even>>(&mut state, "pairs");
    let edits = vec![("pairs".into(), edit("3", 6)), ("b".into(), edit("1", 6))];
    let step = state.step(Layer::Service, edits);
    assert_eq!(step.refused[0].key, "order/pairs");
    assert!(step.refused[0].error.contains("panicked"), "{step:?}");
    assert_eq!(pairs.get().0, Even(2));
    assert!(state.effective().get("b").is_some());
    put(&mut state, "pairs", "4", 7);
    assert_eq!(pairs.get().0, Even(4));
}

#[test]
fn a_refused_value_of_the_file_says_which_file() {
    let mut state = state();
    file(&mut state, "timeout", "5s");
    let _timeout = live::<Duration>(&mut state, "timeout");
    file(&mut state, "timeout", "soon");
    assert!(state.rejected()[0].error.starts_with("config.yaml: "));
}

#[test]
fn a_secret_is_never_quoted() {
    let mut state = state();
    put(&mut state, "db.password_ttl", "1s", 5);
    let _ttl = live::<Duration>(&mut state, "db.password_ttl");
    put(&mut state, "db.password_ttl", "hunter2", 6);
    assert!(!state.rejected()[0].error.contains("hunter2"));
}

#[test]
fn a_dropped_handle_judges_nothing() {
    let mut state = state();
    put(&mut state, "a", "1", 5);
    drop(live::<u64>(&mut state, "a"));
    put(&mut state, "b", "1", 6);
    assert!(put(&mut state, "a", "text", 7).is_empty());
}

proptest! {
    /// Whatever edits come, a handle holds a value that was really written and can be read.
    #[test]
    fn a_handle_never_holds_a_value_nobody_wrote(
        steps in proptest::collection::vec(("(a|a\\.b|b)", prop_oneof![Just("1"), Just("x"), Just("{b: 2}"), Just("{b: y}"), Just("{"), Just("")], any::<bool>()), 1..40),
    ) {
        let mut state = state();
        file(&mut state, "a", "{b: 7}");
        let held = live::<u64>(&mut state, "a.b");
        for (revision, (path, text, remove)) in steps.iter().enumerate() {
            let edit = if *remove { Edit::Remove } else { edit(text, revision as i64) };
            state.step(Layer::Service, vec![(path.as_str().into(), edit)]);
            prop_assert!([1, 2, 7].contains(&held.get()), "{}", held.get());
            // What is in force can be read by everyone who uses it.
            if let Some(found) = state.effective().get("a.b") {
                prop_assert!(u64::read(&found.value).is_ok(), "{found:?}");
            }
        }
    }
}
