//! Where a mirror's events go: to a reader of whole listings, or to one that takes the first listing
//! page by page. Both channels are bounded: a slow reader makes etcd wait.

use fleet::Entry;
use tokio::sync::mpsc;

use super::{MirrorEvent, PagedEvent};

/// See the module.
#[derive(Clone)]
pub(super) enum Outlet {
    Whole(mpsc::Sender<MirrorEvent>),
    Paged(mpsc::Sender<PagedEvent>),
}

/// Nobody reads any more.
pub(super) struct Unread;

impl Outlet {
    pub(super) async fn give(&self, event: MirrorEvent) -> Result<(), Unread> {
        match self {
            Self::Whole(events) => events.send(event).await.map_err(|_| Unread),
            Self::Paged(events) => {
                let sent = events.send(PagedEvent::Event(event)).await;
                sent.map_err(|_| Unread)
            }
        }
    }

    /// Ends when nobody reads any more.
    pub(super) async fn closed(&self) {
        match self {
            Self::Whole(events) => events.closed().await,
            Self::Paged(events) => events.closed().await,
        }
    }

    /// How many events were given and not read yet.
    pub(super) fn unread(&self) -> usize {
        match self {
            Self::Whole(events) => events.max_capacity() - events.capacity(),
            Self::Paged(events) => events.max_capacity() - events.capacity(),
        }
    }

    /// The way for pages; `None` where a listing is wanted whole.
    pub(super) fn pages(&self) -> Option<Pages> {
        match self {
            Self::Whole(_) => None,
            Self::Paged(events) => Some(Pages {
                events: events.clone(),
                begins: true,
            }),
        }
    }
}

/// The pages of one listing.
pub(super) struct Pages {
    events: mpsc::Sender<PagedEvent>,
    begins: bool,
}

impl Pages {
    /// Hands a page on; says whether there still is a reader.
    pub(super) fn give(&mut self, entries: Vec<Entry>) -> impl Future<Output = bool> + use<> {
        let begins = std::mem::take(&mut self.begins);
        let events = self.events.clone();
        async move {
            let page = PagedEvent::Page { begins, entries };
            events.send(page).await.is_ok()
        }
    }
}
