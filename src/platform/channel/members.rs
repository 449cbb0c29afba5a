//! A channel's endpoints at one moment: which of them a call gets, or why none.

use std::sync::Arc;

use super::breaker::{Admission, Role};
use super::health::Word;
use super::node::{Doubtful, Node, Phase};
use super::pick::{Candidate as _, Picked, pick, two_of};
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
        let Some((side, picked)) = pick_near(&self.near, &self.far, now, rand::random()) else {
            let near = self.doubtful(&self.near, now).map(|one| (one, Side::Near));
            let far = || self.doubtful(&self.far, now).map(|one| (one, Side::Far));
            let ((node, role), side) = near.or_else(far)?;
            return Some((node, role, side));
        };
        let nodes = match side {
            Side::Near => &self.near,
            Side::Far => &self.far,
        };
        let (index, role) = told_apart(picked);
        Some((nodes[index].clone(), role, side))
    }

    /// The cheaper of two others than this one, near ones first. However dear they are: it is late.
    pub(super) fn choose_beside(&self, one: &Arc<Node>, now: u64) -> Option<(Arc<Node>, Side)> {
        let sides = [(&self.near, Side::Near), (&self.far, Side::Far)];
        sides.into_iter().find_map(|(nodes, side)| {
            let others: Vec<_> = nodes
                .iter()
                .filter(|node| !Arc::ptr_eq(node, one) && node.admission(now) == Admission::Closed)
                .collect();
            let cost = |at: usize| others[at].cost(now);
            let at = match others.len() {
                0 => return None,
                1 => 0,
                count => match two_of(count, rand::random()) {
                    (first, second) if cost(second) < cost(first) => second,
                    (first, _) => first,
                },
            };
            Some((others[at].clone(), side))
        })
    }

    /// One that does not say whether it serves, where none that says so takes the call.
    fn doubtful(&self, nodes: &[Arc<Node>], now: u64) -> Option<(Arc<Node>, Role)> {
        let doubtful: Vec<_> = nodes
            .iter()
            .filter(|node| node.word() == Word::Silent)
            .map(Doubtful)
            .collect();
        let (index, role) = told_apart(pick(&doubtful, now, rand::random())?);
        Some((doubtful[index].0.clone(), role))
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.near.iter().chain(&self.far)
    }

    pub(super) fn any_free(&self, now: u64) -> bool {
        self.all().any(|node| {
            [node.admission(now), Doubtful(node).admission(now)] != [Admission::Open; 2]
        })
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
        let (mut ejected, mut not_serving) = (0, 0);
        let mut unreachable = 0;
        let mut last = None;
        for node in self.all() {
            let state = node.state();
            match state.phase {
                Phase::Ready if node.word() == Word::NotServing => not_serving += 1,
                Phase::Ready if node.breaker.admission(now) == Admission::Closed => {}
                Phase::Ready => ejected += 1,
                Phase::Connecting | Phase::Failed => unreachable += 1,
            }
            if let Some(error) = state.error {
                last = Some(format!("{}: {error}", node.target.endpoint.address));
            }
        }
        let mut text = format!("no instance of {service}: {} registered", self.registered);
        for (count, what) in [
            (not_serving, "not serving"),
            (ejected, "ejected"),
            (unreachable, "unreachable"),
        ] {
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

/// Which one it is, and what the call is to it.
fn told_apart(picked: Picked) -> (usize, Role) {
    match picked {
        Picked::Ordinary(index) => (index, Role::Ordinary),
        Picked::Probe(index) => (index, Role::Probe),
    }
}
