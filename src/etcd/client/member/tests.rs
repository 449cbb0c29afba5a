//! A member that is slow, busy or silent, in front of a server in this process.

use tokio::sync::Semaphore;

use super::*;

/// A member that answers a question about its status whenever there is a permit.
fn answering(permits: &Arc<Semaphore>) -> (etcdlite::Server, Member, Arc<AtomicUsize>) {
    let (server, channel) = etcdlite::Server::in_process(etcdlite::Options::default());
    let asked = Arc::new(AtomicUsize::new(0));
    let (permits, count) = (Arc::clone(permits), Arc::clone(&asked));
    let service = tower::service_fn(move |request| {
        count.fetch_add(1, Ordering::Relaxed);
        let (permits, channel) = (Arc::clone(&permits), channel.clone());
        async move {
            let permit = permits.acquire().await;
            drop(permit);
            tower::ServiceExt::oneshot(channel, request).await
        }
    });
    let settings = Settings {
        probe_timeout: Duration::from_millis(300),
        ..Settings::new(["in process"])
    };
    let dial = Arc::new(Dial::Fixed(Transport::new(service)));
    let state = watch::Sender::new(LinkState::default());
    let member = Member::spawn(
        0,
        "in process".into(),
        dial,
        &settings,
        beat(&settings),
        state,
    );
    (server, member, asked)
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn beat(settings: &Settings) -> Arc<AtomicU64> {
    let millis = settings.heartbeat.as_millis();
    Arc::new(AtomicU64::new(u64::try_from(millis).unwrap()))
}

#[tokio::test]
async fn a_member_too_busy_to_tell_its_status_is_alive_while_it_answers_others() {
    let (_server, member, asked) = answering(&Arc::new(Semaphore::new(0)));
    let connection = member.connection().await.unwrap();
    until("three questions that got no answer", || {
        connection.hear();
        member.suspect(&connection);
        asked.load(Ordering::Relaxed) >= 3
    })
    .await;
    assert!(!connection.lost.is_cancelled(), "others were answered");
    until("a member that says nothing at all is lost", || {
        member.suspect(&connection);
        connection.lost.is_cancelled()
    })
    .await;
}

#[tokio::test]
async fn all_who_doubt_a_member_at_once_are_content_with_one_answer() {
    let permits = Arc::new(Semaphore::new(0));
    let (_server, member, asked) = answering(&permits);
    let first = member.connection().await.unwrap();
    member.suspect(&first);
    until("a question", || asked.load(Ordering::Relaxed) == 1).await;
    for _ in 0..60 {
        member.suspect(&first);
    }
    permits.add_permits(1);
    until("an answer", || first.silence() < first.born.elapsed() / 2).await;
    member.broken(&first, "reset");
    member.connection().await.unwrap();
    // The last of them is that of the second connection.
    let asked = asked.load(Ordering::Relaxed);
    assert!(asked <= 3, "{asked}");
}

/// However many calls ask at once, a connection that broke is replaced.
#[tokio::test]
async fn a_loss_is_noticed_behind_a_full_inbox() {
    let (_server, channel) = etcdlite::Server::in_process(etcdlite::Options::default());
    let dial = Dial::Fixed(Transport::new(channel));
    let settings = Settings::new(["in process"]);
    let state = watch::Sender::new(LinkState::default());
    let member = Member::spawn(
        0,
        "in process".into(),
        Arc::new(dial),
        &settings,
        beat(&settings),
        state,
    );
    let first = member.connection().await.unwrap();
    // The member's task gets no turn before the inbox is full.
    let another = Connection {
        epoch: first.epoch + 1,
        ..first.clone()
    };
    for _ in 0..100 {
        member.suspect(&another);
    }
    member.broken(&first, "reset");
    let second = tokio::time::timeout(Duration::from_secs(30), member.connection());
    let second = second.await.expect("a new connection").unwrap();
    assert!(second.epoch > first.epoch);
}

/// The answer of a member that has lost its leader: an empty status.
#[derive(Default)]
struct Leaderless(u8);

impl http_body::Body for Leaderless {
    type Data = bytes::Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, tonic::Status>>> {
        self.0 += 1;
        let frame = match self.0 {
            1 => http_body::Frame::data(bytes::Bytes::from_static(&[0; 5])),
            2 => {
                let ok = http::HeaderValue::from_static("0");
                let status = http::HeaderName::from_static("grpc-status");
                http_body::Frame::trailers([(status, ok)].into_iter().collect())
            }
            _ => return std::task::Poll::Ready(None),
        };
        std::task::Poll::Ready(Some(Ok(frame)))
    }
}

/// That it has one again is to be known soon, however large the fleet that asks.
#[tokio::test]
async fn a_member_without_a_leader_is_asked_as_often_though_the_heartbeat_is_slow() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let service = tower::service_fn(move |_: http::Request<tonic::body::Body>| {
        count.fetch_add(1, Ordering::Relaxed);
        let mut answer = http::Response::new(tonic::body::Body::new(Leaderless::default()));
        let kind = http::HeaderValue::from_static("application/grpc");
        answer
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, kind);
        std::future::ready(Ok::<_, tonic::Status>(answer))
    });
    let settings = Settings {
        heartbeat: Duration::from_millis(50),
        ..Settings::new(["in process"])
    };
    let slow = Arc::new(AtomicU64::new(600_000));
    let dial = Arc::new(Dial::Fixed(Transport::new(service)));
    let state = watch::Sender::new(LinkState::default());
    let member = Member::spawn(0, "in process".into(), dial, &settings, slow, state);
    let connection = member.connection().await.unwrap();
    member.suspect(&connection);
    until("asked again and again", || {
        asked.load(Ordering::Relaxed) >= 5
    })
    .await;
}
