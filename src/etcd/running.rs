//! Background loops that a panic does not end for good: whoever waits for what such a loop keeps would
//! wait for ever. It is caught and told, and its owner begins the loop anew. Deliberately absent:
//! mending what made it fail.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;

use crate::figures;

/// Does this work, and says what a panic said that ended it. The work's state is its owner's to
/// begin anew.
///
/// # Errors
/// The words of the panic.
pub async fn caught<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let ended = AssertUnwindSafe(work).catch_unwind().await;
    ended.map_err(|panic| format!("it panicked: {}", words(&*panic)))
}

/// The same for a loop of this crate's, which is counted under this name.
pub(crate) async fn watched<T>(
    name: &'static str,
    work: impl Future<Output = T>,
) -> Result<T, String> {
    let ended = caught(work).await;
    if let Err(cause) = &ended {
        figures::loop_failed(name);
        tracing::error!(%name, %cause, "a background loop ended by a fault, which is a bug; it begins anew");
    }
    ended
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let literal = panic.downcast_ref::<&str>().copied();
    let made = || panic.downcast_ref::<String>().map(String::as_str);
    literal.or_else(made).unwrap_or("no words")
}
