//! Health as others see it: one state behind `grpc.health.v1` (Check, Watch), `/healthz` and `/readyz`.
//! Not serving until ready and again when leaving, whatever the service says of itself in between.

use std::{collections::BTreeMap, pin::Pin, sync::Arc};

use tokio::sync::watch;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server,
};

use super::stage::{Draining, Life, Stage};

/// What a service says of its own health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// Calls are welcome.
    Yes,
    /// Calls should go elsewhere for now.
    No,
}

/// The health of a server. Clones share it.
#[derive(Clone, Debug)]
pub struct Health {
    life: Life,
    reports: Arc<watch::Sender<BTreeMap<String, Serving>>>,
}

impl Health {
    /// The health of a server that has not started.
    #[expect(
        clippy::new_without_default,
        reason = "a new health is a new server's, never a default"
    )]
    pub fn new() -> Self {
        Self {
            life: Life::new(),
            reports: Arc::new(watch::channel(BTreeMap::new()).0),
        }
    }

    /// Says whether `service`, or with `""` the whole server, serves. A service serves only while the whole
    /// server does, and the whole server only from ready to leaving.
    pub fn report(&self, service: &str, serving: Serving) {
        self.reports.send_if_modified(|reports| {
            let before = reports.insert(service.to_owned(), serving);
            before != Some(serving)
        });
    }

    /// Whether `service`, or with `""` the whole server, serves now; `None` when there is no such service.
    pub fn check(&self, service: &str) -> Option<Serving> {
        judge(self.life.now(), &self.reports.borrow(), service)
    }

    /// Tells when the server begins to drain.
    pub fn draining(&self) -> Draining {
        Draining(self.life.watch())
    }

    pub(crate) fn life(&self) -> &Life {
        &self.life
    }
}

fn judge(stage: Stage, reports: &BTreeMap<String, Serving>, service: &str) -> Option<Serving> {
    let own = reports.get(service).copied();
    if own.is_none() && !service.is_empty() {
        return None;
    }
    let whole = reports.get("").copied().unwrap_or(Serving::Yes);
    let all = [own.unwrap_or(Serving::Yes), whole];
    Some(if stage == Stage::Ready && !all.contains(&Serving::No) {
        Serving::Yes
    } else {
        Serving::No
    })
}

impl From<Serving> for ServingStatus {
    fn from(serving: Serving) -> Self {
        match serving {
            Serving::Yes => Self::Serving,
            Serving::No => Self::NotServing,
        }
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

/// States in order, each differing from the one before; a slow reader misses those in between.
type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = &request.get_ref().service;
        match Health::check(self, service) {
            Some(serving) => Ok(Response::new(answer(serving.into()))),
            None => Err(Status::not_found(format!("no service {service:?} here"))),
        }
    }

    type WatchStream = WatchStream;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<WatchStream>, Status> {
        let watching = Watching {
            health: self.clone(),
            stage: self.life.watch(),
            reports: self.reports.subscribe(),
            service: request.into_inner().service,
            last: None,
        };
        Ok(Response::new(Box::pin(futures::stream::unfold(
            watching,
            Watching::next,
        ))))
    }
}

struct Watching {
    health: Health,
    stage: watch::Receiver<Stage>,
    reports: watch::Receiver<BTreeMap<String, Serving>>,
    service: String,
    last: Option<ServingStatus>,
}

impl Watching {
    /// The next state that differs from the last one told; ends when the server drains.
    async fn next(mut self) -> Option<(Result<HealthCheckResponse, Status>, Self)> {
        loop {
            let stage = *self.stage.borrow_and_update();
            let known = judge(stage, &self.reports.borrow_and_update(), &self.service);
            // The protocol keeps a watch of an unknown service open: the service may yet come.
            let status = known.map_or(ServingStatus::ServiceUnknown, Into::into);
            if self.last != Some(status) {
                self.last = Some(status);
                return Some((Ok(answer(status)), self));
            }
            let drained = Draining(self.health.life.watch());
            tokio::select! {
                // The last state is told before the end.
                biased;
                changed = self.stage.changed() => changed.ok()?,
                changed = self.reports.changed() => changed.ok()?,
                () = drained.begun() => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;
    use tokio_stream::StreamExt as _;

    use super::*;

    #[test]
    fn a_service_serves_only_while_its_server_does() {
        let until = Instant::now();
        let table = [
            (Stage::Starting, "", "", Some(Serving::No)),
            (Stage::Ready, "", "", Some(Serving::Yes)),
            (Stage::Ready, "a", "", Some(Serving::Yes)),
            (Stage::Ready, "a", "a", Some(Serving::No)),
            (Stage::Ready, "a", "", Some(Serving::Yes)),
            (Stage::Ready, "b", "", None),
            (Stage::Leaving, "", "", Some(Serving::No)),
            (Stage::Leaving, "a", "", Some(Serving::No)),
            (Stage::Draining { until }, "", "", Some(Serving::No)),
        ];
        for (stage, asked, sick, expected) in table {
            let mut reports = BTreeMap::from([("a".to_owned(), Serving::Yes)]);
            if !sick.is_empty() {
                reports.insert(sick.to_owned(), Serving::No);
            }
            assert_eq!(
                judge(stage, &reports, asked),
                expected,
                "{stage:?} {asked:?} sick {sick:?}"
            );
        }
        let whole = BTreeMap::from([("a".to_owned(), Serving::Yes), (String::new(), Serving::No)]);
        assert_eq!(judge(Stage::Ready, &whole, "a"), Some(Serving::No));
    }

    #[tokio::test]
    async fn a_watch_tells_each_state_once_and_ends_with_the_drain() {
        let health = Health::new();
        let request = Request::new(HealthCheckRequest {
            service: "late".into(),
        });
        let mut watch = health_server::Health::watch(&health, request)
            .await
            .unwrap()
            .into_inner();
        let mut next = async || watch.next().await.map(|told| told.unwrap().status());
        assert_eq!(next().await, Some(ServingStatus::ServiceUnknown));
        health.report("late", Serving::Yes);
        assert_eq!(next().await, Some(ServingStatus::NotServing));
        health.life().advance(Stage::Ready);
        assert_eq!(next().await, Some(ServingStatus::Serving));
        health.life().advance(Stage::Leaving);
        assert_eq!(next().await, Some(ServingStatus::NotServing));
        health.life().advance(Stage::Draining {
            until: Instant::now(),
        });
        assert_eq!(next().await, None);
    }
}
