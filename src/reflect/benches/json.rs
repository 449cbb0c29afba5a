//! JSON to wire and back, beside the descriptor library's dynamic messages, on one document of
//! nested messages, lists, maps and strings. Figures are bytes of JSON per second.

use std::hint::black_box;
use std::path::PathBuf;

use buffa_descriptor::DynamicMessage;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use reflect::{ParseOptions, PrintOptions, Schema, json_to_wire, json_to_wire_into, wire_to_json};

fn schema() -> Schema {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let protos = root.join("tests/proto");
    let files = [protos.join("test/v1/all.proto")];
    let imports = [protos, root.join("../../assets/proto")];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    #[allow(
        clippy::expect_used,
        reason = "a benchmark without its schema has nothing to measure"
    )]
    runtime
        .expect("a runtime")
        .block_on(reflect::from_protos(&files, &imports))
        .expect("protoc and the test protos")
}

fn document(items: usize) -> String {
    let item = |n: usize| {
        format!(
            r#"{{"int32Value":{n},"int64Value":"{}","doubleValue":{}.25,"boolValue":true,"stringValue":"item number {n} of the list","mood":"GOOD","child":{{"stringValue":"a \"quoted\" name","numbers":[1,20,300,4000,50000]}},"words":["alpha","beta","gamma"],"counts":{{"a":1,"b":2}},"time":"2026-01-02T03:04:05.123Z"}}"#,
            n * 1_000_003,
            n
        )
    };
    let items: Vec<String> = (1..=items).map(item).collect();
    format!(r#"{{"children":[{}]}}"#, items.join(","))
}

#[allow(clippy::unwrap_used, reason = "a benchmark fails as a test does")]
fn compare(criterion: &mut Criterion) {
    let schema = schema();
    let message = schema.message("test.v1.All").unwrap();
    let pool = schema.pool().clone();
    let index = pool.message_index("test.v1.All").unwrap();
    for items in [1, 5_000] {
        let json = document(items);
        let wire = json_to_wire(&message, json.as_bytes(), &ParseOptions::default()).unwrap();
        let mut group = criterion.benchmark_group(format!("json/{items}"));
        group.throughput(Throughput::Bytes(json.len() as u64));
        group.sample_size(20);
        let (read, print) = (ParseOptions::default(), PrintOptions::default());
        let mut out = Vec::new();
        group.bench_function("ours to wire", |bencher| {
            bencher.iter(|| {
                out.clear();
                json_to_wire_into(&message, black_box(json.as_bytes()), &read, &mut out).unwrap();
            });
        });
        group.bench_function("library to wire", |bencher| {
            bencher.iter(|| {
                DynamicMessage::from_json(pool.clone(), index, black_box(&json))
                    .unwrap()
                    .encode_to_vec()
            });
        });
        group.bench_function("ours to json", |bencher| {
            bencher.iter(|| {
                out.clear();
                wire_to_json(&message, black_box(&wire), &print, &mut out).unwrap();
            });
        });
        group.bench_function("library to json", |bencher| {
            bencher.iter(|| {
                DynamicMessage::decode(pool.clone(), index, black_box(&wire))
                    .unwrap()
                    .to_json()
                    .unwrap()
            });
        });
        group.finish();
    }
}

criterion_group!(benches, compare);
criterion_main!(benches);
