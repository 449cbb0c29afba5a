//! Random sequences of operations against etcdlite and a real etcd: equal answers, revisions, events
//! and errors. Both get every operation in the same order from their first revision on, so revisions
//! are compared as they are.

mod answer;
mod operation;
mod run;

use proptest::test_runner::{Config, TestError, TestRunner};
use tokio::runtime::Runtime;

use operation::sequences;
use run::Pair;

/// Sequences of up to 24 operations: some 15 seconds against etcd 3.4, three times that on a busy machine. `PROPTEST_CASES` asks for more.
const CASES: u32 = 200;

#[test]
fn etcdlite_answers_as_etcd_does() {
    let runtime = Runtime::new().unwrap();
    let mut pair = None;
    let pair = std::cell::RefCell::new(&mut pair);
    let asked = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    let config = Config {
        cases: asked.unwrap_or(CASES),
        failure_persistence: None,
        max_shrink_iters: 300,
        ..Config::default()
    };
    let result = TestRunner::new(config).run(&sequences(), |sequence| {
        let mut held = pair.borrow_mut();
        // After a difference the two have diverged: the next sequence starts with a fresh pair.
        let mut current = held
            .take()
            .unwrap_or_else(|| runtime.block_on(Pair::start()));
        runtime.block_on(current.run(&sequence))?;
        **held = Some(current);
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, sequence)) => panic!("{reason}\nafter: {sequence:?}"),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}
