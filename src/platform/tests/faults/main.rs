//! Directory, config and registration against everything that can befall etcd and the way to it:
//! after each fault all three converge to the truth, nothing is missed or told twice, no task is
//! left behind and nothing runs hot. The time that it took is printed; `docs/faults.md` has it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail the test that called them"
)]

mod citizen;
mod cluster;
mod converge;
mod fleet;
mod history;
mod idle;
mod ledger;
mod load;
mod mix;
mod network;
mod records;
mod refusals;
mod restart;
mod stopped;
mod suspend;
mod truth;
