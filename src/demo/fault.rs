//! `fault.v1.FaultService`: makes this instance sick on demand. It is a gate before every other call, so a
//! fault shows on gRPC and HTTP alike, and its own calls always pass, so a hanging instance can be cured.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use platform::server::{Call, Gate, Health, Serving, Surface};
use tokio::{sync::watch, task::JoinHandle, time::Instant};
use tonic::{Code, Request, Response, Status};

use crate::{
    pb::fault::{Mode, SetRequest, ShowRequest, State, fault_service_server::FaultService},
    settings::Settings,
};

const LONGEST_DELAY: Duration = Duration::from_secs(3_600);
const LONGEST_FAULT: Duration = Duration::from_secs(86_400);
const OWN_METHODS: &str = "/fault.v1.FaultService/";

/// What this instance suffers from. Clones share it; the last one dropped ends the task that lets faults expire.
#[derive(Clone)]
pub(crate) struct Faults(Arc<Shared>);

struct Shared {
    current: watch::Sender<Fault>,
    /// Calls that a FAIL has looked at, so that the failing share is exact and not left to chance.
    looked_at: AtomicU64,
    instance: String,
    settings: Settings,
    keeper: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Fault {
    ailment: Ailment,
    until: Option<(Instant, SystemTime)>,
}

impl Fault {
    const NONE: Self = Self {
        ailment: Ailment::None,
        until: None,
    };
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ailment {
    None,
    Hang,
    Slow(Duration),
    Fail { code: Code, ratio: f64 },
    NotServing,
}

impl Faults {
    /// A well instance. Must be called within a Tokio runtime.
    pub(crate) fn new(instance: &str, settings: Settings, health: Health) -> Self {
        let (current, seen) = watch::channel(Fault::NONE);
        let keeper = tokio::spawn(keep(current.clone(), seen, health));
        let instance = instance.to_owned();
        Self(Arc::new(Shared {
            current,
            looked_at: AtomicU64::new(0),
            instance,
            settings,
            keeper,
        }))
    }

    fn state(&self) -> State {
        let fault = *self.0.current.borrow();
        let (mode, delay, code, ratio) = match fault.ailment {
            Ailment::None => (Mode::None, None, 0, 0.0),
            Ailment::Hang => (Mode::Hang, None, 0, 0.0),
            Ailment::Slow(delay) => (Mode::Slow, delay.try_into().ok(), 0, 0.0),
            Ailment::Fail { code, ratio } => (Mode::Fail, None, code.into(), ratio),
            Ailment::NotServing => (Mode::NotServing, None, 0, 0.0),
        };
        State {
            instance: self.0.instance.clone(),
            mode: mode.into(),
            delay,
            code,
            ratio,
            until: fault.until.map(|(_, at)| at.into()),
            config: self.0.settings.snapshot(),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Shows the fault to health checks and ends it when its time is over, or when the instance leaves: what it
/// holds up must not hold up the drain.
async fn keep(current: watch::Sender<Fault>, mut seen: watch::Receiver<Fault>, health: Health) {
    let draining = health.draining();
    loop {
        let fault = *seen.borrow_and_update();
        let is_well = fault.ailment != Ailment::NotServing;
        health.report("", if is_well { Serving::Yes } else { Serving::No });
        let over = async {
            match fault.until {
                Some((at, _)) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = seen.changed() => if changed.is_err() { return },
            () = over => cure(&current, fault),
            () = draining.begun(), if fault != Fault::NONE => cure(&current, fault),
        }
    }
}

/// Ends `fault`; one that was set meanwhile stays.
fn cure(current: &watch::Sender<Fault>, fault: Fault) {
    current.send_if_modified(|now| {
        let is_still = *now == fault;
        if is_still {
            *now = Fault::NONE;
        }
        is_still
    });
}

#[tonic::async_trait]
impl Gate for Faults {
    async fn admit(&self, call: &Call) -> Result<(), Status> {
        // Reflection answers too: a console could not name the call that cures without it.
        if call.method().starts_with(OWN_METHODS)
            || matches!(call.surface(), Surface::Metrics | Surface::Reflection)
        {
            return Ok(());
        }
        let mut seen = self.0.current.subscribe();
        // Waits for as long as the instance hangs; the caller's own deadline ends the wait earlier.
        let ailment = match seen.wait_for(|fault| fault.ailment != Ailment::Hang).await {
            Ok(fault) => fault.ailment,
            Err(_) => return Ok(()),
        };
        if call.surface() != Surface::Api {
            return Ok(());
        }
        match ailment {
            Ailment::Slow(delay) => {
                // A cure wakes the waiting calls as well.
                let cured = seen.wait_for(|fault| fault.ailment != ailment);
                let _ = tokio::time::timeout(delay, cured).await;
                Ok(())
            }
            Ailment::Fail { code, ratio } if self.0.is_struck(ratio) => Err(Status::new(
                code,
                format!("a fault of {} was asked for", self.0.instance),
            )),
            _ => Ok(()),
        }
    }
}

impl Shared {
    /// Whether the next call is one of the failing share: true `ratio` times of all calls, evenly spread.
    fn is_struck(&self, ratio: f64) -> bool {
        let before = self.looked_at.fetch_add(1, Ordering::Relaxed);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a share of 2^53 calls need not be exact"
        )]
        let failed = |calls: u64| (calls as f64 * ratio).floor();
        failed(before + 1) > failed(before)
    }
}

#[tonic::async_trait]
impl FaultService for Faults {
    async fn set(&self, request: Request<SetRequest>) -> Result<Response<State>, Status> {
        let fault = wanted(request.get_ref(), Instant::now(), SystemTime::now())?;
        tracing::warn!(ailment = ?fault.ailment, "fault set by request");
        self.0.looked_at.store(0, Ordering::Relaxed);
        self.0.current.send_replace(fault);
        Ok(Response::new(self.state()))
    }

    async fn show(&self, _request: Request<ShowRequest>) -> Result<Response<State>, Status> {
        Ok(Response::new(self.state()))
    }
}

/// The fault that a request asks for; the clock is handed in.
fn wanted(request: &SetRequest, now: Instant, today: SystemTime) -> Result<Fault, Status> {
    let mode = Mode::try_from(request.mode).map_err(|_| {
        Status::invalid_argument(format!(
            "mode: {} is not one of NONE, HANG, SLOW, FAIL, NOT_SERVING",
            request.mode
        ))
    })?;
    let ailment = match mode {
        Mode::None => Ailment::None,
        Mode::Hang => Ailment::Hang,
        Mode::Slow => Ailment::Slow(
            bounded("delay", request.delay, LONGEST_DELAY)?.unwrap_or(Duration::from_secs(1)),
        ),
        Mode::Fail => Ailment::Fail {
            code: code(request.code)?,
            ratio: ratio(request.ratio)?,
        },
        Mode::NotServing => Ailment::NotServing,
    };
    let until =
        bounded("for", request.r#for, LONGEST_FAULT)?.map(|length| (now + length, today + length));
    Ok(Fault { ailment, until })
}

fn bounded(
    field: &str,
    value: Option<prost_types::Duration>,
    most: Duration,
) -> Result<Option<Duration>, Status> {
    let Some(value) = value else { return Ok(None) };
    match Duration::try_from(value) {
        Ok(value) if value <= most => Ok(Some(value)),
        Ok(value) => Err(Status::invalid_argument(format!(
            "{field}: {value:?} is longer than {most:?}"
        ))),
        Err(_) => Err(Status::invalid_argument(format!(
            "{field}: must not be negative"
        ))),
    }
}

fn code(number: i32) -> Result<Code, Status> {
    match number {
        0 => Ok(Code::Unavailable),
        1..=16 => Ok(Code::from_i32(number)),
        _ => Err(Status::invalid_argument(format!(
            "code: {number} is not a status code from 1 to 16"
        ))),
    }
}

fn ratio(share: Option<f64>) -> Result<f64, Status> {
    match share {
        None => Ok(1.0),
        Some(share) if share > 0.0 && share <= 1.0 => Ok(share),
        Some(share) => Err(Status::invalid_argument(format!(
            "ratio: {share} is not above 0 and at most 1"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: i64) -> Option<prost_types::Duration> {
        Some(prost_types::Duration { seconds, nanos: 0 })
    }

    #[test]
    fn a_fault_that_makes_no_sense_is_refused_by_field() {
        let fail = SetRequest {
            mode: Mode::Fail.into(),
            ..SetRequest::default()
        };
        let table = [
            (
                SetRequest {
                    mode: 9,
                    ..SetRequest::default()
                },
                "mode: 9",
            ),
            (
                SetRequest {
                    mode: Mode::Slow.into(),
                    delay: seconds(-1),
                    ..SetRequest::default()
                },
                "delay",
            ),
            (
                SetRequest {
                    mode: Mode::Slow.into(),
                    delay: seconds(3_601),
                    ..SetRequest::default()
                },
                "delay",
            ),
            (
                SetRequest {
                    mode: Mode::Hang.into(),
                    r#for: seconds(86_401),
                    ..SetRequest::default()
                },
                "for",
            ),
            (SetRequest { code: 17, ..fail }, "code: 17"),
            (
                SetRequest {
                    ratio: Some(1.5),
                    ..fail
                },
                "ratio: 1.5",
            ),
            (
                SetRequest {
                    ratio: Some(f64::NAN),
                    ..fail
                },
                "ratio: NaN",
            ),
            (
                SetRequest {
                    ratio: Some(0.0),
                    ..fail
                },
                "ratio: 0",
            ),
        ];
        for (request, word) in table {
            let error = wanted(&request, Instant::now(), SystemTime::now()).unwrap_err();
            assert!(error.message().starts_with(word), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_ends_by_itself_and_health_follows() {
        let health = Health::new();
        let faults = Faults::new(
            "user-1",
            crate::settings::fixed(Duration::from_secs(5)),
            health,
        );
        let request = SetRequest {
            mode: Mode::NotServing.into(),
            r#for: seconds(30),
            ..SetRequest::default()
        };
        let state = faults
            .set(Request::new(request))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(state.mode(), Mode::NotServing);
        let mut seen = faults.0.current.subscribe();
        // Time is paused: waiting lets it jump to the end of the fault.
        seen.wait_for(|fault| fault.ailment == Ailment::None)
            .await
            .unwrap();
        assert_eq!(faults.state().mode(), Mode::None);
    }

    #[tokio::test]
    async fn the_failing_share_is_exact() {
        let faults = Faults::new(
            "user-1",
            crate::settings::fixed(Duration::from_secs(5)),
            Health::new(),
        );
        for (ratio, expected) in [(1.0, 100), (0.5, 50), (0.25, 25), (0.01, 1)] {
            faults.0.looked_at.store(0, Ordering::Relaxed);
            let failed = (0..100).filter(|_| faults.0.is_struck(ratio)).count();
            assert_eq!(failed, expected, "ratio {ratio}");
        }
    }
}
