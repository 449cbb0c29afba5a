//! The Calls page: services, their methods as read from the services themselves, the request being
//! written, and the answer as it comes in. Knows methods by name and text only; protobuf is the
//! effect's. A request once typed is kept for its method.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use fleet::{Key, ServiceName};
use jiff::Timestamp;

use super::editor::Editor;
use super::list::List;

mod answer;
mod method;
mod past;
mod request;
mod tree;

pub use answer::{ANSWER_BYTES, Answer, Ended, Progress};
pub use method::{Kind, Method, Methods};
pub use past::{Outcome, Past, Sent};
pub use request::template;
pub use tree::{TreeKey, TreeRow};

/// What has the focus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pane {
    /// The tree of methods.
    #[default]
    Methods,
    /// The request.
    Request,
    /// The answer.
    Response,
    /// The headers that go with each call of a service.
    Headers,
    /// The requests sent before.
    Past,
}

/// Whose command line is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// This one's.
    Msctl,
    /// grpcurl's.
    Grpcurl,
}

/// The page.
#[derive(Debug, Default)]
pub struct CallsPage {
    /// What has the focus.
    pub pane: Pane,
    /// The tree.
    pub tree: List<TreeKey, TreeRow>,
    /// What services told of their methods.
    pub methods: BTreeMap<ServiceName, Methods>,
    unfolded: BTreeSet<ServiceName>,
    asking: BTreeSet<ServiceName>,
    /// What was deployed of a service when its methods were asked for.
    asked_of: BTreeMap<ServiceName, u64>,
    /// The method whose request shows.
    pub chosen: Option<(ServiceName, Arc<Method>)>,
    requests: HashMap<TreeKey, Editor>,
    headers: HashMap<ServiceName, Editor>,
    /// The requests sent before.
    pub past: Past,
    /// Which of them is under the cursor, the newest is 0.
    pub past_cursor: usize,
    /// The command line that was copied last, and of which tool it is.
    pub copied: Option<(TreeKey, Tool)>,
    /// The instance that gets the call; `None`: any healthy one.
    pub instance: Option<Key>,
    /// The last call.
    pub answer: Option<Answer>,
    calls: u64,
}

impl CallsPage {
    /// Shows a service's methods. Returns whether they have to be asked for: what was told before
    /// shows meanwhile, but the service may be another one by now.
    pub fn unfold(&mut self, service: &ServiceName) -> bool {
        self.unfolded.insert(service.clone());
        self.tree.outdate_now();
        self.ask(service)
    }

    /// The unfolded services of which something else is deployed than when they were asked; they
    /// count as asked from now on. `deployed` is a number for what runs of a service.
    pub fn outdated(&mut self, deployed: impl Fn(&ServiceName) -> Option<u64>) -> Vec<ServiceName> {
        let unfolded: Vec<_> = self.unfolded.iter().cloned().collect();
        let mut outdated = Vec::new();
        for service in unfolded {
            let Some(now) = deployed(&service) else {
                continue;
            };
            if self.asking.contains(&service) {
                continue;
            }
            let before = self.asked_of.insert(service.clone(), now);
            if before.is_some_and(|before| before != now) && self.ask(&service) {
                outdated.push(service);
            }
        }
        outdated
    }

    fn ask(&mut self, service: &ServiceName) -> bool {
        if !self.asking.insert(service.clone()) {
            return false;
        }
        self.asked_of.remove(service);
        if !matches!(self.methods.get(service), Some(Methods::Known(_))) {
            self.methods.insert(service.clone(), Methods::Asked);
        }
        true
    }

    /// Hides them, or shows them. Returns whether they have to be asked for.
    pub fn toggle(&mut self, service: &ServiceName) -> bool {
        if self.unfolded.remove(service) {
            self.tree.outdate_now();
            return false;
        }
        self.unfold(service)
    }

    /// Takes in what a service told.
    pub fn told(&mut self, service: ServiceName, methods: Methods) {
        self.asking.remove(&service);
        let before = self.methods.get(&service);
        // While a service is deployed anew nobody may answer for a moment; what it told last stays.
        if matches!(before, Some(Methods::Known(_))) && matches!(methods, Methods::Failed(_)) {
            return;
        }
        if let Methods::Known(methods) = &methods {
            self.renew(&service, methods);
        }
        self.methods.insert(service, methods);
        self.tree.outdate_now();
    }

    /// Shows the request of the method under the cursor, if it is one.
    pub fn choose(&mut self) -> bool {
        let Some(TreeRow::Method { of, method }) = self.tree.current() else {
            return false;
        };
        if self
            .chosen
            .as_ref()
            .is_none_or(|(service, _)| service != of)
        {
            self.instance = None;
        }
        let key = (of.clone(), method.service.clone(), method.name.clone());
        self.requests.entry(key).or_insert_with(|| template(method));
        self.chosen = Some((of.clone(), Arc::clone(method)));
        true
    }

    /// What tells the chosen method from others.
    pub fn chosen_key(&self) -> Option<TreeKey> {
        let (service, method) = self.chosen.as_ref()?;
        Some((service.clone(), method.service.clone(), method.name.clone()))
    }

    /// Begins a call. Returns its number.
    pub fn begin(&mut self, now: Duration, wall: Timestamp) -> Option<u64> {
        let (_, method) = self.chosen.as_ref()?;
        let (method, key) = (Arc::clone(method), self.chosen_key()?);
        self.calls += 1;
        let request = self.request().map(Editor::text).unwrap_or_default();
        self.past.note(Sent {
            id: self.calls,
            method: key,
            at: wall,
            request,
            outcome: None,
        });
        self.answer = Some(Answer::new(self.calls, method.full_name(), now));
        Some(self.calls)
    }

    /// Takes in news of a call; of an older one they are dropped. Returns whether they counted.
    pub fn news(&mut self, id: u64, progress: Progress) -> bool {
        match &mut self.answer {
            Some(answer) if answer.id == id => {
                self.past.ended(id, &progress);
                answer.take(progress);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
