//! Dotted keys as a tree: what two keys or more have in common up to a dot is a folder that tells how
//! many keys it holds. Pure: sorted paths in, lines out; a folder of one folder is one line.

use std::collections::BTreeSet;
use std::sync::Arc;

use fleet::config::Scope;

/// How the keys are laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arrangement {
    /// One line a key, in any order.
    #[default]
    Flat,
    /// Folded by the dots, in the order of the names.
    Tree,
}

/// Where a line of the tree stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// How many folders it is in.
    pub depth: usize,
    /// The byte of its path at which its name begins; before it are the folders' names.
    pub from: usize,
}

/// What several keys have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Up to the last dot they share, without it.
    pub path: Arc<str>,
    /// Where it stands.
    pub place: Place,
    /// The first key it holds.
    pub first: Arc<str>,
    /// How many keys it holds.
    pub keys: usize,
    /// Whether they are out of sight.
    pub folded: bool,
}

impl Folder {
    /// What tells it from keys: no key ends in a dot.
    pub fn id(&self) -> Arc<str> {
        format!("{}.", self.path).into()
    }

    /// Whether it holds a key.
    pub fn holds(&self, path: &str) -> bool {
        path.strip_prefix(&*self.path)
            .is_some_and(|rest| rest.starts_with('.'))
    }
}

/// A line of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A folder.
    Folder(Folder),
    /// The key of this index.
    Key(usize, Place),
}

/// The lines of sorted paths, without those that a folded folder holds.
pub fn outline(paths: &[&str], folded: &impl Fn(&str) -> bool) -> Vec<Node> {
    let mut nodes = Vec::with_capacity(paths.len());
    grow(paths, 0, Place::default(), folded, &mut nodes);
    nodes
}

fn grow(
    paths: &[&str],
    first: usize,
    place: Place,
    folded: &impl Fn(&str) -> bool,
    nodes: &mut Vec<Node>,
) {
    let mut at = 0;
    while let Some(path) = paths.get(at) {
        let together = match path[place.from..].find('.') {
            // Paths that begin alike stand together, since they are sorted.
            Some(dot) => paths[at..].partition_point(|other| {
                other.get(..=place.from + dot) == path.get(..=place.from + dot)
            }),
            None => 1,
        };
        if together < 2 {
            nodes.push(Node::Key(first + at, place));
            at += 1;
            continue;
        }
        let below = &paths[at..at + together];
        let end = shared(path, below[together - 1]);
        let folder = Folder {
            path: path[..end].into(),
            place,
            first: (*path).into(),
            keys: together,
            folded: folded(&path[..end]),
        };
        let unfolded = !folder.folded;
        nodes.push(Node::Folder(folder));
        if unfolded {
            let place = Place {
                depth: place.depth + 1,
                from: end + 1,
            };
            grow(below, first + at, place, folded, nodes);
        }
        at += together;
    }
}

/// Where the last dot stands that both begin with. The first and the last of sorted paths share what
/// all between them do.
fn shared(first: &str, last: &str) -> usize {
    let pairs = first.bytes().zip(last.bytes()).enumerate();
    pairs
        .take_while(|(_, (one, other))| one == other)
        .filter(|(_, (byte, _))| *byte == b'.')
        .last()
        .map_or(0, |(at, _)| at)
}

/// The folders that were folded, over all services. The user's own word alone puts one in here.
#[derive(Debug, Default)]
pub struct Folds(BTreeSet<(Scope, Arc<str>)>);

impl Folds {
    /// Folds a folder, or unfolds it.
    pub fn toggle(&mut self, scope: &Scope, path: &Arc<str>) {
        let folder = (scope.clone(), Arc::clone(path));
        if !self.0.remove(&folder) {
            self.0.insert(folder);
        }
    }

    /// Unfolds every folder that a key stands in.
    pub fn unfold_to(&mut self, scope: &Scope, path: &str) {
        for (dot, _) in path.match_indices('.') {
            self.0.remove(&(scope.clone(), path[..dot].into()));
        }
    }

    /// Whether a folder is folded.
    pub fn is_folded(&self, scope: &Scope, path: &str) -> bool {
        self.0.contains(&(scope.clone(), path.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree as text: folders as `name (keys)` with a sign, two spaces for each folder around.
    fn drawn(paths: &[&str], folded: &[&str]) -> Vec<String> {
        let nodes = outline(paths, &|path| folded.contains(&path));
        let line = |node: &Node| match node {
            Node::Folder(folder) => {
                let name = &folder.path[folder.place.from..];
                let sign = if folder.folded { '+' } else { '-' };
                let indent = "  ".repeat(folder.place.depth);
                format!("{indent}{sign}{name} ({})", folder.keys)
            }
            Node::Key(at, place) => {
                format!("{}{}", "  ".repeat(place.depth), &paths[*at][place.from..])
            }
        };
        nodes.iter().map(line).collect()
    }

    #[test]
    fn keys_fold_where_two_share_what_stands_before_a_dot() {
        for (paths, folded, expected) in [
            (&[][..], &[][..], &[][..]),
            (&["a", "b.c"], &[], &["a", "b.c"]),
            (
                &["page.size", "timeout.read", "timeout.write"],
                &[],
                &["page.size", "-timeout (2)", "  read", "  write"],
            ),
            (
                &["page.size", "timeout.read", "timeout.write"],
                &["timeout"],
                &["page.size", "+timeout (2)"],
            ),
            // A folder of one folder is one line; a key may have a folder's name.
            (
                &["a", "a.b.c.d", "a.b.c.e", "a.b.c.e.f"],
                &[],
                &["a", "-a.b.c (3)", "  d", "  e", "  e.f"],
            ),
            (
                &["a.b.c", "a.b.d", "a.e"],
                &[],
                &["-a (3)", "  -b (2)", "    c", "    d", "  e"],
            ),
            (
                &["a.b.c", "a.b.d", "a.e"],
                &["a.b"],
                &["-a (3)", "  +b (2)", "  e"],
            ),
            // Names that sort between a key and its folder.
            (
                &["a", "a-b", "a.x", "a.y", "ab.z"],
                &[],
                &["a", "a-b", "-a (2)", "  x", "  y", "ab.z"],
            ),
        ] {
            assert_eq!(drawn(paths, folded), expected, "{paths:?} {folded:?}");
        }
    }

    #[test]
    fn folds_are_kept_for_each_service_and_open_on_the_way_to_a_key() {
        let [order, user] = ["order", "user"].map(|name| Scope::parse(name).unwrap());
        let mut folds = Folds::default();
        for path in ["a", "a.b", "c"] {
            folds.toggle(&order, &path.into());
        }
        assert!(folds.is_folded(&order, "a.b") && !folds.is_folded(&user, "a.b"));
        folds.unfold_to(&order, "a.b.c");
        assert!(!folds.is_folded(&order, "a") && !folds.is_folded(&order, "a.b"));
        assert!(folds.is_folded(&order, "c"));
        folds.toggle(&order, &"c".into());
        assert!(!folds.is_folded(&order, "c"));
    }
}
