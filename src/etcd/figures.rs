//! What an operator can alarm on: one function for each thing that happens, all names in one place.
//!
//! Everything is told to the process's recorder of the moment, which may be installed late; gauges
//! are therefore set again with every sign of life. The table of the names is in `lib.rs`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{SharedString, counter, gauge};

use crate::mirror::Scope;

fn unix(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs_f64()
}

/// The figures of one mirror; as many labels as the process has mirrors.
#[derive(Debug)]
pub(crate) struct Watch {
    prefix: SharedString,
}

impl Watch {
    pub(crate) fn of(scope: &Scope) -> Self {
        Self {
            prefix: scope.to_string().into(),
        }
    }

    fn prefix(&self) -> SharedString {
        self.prefix.clone()
    }

    pub(crate) fn fresh(&self) {
        gauge!("etcd_watch_fresh", "prefix" => self.prefix()).set(1.0);
        gauge!("etcd_watch_proof_timestamp_seconds", "prefix" => self.prefix())
            .set(unix(SystemTime::now()));
    }

    pub(crate) fn stale(&self) {
        gauge!("etcd_watch_fresh", "prefix" => self.prefix()).set(0.0);
    }

    pub(crate) fn interrupted(&self) {
        counter!("etcd_watch_interruptions_total", "prefix" => self.prefix()).increment(1);
    }

    pub(crate) fn resumed(&self) {
        counter!("etcd_watch_resumes_total", "prefix" => self.prefix()).increment(1);
    }

    pub(crate) fn compacted(&self) {
        counter!("etcd_watch_compactions_total", "prefix" => self.prefix()).increment(1);
    }

    pub(crate) fn listed_again(&self) {
        counter!("etcd_watch_relists_total", "prefix" => self.prefix()).increment(1);
    }

    pub(crate) fn replaced(&self) {
        counter!("etcd_watch_wipes_total", "prefix" => self.prefix()).increment(1);
    }

    /// Events that wait for the reader, and the last revision among them.
    #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
    pub(crate) fn given(&self, revision: fleet::Revision, unread: usize) {
        gauge!("etcd_watch_unread", "prefix" => self.prefix()).set(unread as f64);
        gauge!("etcd_watch_revision", "prefix" => self.prefix()).set(revision.0 as f64);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Nobody waits for proofs of what is no longer mirrored.
        gauge!("etcd_watch_fresh", "prefix" => self.prefix()).set(1.0);
        gauge!("etcd_watch_unread", "prefix" => self.prefix()).set(0.0);
    }
}

pub(crate) fn lease_granted() {
    counter!("etcd_lease_grants_total").increment(1);
}

pub(crate) fn lease_held(left: Duration) {
    gauge!("etcd_lease_held").set(1.0);
    gauge!("etcd_lease_deadline_timestamp_seconds").set(unix(SystemTime::now() + left));
}

pub(crate) fn lease_lost() {
    counter!("etcd_lease_losses_total").increment(1);
    gauge!("etcd_lease_held").set(0.0);
}

pub(crate) fn lease_refused() {
    counter!("etcd_lease_grant_failures_total").increment(1);
    gauge!("etcd_lease_held").set(0.0);
}

pub(crate) fn member_up(endpoint: &std::sync::Arc<str>) {
    gauge!("etcd_member_up", "endpoint" => SharedString::from(endpoint.clone())).set(1.0);
}

pub(crate) fn member_down(endpoint: &std::sync::Arc<str>) {
    gauge!("etcd_member_up", "endpoint" => SharedString::from(endpoint.clone())).set(0.0);
}

pub(crate) fn failed_over() {
    counter!("etcd_failovers_total").increment(1);
}

pub(crate) fn authenticated() {
    counter!("etcd_tokens_total").increment(1);
}

pub(crate) fn loop_failed(name: &'static str) {
    counter!("etcd_loop_faults_total", "loop" => name).increment(1);
}

pub(crate) fn no_space() {
    counter!("etcd_no_space_total").increment(1);
}
