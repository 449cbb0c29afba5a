//! Calls over a real connection to a server of the test's own, of every kind and every ending.

use std::time::Duration;

use bytes::Bytes;
use reflect::call::Value;
use reflect::{
    Call, CallOptions, End, Event, Metadata, ParseOptions, PrintOptions, ReflectOptions, Schema,
    Target, call, json_to_wire, reflect, reflect_symbol, wire_to_json,
};
use tonic::Code;

use crate::fixture::{message, schema};

mod server {
    //! A server of `test.v1.Users` that knows messages only as bytes.

    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use futures::{Stream, StreamExt as _};
    use tonic::{Code, Request, Response, Status, Streaming};

    use super::{json, schema, user};

    #[derive(Clone, Copy)]
    pub(super) struct Users;

    impl tonic::server::NamedService for Users {
        const NAME: &'static str = "test.v1.Users";
    }

    type Answers = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

    impl tower::Service<http::Request<tonic::body::Body>> for Users {
        type Response = http::Response<tonic::body::Body>;
        type Error = Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
            let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
            Box::pin(async move {
                let mut grpc = tonic::server::Grpc::new(reflect::call::BytesCodec);
                Ok(grpc.streaming(Handler(method), request).await)
            })
        }
    }

    /// Reflection as this crate answers it, every option of the descriptors kept.
    #[derive(Clone, Copy)]
    pub(super) struct Reflection;

    impl tonic::server::NamedService for Reflection {
        const NAME: &'static str = "grpc.reflection.v1.ServerReflection";
    }

    impl tower::Service<http::Request<tonic::body::Body>> for Reflection {
        type Response = http::Response<tonic::body::Body>;
        type Error = Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
            Box::pin(async move {
                let mut grpc = tonic::server::Grpc::new(reflect::call::BytesCodec);
                Ok(grpc.streaming(Handler("Reflect".to_owned()), request).await)
            })
        }
    }

    #[derive(Clone)]
    struct Handler(String);

    impl tower::Service<Request<Streaming<Bytes>>> for Handler {
        type Response = Response<Answers>;
        type Error = Status;
        type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
            let method = self.0.clone();
            Box::pin(handle(method, request))
        }
    }

    async fn handle(
        method: String,
        request: Request<Streaming<Bytes>>,
    ) -> Result<Response<Answers>, Status> {
        let echo = request.metadata().get("x-echo").cloned();
        let timeout = request.metadata().get("grpc-timeout").is_some();
        let mut messages = request.into_inner();
        let answers: Answers = match method.as_str() {
            "Get" => {
                let id = json("test.v1.GetUser", &messages.message().await?.unwrap());
                let id = id["id"].as_str().unwrap_or_default().to_owned();
                match id.split_once(':') {
                    Some(("fail", _)) => return Err(failure()),
                    Some(("hang", _)) => Box::pin(futures::stream::pending()),
                    Some(("big", size)) => {
                        let name = "x".repeat(size.parse().unwrap());
                        Box::pin(futures::stream::iter([Ok(user(&id, &name))]))
                    }
                    _ => {
                        let name = if timeout { "bounded" } else { "free" };
                        Box::pin(futures::stream::iter([Ok(user(&id, name))]))
                    }
                }
            }
            "Watch" => {
                let users = (0..3).map(|n| Ok(user(&n.to_string(), "")));
                let end = [Err(Status::aborted("enough"))];
                Box::pin(futures::stream::iter(users.chain(end)))
            }
            "Import" => {
                let mut count = 0;
                while messages.message().await?.is_some() {
                    count += 1;
                }
                Box::pin(futures::stream::iter([Ok(user(&count.to_string(), ""))]))
            }
            "Chat" => Box::pin(messages),
            "Reflect" => Box::pin(messages.map(|request| {
                request.map(|request| reflect::source::answer::answer(&schema(), &request).into())
            })),
            _ => return Err(Status::unimplemented("no such method")),
        };
        let mut response = Response::new(answers);
        if let Some(echo) = echo {
            response.metadata_mut().insert("x-echo", echo);
        }
        Ok(response)
    }

    fn failure() -> Status {
        // google.rpc.Status with an ErrorInfo and a detail that nobody knows.
        let any = |url: &str, value: &[u8]| {
            let mut any = vec![0x0a, url.len() as u8];
            any.extend_from_slice(url.as_bytes());
            any.extend_from_slice(&[0x12, value.len() as u8]);
            any.extend_from_slice(value);
            let mut out = vec![0x1a, any.len() as u8];
            out.extend_from_slice(&any);
            out
        };
        let mut details = vec![0x08, 5];
        details.extend(any(
            "type.googleapis.com/google.rpc.ErrorInfo",
            &[0x0a, 2, b'N', b'O'],
        ));
        details.extend(any("x/secret.Detail", &[1, 2]));
        Status::with_details(Code::NotFound, "no user é", details.into())
    }
}

pub(crate) fn json(type_name: &str, wire: &[u8]) -> serde_json::Value {
    let mut out = Vec::new();
    wire_to_json(
        &message(type_name),
        wire,
        &PrintOptions::default(),
        &mut out,
    )
    .unwrap();
    serde_json::from_slice(&out).unwrap()
}

fn wire(type_name: &str, json: &serde_json::Value) -> Bytes {
    json_to_wire(
        &message(type_name),
        json.to_string().as_bytes(),
        &ParseOptions::default(),
    )
    .unwrap()
    .into()
}

fn user(id: &str, name: &str) -> Bytes {
    wire(
        "test.v1.User",
        &serde_json::json!({"id": id, "displayName": name}),
    )
}

/// Ends with the test's runtime.
async fn serve() -> Target {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(server::Users)
            .add_service(server::Reflection)
            .serve_with_incoming(incoming),
    );
    Target::new(address)
}

async fn start(method: &str, requests: Vec<Bytes>, options: CallOptions) -> Call {
    let channel = serve().await.connect().await.unwrap().channel;
    let method = schema().find_method(method).unwrap();
    call(channel, &method, futures::stream::iter(requests), options).unwrap()
}

/// Every event but the end, and the end; fails when something follows it.
async fn finish(mut call: Call) -> (Vec<Event>, End) {
    let mut events = Vec::new();
    loop {
        match call.next().await.unwrap() {
            Event::End(end) => {
                assert!(call.next().await.is_none());
                return (events, end);
            }
            event => events.push(event),
        }
    }
}

fn get(id: &str) -> Vec<Bytes> {
    vec![wire("test.v1.GetUser", &serde_json::json!({"id": id}))]
}

fn messages(events: &[Event]) -> Vec<serde_json::Value> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Message { bytes, .. } => Some(json("test.v1.User", bytes)),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_unary_call_has_headers_a_message_and_an_end_in_order() {
    let mut metadata = Metadata::default();
    metadata.insert("X-Echo", "hello").unwrap();
    let options = CallOptions {
        metadata,
        deadline: Some(Duration::from_secs(20)),
        ..CallOptions::default()
    };
    let (events, end) = finish(start("Users.Get", get("7"), options).await).await;
    let [Event::Headers { headers, after }, Event::Message { .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(
        headers.get("x-echo"),
        Some(&Value::Text("hello".to_owned()))
    );
    assert_eq!(
        messages(&events),
        [serde_json::json!({"id": "7", "displayName": "bounded"})]
    );
    assert!(end.status.is_ok());
    assert_eq!(end.timings.headers, Some(*after));
    assert!(end.timings.first_message <= Some(end.timings.total));
}

#[tokio::test]
async fn an_error_has_its_details_decoded_and_the_unknown_one_kept() {
    let (events, end) =
        finish(start("Users.Get", get("fail:1"), CallOptions::default()).await).await;
    assert!(events.is_empty(), "{events:?}");
    assert_eq!(
        (end.status.code, end.status.code_name()),
        (Code::NotFound, "NOT_FOUND")
    );
    let mut out = Vec::new();
    end.status.to_json(&Schema::builtin(), &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"{"code":5,"message":"no user é","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"NO"},{"@type":"x/secret.Detail","@value":"AQI="}]}"#
    );
}

#[tokio::test]
async fn a_server_stream_that_fails_keeps_what_came_before() {
    let (events, end) = finish(start("Users.Watch", get("1"), CallOptions::default()).await).await;
    assert_eq!(messages(&events).len(), 3);
    assert_eq!(
        (end.status.code, end.status.message.as_str()),
        (Code::Aborted, "enough")
    );
}

#[tokio::test]
async fn a_client_stream_is_counted() {
    let users = vec![user("a", ""), user("b", ""), user("c", "")];
    let (events, end) = finish(start("Users.Import", users, CallOptions::default()).await).await;
    assert_eq!(messages(&events), [serde_json::json!({"id": "3"})]);
    assert!(end.status.is_ok());
}

#[tokio::test]
async fn a_bidi_call_is_interactive() {
    let channel = serve().await.connect().await.unwrap().channel;
    let method = schema().find_method("Users.Chat").unwrap();
    let (send, receive) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(receive);
    let mut call = call(channel, &method, requests, CallOptions::default()).unwrap();
    assert!(matches!(call.next().await, Some(Event::Headers { .. })));
    for id in ["a", "b", "c"] {
        // Each answer is read before the next request is sent.
        send.send(user(id, "")).await.unwrap();
        match call.next().await.unwrap() {
            Event::Message { bytes, .. } => assert_eq!(json("test.v1.User", &bytes)["id"], id),
            other => panic!("{other:?}"),
        }
    }
    drop(send);
    assert!(matches!(call.next().await, Some(Event::End(end)) if end.status.is_ok()));
}

#[tokio::test]
async fn a_deadline_ends_a_call_that_hangs() {
    let options = CallOptions {
        deadline: Some(Duration::from_millis(100)),
        ..CallOptions::default()
    };
    let (_, end) = finish(start("Users.Get", get("hang:1"), options).await).await;
    assert_eq!(end.status.code, Code::DeadlineExceeded, "{:?}", end.status);
}

#[tokio::test]
async fn big_messages_pass_up_to_the_limit() {
    let options = CallOptions {
        max_message_size: 9_000_000,
        ..CallOptions::default()
    };
    let run = async |size: &str| {
        finish(start("Users.Get", get(&format!("big:{size}")), options.clone()).await).await
    };
    let (events, end) = run("8000000").await;
    assert!(end.status.is_ok(), "{:?}", end.status);
    assert_eq!(
        messages(&events)[0]["displayName"].as_str().unwrap().len(),
        8_000_000
    );
    let (_, end) = run("9000001").await;
    assert_eq!(end.status.code, Code::OutOfRange, "{:?}", end.status);
    assert!(
        end.status.message.contains("9000000"),
        "{}",
        end.status.message
    );
}

#[tokio::test]
async fn a_refused_port_says_refused_at_once() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let error = Target::new(free.to_string())
        .connect()
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(error, format!("{free}: connection refused"));
    // Over a channel that connects late, the status says the same.
    let channel = Target::new(free.to_string()).lazy().unwrap();
    let method = schema().find_method("Users.Get").unwrap();
    let requests = futures::stream::iter(get("1"));
    let (_, end) = finish(call(channel, &method, requests, CallOptions::default()).unwrap()).await;
    assert_eq!(end.status.code, Code::Unavailable);
    assert!(
        end.status.message.to_lowercase().contains("refused"),
        "{}",
        end.status.message
    );
}

#[tokio::test]
async fn addresses_and_headers_that_cannot_be_are_refused() {
    for address in [
        "",
        "nowhere",
        "host:",
        "host:99999",
        "host:1/path",
        "http://x:1",
    ] {
        let error = Target::new(address)
            .connect()
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("not a host:port address"),
            "{address}: {error}"
        );
    }
    let mut metadata = Metadata::default();
    for (name, value) in [
        ("grpc-timeout", "1S"),
        ("a b", "x"),
        ("x", "a\nb"),
        ("te", "x"),
    ] {
        assert!(metadata.insert(name, value).is_err(), "{name}: {value}");
    }
    metadata.insert("key-bin", "AQI=").unwrap();
    assert_eq!(metadata.get("key-bin"), Some(&Value::Binary(vec![1, 2])));
}

#[tokio::test]
async fn reflection_gives_the_schema_that_the_server_has() {
    let channel = serve().await.connect().await.unwrap().channel;
    let reflected = reflect(channel.clone(), &ReflectOptions::default())
        .await
        .unwrap();
    assert!(reflected.services.contains(&"test.v1.Users".to_owned()));
    assert!(reflected.faults.is_empty(), "{:?}", reflected.faults);
    let method = reflected.schema.find_method("users.get").unwrap();
    assert_eq!(method.http_rules().len(), 2);
    let one = reflect_symbol(channel.clone(), "test.v1.Users", &ReflectOptions::default())
        .await
        .unwrap();
    assert!(one.schema.find_method("users.chat").is_ok());
    let error = reflect_symbol(channel.clone(), "no.Such", &ReflectOptions::default())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("no.Such"), "{error}");
    let tight = ReflectOptions {
        max_files: 1,
        ..ReflectOptions::default()
    };
    assert!(
        reflect(channel, &tight)
            .await
            .unwrap_err()
            .to_string()
            .contains("limit")
    );
}

#[tokio::test]
async fn a_server_without_reflection_says_so() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::new(listener.local_addr().unwrap().to_string());
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(server::Users)
            .serve_with_incoming(incoming),
    );
    let channel = target.connect().await.unwrap().channel;
    let error = reflect(channel, &ReflectOptions::default())
        .await
        .unwrap_err();
    assert!(
        matches!(error, reflect::Error::NoReflection { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn dropping_a_call_cancels_it() {
    let channel = serve().await.connect().await.unwrap().channel;
    let method = schema().find_method("Users.Chat").unwrap();
    let (send, receive) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(receive);
    let mut call = call(channel, &method, requests, CallOptions::default()).unwrap();
    assert!(matches!(call.next().await, Some(Event::Headers { .. })));
    drop(call);
    // The request stream belongs to the call: it ends with it.
    tokio::time::timeout(Duration::from_secs(10), send.closed())
        .await
        .unwrap();
}
