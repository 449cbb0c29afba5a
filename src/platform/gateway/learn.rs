//! Learns what one upstream serves, from the reflection of its newest instance that answers, and goes on asking:
//! when its instances change, and every now and then. What was learned stays while nobody answers.
//! Invariant: bounded in files, bytes, time and the number of upstreams asked at once.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
    time::Duration,
};

use etcd::backoff::Backoff;
use fleet::{Endpoint, Key, Revision};
use reflect::{ReflectOptions, Schema};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::{
    channel::{Channel, ChannelOptions},
    discover::ServiceView,
    transcode::is_plumbing,
};

/// For one server's whole answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// More files, or bytes, of descriptors than this are refused.
const MOST_FILES: usize = 5_000;
const MOST_BYTES: usize = 32 << 20;
/// So many instances are asked, the newest first, before it is tried again later.
const MOST_ASKED: usize = 3;
/// Between two attempts while nobody answers.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// A shorter time between two looks is taken for this.
const SHORTEST: Duration = Duration::from_millis(100);

/// Where an upstream is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Fixed(Vec<Endpoint>),
    Discovered(watch::Receiver<Arc<ServiceView>>),
}

/// What an upstream serves.
#[derive(Debug)]
pub(super) struct Known {
    schema: Schema,
    services: Vec<String>,
    /// Of names and descriptors together: equal where they are.
    print: u64,
    /// Paths of the methods that may be called twice.
    pub(super) repeatable: Arc<BTreeSet<String>>,
}

/// What came of asking.
#[derive(Debug)]
pub(super) enum Lesson {
    Known(Known),
    /// Nobody answered; it is tried again.
    Unreached(String),
    /// Somebody answered, and nothing can be made of it.
    Unreadable(String),
}

/// A lesson, and of which upstream.
pub(super) struct News {
    pub(super) upstream: Arc<str>,
    pub(super) lesson: Lesson,
}

/// How to learn.
#[derive(Clone)]
pub(super) struct Learning {
    pub(super) channel: ChannelOptions,
    pub(super) refresh: Duration,
    pub(super) reflection: reflect::Metadata,
    /// What servers without reflection serve.
    pub(super) fallback: Option<Schema>,
    /// Bounds how many are asked at once.
    pub(super) turns: Arc<Semaphore>,
}

impl Known {
    pub(super) fn services(&self) -> impl Iterator<Item = reflect::Service> + '_ {
        self.services
            .iter()
            .filter_map(|name| self.schema.service(name))
    }

    fn of(schema: Schema, services: impl IntoIterator<Item = String>) -> Self {
        let services: Vec<String> = services
            .into_iter()
            .filter(|name| !is_plumbing(name))
            .collect();
        let mut files: Vec<_> = schema.files().collect();
        files.sort();
        let mut hasher = DefaultHasher::new();
        (&services, &files).hash(&mut hasher);
        let print = hasher.finish();
        drop(files);
        let repeatable = services
            .iter()
            .filter_map(|name| schema.service(name))
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            // HTTP promises the callers of GET that it may be repeated, and so did who wrote that rule.
            .filter(|method| {
                method.idempotent() || method.http_rules().iter().any(|rule| rule.verb == "GET")
            })
            .map(|method| method.path().to_owned())
            .collect();
        Self {
            schema,
            services,
            print,
            repeatable: Arc::new(repeatable),
        }
    }
}

/// Learns for ever.
pub(super) async fn learn(
    upstream: Arc<str>,
    mut place: Place,
    learning: Learning,
    news: mpsc::Sender<News>,
) {
    let mut backoff = Backoff::new(AGAIN.0, AGAIN.1);
    let mut known = None;
    let mut said = String::new();
    let mut failures = 0;
    loop {
        let (mark, mut candidates) = place.newest_first();
        if candidates.is_empty() {
            place.changes_from(&mark).await;
            continue;
        }
        // The newest may be those that never came up: the others get their turn.
        let first = failures * MOST_ASKED % candidates.len();
        candidates.rotate_left(first);
        let lesson = {
            let _turn = learning.turns.acquire().await;
            ask(&upstream, candidates, &learning).await
        };
        failures += 1;
        let (wait, lesson) = match lesson {
            Lesson::Known(new) => {
                backoff.reset();
                said.clear();
                failures = 0;
                metrics::counter!("gateway_reflections_total", "outcome" => "answered")
                    .increment(1);
                let is_news = known.replace(new.print) != Some(new.print);
                // Not all in step, when many were learned together.
                let wait = learning.refresh.max(SHORTEST);
                let wait = wait.mul_f64(rand::random_range(0.8..=1.2));
                (wait, is_news.then_some(Lesson::Known(new)))
            }
            Lesson::Unreached(cause) | Lesson::Unreadable(cause) if known.is_some() => {
                metrics::counter!("gateway_reflections_total", "outcome" => "failed").increment(1);
                let cause = fleet::safe::escape(&cause).into_owned();
                tracing::debug!(%upstream, %cause, "not asked anew; what was known stays");
                (backoff.next_wait(), None)
            }
            Lesson::Unreached(cause) => {
                metrics::counter!("gateway_reflections_total", "outcome" => "failed").increment(1);
                let is_news = said != cause;
                said.clone_from(&cause);
                (
                    backoff.next_wait(),
                    is_news.then_some(Lesson::Unreached(cause)),
                )
            }
            Lesson::Unreadable(cause) => {
                metrics::counter!("gateway_reflections_total", "outcome" => "failed").increment(1);
                let is_news = said != cause;
                said.clone_from(&cause);
                (
                    learning.refresh.max(SHORTEST),
                    is_news.then_some(Lesson::Unreadable(cause)),
                )
            }
        };
        if let Some(lesson) = lesson {
            let upstream = Arc::clone(&upstream);
            if news.send(News { upstream, lesson }).await.is_err() {
                // Nobody listens any longer; this task's owner is about to end it too.
                std::future::pending::<()>().await;
            }
        }
        // Cancelled or over, the next look begins anew.
        let _ = tokio::time::timeout(wait, place.changes_from(&mark)).await;
    }
}

async fn ask(upstream: &str, candidates: Vec<Endpoint>, learning: &Learning) -> Lesson {
    let asking = ReflectOptions {
        deadline: DEADLINE,
        max_files: MOST_FILES,
        max_bytes: MOST_BYTES,
        metadata: learning.reflection.clone(),
        ..ReflectOptions::default()
    };
    let mut worst = None;
    for endpoint in candidates.into_iter().take(MOST_ASKED) {
        // Its own connection, to choose the instance; it ends with the answer.
        let name = format!("{upstream} (reflection)");
        let options = ChannelOptions {
            // One that does not serve now can say what it serves.
            health: None,
            ..learning.channel.clone()
        };
        let channel = Channel::fixed(name, [endpoint.clone()], options);
        let cause = match reflect::reflect(channel, &asking).await {
            Ok(reflected) => {
                for (service, cause) in &reflected.faults {
                    tracing::warn!(upstream, ?service, ?cause, "a service is left out");
                }
                return Lesson::Known(Known::of(reflected.schema, reflected.services));
            }
            Err(reflect::Error::NoReflection { .. }) if learning.fallback.is_some() => {
                return fallback(learning);
            }
            Err(cause) => cause,
        };
        let text = format!("{endpoint}: {cause}");
        worst = Some(match (cause, worst) {
            (_, Some(Lesson::Unreadable(first))) => Lesson::Unreadable(first),
            (reflect::Error::Reflection(_) | reflect::Error::Deadline { .. }, first) => {
                first.unwrap_or(Lesson::Unreached(text))
            }
            _ => Lesson::Unreadable(text),
        });
    }
    worst.unwrap_or_else(|| Lesson::Unreached("no instance has a gRPC endpoint".to_owned()))
}

/// What was said beforehand of servers that do not say it themselves.
fn fallback(learning: &Learning) -> Lesson {
    let Some(schema) = learning.fallback.clone() else {
        return Lesson::Unreadable("it serves no reflection".to_owned());
    };
    let services: Vec<String> = schema
        .services()
        .map(|service| service.full_name().to_owned())
        .collect();
    Lesson::Known(Known::of(schema, services))
}

/// The instances that were looked at, and as they were.
type Mark = Vec<(Key, Revision)>;

impl Place {
    /// Where the upstream speaks gRPC, and what tells whether that has changed since.
    fn newest_first(&self) -> (Mark, Vec<Endpoint>) {
        let view = match self {
            Place::Fixed(endpoints) => return (Mark::new(), endpoints.clone()),
            Place::Discovered(view) => view.borrow().clone(),
        };
        let mut instances: Vec<_> = view.instances.iter().collect();
        instances
            .sort_by_key(|one| std::cmp::Reverse((one.record.started_at, one.create_revision)));
        let endpoints = instances
            .iter()
            .filter_map(|one| one.record.grpc().cloned())
            .collect();
        (mark(&view), endpoints)
    }

    /// Waits until the instances are others than these.
    async fn changes_from(&mut self, before: &Mark) {
        match self {
            Place::Fixed(_) => std::future::pending().await,
            Place::Discovered(view) => {
                if view.wait_for(|view| mark(view) != *before).await.is_err() {
                    // Nobody follows any longer; this task's owner is about to end it too.
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// A channel to all of the upstream.
    pub(super) fn channel(&self, name: Arc<str>, options: ChannelOptions) -> Channel {
        match self {
            Place::Fixed(endpoints) => Channel::fixed(name, endpoints.iter().cloned(), options),
            Place::Discovered(view) => Channel::discovered(name, view.clone(), options),
        }
    }
}

fn mark(view: &ServiceView) -> Mark {
    let instances = view.instances.iter();
    instances
        .map(|one| (one.key.clone(), one.mod_revision))
        .collect()
}
