//! The tools that break things, held to their word: a test that trusts a proxy which does no harm
//! proves nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tests::port::Port;
use tests::proxy::{Mode, Proxy};
use tests::realetcd::{Cluster, RealEtcd, etcdctl};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(60);

/// A server that sends back what it gets.
async fn echo() -> SocketAddr {
    let port = Port::reserve();
    let address = port.address();
    let listener = port.listen();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

async fn read(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut buffer = vec![0; count];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut buffer))
        .await
        .unwrap()
        .unwrap();
    buffer
}

/// Nor one that reached the listener just before it closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_through_once_it_refuses() {
    let target = echo().await;
    for round in 0..300 {
        let proxy = Proxy::start(target).await;
        proxy.set(Mode::Refuse);
        let Ok(mut stream) = TcpStream::connect(proxy.address()).await else {
            continue;
        };
        let exchange = async {
            stream.write_all(b"x").await?;
            stream.read_exact(&mut [0]).await
        };
        let exchange = tokio::time::timeout(PATIENCE, exchange).await.unwrap();
        exchange.expect_err(&format!("round {round}: it was let through"));
    }
}

/// Answers that are held when a refusal begins belong to connections that are over by then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_held_is_lost_when_it_refuses() {
    let proxy = Proxy::start(echo().await).await;
    for round in 0..200 {
        // The proxy listens again a moment after it was told to.
        let mut stream = tokio::time::timeout(PATIENCE, async {
            loop {
                match TcpStream::connect(proxy.address()).await {
                    Ok(stream) => return stream,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        })
        .await
        .unwrap();
        stream.write_all(b"a").await.unwrap();
        read(&mut stream, 1).await;
        proxy.set(Mode::HoldAnswers);
        stream.write_all(b"held").await.unwrap();
        // The answer is at the proxy when it does not come.
        let mut nothing = [0];
        let early = tokio::time::timeout(Duration::from_millis(2), stream.read(&mut nothing));
        assert!(early.await.is_err(), "round {round}");
        proxy.set(Mode::Refuse);
        proxy.set(Mode::Forward);
        let mut came = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut came));
        let _ = ended.await.unwrap();
        assert_eq!(came, b"", "round {round}");
    }
}

/// A hundred messages at 100 ms each way: one after another they would take 20 s.
#[tokio::test]
async fn a_delay_keeps_the_order_and_does_not_add_up() {
    let proxy = Proxy::start(echo().await).await;
    proxy.set(Mode::Delay {
        each_way: Duration::from_millis(100),
        jitter: Duration::from_millis(50),
    });
    let begun = Instant::now();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    for number in 0..100 {
        stream.write_all(&[number]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(read(&mut stream, 100).await, (0..100).collect::<Vec<u8>>());
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(200), "{took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[tokio::test]
async fn a_cut_passes_exactly_so_many_bytes_of_answers() {
    let proxy = Proxy::start(echo().await).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.write_all(&[7; 1000]).await.unwrap();
    read(&mut stream, 1000).await;
    proxy.set(Mode::CutAfter(10));
    for _ in 0..2 {
        stream.write_all(&[7; 1000]).await.unwrap();
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest));
        let _ = ended.await.unwrap();
        assert_eq!(rest, [7; 10]);
        // A new connection is cut as well.
        stream = TcpStream::connect(proxy.address()).await.unwrap();
    }
    proxy.set(Mode::Forward);
    stream.write_all(&[7; 1000]).await.unwrap();
    read(&mut stream, 1000).await;
}

#[tokio::test]
async fn a_reset_is_seen_as_one() {
    let proxy = Proxy::start(echo().await).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.write_all(b"a").await.unwrap();
    read(&mut stream, 1).await;
    proxy.reset();
    let mut buffer = [0; 1];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut buffer));
    let error = read.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn what_a_black_hole_held_arrives_late() {
    let proxy = Proxy::start(echo().await).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    proxy.set(Mode::HoldAnswers);
    stream.write_all(b"ab").await.unwrap();
    let mut buffer = [0; 1];
    let early = tokio::time::timeout(Duration::from_millis(100), stream.read(&mut buffer));
    assert!(early.await.is_err());
    proxy.set(Mode::Forward);
    assert_eq!(read(&mut stream, 2).await, b"ab");
}

/// Among many who ask for free ports, nobody gets the one of a proxy that refuses.
#[tokio::test]
async fn a_refusing_proxy_keeps_its_port() {
    let proxy = Proxy::start_in(echo().await, Mode::Refuse).await;
    let others: Vec<_> = (0..500).map(|_| Port::reserve()).collect();
    assert!(others.iter().all(|one| one.address() != proxy.address()));
    for _ in 0..3 {
        let error = TcpStream::connect(proxy.address()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        proxy.set(Mode::Forward);
        let begun = Instant::now();
        let mut stream = loop {
            match TcpStream::connect(proxy.address()).await {
                Ok(stream) => break stream,
                Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
            }
        };
        stream.write_all(b"a").await.unwrap();
        read(&mut stream, 1).await;
        proxy.set(Mode::Refuse);
        let mut end = [0; 1];
        let ended = tokio::time::timeout(PATIENCE, stream.read(&mut end));
        assert!(matches!(ended.await.unwrap(), Ok(0) | Err(_)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_isolated_leader_is_replaced_and_follows_when_it_is_back() {
    let cluster = Cluster::start_divisible().await;
    let old = cluster.leader().await;
    cluster.isolate(&[old]).await;
    let new = cluster.leader_beside(&[old]).await;
    assert_ne!(new, old);
    let majority: Vec<String> = (0..3)
        .filter(|place| *place != old)
        .map(|place| cluster.members[place].endpoint())
        .collect();
    etcdctl(&majority, &["put", "/a", "1"]).await;
    let alone = &cluster.members[old];
    let there = alone.etcdctl(&["get", "/a", "--consistency=s"]).await;
    assert_eq!(there, "", "it was cut off and knows all the same");
    cluster.isolate(&[]).await;
    alone.ready().await;
    // A linearizable read comes from a member that is one of the cluster again.
    assert!(alone.etcdctl(&["get", "/a"]).await.contains('1'));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_over_its_quota_takes_writes_again_once_it_was_given_room() {
    let etcd = RealEtcd::start_with(&["--quota-backend-bytes=2097152"]).await;
    let client = [etcd.endpoint()];
    let value = "x".repeat(100_000);
    while !etcd.etcdctl(&["alarm", "list"]).await.contains("NOSPACE") {
        let put = tokio::process::Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args([&format!("--endpoints={}", client[0]), "put", "/a", &value])
            .output();
        put.await.unwrap();
    }
    etcd.make_room().await;
    etcdctl(&client, &["put", "/a", "1"]).await;
    assert_eq!(etcd.etcdctl(&["alarm", "list"]).await, "");
}
