//! A channel's endpoints at one moment: which of them a call gets, or why none.

use std::sync::Arc;

use super::breaker::{Admission, Role};
use super::node::{Node, Phase};
use super::pick::{Candidate as _, Picked};
use super::zone::{Side, pick_near};
use crate::discover::Knowledge;

/// What discovery says, as connections.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// Those of the client's own zone; none when it names none.
    pub(super) near: Vec<Arc<Node>>,
    pub(super) far: Vec<Arc<Node>>,
    /// How many instances are registered, whether or not they can be called.
    pub(super) registered: usize,
    pub(super) knowledge: Knowledge,
}

/// Why a call got no endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Nothing {
    /// Something is about to be known or connected: wait for a change.
    Yet,
    /// Nothing can take a call; the text says what is known.
    Ready(String),
}

impl Members {
    pub(super) fn choose(&self, now: u64) -> Option<(Arc<Node>, Role, Side)> {
        let (side, picked) = pick_near(&self.near, &self.far, now, rand::random())?;
        let nodes = match side {
            Side::Near => &self.near,
            Side::Far => &self.far,
        };
        Some(match picked {
            Picked::Ordinary(index) => (nodes[index].clone(), Role::Ordinary, side),
            Picked::Probe(index) => (nodes[index].clone(), Role::Probe, side),
        })
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.near.iter().chain(&self.far)
    }

    pub(super) fn any_free(&self, now: u64) -> bool {
        self.all()
            .any(|node| node.admission(now) != Admission::Open)
    }

    pub(super) fn nothing(&self, service: &str, now: u64) -> Nothing {
        let connecting = self.all().any(|node| node.is_connecting());
        let is_empty = self.all().next().is_none();
        if connecting || (is_empty && self.knowledge.is_waiting()) {
            return Nothing::Yet;
        }
        Nothing::Ready(self.reason(service, now))
    }

    /// What is known, for people: `no instance of user: 2 registered, 2 ejected (last error: …)`.
    pub(super) fn reason(&self, service: &str, now: u64) -> String {
        let mut ejected = 0;
        let mut unreachable = 0;
        let mut last = None;
        for node in self.all() {
            let state = node.state();
            match state.phase {
                Phase::Ready if node.breaker.admission(now) == Admission::Closed => {}
                Phase::Ready => ejected += 1,
                Phase::Connecting | Phase::Failed => unreachable += 1,
            }
            if let Some(error) = state.error {
                last = Some(format!("{}: {error}", node.target.endpoint.address));
            }
        }
        let mut text = format!("no instance of {service}: {} registered", self.registered);
        for (count, what) in [(ejected, "ejected"), (unreachable, "unreachable")] {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        if let Some(error) = last {
            text.push_str(&format!(" (last error: {error})"));
        }
        if let Some(doubt) = self.knowledge.doubt() {
            text.push_str(&format!("; {doubt}"));
        }
        text
    }
}
