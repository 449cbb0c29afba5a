//! The tree of methods: services, what each of them told, and what a filter leaves of it.

use std::sync::Arc;
use std::time::Duration;

use fleet::ServiceName;
use fleet::filter::{Field, Row};

use super::{CallsPage, Method, Methods};

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

impl CallsPage {
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
