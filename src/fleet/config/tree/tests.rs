//! How config is written as a tree of YAML, and what a tree means that comes back.

use proptest::prelude::*;

use super::*;
use crate::config::diff::Secrets;
use crate::config::secret::is_secret;
use crate::kv::{Entry, Prefix, Revision};

fn config() -> Prefix {
    Prefix::new("/config/").unwrap()
}

fn entry(key: &str, value: &[u8]) -> Entry {
    Entry {
        key: key.into(),
        value: value.into(),
        create_revision: Revision(1),
        mod_revision: Revision(1),
        version: 1,
        lease: None,
    }
}

fn written(values: &[(&str, &[u8])], secrets: Secrets) -> Export {
    let entries: Vec<_> = values
        .iter()
        .map(|(key, value)| entry(&format!("/config/{key}"), value))
        .collect();
    export(&config(), &entries, secrets, |key, _| is_secret(key.path()))
}

fn comes_back(value: &[u8]) -> String {
    let text = written(
        &[("order/a.b", value), ("order/z", b"1")],
        Secrets::Revealed,
    )
    .text;
    let tree = from_yaml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let key = ConfigKey::parse("order/a.b").unwrap();
    let wanted = match String::from_utf8(value.to_vec()) {
        Ok(text) => Leaf::Text(ValueText::new(text)),
        Err(_) => Leaf::Bytes(value.to_vec()),
    };
    assert_eq!(tree.leaves[&key], wanted, "\n{text}");
    assert_eq!(tree.leaves.len(), 2, "\n{text}");
    text
}

#[test]
fn a_tree_is_written_as_people_would() {
    let text = written(
        &[
            ("order/timeout.write", b"5s # slow disk on b"),
            ("order/retry", b"{attempts: 3, backoff: 100ms}"),
            (
                "order/rules",
                b"# the order matters\n- allow: a # partner\n\n- deny: b\n",
            ),
            ("order/banner", b"|\n  hello\n  world\n"),
            ("global/log.level", b"info"),
            ("user/db.password", b"hunter2"),
        ],
        Secrets::Masked,
    );
    assert_eq!(
        text.text,
        "\
global:
  log.level: info
order:
  banner: |
      hello
      world
  retry: {attempts: 3, backoff: 100ms}
  rules:
    # the order matters
    - allow: a # partner

    - deny: b
  timeout.write: 5s # slow disk on b
user:
  db.password: !masked
"
    );
    assert_eq!((text.keys, text.masked.len()), (6, 1));
}

#[test]
fn any_text_comes_back_byte_for_byte() {
    for value in [
        b"5s".as_slice(),
        b" 5s",
        b"5s\n",
        b"5s\n\n",
        b"",
        b"# nothing but a comment",
        b"{a: [1",
        b"a: 1\nb: 2",
        b"a: 1\nb: 2\n",
        b"  a: 1\n  b: 2\n",
        b"a:\n- 1\n- 2\n",
        b"- 1\n- 2\n",
        b"[a,\n b]\n",
        b"[a,\n b]",
        b"|\n  a\n\n  b\n",
        b"|+\n  a\n\n",
        b"\"a\\tb\"",
        b"a\r\nb: c\r\n",
        b"a\tb",
        b"\ta",
        b"!raw x",
        b"!masked",
        b"*alias",
        b"&a [x]",
        b"---\na: 1\n",
        b"x: |\n  # no comment\n",
        b"key: value # why\n# last\n",
        b"\x00\x1b[2J",
        "\u{feff}a \u{85} \u{2028} \u{1f600}".as_bytes(),
        b"\xff\xfe",
        b"null",
        b"~",
    ] {
        comes_back(value);
    }
    assert!(comes_back(b"a: 1\nb: 2").contains("!raw |2-\n    a: 1\n    b: 2\n"));
}

#[test]
fn trees_written_by_hand_are_read_by_what_they_mean() {
    let leaf = |text: &str| {
        let tree = from_yaml(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        tree.leaves.into_values().next().unwrap()
    };
    for (text, wanted) in [
        ("order: {a: 5s}", Leaf::Meaning("5s".into())),
        (
            "order:\n    a:   5s   # why\n",
            Leaf::Text(ValueText::new("5s   # why")),
        ),
        ("order:\n  \"a\": 5s\n", Leaf::Meaning("5s".into())),
        (
            "order:\n  a:\n    b: 1\n    c: 2\n\n\nuser:\n  x: 1\n",
            Leaf::Text(ValueText::new("b: 1\nc: 2\n")),
        ),
        (
            "order:\n  a:\n  - 1\n  - 2\n",
            Leaf::Meaning(Value::Sequence(vec![1.into(), 2.into()])),
        ),
        (
            "order:\n  a: &x 1\n  b: *x\n",
            Leaf::Text(ValueText::new("&x 1")),
        ),
        ("order:\r\n  a: 5s # why\r\n", Leaf::Meaning("5s".into())),
        (
            "# head\n---\norder: # mine\n  # of a\n  a: 5s\n",
            Leaf::Text(ValueText::new("5s")),
        ),
        (
            "order:\n  a: 'it''s'\n",
            Leaf::Text(ValueText::new("'it''s'")),
        ),
        (
            "order:\n  a: one\n    two\n",
            Leaf::Text(ValueText::new("one\ntwo\n")),
        ),
        ("order:\n  a: !masked\n", Leaf::Masked),
    ] {
        assert_eq!(leaf(text), wanted, "{text}");
    }
    let scopes = from_yaml("order:\nuser: {}\n").unwrap();
    assert_eq!((scopes.scopes.len(), scopes.leaves.len()), (2, 0));
    let one = from_yaml_scope("a: 5s # why\nb: 1\n", &Scope::Global).unwrap();
    assert_eq!(
        one.leaves[&ConfigKey::parse("global/a").unwrap()],
        Leaf::Text(ValueText::new("5s # why"))
    );
}

#[test]
fn the_trees_that_people_keep_need_no_parser() {
    let text = "# all of it\n\norder: # ours\n  # why\n  timeout.write: 5s # slow disk\n\n  # apart\n  retry: {attempts: 3, backoff: 100ms}\n# next\nuser:\n    page-size: 50\nempty:\n";
    let tree = lines::read(text).unwrap();
    assert_eq!((tree.scopes.len(), tree.leaves.len()), (3, 3));
    assert_eq!(read::parsed(text), Ok(tree));
    let keys = "a: 1\n# x\nb.c: [1, 2]\n";
    let tree = lines::read_scope(keys, &Scope::Global).unwrap();
    assert_eq!(read::parsed_scope(keys, &Scope::Global), Ok(tree));
    for text in [
        "order:\n  a: 1\n    # of a\n",
        "order:\n  a: 1\n   b: 2\n",
        "order:\n  a: 1\n  a: 2\n",
        "order:\n  a: 1\norder:\n  b: 2\n",
        "order:\r\n  a: 1\r\n",
        "order:\n  a: |\n    x\n",
        "order:\n  a: 1\n...\n",
        "order: 5\n",
        "  a: 1\n",
    ] {
        assert_eq!(lines::read(text), None, "{text}");
    }
}

#[test]
fn what_is_no_tree_says_where_and_why() {
    let bomb = "order:\n  a: &a [x,x,x,x,x,x,x,x,x]\n  b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n  c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n  d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n  e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\n  f: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
    for (text, wanted) in [
        ("- a", "the top of the tree is a list"),
        ("order: 5", "order is a number"),
        ("or der:\n  a: 1", "' ' is not allowed"),
        ("order:\n  a..b: 1", "in order: 'a..b' has an empty part"),
        ("order:\n  a: 1\n  a: 2", "not YAML"),
        ("order:\n  a: [1", "not YAML"),
        ("order:\n  a: !raw [1]", "under the tag !raw"),
        ("order:\n  a: !binary \"~\"", "not base64"),
        (bomb, "not YAML"),
    ] {
        let error = from_yaml(text).unwrap_err().to_string();
        assert!(error.contains(wanted), "{text}\n{error}");
    }
    let order = from_yaml("order:\n  a: 1").unwrap();
    assert!(matches!(
        Tree::merge([order.clone(), order]),
        Err(TreeError::Twice(_))
    ));
}

#[test]
fn keys_that_are_none_are_left_out_and_named() {
    let found = written(
        &[
            ("order/a b", b"1"),
            ("order/@canary", b"{}"),
            ("order/a", b"1"),
        ],
        Secrets::Masked,
    );
    assert_eq!((found.keys, found.left_out.len()), (1, 2));
}

proptest! {
    #[test]
    fn every_value_comes_back(text in "[ \\na-c:#|>\\-\\[\\]{}\"'&*!\\t\\r%@`,0-9é]{0,24}") {
        comes_back(text.as_bytes());
    }

    #[test]
    fn every_bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..24)) {
        comes_back(&bytes);
    }

    #[test]
    fn names_and_order_do_not_matter(names in prop::collection::btree_map("(true|1|null|[a-c0-9]{1,3})(\\.(no|[a-c0-9]{1,2})){0,2}", "[a-c]", 1..6)) {
        let values: Vec<_> = names.iter().map(|(name, value)| (format!("order/{name}"), value.clone())).collect();
        let values: Vec<_> = values.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let reversed: Vec<_> = values.iter().rev().copied().collect();
        let text = written(&values, Secrets::Masked).text;
        prop_assert_eq!(&text, &written(&reversed, Secrets::Masked).text);
        let read = from_yaml(&text).unwrap();
        let read: Vec<_> = read.leaves.keys().map(|key| key.path().to_owned()).collect();
        prop_assert_eq!(read, names.keys().cloned().collect::<Vec<_>>());
    }

    #[test]
    fn a_plain_tree_means_what_the_parser_says_of_it(
        lines in prop::collection::vec(
            prop_oneof![
                "(order|user|global|a b|null)?:( {1,2}#x| 5)?",
                "( {2,3}| {4})?[a-c](\\.[a-b])?: ?(5s|[a-c0-2]|\\{a: 1\\}|\\[a, 2\\]|'x'|\"|&x 1|\\*x|!masked)? {0,2}(#x)?",
                " {0,4}(#[ a:]{0,3})?\r?",
                " {0,4}[-a: |>]{0,3}",
            ],
            0..8,
        ),
    ) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        for text in [format!("order:\n{text}"), text] {
            if let Some(tree) = lines::read(&text) {
                prop_assert_eq!(read::parsed(&text), Ok(tree), "{}", text);
            }
            if let Some(tree) = lines::read_scope(&text, &Scope::Global) {
                prop_assert_eq!(read::parsed_scope(&text, &Scope::Global), Ok(tree), "{}", text);
            }
        }
    }

    #[test]
    fn no_text_panics(text in "[ \\na-c:#|>\\-!]{0,60}") {
        let _ = from_yaml(&text);
        let _ = from_yaml_scope(&text, &Scope::Global);
    }
}
