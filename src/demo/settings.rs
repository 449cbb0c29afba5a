//! The hot config of the demo services: read at each use, so that a change shows in the next answer.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use platform::{Config, Error, config::Subscription};
use schemars::JsonSchema;
use serde::Serialize;

/// A config value that is read anew each time.
pub(crate) struct Knob<T>(Arc<dyn Fn() -> T + Send + Sync>);

impl<T> Knob<T> {
    pub(crate) fn new(read: impl Fn() -> T + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    pub(crate) fn get(&self) -> T {
        (self.0)()
    }
}

impl<T> Clone for Knob<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// What an operator can turn while the services run.
#[derive(Clone)]
pub(crate) struct Settings {
    /// `timeout.write`: how long a write may take, the calls that it makes included.
    pub(crate) write_timeout: Knob<Duration>,
    /// `page.size`: records on a page when the caller does not say.
    pub(crate) page_size: Knob<u64>,
    /// `features.greeting`: whether users are greeted by name.
    pub(crate) greeting: Knob<bool>,
    /// What says in the log that a value is another one.
    #[expect(dead_code, reason = "held: the calls end with it")]
    told: Arc<[Subscription]>,
}

/// The shape of the config: what each key is, what it may be, and what counts where no config says
/// otherwise. Published for operators.
#[derive(Default, Serialize, JsonSchema)]
pub(crate) struct Shape {
    timeout: Timeouts,
    page: Page,
    features: Features,
}

#[derive(Serialize, JsonSchema)]
struct Timeouts {
    /// How long a write may take, the calls that it makes included.
    #[schemars(extend("x-minimum" = "10ms", "x-maximum" = "1m"))]
    write: Duration,
}

#[derive(Serialize, JsonSchema)]
struct Page {
    /// Records on a page when the caller does not say.
    #[schemars(range(min = 1, max = 500))]
    size: u64,
}

#[derive(Default, Serialize, JsonSchema)]
struct Features {
    /// Whether users are greeted by name.
    greeting: bool,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            write: Duration::from_secs(3),
        }
    }
}

impl Default for Page {
    fn default() -> Self {
        Self { size: 10 }
    }
}

impl Settings {
    /// Settings that follow `config`.
    pub(crate) fn live(config: &Config) -> Result<Self, Error> {
        let (write_timeout, page_size, greeting) = (
            config.live::<Duration>("timeout.write")?,
            config.live::<u64>("page.size")?,
            config.live::<bool>("features.greeting")?,
        );
        let told = [
            write_timeout.on_change(|value| tracing::info!(?value, "timeout.write")),
            page_size.on_change(|value| tracing::info!(value, "page.size")),
            greeting.on_change(|value| tracing::info!(value, "features.greeting")),
        ];
        Ok(Self {
            told: told.into(),
            write_timeout: Knob::new(move || write_timeout.get()),
            page_size: Knob::new(move || page_size.get()),
            greeting: Knob::new(move || greeting.get()),
        })
    }

    /// Every key with the value it has at this moment.
    pub(crate) fn snapshot(&self) -> HashMap<String, String> {
        HashMap::from([
            (
                "timeout.write".to_owned(),
                Plain(self.write_timeout.get()).to_string(),
            ),
            ("page.size".to_owned(), self.page_size.get().to_string()),
            (
                "features.greeting".to_owned(),
                self.greeting.get().to_string(),
            ),
        ])
    }
}

/// A duration as config writes it: `5s`, `250ms`, `1.5s`.
pub(crate) struct Plain(pub(crate) Duration);

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
pub(crate) fn fixed(write_timeout: Duration) -> Settings {
    Settings {
        write_timeout: Knob::new(move || write_timeout),
        page_size: Knob::new(|| 5),
        greeting: Knob::new(|| true),
        told: Arc::new([]),
    }
}
