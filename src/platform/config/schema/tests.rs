use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::config::Size;

#[derive(Serialize, JsonSchema)]
struct Settings {
    timeout: Timeout,
    /// Records on a page
    /// when the caller does not say.
    #[serde(rename = "page.size")]
    #[schemars(range(min = 1, max = 500), extend("x-unit" = "rows"))]
    page_size: u32,
    #[schemars(extend("x-maximum" = "1GiB"))]
    cache: Size,
    mode: Mode,
    /// Where to log in.
    #[schemars(extend("x-secret" = true))]
    token: String,
    retries: Vec<Duration>,
    patience: Option<Duration>,
    labels: BTreeMap<String, u32>,
    note: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Timeout {
    /// How long a write may take.
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "30s"))]
    write: Duration,
    read: Duration,
}

#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Fast,
    /// Slower.
    Safe,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            timeout: Timeout {
                write: Duration::from_millis(1_500),
                read: Duration::from_secs(90),
            },
            page_size: 50,
            cache: Size(10 << 20),
            mode: [Mode::Fast, Mode::Safe][1],
            token: "s3cret".into(),
            retries: vec![Duration::from_millis(5)],
            patience: Some(Duration::from_secs(1)),
            labels: BTreeMap::new(),
            note: None,
        }
    }
}

#[test]
fn a_type_tells_its_paths_types_bounds_docs_and_defaults() {
    let described = describe::<Settings>().unwrap();
    let field = |path: &str| described.schema.field(path).unwrap();
    for (path, kind, default) in [
        ("timeout.write", "duration, 100ms … 30s", Some("1s500ms")),
        ("timeout.read", "duration", Some("1m30s")),
        ("page.size", "whole number in rows, 1 … 500", Some("50")),
        ("cache", "size, at most 1GiB", Some("10MiB")),
        ("retries", "list of duration", Some("[5ms]")),
        ("patience", "duration", Some("1s")),
        ("note", "text", None),
    ] {
        let found = field(path);
        assert_eq!(found.kind, kind, "{path}");
        let shown = found.default.as_ref().map(fleet::config::value::one_line);
        assert_eq!(shown.as_deref(), default, "{path}");
        assert!(!found.required, "{path}");
    }
    assert_eq!(
        field("page.size").description.as_deref(),
        Some("Records on a page when the caller does not say.")
    );
    assert_eq!(field("mode").choices, ["fast", "safe"]);
    assert!(field("token").secret);
}

#[test]
fn a_secrets_default_counts_and_is_not_published() {
    let described = describe::<Settings>().unwrap();
    let token = |(path, value): &(String, Value)| path == "token" && value == "s3cret";
    assert!(described.defaults.iter().any(token));
    assert!(!described.json.to_string().contains("s3cret"));
}

#[test]
fn a_value_is_held_to_the_schema() {
    let described = describe::<Settings>().unwrap();
    for (path, value, fault) in [
        ("timeout.write", "5s", None),
        ("timeout.write", "45s", Some("too high")),
        ("timeout", "{write: 5s}", None),
        ("timeout", "{write: 1ms}", Some("timeout.write")),
        ("page.size", "0", Some("too low")),
        ("cache", "2GiB", Some("too high")),
        ("cache", "1024", None),
        ("mode", "quick", Some("is none of fast, safe")),
        ("patience", "soon", Some("no duration")),
    ] {
        let value = serde_yaml::from_str(value).unwrap();
        let found = check(&described.schema, path, &value);
        match fault {
            None => assert_eq!(found, Ok(()), "{path}"),
            Some(words) => assert!(
                found.as_ref().is_err_and(|e| e.contains(words)),
                "{found:?}"
            ),
        }
    }
}

#[test]
fn a_default_out_of_its_own_bounds_is_told() {
    #[derive(Serialize, JsonSchema)]
    struct Wrong {
        #[schemars(range(min = 1))]
        page: u32,
    }
    #[allow(clippy::derivable_impls, reason = "the fault is meant")]
    impl Default for Wrong {
        fn default() -> Wrong {
            Wrong { page: 0 }
        }
    }
    let error = describe::<Wrong>().unwrap_err();
    assert!(error.starts_with("the default of page: "), "{error}");
    assert!(describe::<u32>().is_err());
}

#[test]
fn a_duration_is_written_as_config_reads_it() {
    for nanos in [0, 1, 1_500, 250_000_000, 5_000_000_000, 90_061_001_002_003] {
        let duration = Duration::from_nanos(nanos);
        let text = duration_text(duration);
        assert_eq!(
            fleet::config::value::parse_duration(&text),
            Some(duration),
            "{text}"
        );
    }
}
