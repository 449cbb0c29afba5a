//! A call's stay at its endpoint, from the choice to the last frame of the answer: it counts as
//! load while it lasts, and its end says how the endpoint did.

use std::sync::Arc;

use super::balance::Balance;
use super::breaker::{Role, Turn, Verdict};
use super::node::Node;

/// See the module. Dropping it ends the stay with little learnt: the answer would have taken longer.
#[derive(Debug)]
pub(super) struct Stay {
    pub(super) node: Arc<Node>,
    balance: Arc<Balance>,
    role: Role,
    begun: u64,
    answered: bool,
    over: bool,
}

impl Stay {
    pub(super) fn begin(balance: Arc<Balance>, node: Arc<Node>, role: Role, now: u64) -> Stay {
        node.load.begin();
        if role == Role::Probe {
            balance.meters.probes.increment(1);
        }
        Stay {
            node,
            balance,
            role,
            begun: now,
            answered: false,
            over: false,
        }
    }

    /// Nanoseconds since the call was given to the endpoint.
    pub(super) fn elapsed(&self) -> u64 {
        self.balance.now().saturating_sub(self.begun)
    }

    /// The head of an answer is here: its time counts, and it proves the endpoint of a probe.
    pub(super) fn answered(&mut self) {
        let now = self.balance.now();
        let took = now.saturating_sub(self.begun);
        self.answered = true;
        self.node.load.measure(now, took);
        self.balance.meters.answers.record(took as f64 / 1e9);
        if self.role == Role::Probe {
            self.report(now, Verdict::Success);
            self.role = Role::Ordinary;
        }
    }

    /// The call is over. Failures count as slow answers and towards ejection.
    pub(super) fn end(mut self, verdict: Verdict, error: &str) {
        let now = self.balance.now();
        let took = now.saturating_sub(self.begun);
        match verdict {
            Verdict::Failure => {
                self.balance.meters.failures.increment(1);
                self.node.load.penalise(now, took);
                self.node.note(error);
                self.report(now, verdict);
            }
            // Reported first: a probe that closes the breaker begins a new history.
            Verdict::Busy => {
                self.balance.meters.busy.increment(1);
                self.report(now, verdict);
                self.node.load.penalise(now, took);
            }
            Verdict::Success | Verdict::Neutral => self.report(now, verdict),
        }
        self.over = true;
        self.node.load.end();
    }

    fn report(&self, now: u64, verdict: Verdict) {
        let turn = self
            .node
            .breaker
            .report(now, self.role, verdict, rand::random());
        let (service, endpoint) = (&self.balance.service, &self.node.target.endpoint);
        match turn {
            Turn::None => {}
            Turn::Ejected { until } => {
                let millis = until.saturating_sub(now) / 1_000_000;
                let error = self.node.state().error.unwrap_or_default();
                tracing::warn!(%service, %endpoint, millis, %error, "endpoint ejected");
                self.balance.meters.ejections.increment(1);
                self.node.show();
            }
            Turn::Readmitted => {
                self.node.load.forget(now);
                tracing::info!(%service, %endpoint, "endpoint back in use");
                self.node.show();
            }
        }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        if !self.over {
            let now = self.balance.now();
            if !self.answered {
                // A caller that gives up by itself must not make a slow endpoint look as good as new.
                let waited = now.saturating_sub(self.begun);
                self.node.load.measure_at_least(now, waited);
            }
            self.report(now, Verdict::Neutral);
            self.node.load.end();
        }
    }
}
