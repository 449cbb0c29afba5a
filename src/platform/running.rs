//! Says of each background loop of the library whether it runs. A loop that ended by a fault would
//! else be silent: what it kept just never changes again.

use metrics::{Gauge, gauge};

/// Counts a loop as running until it is dropped.
pub(crate) struct Running {
    name: String,
    gauge: Gauge,
}

impl Running {
    /// A loop begins.
    pub(crate) fn new(name: impl Into<String>) -> Running {
        let name = name.into();
        let gauge = gauge!("platform_loop_running", "loop" => name.clone());
        gauge.increment(1.0);
        Running { name, gauge }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.gauge.decrement(1.0);
        if std::thread::panicking() {
            tracing::error!(name = %self.name, "a background loop ended by a panic; this is a bug, and only a restart of the process mends it");
        }
    }
}
