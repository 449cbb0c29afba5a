//! Config as a service reads it, without etcd.

use super::*;

fn config(local: Local) -> Config {
    Config::local(ServiceName::new("order").unwrap(), local)
        .unwrap()
        .0
}

fn defaults(pairs: &[(&str, &str)]) -> Local {
    let defaults = pairs
        .iter()
        .map(|(path, text)| ((*path).to_owned(), serde_yaml::from_str(text).unwrap()))
        .collect();
    Local {
        defaults,
        ..Local::default()
    }
}

#[test]
fn layers_rank_as_documented_and_each_value_knows_its_origin() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, "timeout: {write: 2s, read: 2s}\n").unwrap();
    let cache = directory.path().join("cache.json");
    let cached = vec![Cached {
        path: "timeout.read".into(),
        revision: 9,
        value: "3s".into(),
    }];
    cache::store(&cache, "order", cached).unwrap();
    let config = config(Local {
        file: Some(file.clone()),
        cache: Some(cache),
        environment: vec![
            ("ORDER__TIMEOUT__CONNECT".into(), "4s".into()),
            ("USER__TIMEOUT__WRITE".into(), "9s".into()),
        ],
        ..defaults(&[
            ("timeout.write", "1s"),
            ("timeout.idle", "1s"),
            ("timeout.connect", "1s"),
        ])
    });
    let told = |key: &str| {
        (
            config.duration(key).unwrap().as_secs(),
            config.snapshot().get(key).unwrap().origin.to_string(),
        )
    };
    assert_eq!(told("timeout.idle"), (1, "default".into()));
    assert_eq!(told("timeout.write"), (2, file.display().to_string()));
    assert_eq!(told("timeout.read"), (3, "cache r9".into()));
    assert_eq!(
        told("timeout.connect"),
        (4, "$ORDER__TIMEOUT__CONNECT".into())
    );
}

#[test]
fn a_missing_file_and_a_missing_value_are_named_with_the_next_step() {
    let local = Local {
        file: Some("/nowhere/config.yaml".into()),
        ..Local::default()
    };
    let error = Config::local(ServiceName::new("order").unwrap(), local)
        .unwrap_err()
        .to_string();
    assert!(error.contains("/nowhere/config.yaml"), "{error}");
    let error = config(Local::default())
        .live::<Duration>("timeout.write")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("msctl config set order/timeout.write"),
        "{error}"
    );
}

#[test]
fn a_damaged_cache_never_stops_a_start() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("cache.json");
    std::fs::write(&cache, b"\0\0\0").unwrap();
    let config = config(Local {
        cache: Some(cache),
        ..defaults(&[("a", "1")])
    });
    assert_eq!(config.u64("a").unwrap(), 1);
}

#[test]
fn reading_by_name_guards_the_kind_from_then_on() {
    let config = config(defaults(&[("a", "1s")]));
    assert_eq!(config.duration("a").unwrap(), Duration::from_secs(1));
    let origin = Origin::Service {
        revision: Revision(5),
    };
    config.step(
        Layer::Service,
        vec![("a".into(), Edit::Put(value::parse(b"soon"), origin))],
    );
    assert_eq!(config.duration("a").unwrap(), Duration::from_secs(1));
    assert_eq!(config.standing().borrow().rejected[0].key, "order/a");
}

#[test]
fn a_value_of_the_wrong_type_says_where_it_stands() {
    let config = config(Local {
        environment: vec![("ORDER__A".into(), "soon".into())],
        ..Local::default()
    });
    let error = config.live::<Duration>("a").unwrap_err().to_string();
    assert!(
        error.contains("$ORDER__A") && error.contains("soon"),
        "{error}"
    );
}

#[test]
fn a_handle_with_a_default_returns_to_it() {
    let config = config(Local::default());
    let live = config.live_or("limit", 7u64).unwrap();
    assert_eq!(live.get(), 7);
    let origin = Origin::Service {
        revision: Revision(5),
    };
    config.step(
        Layer::Service,
        vec![("limit".into(), Edit::Put(value::parse(b"9"), origin))],
    );
    assert_eq!(live.get(), 9);
    config.step(Layer::Service, vec![("limit".into(), Edit::Remove)]);
    assert_eq!(live.get(), 7);
}

#[test]
fn what_the_schema_marks_as_a_secret_is_in_no_report_and_no_error() {
    #[derive(serde::Serialize, schemars::JsonSchema, Default)]
    struct Settings {
        #[schemars(extend("x-secret" = true))]
        dsn: String,
    }
    let described = schema::describe::<Settings>().unwrap();
    let config = config(Local {
        described: Some(described),
        ..Local::default()
    });
    let put = |text: &[u8], revision| {
        let origin = Origin::Service {
            revision: Revision(revision),
        };
        let edit = Edit::Put(value::parse(text), origin);
        config.step(Layer::Service, vec![("dsn".into(), edit)]);
    };
    put(b"5s", 5);
    // Whoever reads it as a duration would quote what is none.
    let _ttl = config.live::<Duration>("dsn").unwrap();
    put(b"hunter2", 6);
    let standing = config.standing().borrow().clone();
    assert_eq!(standing.rejected.len(), 1);
    assert!(!format!("{standing:?}").contains("hunter2"), "{standing:?}");
    let error = config.bool("dsn").unwrap_err();
    assert!(!error.to_string().contains("5s"), "{error}");
    let error = config.live::<u64>("dsn").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("5s"), "{error}");
}
