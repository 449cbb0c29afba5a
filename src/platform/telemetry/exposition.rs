//! What `/metrics` shows, as OTLP's messages: the same registry, read once, so that nothing is counted
//! twice. Pure. Everything is cumulative since the recorder began; a line that cannot be read is left out.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
    Summary, SummaryDataPoint, metric::Data, number_data_point,
    summary_data_point::ValueAtQuantile,
};

/// The time that figures are of: since when they are counted, and until when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    since: u64,
    until: u64,
}

impl Span {
    pub(super) fn new(since: SystemTime, until: SystemTime) -> Span {
        let nanos = |at: SystemTime| {
            let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
        };
        Span {
            since: nanos(since),
            until: nanos(until),
        }
    }
}

/// The families of a text in Prometheus' format, in its order.
pub(super) fn metrics(text: &str, span: Span) -> Vec<Metric> {
    let mut all = Vec::new();
    let mut family = None;
    let mut help = (String::new(), String::new());
    for line in text.lines() {
        if let Some(said) = line.strip_prefix("# HELP ") {
            let (name, says) = said.split_once(' ').unwrap_or((said, ""));
            help = (name.to_owned(), unescaped(says));
        } else if let Some(said) = line.strip_prefix("# TYPE ") {
            all.extend(family.take().and_then(Family::finished));
            let (name, kind) = said.split_once(' ').unwrap_or((said, ""));
            let says = (help.0 == name).then(|| std::mem::take(&mut help.1));
            family = Family::begun(name, kind, says.unwrap_or_default());
        } else if let (Some(family), Some(sample)) = (&mut family, Sample::read(line)) {
            family.take(sample, span);
        }
    }
    all.extend(family.and_then(Family::finished));
    all
}

/// One line with a figure.
struct Sample<'a> {
    name: &'a str,
    labels: Vec<(&'a str, String)>,
    value: &'a str,
}

impl<'a> Sample<'a> {
    fn read(line: &'a str) -> Option<Sample<'a>> {
        let (name, rest) = line.split_at(line.find(['{', ' '])?);
        let (labels, value) = match rest.strip_prefix('{') {
            Some(inside) => labels(inside)?,
            None => (Vec::new(), rest),
        };
        let value = value.trim();
        (!name.is_empty() && !value.is_empty() && !name.starts_with('#')).then_some(Sample {
            name,
            labels,
            value,
        })
    }

    fn number(&self) -> Option<f64> {
        self.value.parse().ok()
    }

    fn count(&self) -> Option<u64> {
        self.value.parse().ok()
    }

    /// Takes one label out of the others.
    fn without(&mut self, name: &str) -> Option<f64> {
        let at = self.labels.iter().position(|(label, _)| *label == name)?;
        self.labels.remove(at).1.parse().ok()
    }

    fn attributes(&self) -> Vec<KeyValue> {
        let attribute = |(name, value): &(&str, String)| KeyValue {
            key: (*name).to_owned(),
            value: Some(AnyValue {
                value: Some(any_value::Value::StringValue(value.clone())),
            }),
            ..KeyValue::default()
        };
        self.labels.iter().map(attribute).collect()
    }
}

/// `name="value",…}` and what is behind it; a value may hold anything, escaped.
fn labels(mut text: &str) -> Option<(Vec<(&str, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        text = text.trim_start_matches([',', ' ']);
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, rest) = text.split_once("=\"")?;
        let end = closing_quote(rest)?;
        labels.push((name, unescaped(&rest[..end])));
        text = &rest[end + 1..];
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    })
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(one) = chars.next() {
        match one {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            other => out.push(other),
        }
    }
    out
}

/// The lines of one name, gathered.
struct Family {
    name: String,
    says: String,
    points: Points,
}

enum Points {
    Counter(Vec<NumberDataPoint>),
    Gauge(Vec<NumberDataPoint>),
    Histogram(Vec<HistogramDataPoint>),
    Summary(Vec<SummaryDataPoint>),
}

impl Family {
    fn begun(name: &str, kind: &str, says: String) -> Option<Family> {
        let points = match kind {
            "counter" => Points::Counter(Vec::new()),
            "gauge" => Points::Gauge(Vec::new()),
            "histogram" => Points::Histogram(Vec::new()),
            "summary" => Points::Summary(Vec::new()),
            _ => return None,
        };
        Some(Family {
            name: name.to_owned(),
            says,
            points,
        })
    }

    /// What stands behind the family's name says which part of a distribution it is.
    fn take(&mut self, mut sample: Sample<'_>, span: Span) -> Option<()> {
        let part = sample.name.strip_prefix(&*self.name)?;
        match &mut self.points {
            Points::Counter(points) | Points::Gauge(points) => {
                let value = match sample.value.parse::<i64>() {
                    Ok(whole) => number_data_point::Value::AsInt(whole),
                    Err(_) => number_data_point::Value::AsDouble(sample.number()?),
                };
                points.push(NumberDataPoint {
                    attributes: sample.attributes(),
                    start_time_unix_nano: span.since,
                    time_unix_nano: span.until,
                    value: Some(value),
                    ..NumberDataPoint::default()
                });
            }
            Points::Histogram(points) => {
                let bound = sample.without("le");
                let attributes = sample.attributes();
                let point = of(
                    points,
                    |point| point.attributes == attributes,
                    || HistogramDataPoint {
                        attributes: attributes.clone(),
                        start_time_unix_nano: span.since,
                        time_unix_nano: span.until,
                        ..HistogramDataPoint::default()
                    },
                );
                match part {
                    "_bucket" => {
                        point.bucket_counts.push(sample.count()?);
                        point
                            .explicit_bounds
                            .extend(bound.filter(|one| one.is_finite()));
                    }
                    "_sum" => point.sum = sample.number(),
                    _ => point.count = sample.count()?,
                }
            }
            Points::Summary(points) => {
                let quantile = sample.without("quantile");
                let attributes = sample.attributes();
                let point = of(
                    points,
                    |point| point.attributes == attributes,
                    || SummaryDataPoint {
                        attributes: attributes.clone(),
                        start_time_unix_nano: span.since,
                        time_unix_nano: span.until,
                        ..SummaryDataPoint::default()
                    },
                );
                match (part, quantile) {
                    ("", Some(quantile)) => point.quantile_values.push(ValueAtQuantile {
                        quantile,
                        value: sample.number()?,
                    }),
                    ("_sum", _) => point.sum = sample.number()?,
                    _ => point.count = sample.count()?,
                }
            }
        }
        Some(())
    }

    fn finished(self) -> Option<Metric> {
        let cumulative = AggregationTemporality::Cumulative as i32;
        let data = match self.points {
            Points::Counter(points) => Data::Sum(Sum {
                data_points: points,
                aggregation_temporality: cumulative,
                is_monotonic: true,
            }),
            Points::Gauge(mut points) => {
                // A gauge is of a moment, not of a time.
                for point in &mut points {
                    point.start_time_unix_nano = 0;
                }
                Data::Gauge(Gauge {
                    data_points: points,
                })
            }
            Points::Histogram(mut points) => {
                for point in &mut points {
                    apart(&mut point.bucket_counts);
                }
                Data::Histogram(Histogram {
                    data_points: points,
                    aggregation_temporality: cumulative,
                })
            }
            Points::Summary(points) => Data::Summary(Summary {
                data_points: points,
            }),
        };
        let unit = if self.name.ends_with("_seconds") {
            "s"
        } else {
            ""
        };
        Some(Metric {
            name: self.name,
            description: self.says,
            unit: unit.to_owned(),
            data: Some(data),
            ..Metric::default()
        })
    }
}

/// The last point, where it is the one meant, or a new one: lines of one set of labels stand together.
fn of<P>(points: &mut Vec<P>, is_it: impl Fn(&P) -> bool, new: impl Fn() -> P) -> &mut P {
    if !points.last().is_some_and(is_it) {
        points.push(new());
    }
    let last = points.len() - 1;
    &mut points[last]
}

/// Prometheus counts what is at most a bound, OTLP what is between two.
fn apart(counts: &mut [u64]) {
    for at in (1..counts.len()).rev() {
        counts[at] = counts[at].saturating_sub(counts[at - 1]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span {
        since: 1_000,
        until: 2_000,
    };

    fn attributes(of: &[KeyValue]) -> Vec<(String, String)> {
        let text = |one: &KeyValue| match one.value.clone().unwrap().value.unwrap() {
            any_value::Value::StringValue(text) => (one.key.clone(), text),
            other => panic!("{other:?}"),
        };
        of.iter().map(text).collect()
    }

    #[test]
    fn a_counter_is_a_sum_that_only_grows_and_labels_are_read_as_they_were_written() {
        let text = concat!(
            "# HELP calls_total calls \\\\ made\n",
            "# TYPE calls_total counter\n",
            "calls_total{service=\"a\\\"b\\\\c}\\nd, e\",code=\"OK\"} 7\n",
            "calls_total 18446744073709551615\n\n",
            "nonsense\n",
            "# TYPE other_total counter\n",
            "other_total{x=\"unclosed} 7\n",
            "other_total 1\n"
        );
        let all = metrics(text, SPAN);
        let [calls, other] = &all[..] else {
            panic!("{all:?}")
        };
        assert_eq!(
            (&*calls.name, &*calls.description, &*calls.unit),
            ("calls_total", "calls \\ made", "")
        );
        assert_eq!(other.description, "", "another's help is not its own");
        let Some(Data::Sum(sum)) = &calls.data else {
            panic!("{calls:?}")
        };
        assert!(sum.is_monotonic);
        assert_eq!(
            sum.aggregation_temporality,
            AggregationTemporality::Cumulative as i32
        );
        let [labelled, beyond] = &sum.data_points[..] else {
            panic!("{sum:?}")
        };
        let expected = [("service", "a\"b\\c}\nd, e"), ("code", "OK")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(attributes(&labelled.attributes), expected);
        assert_eq!(labelled.value, Some(number_data_point::Value::AsInt(7)));
        assert_eq!(
            (labelled.start_time_unix_nano, labelled.time_unix_nano),
            (1_000, 2_000)
        );
        let beyond_whole = number_data_point::Value::AsDouble(u64::MAX as f64);
        assert_eq!(
            beyond.value,
            Some(beyond_whole),
            "OTLP's whole numbers end before it"
        );
        let Some(Data::Sum(other)) = &other.data else {
            panic!("{other:?}")
        };
        assert_eq!(
            other.data_points.len(),
            1,
            "a line that cannot be read is left out"
        );
    }

    #[test]
    fn a_gauge_is_of_a_moment_and_may_be_no_number() {
        let text = "# TYPE fresh gauge\nfresh{prefix=\"/a/\"} 0.25\nfresh{prefix=\"/b/\"} NaN\nfresh inf\n";
        let all = metrics(text, SPAN);
        let Some(Data::Gauge(gauge)) = &all[0].data else {
            panic!("{all:?}")
        };
        let values: Vec<f64> = gauge
            .data_points
            .iter()
            .map(|point| match point.value {
                Some(number_data_point::Value::AsDouble(value)) => value,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(values[0], 0.25);
        assert!(values[1].is_nan() && values[2].is_infinite());
        assert_eq!(gauge.data_points[0].start_time_unix_nano, 0);
    }

    #[test]
    fn a_histogram_counts_between_its_bounds_for_each_set_of_labels() {
        let text = concat!(
            "# TYPE took_seconds histogram\n",
            "took_seconds_bucket{m=\"a\",le=\"0.1\"} 2\n",
            "took_seconds_bucket{m=\"a\",le=\"1\"} 5\n",
            "took_seconds_bucket{m=\"a\",le=\"+Inf\"} 6\n",
            "took_seconds_sum{m=\"a\"} 3.5\n",
            "took_seconds_count{m=\"a\"} 6\n",
            "took_seconds_bucket{m=\"b\",le=\"0.1\"} 0\n",
            "took_seconds_bucket{m=\"b\",le=\"1\"} 1\n",
            "took_seconds_bucket{m=\"b\",le=\"+Inf\"} 1\n",
            "took_seconds_sum{m=\"b\"} 0.5\n",
            "took_seconds_count{m=\"b\"} 1\n"
        );
        let all = metrics(text, SPAN);
        assert_eq!(all[0].unit, "s");
        let Some(Data::Histogram(histogram)) = &all[0].data else {
            panic!("{all:?}")
        };
        let [a, b] = &histogram.data_points[..] else {
            panic!("{histogram:?}")
        };
        assert_eq!(a.explicit_bounds, [0.1, 1.0]);
        assert_eq!(a.bucket_counts, [2, 3, 1]);
        assert_eq!((a.count, a.sum), (6, Some(3.5)));
        assert_eq!(b.bucket_counts, [0, 1, 0]);
        assert_eq!(
            attributes(&b.attributes),
            [("m".to_owned(), "b".to_owned())]
        );
    }

    #[test]
    fn a_summary_keeps_its_quantiles() {
        let text = concat!(
            "# TYPE size summary\n",
            "size{quantile=\"0.5\"} 10\nsize{quantile=\"0.99\"} 12.5\nsize_sum 40\nsize_count 4\n"
        );
        let all = metrics(text, SPAN);
        let Some(Data::Summary(summary)) = &all[0].data else {
            panic!("{all:?}")
        };
        let point = &summary.data_points[0];
        assert_eq!(
            (summary.data_points.len(), point.count, point.sum),
            (1, 4, 40.0)
        );
        let quantiles: Vec<(f64, f64)> = point
            .quantile_values
            .iter()
            .map(|one| (one.quantile, one.value))
            .collect();
        assert_eq!(quantiles, [(0.5, 10.0), (0.99, 12.5)]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_it(text in "(# TYPE |# HELP |a_total|_bucket|_sum|[{}\"\\\\=, \n]|le|counter|histogram|summary|[0-9é.+-]){0,60}") {
            metrics(&text, SPAN);
        }
    }
}
