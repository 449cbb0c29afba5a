//! Keys, signatures and settings of bearer tokens, without a server.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

#[test]
fn rsa_signatures_made_by_another_are_checked() {
    // `openssl` made the key and the signatures over this message; the private part is nowhere.
    let message = b"header.payload";
    let vectors: Value = serde_json::from_str(include_str!("rsa.json")).unwrap();
    signatures::install();
    let keys = Keys::parse(vectors["jwks"].to_string().as_bytes()).unwrap();
    for (name, signature) in vectors["signatures"].as_object().unwrap() {
        let algorithm: Algorithm = name.parse().unwrap();
        let key = keys.find(None, algorithm).unwrap();
        let signature = signature.as_str().unwrap();
        let verify = |message| jsonwebtoken::crypto::verify(signature, message, key, algorithm);
        assert_eq!(verify(message).ok(), Some(true), "{name}");
        assert_eq!(verify(b"header.payloaD").ok(), Some(false), "{name}");
    }
}

#[test]
fn only_keys_that_can_check_a_signature_are_taken_and_a_bad_one_hides_none() {
    let ec = r#""kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM""#;
    for (keys, found) in [
        (format!("{{{ec},\"kid\":\"a\"}}"), true),
        (
            format!("{{{ec},\"kid\":\"a\",\"use\":\"sig\",\"alg\":\"ES256\"}}"),
            true,
        ),
        (
            format!("7,{{}},{{\"kty\":\"new\"}},{{{ec},\"kid\":\"a\"}}"),
            true,
        ),
        (format!("{{{ec},\"kid\":\"a\",\"use\":\"enc\"}}"), false),
        (format!("{{{ec},\"kid\":\"a\",\"alg\":\"ES384\"}}"), false),
        (format!("{{{ec},\"kid\":\"b\"}}"), false),
        (
            r#"{"kty":"oct","k":"c2VjcmV0","kid":"a"}"#.to_owned(),
            false,
        ),
        (String::new(), false),
    ] {
        let set = format!("{{\"keys\":[{keys}]}}");
        let parsed = Keys::parse(set.as_bytes());
        let is_found = parsed.is_ok_and(|keys| keys.find(Some("a"), Algorithm::ES256).is_ok());
        assert_eq!(is_found, found, "{set}");
    }
    for broken in ["", "{}", "[]", r#"{"keys":{}}"#] {
        assert!(Keys::parse(broken.as_bytes()).is_err(), "{broken}");
    }
    let two = format!("{{\"keys\":[{{{ec},\"kid\":\"a\"}},{{{ec},\"kid\":\"b\"}}]}}");
    let two = Keys::parse(two.as_bytes()).unwrap();
    assert_eq!(two.find(None, Algorithm::ES256).err(), Some(NoKey::Unnamed));
    assert_eq!(
        two.find(Some("c"), Algorithm::ES256).err(),
        Some(NoKey::Unknown)
    );
}

#[tokio::test]
async fn settings_that_are_missing_or_unsafe_are_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let whole = |url: &str| Jwt::keys_from_url(url).issuer("i").audience("a");
    let here = "http://127.0.0.1:9/keys";
    for (jwt, said) in [
        (Jwt::keys_from_url(here).audience("a"), "no issuer"),
        (Jwt::keys_from_url(here).issuer("i"), "no audience"),
        (whole(here).issuer(""), "no issuer"),
        (whole(here).algorithms(&[]), "no algorithm"),
        (whole(here).algorithms(&[Algorithm::HS256]), "shared secret"),
        (whole(here).refresh_every(Duration::ZERO), "10 ms"),
        (whole(here).leeway(Duration::from_secs(3600)), "5 min"),
        (whole("http://id.example/keys"), "plain HTTP"),
        (whole("ftp://id.example/keys"), "neither https"),
        (whole("no url"), "no URL"),
        (whole("https://u:secret@id.example/keys"), "password"),
        (
            Jwt::keys_from_file(folder.path().join("none"))
                .issuer("i")
                .audience("a"),
            "No such file",
        ),
    ] {
        let error = jwt.start().await.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert!(!error.contains("secret@"), "{error}");
    }
    whole(here).start().await.unwrap();
}

/// Waits in paused time, in which nothing but the refresh happens.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let tries = AtomicU64::new(0);
    while !is_so() {
        assert!(tries.fetch_add(1, Ordering::Relaxed) < 100_000, "{what}");
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_nobody_knows_makes_the_keys_be_fetched_and_keys_of_yesterday_are_not_trusted() {
    let key = |id: &str| {
        format!(
            r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"{id}","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}}]}}"#
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    std::fs::write(&file, key("old")).unwrap();
    let tokens = Jwt::keys_from_file(&file)
        .issuer("i")
        .audience("a")
        .refresh_every(Duration::from_secs(12 * 60 * 60))
        .start()
        .await
        .unwrap();
    // {"alg":"EdDSA","kid":"new"}, an empty payload, an empty signature.
    let token = "eyJhbGciOiJFZERTQSIsImtpZCI6Im5ldyJ9.e30.AA";
    let answer = || tokens.check(token).unwrap_err();
    assert!(answer().message().contains("not known"), "{}", answer());
    std::fs::write(&file, key("new")).unwrap();
    let began = Instant::now();
    until("the new key is known", || {
        answer().message().contains("signature")
    })
    .await;
    assert!(
        began.elapsed() < Duration::from_secs(60),
        "not at the next turn but at once"
    );
    std::fs::remove_file(&file).unwrap();
    until("the keys are too old", || {
        answer().code() == tonic::Code::Unavailable
    })
    .await;
    assert!(began.elapsed() >= OLD);
    std::fs::write(&file, key("new")).unwrap();
    until("the keys are back", || {
        answer().message().contains("signature")
    })
    .await;
}
