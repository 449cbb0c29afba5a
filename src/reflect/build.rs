//! Compiles the descriptors every schema may lean on: the well-known types, `google.rpc` details
//! and the HTTP annotations. One set, embedded; nothing is generated as code.

use std::path::PathBuf;
use std::process::Command;

const FILES: &[&str] = &[
    "google/protobuf/any.proto",
    "google/protobuf/duration.proto",
    "google/protobuf/empty.proto",
    "google/protobuf/field_mask.proto",
    "google/protobuf/struct.proto",
    "google/protobuf/timestamp.proto",
    "google/protobuf/wrappers.proto",
    "google/protobuf/descriptor.proto",
    "google/api/http.proto",
    "google/api/annotations.proto",
    "google/api/httpbody.proto",
    "google/rpc/status.proto",
    "google/rpc/error_details.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../assets/proto");
    println!("cargo::rerun-if-changed={}", root.join("google").display());
    println!("cargo::rerun-if-env-changed=PROTOC");
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("builtin.binpb");
    let protoc = std::env::var_os("PROTOC").unwrap_or_else(|| "protoc".into());
    let status = Command::new(&protoc)
        .arg("-I")
        .arg(&root)
        .arg("--descriptor_set_out")
        .arg(&out)
        .args(FILES)
        .status()
        .map_err(|cause| {
            format!(
                "cannot run {}: {cause}. Install protobuf-compiler",
                protoc.display()
            )
        })?;
    if !status.success() {
        return Err(format!("protoc failed on the protos under {}", root.display()).into());
    }
    Ok(())
}
