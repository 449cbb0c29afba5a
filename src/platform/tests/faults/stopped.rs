//! A process that is stopped for longer than its lease lives, and continued: a suspended laptop, a
//! frozen virtual machine.

use std::process::Command;
use std::time::Duration;

use etcd::Client;
use tests::realetcd::RealEtcd;

use crate::citizen::{Citizen, ETCD, live};
use crate::suspend::stop_and_continue;

#[test]
fn a_process_that_was_stopped_and_continued_is_registered_and_up_to_date() {
    // The process that is to be stopped is this very test, run again.
    if let Ok(etcd) = std::env::var(ETCD) {
        return live(etcd);
    }
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args([
        "--exact",
        "stopped::a_process_that_was_stopped_and_continued_is_registered_and_up_to_date",
        "--nocapture",
    ]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let etcd = RealEtcd::start().await;
        let client = Client::new(etcd::Settings::new([etcd.endpoint()])).unwrap();
        let citizen = Citizen::start(again, &etcd.endpoint());
        stop_and_continue(&client, &citizen, Duration::ZERO).await;
    });
}
