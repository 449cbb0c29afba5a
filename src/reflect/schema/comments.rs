//! Comments from `SourceCodeInfo`, by full name. Servers and descriptor sets often carry none.

use std::collections::HashMap;

use buffa_descriptor::generated::descriptor::{DescriptorProto, EnumDescriptorProto};

use super::File;
use super::builtin::join;

/// Field numbers of `FileDescriptorProto` and its parts, which make up a location's path.
mod part {
    pub(super) const FILE_MESSAGE: i32 = 4;
    pub(super) const FILE_ENUM: i32 = 5;
    pub(super) const FILE_SERVICE: i32 = 6;
    pub(super) const FILE_EXTENSION: i32 = 7;
    pub(super) const MESSAGE_FIELD: i32 = 2;
    pub(super) const MESSAGE_NESTED: i32 = 3;
    pub(super) const MESSAGE_ENUM: i32 = 4;
    pub(super) const MESSAGE_ONEOF: i32 = 8;
    pub(super) const ENUM_VALUE: i32 = 2;
    pub(super) const SERVICE_METHOD: i32 = 2;
}

pub(super) fn collect(files: &[File]) -> HashMap<String, String> {
    let mut comments = HashMap::new();
    for file in files {
        let Some(info) = file.source_code_info.as_option() else {
            continue;
        };
        for location in &info.location {
            let text = match (&location.leading_comments, &location.trailing_comments) {
                (Some(text), _) | (None, Some(text)) => text,
                (None, None) => continue,
            };
            if let Some(name) = name_of(file, &location.path) {
                comments.insert(name, clean(text));
            }
        }
    }
    comments
}

/// Strips the one space that follows each comment marker, and blank ends.
fn clean(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end())
        .collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

fn name_of(file: &File, path: &[i32]) -> Option<String> {
    let package = file.package.as_deref().unwrap_or("");
    let (&[kind, at], rest) = path.split_first_chunk::<2>()?;
    let at = usize::try_from(at).ok()?;
    match kind {
        part::FILE_MESSAGE => in_message(package, file.message_type.get(at)?, rest),
        part::FILE_ENUM => in_enum(package, file.enum_type.get(at)?, rest),
        part::FILE_SERVICE => {
            let service = file.service.get(at)?;
            let name = join(package, service.name.as_deref()?);
            match *rest {
                [] => Some(name),
                [part::SERVICE_METHOD, at] => {
                    let method = service.method.get(usize::try_from(at).ok()?)?;
                    Some(join(&name, method.name.as_deref()?))
                }
                _ => None,
            }
        }
        part::FILE_EXTENSION if rest.is_empty() => {
            Some(join(package, file.extension.get(at)?.name.as_deref()?))
        }
        _ => None,
    }
}

fn in_message(scope: &str, message: &DescriptorProto, mut path: &[i32]) -> Option<String> {
    let mut message = message;
    let mut name = join(scope, message.name.as_deref()?);
    while let Some((&[kind, at], rest)) = path.split_first_chunk::<2>() {
        let at = usize::try_from(at).ok()?;
        match kind {
            part::MESSAGE_NESTED => {
                message = message.nested_type.get(at)?;
                name = join(&name, message.name.as_deref()?);
                path = rest;
            }
            part::MESSAGE_ENUM => return in_enum(&name, message.enum_type.get(at)?, rest),
            part::MESSAGE_FIELD if rest.is_empty() => {
                return Some(join(&name, message.field.get(at)?.name.as_deref()?));
            }
            part::MESSAGE_ONEOF if rest.is_empty() => {
                return Some(join(&name, message.oneof_decl.get(at)?.name.as_deref()?));
            }
            _ => return None,
        }
    }
    path.is_empty().then_some(name)
}

/// A value's comment goes under `Enum.VALUE`, so that two enums' values never meet.
fn in_enum(scope: &str, declared: &EnumDescriptorProto, path: &[i32]) -> Option<String> {
    let name = join(scope, declared.name.as_deref()?);
    match *path {
        [] => Some(name),
        [part::ENUM_VALUE, at] => Some(join(
            &name,
            declared
                .value
                .get(usize::try_from(at).ok()?)?
                .name
                .as_deref()?,
        )),
        _ => None,
    }
}
