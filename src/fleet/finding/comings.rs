//! How often instances came back under their keys lately. Pure: times are since whatever its owner
//! began, and only go forward.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::instance::{FLAPPING, Flaps};
use crate::kv::Key;

/// Further back nobody is remembered.
const WITHIN: Duration = Duration::from_secs(60);

/// More than so many say nothing more, and are not kept.
const KEPT: usize = 100_000;

/// Registrations of the last minute.
#[derive(Debug, Clone, Default)]
pub struct Comings {
    /// The oldest first.
    log: VecDeque<(Duration, Key)>,
    times: HashMap<Key, u32>,
    flapping: HashSet<Key>,
}

impl Comings {
    /// An instance was registered that was not there. What is too long ago counts until it is
    /// [forgotten](Self::forget).
    pub fn came(&mut self, key: &Key, now: Duration) -> Flaps {
        if self.log.len() == KEPT
            && let Some((_, oldest)) = self.log.pop_front()
        {
            self.less(&oldest);
        }
        self.log.push_back((now, key.clone()));
        let times = self.times.entry(key.clone()).or_default();
        *times = times.saturating_add(1);
        if *times >= FLAPPING {
            self.flapping.insert(key.clone());
        }
        flaps(*times)
    }

    /// How often an instance came in the last minute; `None` when it did not.
    #[must_use]
    pub fn of(&self, key: &Key) -> Option<Flaps> {
        self.times.get(key).map(|times| flaps(*times))
    }

    /// Forgets what is too long ago. Returns who flaps no longer.
    pub fn forget(&mut self, now: Duration) -> Vec<Key> {
        let mut calm = Vec::new();
        while let Some((at, _)) = self.log.front()
            && now.saturating_sub(*at) > WITHIN
            && let Some((_, key)) = self.log.pop_front()
        {
            if self.less(&key) {
                calm.push(key);
            }
        }
        calm
    }

    /// When somebody who flaps may have ceased to; `None` while nobody does.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        let (oldest, _) = self.log.front()?;
        (!self.flapping.is_empty()).then(|| *oldest + WITHIN + Duration::from_millis(1))
    }

    /// One registration less. Returns whether it flaps no longer.
    fn less(&mut self, key: &Key) -> bool {
        let Some(times) = self.times.get_mut(key) else {
            return false;
        };
        *times -= 1;
        let calm = *times < FLAPPING && self.flapping.remove(key);
        if *times == 0 {
            self.times.remove(key);
        }
        calm
    }
}

fn flaps(times: u32) -> Flaps {
    Flaps {
        times,
        within: WITHIN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_coming_within_a_minute_is_flapping_until_a_minute_has_passed() {
        let mut comings = Comings::default();
        let (a, b) = (
            Key::from("/services/order/a"),
            Key::from("/services/order/b"),
        );
        let second = Duration::from_secs;
        assert_eq!(comings.came(&a, second(0)).times, 1);
        assert_eq!(comings.came(&a, second(20)).times, 2);
        assert_eq!(comings.due(), None);
        assert_eq!(comings.came(&b, second(30)).times, 1);
        assert_eq!(comings.came(&a, second(40)).times, 3);
        assert!(comings.forget(second(60)).is_empty());
        let due = comings.due().unwrap();
        assert!(due > second(60) && due < second(61));
        assert_eq!(comings.forget(due), std::slice::from_ref(&a));
        assert_eq!(comings.of(&a).unwrap().times, 2);
        assert_eq!(comings.due(), None);
        assert!(comings.forget(second(200)).is_empty());
        assert!(comings.of(&a).is_none() && comings.of(&b).is_none());
        assert!(comings.times.is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut comings = Comings::default();
        for index in 0..KEPT + 7 {
            comings.came(
                &format!("/services/s/{index}").as_str().into(),
                Duration::ZERO,
            );
        }
        assert_eq!((comings.log.len(), comings.times.len()), (KEPT, KEPT));
    }
}
