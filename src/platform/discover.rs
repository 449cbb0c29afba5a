//! Who answers for a service: one mirror per service that is used, kept for the process's life,
//! shared by all its channels, or one of all services for who calls them all. The last good list
//! stays in use while etcd is away and says so; poison records are counted and hide nobody.
//! Deliberately absent: whether an instance answers (its channel finds out).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use etcd::{Client, Mirror, MirrorOptions, PagedEvent};
use fleet::{Prefix, Revision, ServiceName};
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::running::supervise;
use fold::Fold;
use shown::Shown;

mod directory;
mod fold;
mod instances;
mod shown;

pub(crate) use directory::Directory;
pub use instances::Instances;

/// So many events are shown together at most.
pub(crate) const TOGETHER: usize = 1_000;

/// The instances of one service as they are known now.
#[derive(Debug, Clone)]
pub struct ServiceView {
    /// The service.
    pub service: ServiceName,
    /// Its instances, in the order of their keys.
    pub instances: Instances,
    /// Records of the service that could not be read.
    pub quarantined: usize,
    /// How far the list is to be believed.
    pub knowledge: Knowledge,
}

/// How far a list is to be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Knowledge {
    /// It was given, and nobody changes it.
    Fixed,
    /// Nothing was heard yet; `cause` says what is in the way once that is known.
    Waiting {
        /// Why etcd was not heard.
        cause: Option<String>,
    },
    /// True as of this revision, proved by etcd.
    Fresh {
        /// The newest proved revision.
        revision: Revision,
    },
    /// The last good list; it may be out of date.
    Stale {
        /// Since when.
        since: Instant,
        /// Why.
        cause: String,
    },
}

impl Default for Knowledge {
    fn default() -> Knowledge {
        Knowledge::Waiting { cause: None }
    }
}

impl Knowledge {
    /// Whether the first word is still to come and nothing is known to be in its way.
    pub fn is_waiting(&self) -> bool {
        matches!(self, Knowledge::Waiting { cause: None })
    }

    /// What is to be doubted, in words; `None` while nothing is.
    pub fn doubt(&self) -> Option<String> {
        match self {
            Knowledge::Fixed | Knowledge::Fresh { .. } => None,
            Knowledge::Waiting { cause: None } => Some("etcd has not answered yet".into()),
            Knowledge::Waiting { cause: Some(cause) } => {
                Some(format!("etcd was never reached: {cause}"))
            }
            Knowledge::Stale { since, cause } => {
                Some(format!("the list is {:.0?} old: {cause}", since.elapsed()))
            }
        }
    }
}

/// The views of all services that this process uses.
#[derive(Debug)]
pub struct Discovery {
    client: Client,
    services: Prefix,
    followed: Mutex<HashMap<ServiceName, Followed>>,
}

#[derive(Debug)]
struct Followed {
    view: watch::Receiver<Arc<ServiceView>>,
    _follower: AbortOnDropHandle<()>,
}

impl Discovery {
    /// Discovery under the prefix of all services. Asks nothing until a service is used.
    pub fn new(client: Client, services: Prefix) -> Discovery {
        Discovery {
            client,
            services,
            followed: Mutex::default(),
        }
    }

    /// The live view of a service; the first use begins to follow it. Must be called within a
    /// tokio runtime. The view ends with the `Discovery`.
    pub fn view(&self, service: &ServiceName) -> watch::Receiver<Arc<ServiceView>> {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = followed.get(service) {
            return known.view.clone();
        }
        let prefix = self.services.narrow(&format!("{service}/"));
        let fold = Fold::new(self.services.clone(), service.clone());
        let shown = Arc::new(Shown::new(fold.view()));
        let view = shown.view();
        let doubted = Arc::clone(&shown);
        let failed = move |cause: &str| doubted.doubt(cause);
        let (client, services, name) =
            (self.client.clone(), self.services.clone(), service.clone());
        let begin = move || {
            let fold = Fold::new(services.clone(), name.clone());
            let options = MirrorOptions::default();
            let (mirror, events) = Mirror::spawn_paged(client.clone(), prefix.clone(), options);
            follow(mirror, events, fold, Arc::clone(&shown))
        };
        let loop_name = format!("discovery of {service}");
        let task = tokio::spawn(supervise(loop_name, failed, begin));
        let follower = AbortOnDropHandle::new(task);
        followed.insert(
            service.clone(),
            Followed {
                view: view.clone(),
                _follower: follower,
            },
        );
        view
    }
}

/// A loop that has begun anew and has heard nothing yet knows less than the one before it knew.
fn known(view: ServiceView, last: &ServiceView) -> ServiceView {
    match (&view.knowledge, &last.knowledge) {
        (Knowledge::Waiting { .. }, Knowledge::Stale { .. }) => last.clone(),
        _ => view,
    }
}

async fn follow(
    _mirror: Mirror,
    mut events: mpsc::Receiver<PagedEvent>,
    mut fold: Fold,
    shown: Arc<Shown>,
) {
    let mut together = Vec::new();
    loop {
        let deadline = fold.next_deadline();
        let grace = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        // A page alone changes nothing that is shown.
        let mut outdated = false;
        tokio::select! {
            came = events.recv_many(&mut together, TOGETHER) => if came == 0 {
                return;
            },
            () = grace => {
                fold.expire(Instant::now());
                outdated = true;
            }
        }
        for event in together.drain(..) {
            outdated |= matches!(event, PagedEvent::Event(_));
            fold.take_paged(event, Instant::now());
        }
        if outdated {
            shown.show(known(fold.view(), &shown.last()));
        }
    }
}
