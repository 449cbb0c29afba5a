//! Generates the demo's messages and service traits from `assets/proto`, and the descriptor set that
//! reflection and the HTTP rules are read from, comments included.

use std::{env, error::Error, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../assets/proto");
    let files = [
        "user/v1/user.proto",
        "order/v1/order.proto",
        "fault/v1/fault.proto",
    ]
    .map(|f| root.join(f));
    println!("cargo:rerun-if-changed={}", root.display());
    let set = PathBuf::from(env::var("OUT_DIR")?).join("demo.bin");
    tonic_prost_build::configure()
        .file_descriptor_set_path(set)
        .compile_protos(&files, &[root])?;
    Ok(())
}
