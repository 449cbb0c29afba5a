//! `/metrics`: one Prometheus recorder for the process, installed with the first server. Everything in this
//! library counts with the `metrics` macros and knows nothing of it.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::task::AbortOnDropHandle;

/// Upper bounds of the latency buckets, seconds: from a cached answer to a lost one.
const LATENCY: &[f64] = &[
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// How often samples of histograms are summed up. Until then each takes memory of its own.
const UPKEEP: Duration = Duration::from_secs(5);

static RECORDER: OnceLock<Option<Recorded>> = OnceLock::new();

/// What the process has counted.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    handle: PrometheusHandle,
    /// When counting began.
    pub(crate) since: SystemTime,
}

impl Recorded {
    /// All of it now, in Prometheus' format.
    pub(crate) fn text(&self) -> String {
        self.handle.run_upkeep();
        self.handle.render()
    }
}

/// The process's recorder; `None` when the process has installed another one, whose business it is then.
pub(crate) fn recorder() -> Option<&'static Recorded> {
    RECORDER.get_or_init(install).as_ref()
}

/// Sums up the samples of histograms while it, or a clone, is kept, so that memory does not grow where nobody
/// asks for `/metrics`. Several in one process do no harm.
#[derive(Clone, Debug)]
pub(crate) struct Upkeep {
    _task: Arc<AbortOnDropHandle<()>>,
}

impl Upkeep {
    /// `None` outside of a runtime, and where the recorder is not ours.
    pub(crate) fn start() -> Option<Self> {
        let recorder = recorder()?;
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        let task = runtime.spawn(async {
            let rounds = metrics::counter!("server_metrics_upkeeps_total");
            loop {
                tokio::time::sleep(UPKEEP).await;
                recorder.handle.run_upkeep();
                rounds.increment(1);
            }
        });
        Some(Self {
            _task: Arc::new(AbortOnDropHandle::new(task)),
        })
    }
}

fn install() -> Option<Recorded> {
    let built = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), LATENCY)
        .map(PrometheusBuilder::build_recorder);
    let recorder = match built {
        Ok(recorder) => recorder,
        Err(cause) => {
            tracing::error!(%cause, "no metrics: the recorder could not be built");
            return None;
        }
    };
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::info!(
            "metrics go to the recorder that the process installed; /metrics is not served here"
        );
        return None;
    }
    describe(TABLE);
    Some(Recorded {
        handle,
        since: SystemTime::now(),
    })
}

/// Every metric with its kind and what it says, as people read it.
const TABLE: &str = include_str!("../../../docs/metrics.md");

/// The table's rows as help texts.
fn describe(table: &'static str) {
    for row in table.lines() {
        let mut cells = row.split('|').skip(1).map(str::trim);
        let (Some(name), Some(kind), Some(says)) = (cells.next(), cells.next(), cells.next())
        else {
            continue;
        };
        let name = name.trim_matches('`').split('{').next().unwrap_or_default();
        match kind {
            "counter" => metrics::describe_counter!(name, says),
            "gauge" => metrics::describe_gauge!(name, says),
            "histogram" => metrics::describe_histogram!(name, metrics::Unit::Seconds, says),
            _ => {}
        }
    }
}
