//! The types every schema may lean on, embedded. A file is added only where nothing in the set
//! already declares one of its symbols, whatever its path: the set's own descriptors win.

use std::collections::HashSet;
use std::sync::OnceLock;

use buffa_descriptor::generated::descriptor::FileDescriptorSet;

use super::File;

/// Compiled by `build.rs` from `assets/proto/google` and protoc's own well-known types.
const BUILTIN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/builtin.binpb"));

pub(crate) fn files() -> &'static [File] {
    static FILES: OnceLock<Vec<File>> = OnceLock::new();
    FILES.get_or_init(|| {
        super::decode::<FileDescriptorSet>(BUILTIN, "built-in types")
            .map(|set| set.file)
            .unwrap_or_default()
    })
}

/// Drops files that declare nothing new (the same types under another path, as merged sets have
/// them) and adds the built-in files that are missing.
pub(super) fn complete(set: &mut FileDescriptorSet) {
    let mut seen = HashSet::new();
    let mut names = HashSet::new();
    set.file.retain(|file| {
        let symbols = declared(file);
        let repeated = symbols.iter().any(|symbol| seen.contains(symbol));
        if repeated || !names.insert(file.name.clone().unwrap_or_default()) {
            return false;
        }
        seen.extend(symbols);
        true
    });
    let own = set.file.len();
    for file in files() {
        if declared(file).iter().all(|symbol| !seen.contains(symbol))
            && !names.contains(file.name.as_deref().unwrap_or_default())
        {
            set.file.push(file.clone());
        }
    }
    if set.file.len() < own + files().len() {
        drop_dangling(set, own);
    }
}

/// Where the set has types of its own in the place of ours, what of ours leans on parts that
/// they lack must go, or nothing would link.
fn drop_dangling(set: &mut FileDescriptorSet, own: usize) {
    while let Some(at) =
        (own..set.file.len()).find(|&at| crate::source::repair::dangling(&set.file[at], &set.file))
    {
        set.file.remove(at);
    }
}

/// The full names that a file declares at its top level.
fn declared(file: &File) -> Vec<String> {
    let package = file.package.as_deref().unwrap_or("");
    let messages = file.message_type.iter().map(|m| &m.name);
    let enums = file.enum_type.iter().map(|e| &e.name);
    let services = file.service.iter().map(|s| &s.name);
    let extensions = file.extension.iter().map(|e| &e.name);
    messages
        .chain(enums)
        .chain(services)
        .chain(extensions)
        .map(|name| join(package, name.as_deref().unwrap_or("")))
        .collect()
}

pub(crate) fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() {
        name.to_owned()
    } else {
        format!("{scope}.{name}")
    }
}
