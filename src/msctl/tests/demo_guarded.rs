//! The demo under lock and key: over TLS, with signed tokens, and what one more service can be told.

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};

use crate::main_job::http;
use crate::world::{Done, Running, World, over_both, until};

const GET: [&str; 3] = ["user.Get", "-d", "{\"id\":\"1\"}"];
const ORDER: [&str; 3] = [
    "order.Create",
    "-d",
    "{\"userId\":\"1\",\"items\":[{\"sku\":\"a\",\"quantity\":2}]}",
];

/// A headless demo and what it says of itself.
fn demo(world: &World, flags: &[&str]) -> (Running, Value) {
    let mut all = vec!["demo", "--headless", "-o", "ndjson"];
    all.extend(flags);
    let mut demo = Running::start(&mut world.command(&all));
    let started = demo.json();
    (demo, started)
}

fn call(world: &World, what: &[&str], flags: &[&str]) -> Done {
    world.msctl(&[&["call"], what, flags].concat())
}

fn address<'a>(started: &'a Value, service: &str) -> &'a str {
    let all = started["instances"].as_array().unwrap();
    let one = all.iter().find(|one| one["service"] == service).unwrap();
    one["address"].as_str().unwrap()
}

#[test]
fn over_tls_order_takes_anybody_and_user_whom_the_demo_knows() {
    over_both(|world| {
        let (mut demo, started) = demo(world, &["--tls"]);
        let file = |name: &str| started["tls"][name].as_str().unwrap();
        let trust = ["--cacert", file("cacert")];
        let known = [&trust[..], &["--cert", file("cert"), "--key", file("key")]].concat();
        // order is called without a certificate, and shows its own to user.
        let made = call(world, &ORDER, &trust).ok().json();
        assert_eq!(made["userName"], "Ada");
        assert_eq!(call(world, &GET, &known).ok().json()["name"], "Ada");
        assert_eq!(call(world, &GET, &trust).code, 64 + 14);
        assert_eq!(call(world, &GET, &[]).code, 64 + 14, "nobody trusts it yet");
        let url = format!("https://{}/v1/users/1", address(&started, "user"));
        let curled = Command::new("curl")
            .arg("-s")
            .args(&known)
            .arg(&url)
            .output();
        let curled: Value = serde_json::from_slice(&curled.unwrap().stdout).unwrap();
        assert_eq!(curled["name"], "Ada");

        // A context that names the files needs no flags, and asks the instances how they are.
        let context = json!({
            "contexts": {"secure": {
                "endpoints": [format!("http://{}", world.endpoint)],
                "service_tls": {"cacert": file("cacert"), "cert": file("cert"), "key": file("key")},
            }},
        });
        let folder = world.home.path().join("msctl");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("config.yaml"), context.to_string()).unwrap();
        let with = |arguments: &[&str]| {
            let mut command = crate::world::command(world.home.path());
            command.args(["--context", "secure"]).args(arguments);
            crate::world::run(&mut command, b"")
        };
        until("all serve", || {
            let rows = with(&["services", "-o", "json"]).ok().json();
            let rows = rows.as_array().unwrap();
            rows.len() == 4 && rows.iter().all(|row| row["health"]["status"] == "serving")
        });
        let called = with(&[&["call"], &GET[..]].concat()).ok().json();
        assert_eq!(called["name"], "Ada");

        let folder = Path::new(file("key")).parent().unwrap().to_owned();
        assert!(folder.exists());
        demo.signal("-INT");
        demo.end();
        assert!(!folder.exists(), "keys are left behind");
    });
}

/// A token of EdDSA for this subject, as the demo takes them.
fn token(key: &KeyPair, subject: &str) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims =
        json!({"sub": subject, "exp": 4_000_000_000_u64, "iss": "msctl-demo", "aud": "msctl-demo"});
    let signed = format!(
        "{}.{}",
        encode(&json!({"alg": "EdDSA", "kid": "1"})),
        encode(&claims)
    );
    let signature = key.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn with_keys_every_call_needs_a_token_that_one_of_them_signed() {
    over_both(|world| {
        let (ours, theirs) = (
            KeyPair::generate_for(&PKCS_ED25519).unwrap(),
            KeyPair::generate_for(&PKCS_ED25519).unwrap(),
        );
        let keys = json!({"keys": [{
            "kty": "OKP", "crv": "Ed25519", "kid": "1", "use": "sig",
            "x": URL_SAFE_NO_PAD.encode(ours.der_bytes()),
        }]});
        let [keys_file, token_file] =
            ["keys.json", "services.jwt"].map(|name| world.home.path().join(name));
        fs::write(&keys_file, keys.to_string()).unwrap();
        fs::write(&token_file, token(&ours, "services")).unwrap();
        let (keys_file, token_file) = (keys_file.to_str().unwrap(), token_file.to_str().unwrap());
        let (_demo, started) = demo(world, &["--jwks", keys_file, "--token-file", token_file]);
        let bearer = |token: &str| format!("authorization: Bearer {token}");
        let ours = bearer(&token(&ours, "ada"));
        // order shows user the token of the services.
        assert_eq!(
            call(world, &ORDER, &["-H", &ours]).ok().json()["userName"],
            "Ada"
        );
        assert_eq!(call(world, &GET, &["-H", &ours]).ok().json()["name"], "Ada");
        for wrong in [bearer(&token(&theirs, "eve")), bearer("s3cret")] {
            let refused = call(world, &GET, &["-H", &wrong]);
            assert_eq!(refused.code, 64 + 16, "{refused:?}");
        }
        assert_eq!(call(world, &GET, &[]).code, 64 + 16);
        let (status, body) = http(address(&started, "user"), "GET", "/v1/users/1", "");
        assert_eq!(status, 401, "{body}");
    });
    let world = World::embedded();
    for (flags, said) in [
        (
            &["--jwks", "/nowhere", "--token-file", "/dev/null"][..],
            "/nowhere: ",
        ),
        (&["--jwks", "/dev/null"], "--token-file"),
    ] {
        let mut all = vec!["demo", "--headless"];
        all.extend(flags);
        let done = world.msctl(&all);
        assert_eq!(done.code, 2, "{done:?}");
        assert!(done.err.contains(said), "{done:?}");
    }
}

#[test]
fn one_more_service_is_told_its_zone_its_rate_and_whose_pages_may_call() {
    over_both(|world| {
        let mut service = world.command(&[]);
        service = Command::new(service.get_program());
        let _service = Running::start(
            service
                .args(["demo-service", "user", "--instance", "user-9"])
                .args([
                    "--zone",
                    "b",
                    "--rate",
                    "0.001",
                    "--origin",
                    "https://shop.example",
                ])
                .args(["--etcd", &world.endpoint])
                .env("HOME", world.home.path())
                .stdin(std::process::Stdio::piped()),
        );
        let mut row = Value::Null;
        until("it is there", || {
            let rows = world.msctl(&["services", "-o", "json"]).ok().json();
            row = rows[0].clone();
            row["health"]["status"] == "serving"
        });
        assert_eq!(
            (&row["instance"], &row["metadata"]["zone"]),
            (&json!("user-9"), &json!("b"))
        );
        let address = row["endpoints"][0]["address"].as_str().unwrap();
        let curled = Command::new("curl")
            .args(["-s", "-i", "-H", "origin: https://shop.example"])
            .arg(format!("http://{address}/v1/users/1"))
            .output();
        let first = String::from_utf8(curled.unwrap().stdout).unwrap();
        assert!(first.starts_with("HTTP/1.1 200"), "{first}");
        let allowed = "access-control-allow-origin: https://shop.example";
        assert!(first.to_lowercase().contains(allowed), "{first}");
        until("it is too much", || {
            http(address, "GET", "/v1/users/1", "").0 == 429
        });
    });
}
