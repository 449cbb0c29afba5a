//! Bearer tokens against a provider of keys over HTTPS that goes away, comes back and changes its keys.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::Request;
use http_body_util::Full;
use platform::server::{Algorithm, Auth, Jwt, Surface};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, pem::PemObject as _},
    },
};
use tokio_util::task::AbortOnDropHandle;
use tonic::Code;

use crate::{
    echo::All,
    world::{World, soon},
};

const ISSUER: &str = "https://id.example";

fn base64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Signs tokens and publishes its keys over HTTPS.
struct Provider {
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
    published: Arc<Mutex<String>>,
    /// How often nothing was published when it was asked.
    refused: Arc<AtomicUsize>,
    url: String,
    trust: etcd::TlsSettings,
    _task: AbortOnDropHandle<()>,
}

impl Provider {
    async fn start() -> Self {
        let random = SystemRandom::new();
        let how = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(how, &random).unwrap();
        let ec = EcdsaKeyPair::from_pkcs8(how, pkcs8.as_ref(), &random).unwrap();
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let ed = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = signed.signing_key.serialize_pem();
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![signed.cert.der().clone()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/keys", listener.local_addr().unwrap());
        let published = Arc::new(Mutex::new(String::new()));
        let refused = Arc::default();
        let task = publish(
            listener,
            config,
            Arc::clone(&published),
            Arc::clone(&refused),
        );
        Self {
            ec,
            ed,
            published,
            refused,
            url,
            trust: etcd::TlsSettings {
                ca: Some(signed.cert.pem().into_bytes()),
                ..etcd::TlsSettings::default()
            },
            _task: AbortOnDropHandle::new(tokio::spawn(task)),
        }
    }

    fn keys(&self) -> String {
        let point = self.ec.public_key().as_ref();
        json!({"keys": [
            {"kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig", "x": base64(&point[1..33]), "y": base64(&point[33..])},
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": base64(self.ed.public_key())},
        ]})
        .to_string()
    }

    fn jwt(&self) -> Jwt {
        Jwt::keys_from_url(&self.url)
            .trust(self.trust.clone())
            .issuer(ISSUER)
            .audience("order")
            .refresh_every(Duration::from_millis(20))
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let message = format!(
            "{}.{}",
            base64(header.to_string()),
            base64(claims.to_string())
        );
        let signature = if header["alg"] == "EdDSA" {
            self.ed.sign(message.as_bytes()).as_ref().to_vec()
        } else {
            let random = SystemRandom::new();
            let signed = self.ec.sign(&random, message.as_bytes()).unwrap();
            signed.as_ref().to_vec()
        };
        format!("{message}.{}", base64(signature))
    }
}

/// Answers every request with what is published; with an error when that is nothing.
async fn publish(
    listener: TcpListener,
    config: ServerConfig,
    published: Arc<Mutex<String>>,
    refused: Arc<AtomicUsize>,
) {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(mut stream) = acceptor.accept(stream).await else {
            continue;
        };
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => break,
            }
        }
        let keys = published.lock().unwrap().clone();
        let status = if keys.is_empty() {
            refused.fetch_add(1, Ordering::Relaxed);
            "500 Internal Server Error"
        } else {
            "200 OK"
        };
        let length = keys.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{keys}");
        // Whoever has gone is not served.
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

/// Seconds since 1970, `ahead` of now.
fn at(ahead: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap() + ahead
}

fn claims() -> Value {
    json!({"sub": "ann", "iss": ISSUER, "aud": ["user", "order"], "exp": at(600), "role": "admin", "level": 3})
}

fn but(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

async fn ask(world: &World, token: &str) -> (u16, String, Option<String>) {
    let request = Request::get("/v1/all/1")
        .header("host", "t")
        .header("authorization", format!("Bearer {token}"));
    let answer = world.http(request.body(Full::default()).unwrap()).await;
    let role = answer.header("grpc-metadata-claim-role").map(str::to_owned);
    (answer.status.as_u16(), answer.text().to_owned(), role)
}

#[tokio::test]
async fn both_protocols_take_the_same_tokens_and_handlers_see_the_claims() {
    let provider = Provider::start().await;
    *provider.published.lock().unwrap() = provider.keys();
    let tokens = provider.jwt().start().await.unwrap();
    let world = World::with(|service| service.auth(Auth::new(tokens))).await;
    let ec = json!({"alg": "ES256", "kid": "ec"});
    let good = provider.token(&ec, &claims());
    soon(async { while ask(&world, &good).await.0 != 200 {} }).await;
    let stranger = Provider::start().await;
    for (token, said) in [
        (good.clone(), None),
        (
            provider.token(&json!({"alg": "EdDSA", "kid": "ed"}), &claims()),
            None,
        ),
        (provider.token(&json!({"alg": "ES256"}), &claims()), None),
        (provider.token(&ec, &but("aud", json!("order"))), None),
        // Clocks may differ a little.
        (provider.token(&ec, &but("exp", json!(at(-10)))), None),
        (
            provider.token(&ec, &but("exp", json!(at(-100)))),
            Some("expired"),
        ),
        (provider.token(&ec, &but("exp", json!("soon"))), Some("exp")),
        (provider.token(&ec, &but("exp", Value::Null)), Some("exp")),
        (
            provider.token(&ec, &but("nbf", json!(at(100)))),
            Some("not valid yet"),
        ),
        (
            provider.token(&ec, &but("aud", json!("user"))),
            Some("another audience"),
        ),
        (provider.token(&ec, &but("aud", Value::Null)), Some("aud")),
        (
            provider.token(&ec, &but("iss", json!("https://evil.example"))),
            Some("issuer"),
        ),
        (provider.token(&ec, &but("iss", Value::Null)), Some("iss")),
        (provider.token(&ec, &but("sub", Value::Null)), Some("sub")),
        (stranger.token(&ec, &claims()), Some("signature")),
        (
            provider.token(&json!({"alg": "ES256", "kid": "no"}), &claims()),
            Some("not known"),
        ),
        (
            provider.token(&json!({"alg": "EdDSA", "kid": "ec"}), &claims()),
            Some("not known for its algorithm"),
        ),
        (
            provider.token(&json!({"alg": "HS256", "kid": "ec"}), &claims()),
            Some("algorithm is not taken"),
        ),
        (
            provider.token(&json!({"alg": "none"}), &claims()),
            Some("no JWT"),
        ),
        (
            provider.token(
                &json!({"alg": "ES256", "kid": "ec", "crit": ["b64"], "b64": false}),
                &claims(),
            ),
            Some("critical"),
        ),
        (format!("{good}A"), Some("")),
        ("rubbish".to_owned(), Some("no JWT")),
        ("..".to_owned(), Some("no JWT")),
        ("a".repeat(20_000), Some("too long")),
    ] {
        let (status, text, role) = ask(&world, &token).await;
        let bearer = format!("Bearer {token}");
        // HTTP/2 clients bound the headers they send; HTTP has shown that one.
        let called = world
            .grpc()
            .await
            .try_call("Get", &All::default(), &[("authorization", &bearer)])
            .await;
        match said {
            None => {
                assert_eq!(status, 200, "{text}");
                assert_eq!(role.as_deref(), Some("admin"));
                let called = called.unwrap();
                assert_eq!(called.code, Code::Ok);
                assert_eq!(called.headers["caller"], "ann");
                assert_eq!(called.headers["claim-role"], "admin");
                assert_eq!(called.headers["claim-level"], "3");
            }
            Some(said) => {
                assert_eq!(status, 401, "{said}: {text}");
                assert!(text.contains(said), "{said}: {text}");
                if let Ok(called) = called
                    && token.len() < 16_000
                {
                    assert_eq!(called.code, Code::Unauthenticated, "{said}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_server_starts_while_its_provider_is_down_and_follows_new_keys() {
    let provider = Provider::start().await;
    let tokens = provider.jwt().algorithms(&[Algorithm::ES256]);
    let tokens = tokens.start().await.unwrap();
    let world =
        World::with(|service| service.auth(Auth::new(tokens).open(&[Surface::Health]))).await;
    let ec = json!({"alg": "ES256", "kid": "ec"});
    let token = provider.token(&ec, &claims());
    let (status, text, _) = ask(&world, &token).await;
    assert_eq!(status, 503, "{text}");
    assert!(text.contains("keys could not be fetched"), "{text}");
    assert_eq!(world.get("/readyz").await.status, 200);
    *provider.published.lock().unwrap() = provider.keys();
    soon(async { while ask(&world, &token).await.0 != 200 {} }).await;
    // Another provider's keys come in place of these.
    let next = Provider::start().await;
    *provider.published.lock().unwrap() = next.keys();
    soon(async { while ask(&world, &next.token(&ec, &claims())).await.0 != 200 {} }).await;
    assert_eq!(ask(&world, &token).await.0, 401, "the old key is withdrawn");
    // Without an answer the last keys stay in use.
    provider.published.lock().unwrap().clear();
    let refused = || provider.refused.load(Ordering::Relaxed);
    let before = refused();
    // With the second of them the first has come to something.
    let twice = async {
        while refused() < before + 2 {
            tokio::task::yield_now().await;
        }
    };
    soon(twice).await;
    assert_eq!(ask(&world, &next.token(&ec, &claims())).await.0, 200);
}
