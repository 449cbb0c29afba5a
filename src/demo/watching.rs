//! A watch as a stream of answers: what there is, then what changes, until the caller leaves or the instance does.

use std::sync::Arc;

use futures::{Stream, StreamExt as _, stream};
use platform::server::Draining;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tonic::{Request, Status};

use crate::store::{Change, Record, Store};

/// One thing that a watcher is told.
pub(crate) enum Told<T> {
    Existing(T),
    Changed(Change<T>),
}

/// Whether a watch begins with what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Everything,
    Now,
}

/// See the module. Ends with an error that says what to do, or with the caller.
pub(crate) fn watch<T: Record>(
    store: &Arc<Store<T>>,
    from: From,
    draining: Option<Draining>,
) -> impl Stream<Item = Result<Told<T>, Status>> + Send + use<T> {
    let (existing, changes) = store.watch();
    let existing = if from == From::Everything {
        existing
    } else {
        Vec::new()
    };
    let later = stream::unfold(Some(changes), |changes| async { next(changes?).await });
    let first = stream::iter(existing).map(|record| Ok(Told::Existing(record)));
    first.chain(until_drained(draining, later))
}

/// `stream`, and the word to go elsewhere when the instance drains before it ends.
pub(crate) fn until_drained<T: Send>(
    draining: Option<Draining>,
    stream: impl Stream<Item = Result<T, Status>> + Send,
) -> impl Stream<Item = Result<T, Status>> + Send {
    let drained = async move {
        match draining {
            Some(draining) => draining.begun().await,
            None => std::future::pending().await,
        }
        Err(Status::unavailable(
            "this instance is going away. Ask again on another",
        ))
    };
    // The stream by itself, ended by whichever comes first: its own end, or the drain's word.
    let items = stream.map(Some).chain(stream::once(async { None }));
    stream::select(items, stream::once(drained).map(Some)).scan(Ended::No, |ended, item| {
        let next = match (&ended, item) {
            (Ended::Yes, _) | (Ended::No, None) => None,
            (Ended::No, Some(item)) => {
                if item.is_err() {
                    *ended = Ended::Yes;
                }
                Some(item)
            }
        };
        std::future::ready(next)
    })
}

/// What tells a call that its server drains.
pub(crate) fn draining<R>(request: &Request<R>) -> Option<Draining> {
    request.extensions().get().cloned()
}

enum Ended {
    No,
    Yes,
}

type Next<T> = (Result<Told<T>, Status>, Option<Receiver<Change<T>>>);

async fn next<T: Record>(mut changes: Receiver<Change<T>>) -> Option<Next<T>> {
    match changes.recv().await {
        Ok(change) => Some((Ok(Told::Changed(change)), Some(changes))),
        Err(RecvError::Lagged(missed)) => {
            let message = format!("{missed} changes came faster than they were read. Watch again");
            Some((Err(Status::data_loss(message)), None))
        }
        Err(RecvError::Closed) => None,
    }
}
