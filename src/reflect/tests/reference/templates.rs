//! What a path template means: its segments, its variables, its verb.

use reflect::rule::{Segment, Template};

/// A template, and what it means: segments and variables in braces, then the verb; or "-" where it is none.
const CASES: &[(&str, &str)] = &[
    ("/v1", "v1"),
    ("/v1/b", "v1 b"),
    ("/v1/endpoint/*", "v1 endpoint *"),
    ("/v1/endpoint/**", "v1 endpoint **"),
    ("/v1/b/{bucket_name=*}", "v1 b {bucket_name *}"),
    (
        "/v1/b/{bucket_name=buckets/*}",
        "v1 b {bucket_name buckets *}",
    ),
    (
        "/v1/b/{bucket_name=buckets/*}/o",
        "v1 b {bucket_name buckets *} o",
    ),
    (
        "/v1/b/{bucket_name=buckets/*}/o/{name}",
        "v1 b {bucket_name buckets *} o {name *}",
    ),
    (
        "/v1/a=b&c=d;e=f:g/endpoint.rdf",
        "v1 a=b&c=d;e=f:g endpoint.rdf",
    ),
    ("/v1/a/{endpoint}:a", "v1 a {endpoint *} :a"),
    ("/v1/a/{endpoint}:b:c", "v1 a {endpoint *} :b:c"),
    ("/v1/a:LOCK", "v1 a :LOCK"),
    ("/v1/endpoint/**:LOCK", "v1 endpoint ** :LOCK"),
    (
        "/v1/b/{bucket_name=buckets/*}/o:LOCK",
        "v1 b {bucket_name buckets *} o :LOCK",
    ),
    (
        "/v1/a=b&c=d;e=f:g/endpoint.rdf:LOCK",
        "v1 a=b&c=d;e=f:g endpoint.rdf :LOCK",
    ),
    ("/v1/{bucket}/do:action", "v1 {bucket *} do :action"),
    ("/%e7%ac%ac%e4%b8%80%e7%89%88", "第一版"),
    ("/{name}", "{name *}"),
    ("/{field.nested.nested2=*}", "{field.nested.nested2 *}"),
    ("/{name=a/b/*}", "{name a b *}"),
    (
        "/v1/{name.nested.nested2=a/b/*}/o/{another_name=a/b/*/c}/**",
        "v1 {name.nested.nested2 a b *} o {another_name a b * c} **",
    ),
    ("/", ""),
    // The reference reads an empty text as "/" and takes a path without its slash; ours is strict in both.
    ("", "-"),
    ("v1", "-"),
    ("v1/b/:name/do", "-"),
    // The reference takes these characters, the star among them, for a literal: ours takes all but the star, which
    // would look like a pattern that nobody follows.
    ("/-._~!$&'()+,;=:@/x", "-._~!$&'()+,;=:@ x"),
    ("/-._~!$&'()*+,;=:@/x", "-"),
    ("//", "-"),
    ("/a?b", "-"),
    ("/%", "-"),
    ("/%2", "-"),
    ("/a%2z", "-"),
    ("/{name", "-"),
    ("/{name=", "-"),
    ("/{name=*", "-"),
    ("/{name.}", "-"),
    ("/{name..nested}", "-"),
    ("/{field-name}", "-"),
    ("/v1{name}", "-"),
    ("/v1/{a}{b}", "-"),
    // What follows is told by grpc-httpjson-transcoding's tests.
    (
        "/shelves/{shelf}/books/{book}",
        "shelves {shelf *} books {book *}",
    ),
    ("/**", "**"),
    ("/a/b/c:foo", "a b c :foo"),
    ("/*/**", "* **"),
    ("/*/a/**", "* a **"),
    ("/a/{a.b.c=*}", "a {a.b.c *}"),
    ("/a/{b=**}", "a {b **}"),
    ("/a/{b=c/*/d}", "a {b c * d}"),
    ("/a/{b=c/**}/d/e", "a {b c **} d e"),
    ("/a/{b=c/**/d}/e:verb", "a {b c ** d} e :verb"),
    ("/*:verb", "* :verb"),
    ("/**:verb", "** :verb"),
    ("/{x.y.z=*/a/b}/c", "{x.y.z * a b} c"),
    ("/{x.y.z=a/**/b}/c/d:custom", "{x.y.z a ** b} c d :custom"),
    ("/a/{b=*}/**:verb", "a {b *} ** :verb"),
    ("/{}", "-"),
    ("/a/", "-"),
    ("/a//b", "-"),
    (":verb", "-"),
    ("/:verb", "-"),
    ("/a/:verb", "-"),
    (":", "-"),
    ("/:", "-"),
    ("/*:", "-"),
    ("/**:", "-"),
    ("/{var}:", "-"),
    ("/a/b/:", "-"),
    ("/a/b/*:", "-"),
    ("/a/{", "-"),
    ("/a/{var.", "-"),
    ("/a/{x=var:verb}", "-"),
    ("{x=/a}", "-"),
    ("a/{x}/b:verb", "-"),
    ("/a/{var=/b}", "-"),
    ("/{var=a/{nested=b}}", "-"),
    ("/a{x}", "-"),
    ("/{x}a", "-"),
    ("/{x}a{y}", "-"),
    ("/a/b{x}c/s", "-"),
    ("/a/{x}b{y}/s", "-"),
];

fn show(template: &Template) -> String {
    let mut shown: Vec<String> = template
        .segments
        .iter()
        .map(|segment| match segment {
            Segment::Literal(text) => text.clone(),
            Segment::One => "*".to_owned(),
            Segment::Many => "**".to_owned(),
        })
        .collect();
    for variable in &template.variables {
        let (first, last) = (variable.segments.start, variable.segments.end - 1);
        shown[first] = format!("{{{} {}", variable.path, shown[first]);
        shown[last].push('}');
    }
    shown.extend(template.verb.iter().map(|verb| format!(":{verb}")));
    shown.join(" ")
}

#[test]
fn templates_mean_what_the_reference_says() {
    for (template, expected) in CASES {
        let shown = Template::parse(template).map_or("-".to_owned(), |parsed| show(&parsed));
        assert_eq!(shown, *expected, "{template}");
    }
}
