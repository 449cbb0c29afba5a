//! The schema that the tests share, compiled from `proto/` by protoc as a user's would be.

use std::path::PathBuf;
use std::sync::OnceLock;

use reflect::{Message, Schema};

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn schema() -> Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA
        .get_or_init(|| {
            // A thread of its own: async tests have a runtime already.
            std::thread::spawn(|| tokio::runtime::Runtime::new().unwrap().block_on(compile()))
                .join()
                .unwrap()
        })
        .clone()
}

async fn compile() -> Schema {
    let protos = root().join("tests/proto");
    let files = [
        protos.join("test/v1/all.proto"),
        protos.join("test/v1/old.proto"),
    ];
    let imports = [protos, root().join("../../assets/proto")];
    reflect::from_protos(&files, &imports).await.unwrap()
}

/// The schema of one proto file, given as text.
pub(crate) fn compiled(proto: &str) -> Schema {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("case.proto");
    std::fs::write(&file, proto).unwrap();
    let imports = [folder.path().to_owned(), root().join("../../assets/proto")];
    std::thread::spawn(move || {
        let files = [file];
        let work = reflect::from_protos(&files, &imports);
        tokio::runtime::Runtime::new().unwrap().block_on(work)
    })
    .join()
    .unwrap()
    .unwrap()
}

pub(crate) fn message(name: &str) -> Message {
    schema()
        .message(name)
        .unwrap_or_else(|| panic!("no message {name}"))
}
