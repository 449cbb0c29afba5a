//! The port: accepts connections, shakes hands where TLS is asked for, speaks HTTP/1.1 or HTTP/2 on each as its
//! first bytes say, and drains them.
//! One task owns the listener and every connection; when it is dropped, all of them are.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::Request;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tonic::{body::Body, transport::server::Connected};
use tower::ServiceExt as _;

use super::{
    Stack,
    certificate::PeerCertificate,
    observe::InFlight,
    preface::{self, Rewound, Spoken},
    stage::{Life, Stage},
    tls::Handshakes,
};

/// Who sent a request. In its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// More connections than this wait in the backlog.
const MOST_CONNECTIONS: usize = 10_000;
/// Streams at a time on one connection.
const MOST_STREAMS: u32 = 1_000;
/// A connection on which nothing has come for so long before its first byte is closed; with TLS, so long before the
/// handshake and again after it.
const FIRST_BYTE: Duration = Duration::from_secs(60);
/// The head of an HTTP/1 request must be complete within this time, and so must HTTP/2's preface.
const HEAD: Duration = Duration::from_secs(15);
/// An HTTP/2 connection is asked whether it lives this often, and has as long again to answer.
const PING: Duration = Duration::from_secs(20);
/// Flow-control windows: a bulk stream must not wait for updates on a link of some milliseconds.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 2 << 20;
/// After a failed accept (too many open files), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until the life of the server says to stop.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Handshakes>,
    stack: Stack,
    life: Life,
    in_flight: InFlight,
) {
    let tls = tls.map(Arc::new);
    let mut connections = JoinSet::new();
    let open = metrics::gauge!("server_connections");
    loop {
        tokio::select! {
            biased;
            () = life.reaches(|stage| stage.is_draining()) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => open.decrement(1),
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((stream, peer)) => {
                    open.increment(1);
                    connections.spawn(connection(stream, Peer(peer), tls.clone(), stack.clone(), life.clone()));
                }
                Err(cause) => {
                    tracing::warn!(%cause, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let cut_off = finish(&mut connections, &life, &in_flight).await;
    open.set(0);
    life.advance(Stage::Stopped { cut_off });
}

/// Waits for the connections to finish, until the deadline of the drain or a second signal. Returns how many
/// requests did not.
async fn finish(connections: &mut JoinSet<()>, life: &Life, in_flight: &InFlight) -> usize {
    let until = match life.now() {
        Stage::Draining { until } => until,
        _ => Instant::now(),
    };
    let all = async { while connections.join_next().await.is_some() {} };
    tokio::select! {
        biased;
        () = all => {}
        () = sleep_until(until) => {}
        () = life.reaches(|stage| matches!(stage, Stage::Stopping | Stage::Stopped { .. })) => {}
    }
    life.advance(Stage::Stopping);
    let cut_off = in_flight.count();
    if cut_off > 0 {
        tracing::warn!(
            calls = cut_off,
            connections = connections.len(),
            "cut off: they did not finish in time"
        );
    }
    connections.shutdown().await;
    cut_off
}

async fn connection(
    stream: TcpStream,
    peer: Peer,
    tls: Option<Arc<Handshakes>>,
    stack: Stack,
    life: Life,
) {
    // A call is one small frame; waiting to fill a packet would cost it 40 ms.
    if let Err(cause) = stream.set_nodelay(true) {
        tracing::debug!(%cause, peer = %peer.0, "no TCP_NODELAY");
    }
    tokio::select! {
        first = timeout(FIRST_BYTE, stream.readable()) => if !matches!(first, Ok(Ok(()))) { return },
        // Nothing was asked, so nothing is left unanswered.
        () = life.reaches(|stage| stage.is_draining()) => return,
    }
    let Some(tls) = tls else {
        return tell_apart(stream, peer, None, stack, life).await;
    };
    let shaken = tls.shake(stream);
    // The watch over the files is the port's, not the connection's.
    drop(tls);
    match shaken.await {
        Ok(stream) => {
            let shown = stream.get_ref().1.peer_certificates();
            let shown = shown.and_then(|chain| PeerCertificate::parse(chain.first()?));
            tell_apart(stream, peer, shown, stack, life).await;
        }
        Err(cause) => {
            // Anybody can make these; a counter shows them without filling the log.
            metrics::counter!("server_tls_handshake_failures_total").increment(1);
            tracing::debug!(%cause, peer = %peer.0, "no TLS handshake");
        }
    }
}

async fn tell_apart<S>(
    stream: S,
    peer: Peer,
    shown: Option<PeerCertificate>,
    stack: Stack,
    life: Life,
) where
    S: AsyncRead + AsyncWrite + Connected + Send + Unpin + 'static,
{
    // As tonic has it, so that its `remote_addr` and `peer_certs` work in handlers.
    let connected = stream.connect_info();
    let begun = tokio::select! {
        begun = preface::read(stream, FIRST_BYTE, HEAD) => begun,
        // Nothing was asked, so nothing is left unanswered.
        () = life.reaches(|stage| stage.is_draining()) => return,
    };
    match begun {
        Ok((spoken, stream)) => speak(spoken, stream, (connected, shown), peer, stack, life).await,
        Err(cause) => tracing::debug!(%cause, peer = %peer.0, "a connection asked for nothing"),
    }
}

async fn speak<S, C>(
    spoken: Spoken,
    stream: Rewound<S>,
    (connected, shown): (C, Option<PeerCertificate>),
    peer: Peer,
    stack: Stack,
    life: Life,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    C: Clone + Send + Sync + 'static,
{
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        let extensions = request.extensions_mut();
        extensions.insert(peer);
        extensions.insert(connected.clone());
        if let Some(shown) = &shown {
            extensions.insert(shown.clone());
        }
        stack.clone().oneshot(request)
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .max_concurrent_streams(MOST_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let builder = match spoken {
        Spoken::Http1 => builder.http1_only(),
        Spoken::Http2 => builder.http2_only(),
    };
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = life.reaches(|stage| stage.is_draining()) => {
            // GOAWAY on HTTP/2, `connection: close` on HTTP/1; what is in flight goes on.
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(cause) = ended {
        // Callers that go away in mid-call are daily bread.
        tracing::debug!(cause, peer = %peer.0, "a connection ended badly");
    }
}
