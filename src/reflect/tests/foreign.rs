//! Servers that nobody here wrote: grpcio (reflection v1alpha, no JSON names) and grpc-js with
//! `@grpc/reflection` (imports, scopes and optional lost). `tests/foreign/prepare.sh` fetches them.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use reflect::source::server::Version;
use reflect::{
    CallOptions, End, Event, ParseOptions, PrintOptions, ReflectOptions, Reflected, Target, call,
    json_to_wire, reflect, reflect_symbol, template, wire_to_json,
};

use crate::fixture::root;

/// A server process of ours; its standard input closes with it, which ends it.
struct Server {
    child: Child,
    target: Target,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn prepared(part: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("../../target"), PathBuf::from);
    let path = target.join("foreign").join(part);
    assert!(
        path.exists(),
        "{} is missing: run tests/foreign/prepare.sh first ('make test' does)",
        path.display()
    );
    path
}

fn start(program: &str, script: &str, variable: &str, packages: PathBuf) -> Server {
    let mut child = Command::new(program)
        .arg(root().join("../../tests/foreign").join(script))
        .env(variable, packages)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|cause| panic!("{program} cannot be run: {cause}. Install {program}"));
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let port: u16 = line
        .trim()
        .parse()
        .unwrap_or_else(|_| panic!("{script} did not start"));
    Server {
        child,
        target: Target::new(format!("127.0.0.1:{port}")),
    }
}

fn python() -> Server {
    start("python3", "server.py", "PYTHONPATH", prepared("python"))
}

fn node() -> Server {
    start(
        "node",
        "server.js",
        "NODE_PATH",
        prepared("node/node_modules"),
    )
}

async fn unary(server: &Server, reflected: &Reflected, name: &str, json: &str) -> (String, End) {
    let channel = server.target.connect().await.unwrap().channel;
    let method = reflected.schema.find_method(name).unwrap();
    let wire = json_to_wire(&method.input(), json.as_bytes(), &ParseOptions::default()).unwrap();
    let requests = futures::stream::iter([wire.into()]);
    let mut call = call(channel, &method, requests, CallOptions::default()).unwrap();
    let mut out = Vec::new();
    loop {
        match call.next().await.unwrap() {
            Event::Message { bytes, .. } => {
                let options = PrintOptions::default();
                wire_to_json(&method.output(), &bytes, &options, &mut out).unwrap();
            }
            Event::End(end) => return (String::from_utf8(out).unwrap(), end),
            Event::Headers { .. } => {}
        }
    }
}

/// What a sound graph gives, whichever way it came.
async fn check(server: &Server, version: Version, served_by: &str) {
    let channel = server.target.connect().await.unwrap().channel;
    let options = ReflectOptions::default();
    let reflected = reflect(channel.clone(), &options).await.unwrap();
    assert_eq!(reflected.version, version);
    assert!(
        reflected
            .services
            .contains(&"foreign.v1.Parcels".to_owned())
    );
    assert!(reflected.faults.is_empty(), "{:?}", reflected.faults);
    let remembered = ReflectOptions {
        version: Some(version),
        ..options
    };
    let one = reflect_symbol(channel, "foreign.v1.Parcels", &remembered)
        .await
        .unwrap();
    assert!(one.schema.find_method("parcels.echo").is_ok());

    let parcel = concat!(
        r#"{"id":"1","state":"SENT","madeAt":"2026-01-02T03:04:05Z","#,
        r#""items":[{"sku":"a","totalWeight":"5","spareCount":0},{"sku":"b"}],"#,
        r#""counters":{"x":1,"y":2},"byName":{"n":{"sku":"c"}},"seal":{"code":"s"},"noteText":""}"#
    );
    let (reply, end) = unary(
        server,
        &reflected,
        "parcels.echo",
        &format!(r#"{{"parcel":{parcel}}}"#),
    )
    .await;
    assert!(end.status.is_ok(), "{:?}", end.status);
    assert_eq!(
        reply,
        format!(r#"{{"parcel":{parcel},"servedBy":"{served_by}"}}"#)
    );
    let trailer = end
        .trailers
        .get("x-served-by")
        .map(reflect::call::Value::shown);
    assert_eq!(trailer.as_deref(), Some(served_by));

    let parcel = reflected.schema.message("foreign.v1.Parcel").unwrap();
    let text = template(&parcel);
    json_to_wire(&parcel, text.as_bytes(), &ParseOptions::default()).unwrap();
    let text = reflect::describe(&reflected.schema.find_symbol("Parcel").unwrap());
    assert!(text.contains("map<string, int32> counters = 5;"), "{text}");
    assert!(text.contains("optional string note_text = 9;"), "{text}");
    // The mended graph survives its own export.
    reflect::Schema::from_descriptor_set(&reflected.schema.to_descriptor_set()).unwrap();
}

#[tokio::test]
async fn pythons_server_is_reflected_through_v1alpha_and_called() {
    let server = python();
    check(&server, Version::V1Alpha, "python").await;
}

#[tokio::test]
async fn nodes_lossy_graph_is_repaired_and_called() {
    let server = node();
    check(&server, Version::V1, "node").await;
}

#[tokio::test]
async fn pythons_error_details_are_decoded_without_its_help() {
    let server = python();
    let channel = server.target.connect().await.unwrap().channel;
    let reflected = reflect(channel, &ReflectOptions::default()).await.unwrap();
    let (_, end) = unary(&server, &reflected, "parcels.fail", r#"{"code":9}"#).await;
    let mut out = Vec::new();
    end.status.to_json(&reflected.schema, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"{"code":9,"message":"no stamp on it","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"NO_STAMP","domain":"parcels"},{"@type":"type.example/secret.Detail","@value":"CAE="}]}"#
    );
}
