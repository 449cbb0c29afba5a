//! What an operator can alarm on: each thing that happens shows in a figure, and the table of them is
//! complete.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Duration;

use etcd::{Gate, LeaseKeeper, LeaseOptions};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tests::proxy::Mode;

use crate::observer::Observer;
use crate::world::{World, prefix, until};

/// The recorder of the process; cases beside this one count in it, too.
pub(crate) fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| PrometheusBuilder::new().install_recorder().unwrap())
}

/// A figure by its name and labels, as the exporter writes them; zero until it is there.
pub(crate) fn figure(name: &str) -> f64 {
    let page = recorder().render();
    let mut lines = page.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or(0.0)
}

crate::on_both!(
    a_watch_counts_what_befalls_it,
    a_member_shows_whether_it_answers
);

async fn a_watch_counts_what_befalls_it(mut world: World) {
    recorder();
    // Labels of this case alone.
    let name = format!("/figures/{}/", world.address().port());
    let watch = |what: &str| figure(&format!("etcd_watch_{what}{{prefix=\"{name}\"}}"));
    let key = format!("{name}a");
    let mut seen = Observer::new(&world.client, &prefix(&name));
    seen.until_fresh().await;
    let written = world.put(&key, "1").await;
    seen.until_at(written).await;
    until("the revision shows", async || {
        watch("revision") == written.0 as f64
    })
    .await;
    assert_eq!(watch("fresh"), 1.0);
    assert!(watch("proof_timestamp_seconds") > 1.7e9);
    assert_eq!(watch("resumes_total"), 0.0);

    world.proxy.cut();
    seen.until("stale", |seen| !seen.fresh).await;
    seen.until_fresh().await;
    assert!(watch("resumes_total") >= 1.0);
    assert!(watch("interruptions_total") >= 1.0);
    assert_eq!(watch("relists_total"), 0.0);

    world.proxy.set(Mode::Refuse);
    seen.until("stale", |seen| !seen.fresh).await;
    assert_eq!(watch("fresh"), 0.0);
    world.put("/elsewhere", "1").await;
    world.put(&key, "2").await;
    world.compact().await;
    world.proxy.set(Mode::Forward);
    seen.until_fresh().await;
    assert!(watch("compactions_total") >= 1.0);
    assert_eq!((watch("relists_total"), watch("wipes_total")), (1.0, 0.0));

    seen.wiped = true;
    world.wipe().await;
    seen.until("the wipe", |seen| seen.value(&key).is_none())
        .await;
    assert_eq!(watch("wipes_total"), 1.0);
}

async fn a_member_shows_whether_it_answers(world: World) {
    recorder();
    let name = format!("etcd_member_up{{endpoint=\"{}\"}}", world.proxy.endpoint());
    let grants = figure("etcd_lease_grants_total");
    let losses = figure("etcd_lease_losses_total");
    let options = LeaseOptions::new(Duration::from_secs(3));
    let keeper = LeaseKeeper::spawn(world.client.clone(), options, Gate::Open);
    let mut state = keeper.state();
    let id = state.wait_for(|state| state.id().is_some()).await;
    let id = id.unwrap().id().unwrap();
    until("the member is up", async || figure(&name) == 1.0).await;
    assert!(figure("etcd_lease_grants_total") > grants);
    assert!(figure("etcd_lease_deadline_timestamp_seconds") > 1.7e9);
    world.direct.lease_revoke(id).await.unwrap();
    until("the loss is counted", async || {
        figure("etcd_lease_losses_total") > losses
    })
    .await;
    world.proxy.set(Mode::Refuse);
    until("the member is down", async || figure(&name) == 0.0).await;
}

/// The table of metrics names every figure that the code sets, and no other of etcd.
#[test]
fn the_table_of_figures_is_complete() {
    let names = |text: &str, before: &str| -> BTreeSet<String> {
        let pieces = text.split(before).skip(1);
        pieces
            .map(|piece| {
                let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
                piece.chars().take_while(|c| is_name(*c)).collect()
            })
            .collect()
    };
    let set = names(include_str!("../figures.rs"), "!(\"");
    let told = names(include_str!("../../../docs/metrics.md"), "| `etcd_");
    let told: BTreeSet<String> = told.iter().map(|rest| format!("etcd_{rest}")).collect();
    assert_eq!(set, told);
    assert!(set.len() > 10);
}
