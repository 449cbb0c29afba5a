//! An etcd that comes back without its data: what was known of the store before is no measure of this one.

use super::*;

#[test]
fn nobody_is_behind_the_config_of_a_store_that_is_gone() {
    let mut state = blank(120, 40);
    fleet(&mut state);
    let order = fleet::ServiceName::new("order").unwrap();
    assert_eq!(state.directory.newest_config(&order).service, 811);
    let again = entry("/config/order/timeout.write", "2s", 4, 0);
    let feed = |feed| Event::Feed(0, feed);
    for event in [
        Feed::Replaced(Source::Services),
        Feed::Changed(Source::Services, Revision(9), Vec::new()),
        Feed::Replaced(Source::Config),
        Feed::Changed(Source::Config, Revision(9), vec![Change::Put(again)]),
    ] {
        update(&mut state, at(50), feed(event));
    }
    let newest = state.directory.newest_config(&order);
    assert_eq!((newest.service, newest.global), (4, 0));
    assert_eq!(state.revision(), Revision(9), "what stands in the header");
    let told = state
        .messages
        .newest()
        .filter(|one| one.text.contains("without its data"));
    assert_eq!(told.count(), 1, "once, however many mirrors see it");
}
