//! What is kept of methods, requests and answers, and for how long.

use super::*;

fn page() -> CallsPage {
    let mut page = CallsPage::default();
    let user = ServiceName::new("user").unwrap();
    assert!(page.unfold(&user));
    let method = |name: &str| {
        Arc::new(Method {
            service: "user.v1.UserService".into(),
            name: name.into(),
            kind: Kind::Unary,
            template: "{\n  \"id\": \"\"\n}".into(),
            about: "".into(),
        })
    };
    page.told(
        user.clone(),
        Methods::Known(vec![method("Get"), method("List")]),
    );
    page.rebuild([user].iter(), Duration::ZERO);
    page
}

#[test]
fn a_request_is_kept_for_its_method() {
    let mut page = page();
    page.tree
        .go(crate::tui::state::table::Motion::Rows(2), TreeRow::key);
    assert!(page.choose());
    page.request_mut().unwrap().replace("{\"id\":\"1\"}");
    page.tree
        .go(crate::tui::state::table::Motion::Rows(1), TreeRow::key);
    assert!(page.choose());
    assert!(page.request().unwrap().text().contains("\"\""));
    page.tree
        .go(crate::tui::state::table::Motion::Rows(-1), TreeRow::key);
    page.choose();
    assert_eq!(page.request().unwrap().text(), "{\"id\":\"1\"}");
}

#[test]
fn a_service_that_is_deployed_anew_is_asked_again_and_its_new_template_shows() {
    let mut page = page();
    let user = ServiceName::new("user").unwrap();
    page.tree
        .go(crate::tui::state::table::Motion::Rows(2), TreeRow::key);
    assert!(page.choose());
    let deployed = |number: u64| move |_: &ServiceName| Some(number);
    assert!(page.outdated(deployed(1)).is_empty(), "that is what told");
    assert!(page.outdated(deployed(1)).is_empty());
    assert_eq!(page.outdated(deployed(2)), std::slice::from_ref(&user));
    assert!(page.outdated(deployed(3)).is_empty(), "it is being asked");
    page.told(user.clone(), Methods::Failed("gone for a moment".into()));
    assert!(matches!(page.methods[&user], Methods::Known(_)));
    page.outdated(deployed(3));
    assert_eq!(page.outdated(deployed(4)), std::slice::from_ref(&user));
    let Methods::Known(before) = &page.methods[&user] else {
        panic!()
    };
    let renewed = Method {
        template: "{\n  \"name\": \"\"\n}".into(),
        ..(*before[0]).clone()
    };
    page.told(user.clone(), Methods::Known(vec![Arc::new(renewed)]));
    assert!(page.request().unwrap().text().contains("name"));
    assert!(!page.toggle(&user), "folding asks nothing");
    assert!(page.toggle(&user), "unfolding asks anew");
}

#[test]
fn news_of_an_older_call_are_dropped_and_an_endless_stream_stays_bounded() {
    let mut page = page();
    page.tree
        .go(crate::tui::state::table::Motion::Rows(2), TreeRow::key);
    page.choose();
    let first = page.begin(Duration::ZERO, Timestamp::UNIX_EPOCH).unwrap();
    let second = page.begin(Duration::ZERO, Timestamp::UNIX_EPOCH).unwrap();
    assert!(!page.news(first, Progress::Message("{}".into())));
    for _ in 0..100 {
        assert!(page.news(
            second,
            Progress::Message(format!("\"{}\"", "x".repeat(100_000)))
        ));
    }
    let answer = page.answer.as_ref().unwrap();
    assert!(answer.cut && answer.bytes <= ANSWER_BYTES);
    assert_eq!(answer.messages, 100);
}
