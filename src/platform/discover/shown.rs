//! A view as others get it, beside what the gauges say of it: both follow what its owner knows, and
//! the gauges are left at zero when that ends.

use std::sync::Arc;
use std::time::Instant;

use metrics::{Gauge, gauge};
use tokio::sync::watch;

use super::{Knowledge, ServiceView};

/// See the module.
#[derive(Debug)]
pub(super) struct Shown {
    publish: watch::Sender<Arc<ServiceView>>,
    gauges: Gauges,
}

impl Shown {
    pub(super) fn new(view: ServiceView) -> Shown {
        let gauges = Gauges::of(view.service.as_str());
        gauges.set(&view);
        Shown {
            publish: watch::Sender::new(Arc::new(view)),
            gauges,
        }
    }

    pub(super) fn view(&self) -> watch::Receiver<Arc<ServiceView>> {
        self.publish.subscribe()
    }

    pub(super) fn is_viewed(&self) -> bool {
        self.publish.receiver_count() > 0
    }

    /// What was shown last.
    pub(super) fn last(&self) -> Arc<ServiceView> {
        self.publish.borrow().clone()
    }

    /// What is followed no longer, until the loop has begun anew, is not believed for fresh.
    pub(super) fn doubt(&self, cause: &str) {
        let mut view = ServiceView::clone(&self.last());
        let cause = format!("the loop that follows etcd ended by a fault: {cause}");
        view.knowledge = match view.knowledge {
            Knowledge::Waiting { .. } => Knowledge::Waiting { cause: Some(cause) },
            Knowledge::Stale { since, .. } => Knowledge::Stale { since, cause },
            Knowledge::Fixed | Knowledge::Fresh { .. } => Knowledge::Stale {
                since: Instant::now(),
                cause,
            },
        };
        self.show(view);
    }

    /// Shows this one from now on.
    pub(super) fn show(&self, view: ServiceView) {
        self.gauges.set(&view);
        let before = self.publish.borrow().knowledge.doubt().is_some();
        let service = &view.service;
        match (before, view.knowledge.doubt()) {
            (false, Some(doubt)) => {
                tracing::warn!(%service, %doubt, "the list of instances may be old");
            }
            (true, None) => {
                tracing::info!(%service, instances = view.instances.len(), "the list of instances is fresh");
            }
            _ => {}
        }
        self.publish.send_replace(Arc::new(view));
    }
}

#[derive(Debug)]
struct Gauges {
    instances: Gauge,
    quarantined: Gauge,
    stale: Gauge,
}

impl Gauges {
    fn of(service: &str) -> Gauges {
        let labels = [("service", service.to_owned())];
        Gauges {
            instances: gauge!("platform_discovery_instances", &labels),
            quarantined: gauge!("platform_discovery_quarantined", &labels),
            stale: gauge!("platform_discovery_stale", &labels),
        }
    }

    fn set(&self, view: &ServiceView) {
        self.instances.set(view.instances.len() as f64);
        self.quarantined.set(view.quarantined as f64);
        let stale = view.knowledge.doubt().is_some();
        self.stale.set(f64::from(u8::from(stale)));
    }
}

impl Drop for Gauges {
    fn drop(&mut self) {
        for gauge in [&self.instances, &self.quarantined, &self.stale] {
            gauge.set(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use fleet::{Revision, ServiceName};

    use super::*;
    use crate::discover::{Instances, known};

    fn view(knowledge: Knowledge) -> ServiceView {
        ServiceView {
            service: ServiceName::new("order").unwrap(),
            instances: Instances::default(),
            quarantined: 0,
            knowledge,
        }
    }

    #[test]
    fn a_loop_that_failed_leaves_its_list_in_doubt_until_the_next_one_hears_etcd() {
        let revision = Revision(7);
        let shown = Shown::new(view(Knowledge::Fresh { revision }));
        let seen = shown.view();
        let doubt = || seen.borrow().knowledge.doubt();
        assert_eq!(doubt(), None);
        shown.doubt("it panicked");
        assert!(doubt().unwrap().contains("it panicked"), "{:?}", doubt());
        let since = seen.borrow().knowledge.clone();
        // The next loop has heard nothing: what is known is as old as before.
        shown.show(known(view(Knowledge::default()), &shown.last()));
        assert_eq!(seen.borrow().knowledge, since);
        shown.show(known(view(Knowledge::Fresh { revision }), &shown.last()));
        assert_eq!(doubt(), None);
    }

    #[test]
    fn a_loop_that_failed_before_it_heard_etcd_still_waits_and_says_why() {
        let shown = Shown::new(view(Knowledge::default()));
        shown.doubt("it panicked");
        let Knowledge::Waiting { cause: Some(cause) } = shown.last().knowledge.clone() else {
            panic!("{:?}", shown.last().knowledge);
        };
        assert!(cause.contains("it panicked"), "{cause}");
    }
}
