//! Records and values that are too large, no text, or of the wrong type, among good ones.

use std::sync::atomic::Ordering;
use std::time::Instant;

use fleet::Key;

use crate::fleet::{Fleet, NUMBER};
use crate::ledger::History;
use crate::restart::alone;

/// Nothing good is hidden by these, and when they are gone nothing is left of them.
async fn comes_and_goes(
    fault: &str,
    to_refuse: usize,
    puts: impl Fn(&Fleet) -> Vec<(Key, Vec<u8>)>,
) {
    let (_etcd, _proxy, fleet) = alone(&[]).await;
    let puts = puts(&fleet);
    let since = Instant::now();
    fleet.to_refuse.store(to_refuse, Ordering::Relaxed);
    for put in &puts {
        fleet.write(std::slice::from_ref(put)).await;
    }
    let took = fleet.converges(since, fault).await;
    println!("{fault}: converged in {took}");
    // The next change writes the number.
    let keys = puts.into_iter().map(|(key, _)| key);
    let keys: Vec<Key> = keys.filter(|key| *key != Key::from(NUMBER)).collect();
    fleet.delete(&keys).await;
    fleet.to_refuse.store(0, Ordering::Relaxed);
    let since = Instant::now();
    fleet.change().await;
    let fault = format!("{fault}, and gone again");
    fleet.survives(since, &fault, History::Whole).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_and_a_value_of_a_megabyte_are_taken() {
    comes_and_goes("records of 1 MB", 0, |fleet| {
        let mut record: serde_json::Value =
            serde_json::from_slice(&fleet.record("user", "large", 1)).unwrap();
        record["metadata"] = serde_json::json!({ "notes": "x".repeat(1_000_000) });
        vec![
            (
                "/services/user/large".into(),
                record.to_string().into_bytes(),
            ),
            ("/config/user/large".into(), vec![b'x'; 1_000_000]),
        ]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_values_and_keys_that_are_no_text_hide_nothing() {
    comes_and_goes("records of invalid UTF-8", 1, |_| {
        let bad = b"\xff\xfe\x80".to_vec();
        vec![
            ("/services/user/bad".into(), bad.clone()),
            (b"/services/user/\xff".to_vec().into(), bad.clone()),
            (NUMBER.into(), bad.clone()),
            (b"/config/user/\xff".to_vec().into(), bad),
        ]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_and_values_of_the_wrong_type_hide_nothing() {
    comes_and_goes("records of the wrong type", 1, |_| {
        let text = |text: &str| text.as_bytes().to_vec();
        vec![
            ("/services/user/list".into(), text("[1, 2]")),
            (
                "/services/user/odd".into(),
                text(r#"{"service":"user","id":"odd","endpoints":7}"#),
            ),
            (
                "/services/user/other".into(),
                text(r#"{"service":7,"id":"other","endpoints":[]}"#),
            ),
            (NUMBER.into(), text("[soon]")),
        ]
    })
    .await;
}
