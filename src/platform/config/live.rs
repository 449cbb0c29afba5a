//! Live values: a handle whose `get` is one atomic load, and the types it can hold. What a type
//! cannot read is refused before it gets here, so a handle always holds a good value.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use fleet::config::value;
use metrics::counter;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use serde_yaml::Value;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// A type that a config value can be read as.
pub trait ConfigValue: Clone + Send + Sync + 'static {
    /// Where a handle keeps it.
    type Cell: LiveCell<Self>;

    /// Reads it.
    ///
    /// # Errors
    /// The reason in one line, naming what was expected.
    fn read(value: &Value) -> Result<Self, String>;
}

/// The place of a live value.
pub trait LiveCell<T>: Send + Sync + 'static {
    /// What reading gives: the value itself where it fits an atomic, else a shared one.
    type Read: Send + 'static;
    /// A place holding this value.
    fn new(value: T) -> Self;
    /// The value now.
    fn get(&self) -> Self::Read;
    /// Another value from now on.
    fn set(&self, value: T);
}

/// A config value that follows its key. Clones share the value.
pub struct Live<T: ConfigValue>(Arc<Inner<T>>);

struct Inner<T: ConfigValue> {
    path: Arc<str>,
    cell: T::Cell,
    changed: watch::Sender<()>,
    /// What holds while no layer has a value; without it the last value does.
    default: Option<T>,
}

impl<T: ConfigValue> Clone for Live<T> {
    fn clone(&self) -> Live<T> {
        Live(self.0.clone())
    }
}

impl<T: ConfigValue> std::fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The value may be a secret.
        write!(f, "Live({})", self.0.path)
    }
}

impl<T: ConfigValue> Live<T> {
    pub(super) fn new(path: Arc<str>, value: T, default: Option<T>) -> Live<T> {
        Live(Arc::new(Inner {
            path,
            cell: T::Cell::new(value),
            changed: watch::Sender::new(()),
            default,
        }))
    }

    /// The value now: one atomic load for what fits in eight bytes, a shared pointer for the rest.
    #[inline]
    pub fn get(&self) -> <T::Cell as LiveCell<T>>::Read {
        self.0.cell.get()
    }

    /// The key it follows.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// A stream of changes; a slow reader misses steps in between and never the last value.
    pub fn changes(&self) -> Changes<T> {
        Changes {
            changed: self.0.changed.subscribe(),
            live: self.clone(),
        }
    }

    /// Calls `act` with each new value, from a task of its own, until the subscription is dropped.
    /// A call that panics is logged and counted, and the next value is called for all the same.
    /// Must be called within a tokio runtime.
    pub fn on_change(
        &self,
        mut act: impl FnMut(<T::Cell as LiveCell<T>>::Read) + Send + 'static,
    ) -> Subscription {
        let mut changed = self.0.changed.subscribe();
        let inner = Arc::downgrade(&self.0);
        Subscription(AbortOnDropHandle::new(tokio::spawn(async move {
            while changed.changed().await.is_ok() {
                let Some(inner) = inner.upgrade() else {
                    return;
                };
                let called = guarded(|| {
                    act(inner.cell.get());
                    Ok(())
                });
                if let Err(cause) = called {
                    counter!("platform_config_panics_total").increment(1);
                    tracing::error!(key = %inner.path, %cause, "a callback for a config value failed");
                }
            }
        })))
    }

    pub(super) fn watcher(&self) -> Box<dyn Watcher> {
        Box::new(LiveWatcher(Arc::downgrade(&self.0)))
    }
}

/// See [`Live::changes`].
#[derive(Debug)]
pub struct Changes<T: ConfigValue> {
    changed: watch::Receiver<()>,
    live: Live<T>,
}

impl<T: ConfigValue> Changes<T> {
    /// Waits for a change since the last call and gives the newest value; `None` never comes while
    /// the handle lives. Cancelling loses nothing.
    pub async fn next(&mut self) -> Option<<T::Cell as LiveCell<T>>::Read> {
        self.changed.changed().await.ok()?;
        Some(self.live.get())
    }
}

/// Keeps a callback; dropping it ends the calls.
#[derive(Debug)]
#[must_use = "dropping the subscription ends it"]
pub struct Subscription(AbortOnDropHandle<()>);

impl Subscription {
    /// Whether calls still come: not when the last handle is gone.
    pub fn is_active(&self) -> bool {
        !self.0.is_finished()
    }
}

/// Runs code of the service's own, whose panic must not end the loop that it runs in.
///
/// # Errors
/// Its own, or that it panicked. What it said then may quote the value and is left out.
pub(super) fn guarded<T>(run: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    // What a panic leaves half done is the service's own; of ours nothing is touched meanwhile.
    std::panic::catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err("the service's own code for it panicked".into()))
}

/// What the config's state asks and tells of a path somebody uses. Must not panic.
pub(super) trait Watcher: Send + Sync {
    /// Whether the value may be published.
    fn check(&self, value: &Value) -> Result<(), String>;
    /// A value that was checked.
    fn publish(&self, value: &Value);
    /// No layer has a value.
    fn missing(&self);
    /// Whether anybody still cares.
    fn alive(&self) -> bool;
}

struct LiveWatcher<T: ConfigValue>(Weak<Inner<T>>);

impl<T: ConfigValue> LiveWatcher<T> {
    fn set(&self, value: impl FnOnce(&Inner<T>) -> Option<T>) {
        let Some(inner) = self.0.upgrade() else {
            return;
        };
        let set = guarded(|| {
            if let Some(value) = value(&inner) {
                inner.cell.set(value);
                inner.changed.send_replace(());
            }
            Ok(())
        });
        if let Err(cause) = set {
            counter!("platform_config_panics_total").increment(1);
            tracing::error!(key = %inner.path, %cause, "a config value is not handed on");
        }
    }
}

impl<T: ConfigValue> Watcher for LiveWatcher<T> {
    fn check(&self, value: &Value) -> Result<(), String> {
        guarded(|| T::read(value).map(drop))
    }

    fn publish(&self, value: &Value) {
        self.set(|_| T::read(value).ok());
    }

    fn missing(&self) {
        self.set(|inner| inner.default.clone());
    }

    fn alive(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// Guards a path that is read by name: the value must stay of the kind it is read as.
pub(super) struct KindWatcher(pub(super) fn(&Value) -> Result<(), String>);

impl Watcher for KindWatcher {
    fn check(&self, value: &Value) -> Result<(), String> {
        (self.0)(value)
    }
    fn publish(&self, _value: &Value) {}
    fn missing(&self) {}
    fn alive(&self) -> bool {
        true
    }
}

/// What fits in eight bytes.
pub trait Word: Copy + Send + Sync + 'static {
    /// As bits.
    fn to_word(self) -> u64;
    /// From the bits of a value.
    fn from_word(word: u64) -> Self;
}

/// A place of eight bytes.
#[derive(Debug)]
pub struct WordCell<T>(AtomicU64, PhantomData<fn() -> T>);

impl<T: Word> LiveCell<T> for WordCell<T> {
    type Read = T;

    fn new(value: T) -> WordCell<T> {
        WordCell(AtomicU64::new(value.to_word()), PhantomData)
    }

    #[inline]
    fn get(&self) -> T {
        T::from_word(self.0.load(Ordering::Acquire))
    }

    fn set(&self, value: T) {
        self.0.store(value.to_word(), Ordering::Release);
    }
}

/// A place for anything, shared on reading.
#[derive(Debug)]
pub struct SharedCell<T>(ArcSwap<T>);

impl<T: Send + Sync + 'static> LiveCell<T> for SharedCell<T> {
    type Read = Arc<T>;

    fn new(value: T) -> SharedCell<T> {
        SharedCell(ArcSwap::from_pointee(value))
    }

    #[inline]
    fn get(&self) -> Arc<T> {
        self.0.load_full()
    }

    fn set(&self, value: T) {
        self.0.store(Arc::new(value));
    }
}

/// A number of bytes, written `10MiB` or `512KB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Size(pub u64);

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "integer"], "format": "size"})
    }
}

impl Serialize for Size {
    /// As config writes it: in the largest unit that holds it exactly.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
        let fits = |shift: u32| self.0 != 0 && self.0.trailing_zeros() >= shift;
        match units.into_iter().find(|(_, shift)| fits(*shift)) {
            Some((unit, shift)) => to.collect_str(&format_args!("{}{unit}", self.0 >> shift)),
            None => to.serialize_u64(self.0),
        }
    }
}

/// Any serde type, for [`super::Config::live_as`].
#[derive(Debug, Clone, PartialEq)]
pub struct Typed<T>(pub T);

impl<T> std::ops::Deref for Typed<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

macro_rules! word {
    ($($type:ty: $wanted:literal, $to:expr, $from:expr, $read:expr;)*) => {$(
        impl Word for $type {
            #[inline]
            fn to_word(self) -> u64 {
                let to: fn($type) -> u64 = $to;
                to(self)
            }
            #[inline]
            fn from_word(word: u64) -> $type {
                let from: fn(u64) -> $type = $from;
                from(word)
            }
        }

        impl ConfigValue for $type {
            type Cell = WordCell<$type>;
            fn read(value: &Value) -> Result<$type, String> {
                let read: fn(&Value) -> Result<$type, String> = $read;
                read(value)
            }
        }
    )*};
}

word! {
    Duration: "duration", |value| u64::try_from(value.as_nanos()).unwrap_or(u64::MAX), Duration::from_nanos,
        |value| value::duration(value).map_err(|error| error.to_string());
    bool: "bool", u64::from, |word| word != 0,
        |value| value::boolean(value).map_err(|error| error.to_string());
    Size: "size", |value| value.0, Size,
        |value| value::size(value).map(Size).map_err(|error| error.to_string());
    f64: "number", f64::to_bits, f64::from_bits, |value| {
        value.as_f64().filter(|number| number.is_finite()).ok_or_else(|| no(value, "number"))
    };
    u64: "whole number", |value| value, |word| word, |value| {
        value.as_u64().ok_or_else(|| no(value, "whole number from 0"))
    };
    i64: "whole number", i64::cast_unsigned, u64::cast_signed, |value| {
        value.as_i64().ok_or_else(|| no(value, "whole number"))
    };
    u32: "whole number", u64::from, |word| word as u32, |value| {
        value.as_u64().and_then(|number| u32::try_from(number).ok())
            .ok_or_else(|| no(value, "whole number from 0 to 4294967295"))
    };
    usize: "whole number", |value| value as u64, |word| word as usize, |value| {
        value.as_u64().and_then(|number| usize::try_from(number).ok())
            .ok_or_else(|| no(value, "whole number from 0"))
    };
}

impl ConfigValue for String {
    type Cell = SharedCell<String>;

    /// Numbers and truth values count as text: nobody should have to quote a version `1.10`…
    /// which YAML would shorten, so a number is taken as it is shown.
    fn read(value: &Value) -> Result<String, String> {
        match value {
            Value::String(text) => Ok(text.clone()),
            Value::Bool(_) | Value::Number(_) => Ok(value::one_line(value)),
            _ => Err(no(value, "text")),
        }
    }
}

impl<T: ConfigValue> ConfigValue for Vec<T> {
    type Cell = SharedCell<Vec<T>>;

    fn read(value: &Value) -> Result<Vec<T>, String> {
        let Value::Sequence(items) = value else {
            return Err(no(value, "list (like [a, b])"));
        };
        let read = |(index, item)| T::read(item).map_err(|error| format!("item {index}: {error}"));
        items.iter().enumerate().map(read).collect()
    }
}

impl<T: DeserializeOwned + Clone + Send + Sync + 'static> ConfigValue for Typed<T> {
    type Cell = SharedCell<Typed<T>>;

    fn read(value: &Value) -> Result<Typed<T>, String> {
        value::typed(value)
            .map(Typed)
            .map_err(|error| error.to_string())
    }
}

fn no(value: &Value, wanted: &str) -> String {
    let mut shown: String = value::one_line(value).chars().take(40).collect();
    if shown.len() >= 40 {
        shown.push('…');
    }
    format!("{shown} is no {wanted}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yaml(text: &str) -> Value {
        serde_yaml::from_str(text).unwrap()
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "the cases read better with values"
    )]
    fn check<T: ConfigValue + PartialEq + std::fmt::Debug>(text: &str, expected: Option<T>) {
        assert_eq!(
            T::read(&yaml(text)).ok().as_ref(),
            expected.as_ref(),
            "{text}"
        );
    }

    #[test]
    fn each_type_reads_what_it_means_and_nothing_else() {
        check("5s", Some(Duration::from_secs(5)));
        check::<Duration>("5", None);
        check("true", Some(true));
        check::<bool>("yes please", None);
        check("10MiB", Some(Size(10 << 20)));
        check("7", Some(7u64));
        check::<u64>("-7", None);
        check("-7", Some(-7i64));
        check::<u32>("4294967296", None);
        check("1.5", Some(1.5f64));
        check::<f64>(".nan", None);
        check("abc", Some("abc".to_owned()));
        check("7", Some("7".to_owned()));
        check::<String>("[a]", None);
        check(
            "[1s, 2s]",
            Some(vec![Duration::from_secs(1), Duration::from_secs(2)]),
        );
        check::<Vec<u64>>("[1, x]", None);
    }

    #[test]
    fn a_bad_item_of_a_list_is_named() {
        let error = Vec::<u64>::read(&yaml("[1, x]")).unwrap_err();
        assert!(error.contains("item 1") && error.contains('x'), "{error}");
    }

    #[test]
    fn a_word_cell_keeps_every_kind_of_value() {
        let duration = WordCell::new(Duration::from_millis(1500));
        assert_eq!(duration.get(), Duration::from_millis(1500));
        let negative = WordCell::new(-3i64);
        assert_eq!(negative.get(), -3);
        let number = WordCell::new(-0.5f64);
        assert_eq!(number.get(), -0.5);
    }

    #[tokio::test]
    async fn a_callback_gets_the_last_value_and_ends_with_its_subscription() {
        let live = Live::new("a".into(), 1u64, None);
        let (tell, mut told) = tokio::sync::mpsc::channel(8);
        let subscription = live.on_change(move |value| assert!(tell.try_send(value).is_ok()));
        live.watcher().publish(&yaml("2"));
        assert_eq!(told.recv().await, Some(2));
        drop(subscription);
        assert_eq!(told.recv().await, None);
    }

    #[tokio::test]
    async fn a_callback_that_panics_is_called_again_for_the_next_value() {
        let live = Live::new("a".into(), 1u64, None);
        let (tell, mut told) = tokio::sync::mpsc::channel(8);
        let subscription = live.on_change(move |value| {
            assert!(tell.try_send(value).is_ok());
            assert_ne!(value, 2, "the service's own fault");
        });
        for value in ["2", "3"] {
            live.watcher().publish(&yaml(value));
            assert_eq!(told.recv().await, yaml(value).as_u64());
        }
        assert!(subscription.is_active());
    }

    #[tokio::test]
    async fn a_slow_reader_misses_steps_and_never_the_last_value() {
        let live = Live::new("a".into(), 1u64, None);
        let mut changes = live.changes();
        for value in ["2", "3", "4"] {
            live.watcher().publish(&yaml(value));
        }
        assert_eq!(changes.next().await, Some(4));
    }
}
