//! All rules of a set of methods as one tree of path segments.
//! Invariant: at each segment a literal is tried before `*`, and that before `**`; a verb before
//! none. The last declared of two equal rules has the path, and the first is reported.

use std::collections::HashMap;
use std::sync::Arc;

use super::bind::{Binding, Match};
use super::template::{Segment, Template, decode};
use super::{Body, HttpRule};
use crate::error::Error;
use crate::schema::{Method, Schema};

/// So many colons of a path are looked at, from its end: each costs a search.
const MOST_COLONS: usize = 8;

/// What becomes of methods that have no rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unbound {
    /// They are not reachable.
    #[default]
    Ignore,
    /// `POST /pkg.Service/Method` with the request as the body.
    Post,
}

/// What a request line leads to.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// A method, with what the path says about the request.
    Found(Box<Match>),
    /// No rule has this path.
    NotFound,
    /// Rules have this path, under these verbs only.
    MethodNotAllowed {
        /// Verbs, sorted; `HEAD` where `GET` is.
        allow: Vec<String>,
    },
    /// The path cannot be decoded; the text says why.
    Malformed(String),
}

/// A segment tree of rules. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Router {
    root: Arc<Node>,
    bindings: Arc<Vec<Arc<Binding>>>,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<String, Node>,
    one: Option<Box<Node>>,
    /// Behind `**`: the fixed segments that must end the path, longest first.
    many: Vec<(Vec<Segment>, Leaf)>,
    leaf: Leaf,
}

/// Bindings by template verb and HTTP verb.
#[derive(Debug, Default)]
struct Leaf(Vec<(Option<String>, String, usize)>);

impl Router {
    /// Compiles the rules of every method of a schema. A rule that cannot work (a field that does
    /// not exist, a malformed template) is left out and returned, so that one does not take the
    /// others down.
    pub fn new(schema: &Schema, unbound: Unbound) -> (Router, Vec<Error>) {
        let methods: Vec<Method> = schema
            .services()
            .flat_map(|s| s.methods().collect::<Vec<_>>())
            .collect();
        Router::of_methods(methods, unbound)
    }

    /// As [`Router::new`], for chosen methods, which may come from several schemas.
    pub fn of_methods(
        methods: impl IntoIterator<Item = Method>,
        unbound: Unbound,
    ) -> (Router, Vec<Error>) {
        let mut root = Node::default();
        let mut bindings = Vec::new();
        let mut faults = Vec::new();
        for method in methods {
            let mut rules = method.http_rules();
            if rules.is_empty() && unbound == Unbound::Post {
                rules.push(HttpRule {
                    verb: "POST".to_owned(),
                    template: method.path().to_owned(),
                    body: Body::Whole,
                    response_body: None,
                });
            }
            for rule in rules {
                match Binding::compile(&method, rule) {
                    Ok(binding) => faults.extend(insert(&mut root, &mut bindings, binding)),
                    Err(cause) => faults.push(Error::Rule {
                        method: method.full_name(),
                        cause,
                    }),
                }
            }
        }
        (
            Router {
                root: Arc::new(root),
                bindings: Arc::new(bindings),
            },
            faults,
        )
    }

    /// Every binding, in declaration order: what an OpenAPI document lists.
    pub fn rules(&self) -> impl Iterator<Item = (&Method, &HttpRule, &Template)> {
        self.bindings
            .iter()
            .map(|b| (&b.method, &b.rule, &b.template))
    }

    /// Finds the method for an HTTP verb and a raw path (not decoded, without the query).
    pub fn lookup(&self, verb: &str, path: &str) -> Lookup {
        let Some(path) = path.strip_prefix('/') else {
            return Lookup::NotFound;
        };
        // The template "/" has no segments, and neither has its path.
        let raw: Vec<&str> = path.split('/').filter(|_| !path.is_empty()).collect();
        let mut segments = Vec::with_capacity(raw.len());
        for segment in &raw {
            match decode(segment) {
                Some(text) => segments.push(text),
                None => {
                    return Lookup::Malformed(format!(
                        "the path segment {segment:?} is not percent-encoded UTF-8"
                    ));
                }
            }
        }
        let mut search = Search {
            verb,
            allow: Vec::new(),
        };
        // A colon of the last raw segment may set off a verb, an encoded one never does. Of several the first is tried
        // first: the longest verb is the most specific.
        let last = raw.last().copied().unwrap_or_default();
        let mut colons: Vec<usize> = last.match_indices(':').map(|(at, _)| at).collect();
        colons.drain(..colons.len().saturating_sub(MOST_COLONS));
        let with_verb = colons.into_iter().find_map(|at| {
            let mut segments = segments.clone();
            *segments.last_mut()? = decode(&last[..at])?;
            let verb = decode(&last[at + 1..])?;
            let binding = search.walk(&self.root, &segments, Some(&verb))?;
            Some((binding, at))
        });
        let found = with_verb.or_else(|| {
            let binding = search.walk(&self.root, &segments, None)?;
            Some((binding, last.len()))
        });
        if let Some((binding, end)) = found {
            let mut raw: Vec<String> = raw.into_iter().map(str::to_owned).collect();
            if let Some(last) = raw.last_mut() {
                last.truncate(end);
            }
            return match Match::new(&self.bindings[binding], &raw) {
                Some(found) => Lookup::Found(Box::new(found)),
                None => Lookup::NotFound,
            };
        }
        if search.allow.is_empty() {
            return Lookup::NotFound;
        }
        if search.allow.iter().any(|verb| verb == "GET") {
            search.allow.push("HEAD".to_owned());
        }
        search.allow.sort();
        search.allow.dedup();
        Lookup::MethodNotAllowed {
            allow: search.allow,
        }
    }
}

struct Search<'a> {
    verb: &'a str,
    allow: Vec<String>,
}

impl Search<'_> {
    fn walk(&mut self, node: &Node, segments: &[String], suffix: Option<&str>) -> Option<usize> {
        let Some((first, rest)) = segments.split_first() else {
            let tail: &[String] = &[];
            return self
                .leaf(&node.leaf, suffix)
                .or_else(|| self.many(node, tail, suffix));
        };
        if let Some(child) = node.literals.get(first)
            && let Some(found) = self.walk(child, rest, suffix)
        {
            return Some(found);
        }
        if !first.is_empty()
            && let Some(child) = &node.one
            && let Some(found) = self.walk(child, rest, suffix)
        {
            return Some(found);
        }
        self.many(node, segments, suffix)
    }

    fn many(&mut self, node: &Node, segments: &[String], suffix: Option<&str>) -> Option<usize> {
        for (tail, leaf) in &node.many {
            let fits = segments.len().checked_sub(tail.len()).is_some_and(|start| {
                tail.iter()
                    .zip(&segments[start..])
                    .all(|(wanted, segment)| match wanted {
                        Segment::Literal(text) => text == segment,
                        Segment::One | Segment::Many => !segment.is_empty(),
                    })
            });
            if fits && let Some(found) = self.leaf(leaf, suffix) {
                return Some(found);
            }
        }
        None
    }

    fn leaf(&mut self, leaf: &Leaf, suffix: Option<&str>) -> Option<usize> {
        let here = || {
            leaf.0
                .iter()
                .filter(|(verb, _, _)| verb.as_deref() == suffix)
        };
        let of = |wanted: &str| here().find(|(_, verb, _)| verb == wanted);
        let get = (self.verb == "HEAD").then_some("GET");
        let found = of(self.verb)
            .or_else(|| of(get?))
            // A rule for every verb leaves those of their own to theirs.
            .or_else(|| of("*"));
        if found.is_none() {
            self.allow.extend(here().map(|(_, verb, _)| verb.clone()));
        }
        found.map(|&(_, _, at)| at)
    }
}

/// Adds a rule. The answer is the fault of an equal one that was there and has to go.
fn insert(root: &mut Node, bindings: &mut Vec<Arc<Binding>>, binding: Binding) -> Option<Error> {
    let template = &binding.template;
    let mut node = root;
    let mut leaf = None;
    for (at, segment) in template.segments.iter().enumerate() {
        match segment {
            Segment::Literal(text) => node = node.literals.entry(text.clone()).or_default(),
            Segment::One => node = node.one.get_or_insert_default(),
            Segment::Many => {
                let tail = template.segments[at + 1..].to_vec();
                let known = node.many.iter().position(|(other, _)| *other == tail);
                let at = known.unwrap_or_else(|| {
                    let at = node
                        .many
                        .partition_point(|(other, _)| rank(other) >= rank(&tail));
                    node.many.insert(at, (tail, Leaf::default()));
                    at
                });
                leaf = Some(&mut node.many[at].1);
                break;
            }
        }
    }
    let leaf = leaf.unwrap_or(&mut node.leaf);
    let verb = &binding.rule.verb;
    if let Some((_, _, other)) = leaf
        .0
        .iter()
        .find(|(suffix, v, _)| *suffix == template.verb && v == verb)
    {
        let lost = Error::Rule {
            method: bindings[*other].method.full_name(),
            cause: format!(
                "{verb} {} leads to {}, whose equal rule comes later",
                bindings[*other].rule.template,
                binding.method.full_name()
            ),
        };
        bindings[*other] = Arc::new(binding);
        return Some(lost);
    }
    leaf.0
        .push((template.verb.clone(), verb.clone(), bindings.len()));
    bindings.push(Arc::new(binding));
    None
}

/// Longer tails first, and of those the ones with more literals.
fn rank(tail: &[Segment]) -> (usize, usize) {
    (
        tail.len(),
        tail.iter()
            .filter(|s| matches!(s, Segment::Literal(_)))
            .count(),
    )
}
