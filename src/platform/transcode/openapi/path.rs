//! Templates as OpenAPI can say them: `{name=users/*}` is `/users/{name}`, as a parameter there is one segment. Where
//! two templates differ in names alone OpenAPI takes them for one path, so both get the names of the first.

use std::collections::{BTreeMap, BTreeSet};

use reflect::rule::{Segment, Template};

/// A place in a path that the caller fills.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// The parameter.
    pub(super) name: String,
    /// The field that it goes into, and whether all of it.
    pub(super) field: Option<(String, Share)>,
}

/// How much of a field a slot fills.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Share {
    Whole,
    /// With literals or other slots around it, which this pattern shows.
    Part(String),
}

/// The paths of a document, and which of their verbs are taken.
#[derive(Default)]
pub(super) struct Paths {
    /// The first text of each shape.
    first: BTreeMap<String, Vec<String>>,
    taken: BTreeSet<(String, String)>,
}

impl Paths {
    /// Where the operation of `verb` on `template` stands, and what it is to be filled with. No two answers for one
    /// verb are the same path.
    pub(super) fn add(&mut self, verb: &str, template: &Template) -> (String, Vec<Slot>) {
        let mut slots = slots(template);
        let own: Vec<String> = slots.iter().map(|slot| slot.name.clone()).collect();
        let shape = text(template, &vec![String::new(); slots.len()]);
        let names = self.first.entry(shape).or_insert(own);
        for (slot, name) in slots.iter_mut().zip(names.iter()) {
            slot.name.clone_from(name);
        }
        loop {
            let names: Vec<String> = slots.iter().map(|slot| slot.name.clone()).collect();
            let path = text(template, &names);
            if self.taken.insert((verb.to_owned(), path.clone())) {
                return (path, slots);
            }
            // `{a}` and `{a=**}` are one path to OpenAPI; better said unlike others than not at all.
            match slots.last_mut() {
                Some(slot) => slot.name.push('+'),
                None => return (path, slots),
            }
        }
    }
}

fn slots(template: &Template) -> Vec<Slot> {
    let is_wild = |at: &usize| !matches!(template.segments[*at], Segment::Literal(_));
    let mut slots = Vec::new();
    let mut loose = 0;
    for at in (0..template.segments.len()).filter(is_wild) {
        let variable = template
            .variables
            .iter()
            .find(|variable| variable.segments.contains(&at));
        slots.push(match variable {
            None => {
                loose += 1;
                Slot {
                    name: format!("segment_{loose}"),
                    field: None,
                }
            }
            Some(variable) => {
                let wild: Vec<usize> = variable.segments.clone().filter(is_wild).collect();
                let name = match wild[..] {
                    [_] => variable.path.clone(),
                    _ => {
                        let place = wild.iter().position(|one| *one == at).unwrap_or_default();
                        format!("{}_{}", variable.path, place + 1)
                    }
                };
                let share = if variable.segments.len() == 1 {
                    Share::Whole
                } else {
                    let parts = &template.segments[variable.segments.clone()];
                    Share::Part(parts.iter().map(shown).collect::<Vec<_>>().join("/"))
                };
                Slot {
                    name,
                    field: Some((variable.path.clone(), share)),
                }
            }
        });
    }
    slots
}

fn shown(segment: &Segment) -> &str {
    match segment {
        Segment::Literal(text) => text,
        Segment::One => "*",
        Segment::Many => "**",
    }
}

/// The path with these names in its slots.
fn text(template: &Template, names: &[String]) -> String {
    let mut names = names.iter();
    let mut path = String::new();
    for segment in &template.segments {
        path.push('/');
        match segment {
            Segment::Literal(text) => path.push_str(text),
            Segment::One | Segment::Many => {
                let name = names.next().map_or("", String::as_str);
                path.push_str(&format!("{{{name}}}"));
            }
        }
    }
    if path.is_empty() {
        path.push('/');
    }
    if let Some(verb) = &template.verb {
        path.push(':');
        path.push_str(verb);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rules_share_a_place_in_the_document() {
        let mut paths = Paths::default();
        for (verb, template, expected) in [
            ("GET", "/", "/"),
            ("GET", "/v1/{id}", "/v1/{id}"),
            ("GET", "/v1/{id}:zap", "/v1/{id}:zap"),
            ("GET", "/v1/{id=**}", "/v1/{id+}"),
            ("PATCH", "/v1/{all.id}", "/v1/{id}"),
            ("GET", "/v1/{name=users/*}", "/v1/users/{name}"),
            ("GET", "/v1/{name=orders/*}", "/v1/orders/{name}"),
            (
                "GET",
                "/v1/{name=shelves/*/books/*}",
                "/v1/shelves/{name_1}/books/{name_2}",
            ),
            ("GET", "/v1/*/x/**", "/v1/{segment_1}/x/{segment_2}"),
        ] {
            let (path, slots) = paths.add(verb, &Template::parse(template).unwrap());
            assert_eq!(path, expected, "{verb} {template}");
            for slot in slots {
                assert!(path.contains(&format!("{{{}}}", slot.name)), "{slot:?}");
            }
        }
    }

    #[test]
    fn a_slot_knows_which_part_of_which_field_it_fills() {
        let mut paths = Paths::default();
        paths.add("GET", &Template::parse("/v1/{id}").unwrap());
        let (_, slots) = paths.add("PATCH", &Template::parse("/v1/{all.id}").unwrap());
        let whole = Slot {
            name: "id".to_owned(),
            field: Some(("all.id".to_owned(), Share::Whole)),
        };
        assert_eq!(slots, [whole]);
        let (_, slots) = paths.add("GET", &Template::parse("/v1/{a=x/*}").unwrap());
        let part = Slot {
            name: "a".to_owned(),
            field: Some(("a".to_owned(), Share::Part("x/*".to_owned()))),
        };
        assert_eq!(slots, [part]);
    }
}
