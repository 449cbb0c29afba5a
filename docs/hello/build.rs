//! Generates messages, clients and service traits from `hello.proto`, and the descriptors that
//! reflection and the HTTP rules are read from.

fn main() -> std::io::Result<()> {
    let out = std::env::var("OUT_DIR").unwrap_or_default();
    tonic_prost_build::configure()
        .file_descriptor_set_path(format!("{out}/hello.bin"))
        .compile_protos(&["hello.proto"], &[".", "../../assets/proto"])
}
