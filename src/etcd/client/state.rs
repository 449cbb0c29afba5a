//! What is known about the link, for whoever shows it: each member up or down, since when and why.
//!
//! A picture, not a control: picking a member reads the members themselves.

use std::sync::Arc;
use std::time::Instant;

/// The members and the one that is asked first.
#[derive(Debug, Clone, Default)]
pub struct LinkState {
    /// In the order of the settings.
    pub members: Vec<MemberState>,
    /// The index of the member that answered last; `None` until one has.
    pub current: Option<usize>,
}

impl LinkState {
    /// Whether a member is connected.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.members
            .iter()
            .any(|member| matches!(member.condition, Condition::Up { .. }))
    }

    /// Whether every member was tried and none is connected.
    #[must_use]
    pub fn is_down(&self) -> bool {
        !self.members.is_empty()
            && self
                .members
                .iter()
                .all(|member| matches!(member.condition, Condition::Down { .. }))
    }
}

/// One member as this process sees it.
#[derive(Debug, Clone)]
pub struct MemberState {
    /// As the settings name it.
    pub endpoint: Arc<str>,
    /// Up, down or not tried yet.
    pub condition: Condition,
    /// Why it was last down; kept while it is up.
    pub last_error: Option<Arc<str>>,
}

/// Whether a member answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Nothing was asked of it yet.
    Untried,
    /// Connected since then.
    Up {
        /// When it was connected.
        since: Instant,
    },
    /// Not reachable since then; tried again in the background.
    Down {
        /// When it was lost, or first tried in vain.
        since: Instant,
    },
}
