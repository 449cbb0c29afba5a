//! What an operator sees of a server.

use crate::world::{World, eventually};

/// The value of a counter or gauge without labels on `/metrics`.
fn value(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| {
        let (found, value) = line.rsplit_once(' ')?;
        (found == name).then(|| value.parse().unwrap())
    })
}

#[tokio::test]
async fn histograms_are_summed_up_though_nobody_asks_for_them() {
    let world = World::new().await;
    // Asking does not count: only the rounds that come by themselves do.
    let rounds = async || {
        let page = world.get("/metrics").await;
        value(page.text(), "server_metrics_upkeeps_total").unwrap_or(0.0)
    };
    let before = rounds().await;
    eventually("a round", async || {
        (rounds().await >= before + 2.0).then_some(())
    })
    .await;
    drop(world);
}
