//! The one lease of a process: everything that it registers hangs on it, however many ports it
//! binds. It ends with the last of them, and no name is held twice.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use etcd::{LeaseKeeper, LeaseState};
use fleet::InstanceId;
use tokio::sync::watch;

/// See the module. Clones are the same lease.
#[derive(Debug, Clone, Default)]
pub(super) struct OneLease(Arc<Mutex<Option<Kept>>>);

#[derive(Debug)]
struct Kept {
    keeper: LeaseKeeper,
    holders: BTreeSet<InstanceId>,
}

/// A share in the lease, under a name. Dropping it gives the share up.
#[derive(Debug)]
pub(super) struct Share {
    lease: OneLease,
    /// `None` once it was given up.
    id: Option<InstanceId>,
    state: watch::Receiver<LeaseState>,
}

impl OneLease {
    /// Takes a share; the first one starts the lease by `keep`. `None` where the name is held
    /// already.
    pub(super) fn share(
        &self,
        id: &InstanceId,
        keep: impl FnOnce() -> LeaseKeeper,
    ) -> Option<Share> {
        let mut kept = self.kept();
        let kept = kept.get_or_insert_with(|| Kept {
            keeper: keep(),
            holders: BTreeSet::new(),
        });
        kept.holders.insert(id.clone()).then(|| Share {
            lease: self.clone(),
            id: Some(id.clone()),
            state: kept.keeper.state(),
        })
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a share up; the last one takes the keeper out.
    fn give_up(&self, id: &InstanceId) -> Option<LeaseKeeper> {
        let mut kept = self.kept();
        let holders = &mut kept.as_mut()?.holders;
        holders.remove(id);
        if holders.is_empty() {
            return kept.take().map(|kept| kept.keeper);
        }
        None
    }
}

impl Share {
    /// Where the lease stands, live.
    pub(super) fn state(&self) -> watch::Receiver<LeaseState> {
        self.state.clone()
    }

    /// Gives the share up. The last one gets the keeper, to revoke the lease with all that hangs on
    /// it; the others take their keys away themselves.
    pub(super) fn leave(mut self) -> Option<LeaseKeeper> {
        self.lease.give_up(&self.id.take()?)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            drop(self.lease.give_up(&id));
        }
    }
}
