//! From a descriptor set's bytes to files and the names in them. Names are read, bytes are kept as they are.

use bytes::{Buf as _, Bytes};
use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
};

use super::{File, Files};

/// The files of a descriptor set, as the bytes they are in it.
pub(super) fn split(set: &Bytes) -> Result<Vec<Bytes>, String> {
    let mut rest = set.clone();
    let mut files = Vec::new();
    let broken = |cause: prost::DecodeError| format!("not a descriptor set: {cause}");
    while rest.has_remaining() {
        let (field, kind) = prost::encoding::decode_key(&mut rest).map_err(broken)?;
        if field == 1 && kind == prost::encoding::WireType::LengthDelimited {
            let length = prost::encoding::decode_varint(&mut rest).map_err(broken)?;
            let length = usize::try_from(length)
                .ok()
                .filter(|length| *length <= rest.len());
            files.push(rest.split_to(length.ok_or("not a descriptor set: a file is cut off")?));
        } else {
            let context = prost::encoding::DecodeContext::default();
            prost::encoding::skip_field(kind, field, &mut rest, context).map_err(broken)?;
        }
    }
    Ok(files)
}

impl Files {
    pub(super) fn add(&mut self, bytes: Bytes) -> Result<(), String> {
        let file = FileDescriptorProto::decode(bytes.clone())
            .map_err(|cause| format!("a file in it: {cause}"))?;
        let name = file.name().to_owned();
        if self.files.contains_key(&name) {
            return Ok(());
        }
        let package = file.package();
        for message in &file.message_type {
            self.message(&name, package, message);
        }
        for kind in &file.enum_type {
            self.enumeration(&name, package, kind);
        }
        for service in &file.service {
            let full = join(package, service.name());
            for method in &service.method {
                self.symbol(&name, join(&full, method.name()));
            }
            self.symbol(&name, full);
        }
        self.extension_fields(&name, package, &file.extension);
        self.files.insert(
            name,
            File {
                bytes,
                imports: file.dependency,
            },
        );
        Ok(())
    }

    fn message(&mut self, file: &str, scope: &str, message: &DescriptorProto) {
        let full = join(scope, message.name());
        for field in &message.field {
            self.symbol(file, join(&full, field.name()));
        }
        for nested in &message.nested_type {
            self.message(file, &full, nested);
        }
        for kind in &message.enum_type {
            self.enumeration(file, &full, kind);
        }
        self.extension_fields(file, &full, &message.extension);
        self.symbol(file, full);
    }

    fn enumeration(&mut self, file: &str, scope: &str, kind: &EnumDescriptorProto) {
        for value in &kind.value {
            // A value is a sibling of its enum, as in C++.
            self.symbol(file, join(scope, value.name()));
        }
        self.symbol(file, join(scope, kind.name()));
    }

    fn extension_fields(&mut self, file: &str, scope: &str, fields: &[FieldDescriptorProto]) {
        for field in fields {
            self.symbol(file, join(scope, field.name()));
            let extended = field.extendee().trim_start_matches('.').to_owned();
            self.extensions
                .entry(extended)
                .or_default()
                .insert(field.number(), file.to_owned());
        }
    }

    fn symbol(&mut self, file: &str, full: String) {
        self.symbols.entry(full).or_insert_with(|| file.to_owned());
    }
}

fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() {
        name.to_owned()
    } else {
        format!("{scope}.{name}")
    }
}
