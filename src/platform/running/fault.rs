//! For tests alone: panics in the loop of a name, at the moment where it waits.

use std::future::Future;
use std::sync::LazyLock;

use tokio::sync::broadcast;

static STRUCK: LazyLock<broadcast::Sender<String>> = LazyLock::new(|| broadcast::channel(64).0);

/// Panics in every loop of this name that runs now.
pub(crate) fn strike(name: &str) {
    STRUCK.send(name.to_owned()).unwrap();
}

/// The loop, and what strikes it.
pub(super) async fn exposed(name: &str, work: impl Future<Output = ()>) {
    let mut struck = STRUCK.subscribe();
    let fate = async {
        while struck.recv().await.unwrap() != name {}
        panic!("struck");
    };
    tokio::select! {
        () = fate => {}
        () = work => {}
    }
}
