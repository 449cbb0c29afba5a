//! The Calls page: services, their methods as read from the services themselves, the request being
//! written, and the answer as it comes in. Knows methods by name and text only; protobuf is the
//! effect's. A request once typed is kept for its method.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use fleet::filter::{Field, Row};
use fleet::{Key, ServiceName};
use jiff::Timestamp;

use super::editor::{Editor, Shape};
use super::list::List;

mod answer;
mod past;

pub use answer::{ANSWER_BYTES, Answer, Ended, Progress};
pub use past::{Outcome, Past, Sent};

/// Which sides send more than one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One to one.
    Unary,
    /// One to many.
    ServerStream,
    /// Many to one.
    ClientStream,
    /// Many to many.
    Bidi,
}

/// A method as a person picks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method {
    /// `user.v1.UserService`
    pub service: Arc<str>,
    /// `Get`
    pub name: Arc<str>,
    /// Which sides stream.
    pub kind: Kind,
    /// JSON to start from.
    pub template: Arc<str>,
    /// What the request means: comments and fields.
    pub about: Arc<str>,
}

impl Method {
    /// `user.v1.UserService/Get`
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.service, self.name)
    }
}

/// What is known of a service's methods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Methods {
    /// Being asked.
    Asked,
    /// As the service told.
    Known(Vec<Arc<Method>>),
    /// It could not be asked, or does not tell.
    Failed(String),
}

/// A row of the tree.
#[derive(Clone, Debug)]
pub enum TreeRow {
    /// A registered service.
    Service {
        /// Its name.
        name: ServiceName,
        /// Whether its methods show.
        unfolded: bool,
    },
    /// A gRPC service of it.
    Heading {
        /// The registered service.
        of: ServiceName,
        /// `user.v1.UserService`
        name: Arc<str>,
    },
    /// A method.
    Method {
        /// The registered service.
        of: ServiceName,
        /// The method.
        method: Arc<Method>,
    },
    /// What stands in place of methods that are not there.
    Note {
        /// The registered service.
        of: ServiceName,
        /// Why.
        text: String,
    },
}

/// What tells rows apart: service, gRPC service, method.
pub type TreeKey = (ServiceName, Arc<str>, Arc<str>);

impl TreeRow {
    /// Its identity.
    pub fn key(&self) -> TreeKey {
        let none = || Arc::from("");
        match self {
            Self::Service { name, .. } => (name.clone(), none(), none()),
            Self::Heading { of, name } => (of.clone(), name.clone(), none()),
            Self::Method { of, method } => {
                (of.clone(), method.service.clone(), method.name.clone())
            }
            Self::Note { of, .. } => (of.clone(), none(), Arc::from("note")),
        }
    }

    /// The registered service it belongs to.
    pub fn service(&self) -> &ServiceName {
        match self {
            Self::Service { name: of, .. }
            | Self::Heading { of, .. }
            | Self::Method { of, .. }
            | Self::Note { of, .. } => of,
        }
    }
}

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

    /// Methods were told anew: a request that is still the template becomes the new one.
    fn renew(&mut self, service: &ServiceName, methods: &[Arc<Method>]) {
        let Some(Methods::Known(before)) = self.methods.get(service) else {
            return;
        };
        for method in methods {
            let same =
                |other: &&Arc<Method>| other.service == method.service && other.name == method.name;
            let Some(old) = before.iter().find(same) else {
                continue;
            };
            let key = (service.clone(), method.service.clone(), method.name.clone());
            if let Some(request) = self.requests.get_mut(&key)
                && old.template != method.template
                && request.text() == *old.template
            {
                *request = template(method);
            }
            if let Some((of, chosen)) = &mut self.chosen
                && of == service
                && same(&&*chosen)
            {
                *chosen = Arc::clone(method);
            }
        }
    }

    /// Makes the rows anew where it is time.
    pub fn rebuild<'a>(
        &mut self,
        services: impl Iterator<Item = &'a ServiceName>,
        now: Duration,
    ) -> bool {
        if !self.tree.wants_build(now) {
            return false;
        }
        let filter = self.tree.filter();
        let mut rows = Vec::new();
        let mut total = 0;
        for name in services {
            total += 1;
            let unfolded = self.unfolded.contains(name);
            let known = match self.methods.get(name) {
                Some(Methods::Known(methods)) if unfolded => methods.as_slice(),
                _ => &[],
            };
            let hits: Vec<_> = known
                .iter()
                .filter(|method| {
                    filter.matches(&MethodFacts {
                        service: name,
                        method: Some(method),
                    })
                })
                .collect();
            if hits.is_empty()
                && !filter.matches(&MethodFacts {
                    service: name,
                    method: None,
                })
            {
                continue;
            }
            rows.push(TreeRow::Service {
                name: name.clone(),
                unfolded,
            });
            if !unfolded {
                continue;
            }
            match self.methods.get(name) {
                Some(Methods::Known(methods)) if methods.is_empty() => rows.push(TreeRow::Note {
                    of: name.clone(),
                    text: "it tells of no methods".into(),
                }),
                Some(Methods::Failed(why)) => {
                    rows.push(TreeRow::Note {
                        of: name.clone(),
                        text: why.clone(),
                    });
                }
                Some(Methods::Asked) => {
                    rows.push(TreeRow::Note {
                        of: name.clone(),
                        text: "asking…".into(),
                    });
                }
                _ => {}
            }
            let mut heading: Option<&Arc<str>> = None;
            for method in hits {
                if heading != Some(&method.service) {
                    heading = Some(&method.service);
                    rows.push(TreeRow::Heading {
                        of: name.clone(),
                        name: method.service.clone(),
                    });
                }
                rows.push(TreeRow::Method {
                    of: name.clone(),
                    method: Arc::clone(method),
                });
            }
        }
        self.tree.fill(now, rows, total, TreeRow::key);
        true
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

    /// The request that shows.
    pub fn request(&self) -> Option<&Editor> {
        self.requests.get(&self.chosen_key()?)
    }

    /// The request that shows, to be edited.
    pub fn request_mut(&mut self) -> Option<&mut Editor> {
        let key = self.chosen_key()?;
        self.requests.get_mut(&key)
    }

    /// The headers being edited: those of the chosen method's service.
    pub fn headers_mut(&mut self) -> Option<&mut Editor> {
        let (service, _) = self.chosen.as_ref()?;
        let empty = || Editor::new(Shape::Lines, "");
        let of = self.headers.entry(service.clone());
        Some(of.or_insert_with(empty))
    }

    /// The headers of the chosen method's service, as typed.
    pub fn headers_editor(&self) -> Option<&Editor> {
        self.headers.get(&self.chosen.as_ref()?.0)
    }

    /// The headers that go with a call, as `name: value`.
    pub fn headers(&self) -> Vec<String> {
        let lines = self.headers_editor().map(Editor::lines);
        let lines = lines.into_iter().flatten().map(|line| line.trim());
        let lines = lines.filter(|line| !line.is_empty());
        lines.map(str::to_owned).collect()
    }

    /// The requests of the chosen method, the newest first.
    pub fn sent_before(&self) -> Vec<&Sent> {
        let key = self.chosen_key();
        key.map_or_else(Vec::new, |key| self.past.of(&key))
    }

    /// Writes the request under the cursor of the past anew.
    pub fn take_past(&mut self) {
        let before = self.sent_before();
        let Some(text) = before
            .get(self.past_cursor)
            .map(|sent| sent.request.clone())
        else {
            return;
        };
        if let Some(request) = self.request_mut() {
            request.replace(&text);
        }
        self.pane = Pane::Request;
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

/// A request to begin with: the template, with the cursor in its first empty text.
pub fn template(method: &Method) -> Editor {
    let mut editor = Editor::new(Shape::Lines, &method.template);
    let gap = editor.lines().iter().enumerate().find_map(|(row, line)| {
        let at = line.find("\"\"")?;
        Some((row, line[..at].chars().count() + 1))
    });
    let (row, column) = gap.unwrap_or((0, 0));
    editor.place(row, column);
    editor
}

struct MethodFacts<'a> {
    service: &'a ServiceName,
    method: Option<&'a Method>,
}

impl Row for MethodFacts<'_> {
    fn contains(&self, word: &str) -> bool {
        self.service.as_str().to_lowercase().contains(word)
            || self
                .method
                .is_some_and(|m| m.full_name().to_lowercase().contains(word))
    }

    fn field(&self, _: &str) -> Option<Field<'_>> {
        None
    }
}

#[cfg(test)]
mod tests;
