//! What OpenTelemetry's variables say, as every one of its libraries reads them: what is for metrics or
//! traces alone ranks above what is for both, and a value that cannot be read counts as none. Pure.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

/// How long one export may take where nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often metrics are sent where nothing else is said.
const INTERVAL: Duration = Duration::from_secs(60);

/// The shortest time between two exports.
const SHORTEST: Duration = Duration::from_millis(10);

/// The variables of a process.
#[derive(Debug, Clone, Default)]
pub(super) struct Environment(HashMap<String, String>);

/// What of it is sent where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Metrics,
}

impl Signal {
    fn word(self) -> &'static str {
        match self {
            Signal::Traces => "TRACES",
            Signal::Metrics => "METRICS",
        }
    }
}

impl Environment {
    pub(super) fn of_process() -> Environment {
        // What is no text is no setting.
        let text = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Environment::of(text)
    }

    pub(super) fn of(variables: impl IntoIterator<Item = (String, String)>) -> Environment {
        let told =
            |(name, value): &(String, String)| name.starts_with("OTEL_") && !value.is_empty();
        Environment(variables.into_iter().filter(told).collect())
    }

    fn one(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim())
    }

    /// `OTEL_EXPORTER_OTLP_<SIGNAL>_<WHAT>`, or `OTEL_EXPORTER_OTLP_<WHAT>`.
    fn exporter(&self, signal: Signal, what: &str) -> Option<&str> {
        self.one(&format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.word()))
            .or_else(|| self.one(&format!("OTEL_EXPORTER_OTLP_{what}")))
    }

    /// Whether it says that this is not to be sent at all.
    pub(super) fn is_off(&self, signal: Signal) -> bool {
        let all = self.one("OTEL_SDK_DISABLED");
        all.is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || self.one(&format!("OTEL_{}_EXPORTER", signal.word())) == Some("none")
    }

    /// Where it is to be sent.
    pub(super) fn endpoint(&self, signal: Signal) -> Option<&str> {
        self.exporter(signal, "ENDPOINT")
    }

    /// A protocol that is asked for and is not spoken here.
    pub(super) fn foreign_protocol(&self, signal: Signal) -> Option<&str> {
        self.exporter(signal, "PROTOCOL")
            .filter(|one| *one != "grpc")
    }

    /// How long one export may take.
    pub(super) fn timeout(&self, signal: Signal) -> Duration {
        millis(self.exporter(signal, "TIMEOUT")).unwrap_or(TIMEOUT)
    }

    /// How often metrics are sent.
    pub(super) fn interval(&self) -> Duration {
        millis(self.one("OTEL_METRIC_EXPORT_INTERVAL")).map_or(INTERVAL, |one| one.max(SHORTEST))
    }

    /// The certificate of whom to trust instead of the system's.
    pub(super) fn certificate(&self, signal: Signal) -> Option<PathBuf> {
        self.exporter(signal, "CERTIFICATE").map(PathBuf::from)
    }

    /// Headers for the collector, such as its key. Secret.
    pub(super) fn headers(&self, signal: Signal) -> Vec<(String, String)> {
        let text = self.exporter(signal, "HEADERS").unwrap_or_default();
        pairs(text).collect()
    }

    /// What this process is to be called, whatever its author calls it.
    pub(super) fn service_name(&self) -> Option<String> {
        let named = self.one("OTEL_SERVICE_NAME").map(str::to_owned);
        named.or_else(|| {
            let found = self.attributes().find(|(name, _)| name == "service.name");
            found.map(|(_, value)| value)
        })
    }

    /// Facts about this process.
    pub(super) fn attributes(&self) -> impl Iterator<Item = (String, String)> {
        pairs(self.one("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default())
    }
}

fn millis(text: Option<&str>) -> Option<Duration> {
    let millis = text?.parse().ok()?;
    Some(Duration::from_millis(millis))
}

/// `name=value,…`, percent-encoded.
fn pairs(text: &str) -> impl Iterator<Item = (String, String)> {
    text.split(',').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = percent_encoding::percent_decode_str(value.trim());
        let value = value.decode_utf8().ok()?.into_owned();
        (!name.trim().is_empty()).then(|| (name.trim().to_owned(), value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Signal::{Metrics, Traces};

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Environment::of(variables.iter().map(owned))
    }

    #[test]
    fn a_signals_own_variable_ranks_above_the_one_for_all() {
        let both = environment(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4317"),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://metrics:4317"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ""),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "3000"),
            ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "250"),
        ]);
        assert_eq!(both.endpoint(Metrics), Some("http://metrics:4317"));
        assert_eq!(
            both.endpoint(Traces),
            Some("http://all:4317"),
            "empty is unset"
        );
        assert_eq!(both.timeout(Metrics), Duration::from_millis(250));
        assert_eq!(both.timeout(Traces), Duration::from_secs(3));
        assert_eq!(environment(&[]).endpoint(Metrics), None);
        assert_eq!(environment(&[]).timeout(Metrics), TIMEOUT);
    }

    #[test]
    fn what_is_switched_off_is_off_alone_or_with_all() {
        for (variables, metrics, traces) in [
            (&[][..], false, false),
            (&[("OTEL_METRICS_EXPORTER", "none")], true, false),
            (&[("OTEL_TRACES_EXPORTER", "none")], false, true),
            (&[("OTEL_METRICS_EXPORTER", "otlp")], false, false),
            (&[("OTEL_SDK_DISABLED", "TRUE")], true, true),
            (&[("OTEL_SDK_DISABLED", "no")], false, false),
        ] {
            let read = environment(variables);
            assert_eq!(
                (read.is_off(Metrics), read.is_off(Traces)),
                (metrics, traces),
                "{variables:?}"
            );
        }
    }

    #[test]
    fn an_interval_that_cannot_be_read_or_kept_is_the_usual_or_the_shortest() {
        for (said, expected) in [
            ("5000", Duration::from_secs(5)),
            ("0", SHORTEST),
            ("soon", INTERVAL),
            ("-1", INTERVAL),
            ("", INTERVAL),
        ] {
            let read = environment(&[("OTEL_METRIC_EXPORT_INTERVAL", said)]);
            assert_eq!(read.interval(), expected, "{said}");
        }
    }

    #[test]
    fn pairs_are_decoded_and_broken_ones_left_out() {
        let read = environment(&[
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "api-key=a%20b%3D, x = y ,broken,=no,",
            ),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.name=from-attributes,zone=eu-1",
            ),
        ]);
        let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs
                .iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect()
        };
        assert_eq!(
            read.headers(Metrics),
            owned(&[("api-key", "a b="), ("x", "y")])
        );
        assert_eq!(read.service_name().as_deref(), Some("from-attributes"));
        let attributes: Vec<_> = read.attributes().collect();
        assert_eq!(attributes[1], ("zone".to_owned(), "eu-1".to_owned()));
        let named = environment(&[
            ("OTEL_SERVICE_NAME", "named"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=from-attributes"),
        ]);
        assert_eq!(named.service_name().as_deref(), Some("named"));
    }

    #[test]
    fn only_grpc_is_spoken() {
        let read = environment(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]);
        assert_eq!(read.foreign_protocol(Metrics), Some("http/protobuf"));
        let read = environment(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
        assert_eq!(read.foreign_protocol(Metrics), None);
    }
}
