//! The etcd crate against faults: a real etcd and the embedded server, behind a proxy that fails
//! on demand.
//!
//! Every case waits for what must come about, and looks that nothing was missed or doubled.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail the test that called them"
)]

mod auth;
mod calm;
mod client;
mod commit;
mod failover;
mod figures;
mod interposer;
mod lease;
mod mirror;
mod observer;
mod paged;
mod replay;
mod scope;
mod space;
mod struck;
mod tls;
mod wiped;
mod world;

/// Runs each case against a real etcd and against the embedded server.
macro_rules! on_both {
    ($($case:ident),* $(,)?) => {
        mod on_etcd {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(crate::world::World::real().await).await;
            })*
        }
        mod on_etcdlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(crate::world::World::lite().await).await;
            })*
        }
    };
}
pub(crate) use on_both;
