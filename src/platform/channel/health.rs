//! What a connected endpoint says of its own health, by `grpc.health.v1`: one watch for each
//! connection, ended with it. An endpoint that says NOT_SERVING gets no calls; one that has said
//! nothing yet gets none while another has; one that does not know the question is well.
//! Deliberately absent: whether calls succeed there (its breaker knows).

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use etcd::backoff::Backoff;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::balance::Balance;
use super::connect::{Sender, reason};
use super::node::Node;
use super::replay::replay;

/// An endpoint that does not answer within this time is called where no other can be: the first
/// call of a channel must not fail because a health service is slow.
const PATIENCE: Duration = Duration::from_millis(300);

/// Words that come faster are read at this pace, whatever the endpoint sends.
const PACE: Duration = Duration::from_millis(20);

/// Between two watches of one connection.
const AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// A watch that lasted so long ended for want of use or by a deadline, not by a fault.
const PROVEN: Duration = Duration::from_secs(1);

/// What is known of an endpoint's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Word {
    /// It said that it serves, or it is not to be asked.
    Serving,
    /// Its first word is awaited.
    Awaited,
    /// It does not answer: better than nothing.
    Silent,
    /// It said that it does not serve.
    NotServing,
}

impl Word {
    pub(super) fn from_number(number: u8) -> Word {
        match number {
            0 => Word::Serving,
            1 => Word::Awaited,
            2 => Word::Silent,
            _ => Word::NotServing,
        }
    }

    fn of(status: i32, service: &str) -> Word {
        match ServingStatus::try_from(status) {
            Ok(ServingStatus::Serving) => Word::Serving,
            Ok(ServingStatus::NotServing) => Word::NotServing,
            // A health service that was never told of its own server.
            Ok(ServingStatus::ServiceUnknown) if service.is_empty() => Word::Serving,
            Ok(ServingStatus::ServiceUnknown) => Word::NotServing,
            Ok(ServingStatus::Unknown) | Err(_) => Word::Silent,
        }
    }
}

/// Whether a refusal says that this endpoint never tells its health to us, which is no fault.
fn is_never(code: Code) -> bool {
    matches!(
        code,
        Code::Unimplemented | Code::NotFound | Code::Unauthenticated | Code::PermissionDenied
    )
}

/// Follows what the endpoint says over one connection, until dropped.
pub(super) async fn follow(node: &Node, sender: Sender, balance: &Balance) -> Infallible {
    let Some(service) = &balance.options.health else {
        return std::future::pending().await;
    };
    let mut backoff = Backoff::new(AGAIN.0, AGAIN.1);
    loop {
        let since = Instant::now();
        let (heard, why) = listen(node, sender.clone(), service, balance).await;
        let endpoint = &node.target.endpoint;
        tracing::debug!(service = %balance.service, %endpoint, %why, "the watch of its health ended");
        if !heard && is_never(why.code()) {
            node.hear(Word::Serving, balance);
            return std::future::pending().await;
        }
        if !heard {
            node.hear(Word::Silent, balance);
        } else if since.elapsed() >= PROVEN {
            backoff.reset();
        }
        // What it said last stands meanwhile.
        backoff.wait().await;
    }
}

/// One watch: whether anything was heard, and how it ended.
async fn listen(node: &Node, sender: Sender, service: &str, balance: &Balance) -> (bool, Status) {
    let mut client = HealthClient::new(Direct { sender, node });
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let words = stream::once(async move { client.watch(request).await });
    let words = words.map_ok(tonic::Response::into_inner).try_flatten();
    let mut words = pin!(words);
    let mut heard = false;
    let mut told = match timeout(PATIENCE, words.next()).await {
        Ok(told) => told,
        Err(_) => {
            node.hear(Word::Silent, balance);
            words.next().await
        }
    };
    loop {
        match told {
            Some(Ok(answer)) => node.hear(Word::of(answer.status, service), balance),
            Some(Err(status)) => return (heard, status),
            None => return (heard, Status::ok("it was over")),
        }
        heard = true;
        sleep(PACE).await;
        told = words.next().await;
    }
}

/// Sends over one connection, whatever the balance would choose.
struct Direct<'a> {
    sender: Sender,
    node: &'a Node,
}

impl tower::Service<Request<tonic::body::Body>> for Direct<'_> {
    type Response = Response<Incoming>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, Status>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let uri = self.node.uri(&parts.uri);
        let mut sender = self.sender.clone();
        Box::pin(async move {
            parts.uri = uri?;
            parts.version = http::Version::HTTP_2;
            let request = Request::from_parts(parts, replay(body).0);
            let sent = sender.send_request(request).await;
            sent.map_err(|error| Status::unavailable(reason(&error)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_read_as_the_specification_has_it() {
        for (status, service, word) in [
            (0, "", Word::Silent),
            (1, "", Word::Serving),
            (2, "", Word::NotServing),
            (3, "", Word::Serving),
            (3, "a.B", Word::NotServing),
            (77, "", Word::Silent),
        ] {
            assert_eq!(Word::of(status, service), word, "{status} {service:?}");
        }
        for word in [Word::Serving, Word::Awaited, Word::Silent, Word::NotServing] {
            assert_eq!(Word::from_number(word as u8), word);
        }
    }
}
