//! A service in one row: its instances by state and version, how far its config has come, its
//! findings in a few words. Made once per change, never per draw.

use fleet::Health;

/// What is true of a service as a whole; made once per change, not per draw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// How many instances are registered.
    pub instances: usize,
    /// How many there are of each [`Health::ALL`].
    pub by_health: [usize; 5],
    /// Versions with their number of instances, the commonest first.
    pub versions: Vec<(String, usize)>,
    /// The newest revision of the config it reads, and how many instances say that they have not
    /// taken it in; absent where etcd holds none, or no instance says what it runs.
    pub config: Option<(i64, usize)>,
    /// How many findings there are that hurt, and that will.
    pub errors: usize,
    /// See [`Summary::errors`].
    pub warnings: usize,
    /// Findings in a few words, the worst first.
    pub findings: Vec<String>,
    /// Another number once other processes or versions are registered.
    pub deployed: u64,
}

impl Summary {
    /// How many are in this state.
    pub fn count(&self, health: Health) -> usize {
        self.by_health[rank(health)]
    }

    /// The worst state any instance is in; unknown counts as good news.
    pub fn worst(&self) -> Health {
        [
            Health::Unreachable,
            Health::Hung,
            Health::NotServing,
            Health::Serving,
        ]
        .into_iter()
        .find(|health| self.count(*health) > 0)
        .unwrap_or(Health::Unknown)
    }
}

/// The place of a state in [`Health::ALL`].
pub fn rank(health: Health) -> usize {
    Health::ALL
        .iter()
        .position(|known| *known == health)
        .unwrap_or(4)
}
