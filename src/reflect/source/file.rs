//! Schemas from files: descriptor sets, and `.proto` sources through the `protoc` on PATH.
//! There is no parser of our own: `protoc` is what the sources were written against.

use std::path::{Path, PathBuf};
use std::time::Duration;

use buffa_descriptor::generated::descriptor::FileDescriptorSet;

use crate::error::Error;
use crate::schema::{Schema, decode};

/// `protoc` on a large tree takes seconds; minutes mean that it hangs.
const PROTOC_DEADLINE: Duration = Duration::from_secs(60);

/// Loads descriptor set files (`protoc --descriptor_set_out`, `buf build -o`), merged.
///
/// # Errors
/// [`Error::File`] for one that cannot be read, [`Error::Descriptors`] for one that is no set,
/// each with its path.
pub async fn from_protosets(paths: &[PathBuf]) -> Result<Schema, Error> {
    let mut all = FileDescriptorSet::default();
    for path in paths {
        let bytes = tokio::fs::read(path).await.map_err(|source| Error::File {
            path: path.display().to_string(),
            source,
        })?;
        let set: FileDescriptorSet = decode(&bytes, &path.display().to_string())?;
        if set.file.is_empty() {
            return Err(Error::Descriptors {
                origin: path.display().to_string(),
                cause: "the file holds no descriptors; is it a FileDescriptorSet?".to_owned(),
            });
        }
        all.file.extend(set.file);
    }
    let names: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
    Schema::from_set(all, &names.join(", "))
}

/// Compiles `.proto` files with `protoc`, comments included. Without import paths each file's
/// own folder is one.
///
/// # Errors
/// [`Error::Protoc`] when `protoc` is missing, fails (with what it said) or hangs.
pub async fn from_protos(files: &[PathBuf], imports: &[PathBuf]) -> Result<Schema, Error> {
    let out = TempFile::new();
    let mut command = tokio::process::Command::new("protoc");
    command
        .arg("--include_imports")
        .arg("--include_source_info");
    command.arg("--descriptor_set_out").arg(&out.0);
    for import in imports {
        command.arg("-I").arg(import);
    }
    if imports.is_empty() {
        let mut folders: Vec<&Path> = files.iter().map(|f| folder(f)).collect();
        folders.dedup();
        for folder in folders {
            command.arg("-I").arg(folder);
        }
    }
    command
        .args(files)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    let output = match tokio::time::timeout(PROTOC_DEADLINE, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(cause)) if cause.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::Protoc(
                "protoc is not on PATH. On Debian: apt-get install protobuf-compiler; or give a \
                 descriptor set with --protoset"
                    .to_owned(),
            ));
        }
        Ok(Err(cause)) => return Err(Error::Protoc(format!("protoc cannot be run: {cause}"))),
        Err(_) => {
            return Err(Error::Deadline {
                what: "protoc".to_owned(),
                after: PROTOC_DEADLINE,
            });
        }
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::Protoc(format!("protoc: {said}")));
    }
    from_protosets(std::slice::from_ref(&out.0)).await
}

fn folder(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A path of our own in the temporary directory, removed at the end.
struct TempFile(PathBuf);

impl TempFile {
    fn new() -> TempFile {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("reflect-{}-{next}.binpb", std::process::id());
        TempFile(std::env::temp_dir().join(name))
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        // Best effort: a leftover in the temporary directory harms nobody.
        let _ = std::fs::remove_file(&self.0);
    }
}
