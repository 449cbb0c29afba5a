//! What a channel counts, made once per channel. Gauges move up and down with what they count, so
//! that several channels to one service add up; whoever raised one lowers it.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// See the module.
#[derive(Debug)]
pub(super) struct Meters {
    pub(super) calls: Counter,
    pub(super) failures: Counter,
    pub(super) busy: Counter,
    pub(super) retries: Counter,
    /// Attempts that the retry budget did not allow.
    pub(super) denied: Counter,
    pub(super) hedges: Counter,
    pub(super) hedges_won: Counter,
    /// Calls refused as nothing was ready.
    pub(super) refused: Counter,
    pub(super) ejections: Counter,
    pub(super) probes: Counter,
    pub(super) near: Counter,
    pub(super) far: Counter,
    /// Seconds from an attempt's begin to the head of its answer.
    pub(super) answers: Histogram,
    pub(super) budget: Gauge,
    pub(super) endpoints: Gauge,
    pub(super) near_endpoints: Gauge,
    pub(super) ready: Gauge,
    pub(super) ejected: Gauge,
    pub(super) unhealthy: Gauge,
}

impl Meters {
    pub(super) fn of(service: &str) -> Meters {
        let labels = [("service", service.to_owned())];
        let picks = |zone: &'static str| counter!("platform_channel_picks_total", "service" => service.to_owned(), "zone" => zone);
        Meters {
            calls: counter!("platform_channel_calls_total", &labels),
            failures: counter!("platform_channel_failures_total", &labels),
            busy: counter!("platform_channel_busy_total", &labels),
            retries: counter!("platform_channel_retries_total", &labels),
            denied: counter!("platform_channel_retries_denied_total", &labels),
            hedges: counter!("platform_channel_hedges_total", &labels),
            hedges_won: counter!("platform_channel_hedges_won_total", &labels),
            refused: counter!("platform_channel_unavailable_total", &labels),
            ejections: counter!("platform_channel_ejections_total", &labels),
            probes: counter!("platform_channel_probes_total", &labels),
            near: picks("own"),
            far: picks("other"),
            answers: histogram!("platform_channel_answer_seconds", &labels),
            budget: gauge!("platform_channel_retry_budget", &labels),
            endpoints: gauge!("platform_channel_endpoints", &labels),
            near_endpoints: gauge!("platform_channel_endpoints_near", &labels),
            ready: gauge!("platform_channel_endpoints_ready", &labels),
            ejected: gauge!("platform_channel_endpoints_ejected", &labels),
            unhealthy: gauge!("platform_channel_endpoints_unhealthy", &labels),
        }
    }
}

/// Whether something is counted in a gauge now. Its owner says what is so; the gauge follows, and
/// is left in order when the owner goes.
#[derive(Debug)]
pub(super) struct Shown {
    gauge: Gauge,
    shown: bool,
}

impl Shown {
    pub(super) fn of(gauge: &Gauge) -> Shown {
        Shown {
            gauge: gauge.clone(),
            shown: false,
        }
    }

    pub(super) fn show(&mut self, is_so: bool) {
        if self.shown != is_so {
            self.shown = is_so;
            if is_so {
                self.gauge.increment(1.0);
            } else {
                self.gauge.decrement(1.0);
            }
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.show(false);
    }
}
