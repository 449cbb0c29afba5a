//! Finding a symbol by what a person types: any case, any trailing part of the name.
//! An exact name always wins; several matches are an error that lists them; none suggests.

use super::{Enum, Message, Method, Schema, Service};

/// Anything that has a description of its own.
#[derive(Clone, Debug)]
pub enum Symbol {
    /// A service.
    Service(Service),
    /// A method.
    Method(Method),
    /// A message.
    Message(Message),
    /// An enum.
    Enum(Enum),
}

impl Symbol {
    /// The full name, with dots throughout.
    pub fn full_name(&self) -> String {
        match self {
            Symbol::Service(s) => s.full_name().to_owned(),
            Symbol::Method(m) => m.full_name(),
            Symbol::Message(m) => m.full_name().to_owned(),
            Symbol::Enum(e) => e.full_name().to_owned(),
        }
    }
}

/// Nothing, or too much, goes by that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// Several symbols match; `candidates` are their full names.
    #[error("'{query}' is ambiguous: {}", .candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        query: String,
        /// Full names, sorted.
        candidates: Vec<String>,
    },
    /// The service exists and lacks the method.
    #[error("{service} has no method '{method}'.{} Methods: {}", did_you_mean(.suggestion), .methods.join(", "))]
    NoMethod {
        /// The service's full name.
        service: String,
        /// What was asked for.
        method: String,
        /// The nearest of its methods, where one is near.
        suggestion: Option<String>,
        /// All its methods, sorted.
        methods: Vec<String>,
    },
    /// Nothing matches.
    #[error("no {kind} '{query}'.{} Known: {}", did_you_mean(.suggestion), shorten(.known))]
    Unknown {
        /// "method", "service" or "symbol".
        kind: &'static str,
        /// What was asked for.
        query: String,
        /// The nearest name, where one is near.
        suggestion: Option<String>,
        /// What there is, sorted.
        known: Vec<String>,
    },
}

fn did_you_mean(suggestion: &Option<String>) -> String {
    suggestion
        .as_ref()
        .map(|s| format!(" Did you mean '{s}'? "))
        .unwrap_or_default()
}

/// Long lists are cut for the message; the error's field has them all.
fn shorten(known: &[String]) -> String {
    const SHOWN: usize = 12;
    match known.len() {
        0 => "none".to_owned(),
        n if n <= SHOWN => known.join(", "),
        n => format!("{}, and {} more", known[..SHOWN].join(", "), n - SHOWN),
    }
}

impl Schema {
    /// The method a person means by `pkg.Service/Method`, `Service.Method` or `Method`: any case,
    /// any trailing part of the service's name.
    ///
    /// # Errors
    /// [`FindError`] with candidates, or with the nearest name.
    pub fn find_method(&self, query: &str) -> Result<Method, FindError> {
        let wanted = query.trim_start_matches('/').replace('/', ".");
        if let Some((service, method)) = wanted.rsplit_once('.')
            && let Some(found) = self.service(service).and_then(|s| s.method(method))
        {
            return Ok(found);
        }
        let methods: Vec<Method> = self
            .services()
            .flat_map(|s| s.methods().collect::<Vec<_>>())
            .collect();
        match pick(query, &wanted, &methods, Method::full_name)? {
            Some(method) => Ok(method),
            None => Err(self.no_method(query, &wanted, &methods)),
        }
    }

    fn no_method(&self, query: &str, wanted: &str, methods: &[Method]) -> FindError {
        if let Some((service, method)) = wanted.rsplit_once('.')
            && let Ok(service) = self.find_service(service)
        {
            let mut names: Vec<String> = service.methods().map(|m| m.name().to_owned()).collect();
            names.sort();
            return FindError::NoMethod {
                service: service.full_name().to_owned(),
                suggestion: nearest(method, &names),
                method: method.to_owned(),
                methods: names,
            };
        }
        unknown(
            "method",
            query,
            wanted,
            methods.iter().map(Method::full_name).collect(),
        )
    }

    /// The service a person means: its full name or a trailing part of it, in any case.
    ///
    /// # Errors
    /// [`FindError`] with candidates, or with the nearest name.
    pub fn find_service(&self, query: &str) -> Result<Service, FindError> {
        if let Some(service) = self.service(query) {
            return Ok(service);
        }
        let services: Vec<Service> = self.services().collect();
        pick(query, query, &services, |s| s.full_name().to_owned())?.ok_or_else(|| {
            unknown(
                "service",
                query,
                query,
                services.iter().map(|s| s.full_name().to_owned()).collect(),
            )
        })
    }

    /// The service, method, message or enum a person means.
    ///
    /// # Errors
    /// [`FindError`] with candidates, or with the nearest name.
    pub fn find_symbol(&self, query: &str) -> Result<Symbol, FindError> {
        let wanted = query.trim_start_matches(['/', '.']).replace('/', ".");
        let symbols: Vec<Symbol> = self
            .services()
            .flat_map(|s| {
                let methods: Vec<Symbol> = s.methods().map(Symbol::Method).collect();
                std::iter::once(Symbol::Service(s)).chain(methods)
            })
            .chain(self.messages().map(Symbol::Message))
            .chain(self.enumerations().map(Symbol::Enum))
            .collect();
        if let Some(exact) = symbols.iter().find(|s| s.full_name() == wanted) {
            return Ok(exact.clone());
        }
        pick(query, &wanted, &symbols, Symbol::full_name)?.ok_or_else(|| {
            unknown(
                "symbol",
                query,
                &wanted,
                symbols.iter().map(Symbol::full_name).collect(),
            )
        })
    }
}

/// The one item whose name ends in `wanted` at a dot; exact case is preferred over any case.
fn pick<T: Clone>(
    query: &str,
    wanted: &str,
    items: &[T],
    name: impl Fn(&T) -> String,
) -> Result<Option<T>, FindError> {
    let ends = |name: &str, wanted: &str| {
        name.strip_suffix(wanted)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let lower = wanted.to_lowercase();
    let mut found: Vec<(String, &T)> = Vec::new();
    for exact in [true, false] {
        for item in items {
            let full = name(item);
            let hit = if exact {
                ends(&full, wanted)
            } else {
                ends(&full.to_lowercase(), &lower)
            };
            if hit && !wanted.is_empty() {
                found.push((full, item));
            }
        }
        if !found.is_empty() {
            break;
        }
    }
    match found.as_slice() {
        [] => Ok(None),
        [(_, item)] => Ok(Some((*item).clone())),
        _ => {
            let mut candidates: Vec<String> = found.into_iter().map(|(name, _)| name).collect();
            candidates.sort();
            Err(FindError::Ambiguous {
                query: query.to_owned(),
                candidates,
            })
        }
    }
}

fn unknown(kind: &'static str, query: &str, wanted: &str, mut known: Vec<String>) -> FindError {
    known.retain(|name| !name.starts_with("google."));
    known.sort();
    let last = wanted.rsplit('.').next().unwrap_or(wanted);
    let suggestion = nearest(wanted, &known).or_else(|| {
        let tails: Vec<String> = known
            .iter()
            .filter_map(|k| k.rsplit('.').next())
            .map(str::to_owned)
            .collect();
        let tail = nearest(last, &tails)?;
        known
            .iter()
            .find(|k| k.rsplit('.').next() == Some(&tail))
            .cloned()
    });
    FindError::Unknown {
        kind,
        query: query.to_owned(),
        suggestion,
        known,
    }
}

/// The name at the smallest edit distance, if that is at most a third of its length.
pub(crate) fn nearest(wanted: &str, names: &[String]) -> Option<String> {
    let wanted: Vec<char> = wanted.to_lowercase().chars().take(256).collect();
    names
        .iter()
        .map(|name| (distance(&wanted, name), name))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, name)| *distance <= (name.chars().count().max(wanted.len()) / 3).max(2))
        .filter(|(distance, _)| *distance < wanted.len())
        .map(|(_, name)| name.clone())
}

/// Edits between two words, where swapping two neighbours counts once.
fn distance(a: &[char], b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().take(256).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}
