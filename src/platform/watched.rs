//! The watch of a key that this instance writes itself: what others do to it is heard of.
//!
//! It begins after the first write: where a whole fleet starts, its records come first. What befell
//! the key in between is seen in the listing that the watch begins with.

use etcd::{Client, Mirror, MirrorEvent, MirrorOptions};
use fleet::Prefix;
use tokio::sync::mpsc;

/// See the module. Dropping it ends the watch.
#[derive(Debug, Default)]
pub(crate) struct Watched(Option<(Mirror, mpsc::Receiver<MirrorEvent>)>);

impl Watched {
    /// The key was written: from now on it is watched.
    pub(crate) fn begin(&mut self, client: &Client, key: &Prefix) {
        self.0.get_or_insert_with(|| {
            Mirror::spawn(client.clone(), key.clone(), MirrorOptions::default())
        });
    }

    /// The next event, none before it begins; `None` when the mirror has ended.
    pub(crate) async fn heard(&mut self) -> Option<MirrorEvent> {
        match &mut self.0 {
            Some((_, events)) => events.recv().await,
            None => std::future::pending().await,
        }
    }
}
