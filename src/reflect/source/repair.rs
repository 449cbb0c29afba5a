//! Mends what servers lose on the way: Node's reflection sends type names relative to their scope,
//! imports left out, map entries under the field's own name, and no `proto3_optional`.
//! Invariant: a sound graph passes unchanged; nothing is guessed that the names do not say.

use std::collections::{BTreeSet, HashMap, HashSet};

use buffa_descriptor::generated::descriptor::field_descriptor_proto::{Label, Type};
use buffa_descriptor::generated::descriptor::{DescriptorProto, FieldDescriptorProto};

use crate::schema::{File, builtin_files, join};

/// Whether a file of this name is built in, so that no server need be asked for it.
pub(super) fn is_builtin(name: &str) -> bool {
    builtin_files()
        .iter()
        .any(|file| file.name.as_deref() == Some(name))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Message,
    Enum,
}

/// Every type by its full name, with what it is and which file has it (`None`: built in).
struct Index(HashMap<String, (Kind, Option<usize>)>);

impl Index {
    fn new(files: &[File]) -> Index {
        let mut index = Index(HashMap::new());
        for file in builtin_files() {
            index.add_file(file, None);
        }
        for (at, file) in files.iter().enumerate() {
            index.add_file(file, Some(at));
        }
        index
    }

    fn add_file(&mut self, file: &File, at: Option<usize>) {
        let package = file.package.as_deref().unwrap_or("");
        for message in &file.message_type {
            self.add_message(package, message, at);
        }
        for declared in &file.enum_type {
            let name = join(package, declared.name.as_deref().unwrap_or(""));
            self.0.insert(name, (Kind::Enum, at));
        }
    }

    fn add_message(&mut self, scope: &str, message: &DescriptorProto, at: Option<usize>) {
        let name = join(scope, message.name.as_deref().unwrap_or(""));
        for nested in &message.nested_type {
            self.add_message(&name, nested, at);
        }
        for declared in &message.enum_type {
            let name = join(&name, declared.name.as_deref().unwrap_or(""));
            self.0.insert(name, (Kind::Enum, at));
        }
        self.0.insert(name, (Kind::Message, at));
    }

    /// The full name that `name` means inside `scope`: as it stands, or by the scoping rules of
    /// the language, innermost first.
    fn resolve(&self, scope: &str, name: &str) -> Option<String> {
        if let Some(full) = name.strip_prefix('.')
            && self.0.contains_key(full)
        {
            return Some(full.to_owned());
        }
        let name = name.strip_prefix('.').unwrap_or(name);
        let mut scope = Some(scope);
        while let Some(around) = scope {
            let candidate = join(around, name);
            if self.0.contains_key(&candidate) {
                return Some(candidate);
            }
            scope = match around.rsplit_once('.') {
                Some((outer, _)) => Some(outer),
                None if around.is_empty() => None,
                None => Some(""),
            };
        }
        None
    }
}

/// Visits every type reference of a file with the scope it stands in.
fn references(file: &File, visit: &mut dyn FnMut(&str, &str)) {
    let package = file.package.as_deref().unwrap_or("");
    for declared in &file.message_type {
        message_references(package, declared, visit);
    }
    for extension in &file.extension {
        field_references(package, extension, visit);
    }
    for service in &file.service {
        for method in &service.method {
            for name in [&method.input_type, &method.output_type]
                .into_iter()
                .flatten()
            {
                visit(package, name);
            }
        }
    }
}

fn message_references(scope: &str, declared: &DescriptorProto, visit: &mut dyn FnMut(&str, &str)) {
    let name = join(scope, declared.name.as_deref().unwrap_or(""));
    for field in declared.field.iter().chain(&declared.extension) {
        field_references(&name, field, visit);
    }
    for nested in &declared.nested_type {
        message_references(&name, nested, visit);
    }
}

fn field_references(scope: &str, field: &FieldDescriptorProto, visit: &mut dyn FnMut(&str, &str)) {
    for name in [&field.type_name, &field.extendee].into_iter().flatten() {
        visit(scope, name);
    }
}

/// Names that no file declares, each as a full name that a server may know it by: its own
/// spelling where that is absolute, else every scope it could stand for, innermost first.
pub(super) fn unresolved(files: &[File]) -> Vec<String> {
    let index = Index::new(files);
    let mut missing = Vec::new();
    let mut seen = HashSet::new();
    for file in files {
        references(file, &mut |scope, name| {
            if index.resolve(scope, name).is_some() {
                return;
            }
            let mut candidates = Vec::new();
            match name.strip_prefix('.') {
                Some(full) => candidates.push(full.to_owned()),
                None => {
                    let package = file.package.as_deref().unwrap_or("");
                    candidates.push(join(package, name));
                    candidates.push(name.to_owned());
                }
            }
            missing.extend(candidates.into_iter().filter(|c| seen.insert(c.clone())));
        });
    }
    missing
}

/// The files (by position) that a service needs: its own and all that they refer to.
pub(super) fn needed(files: &[File], service: &str) -> BTreeSet<usize> {
    let index = Index::new(files);
    let mut needed = BTreeSet::new();
    let mut open: Vec<usize> = files
        .iter()
        .enumerate()
        .filter(|(_, file)| {
            let package = file.package.as_deref().unwrap_or("");
            file.service
                .iter()
                .any(|s| join(package, s.name.as_deref().unwrap_or("")) == service)
        })
        .map(|(at, _)| at)
        .collect();
    while let Some(at) = open.pop() {
        if !needed.insert(at) {
            continue;
        }
        references(&files[at], &mut |scope, name| {
            let found = index
                .resolve(scope, name)
                .and_then(|full| index.0.get(&full));
            if let Some(&(_, Some(file))) = found {
                open.push(file);
            }
        });
    }
    needed
}

/// Mends a set of files; see the module's head.
pub(super) fn repair(mut files: Vec<File>) -> Vec<File> {
    drop_lossy_copies(&mut files);
    let index = Index::new(&files);
    let names: Vec<String> = files
        .iter()
        .map(|file| file.name.clone().unwrap_or_default())
        .collect();
    for (at, file) in files.iter_mut().enumerate() {
        import(&index, &names, at, file);
        let package = file.package.clone().unwrap_or_default();
        let proto3 = file.syntax.as_deref() == Some("proto3");
        for message in &mut file.message_type {
            repair_message(&index, &package, message, proto3);
        }
        for extension in &mut file.extension {
            repair_field(&index, &package, extension);
        }
        for service in &mut file.service {
            for method in &mut service.method {
                for name in [&mut method.input_type, &mut method.output_type]
                    .into_iter()
                    .flatten()
                {
                    qualify(&index, &package, name);
                }
            }
        }
    }
    files
}

/// A copy of the built-in types under another file name is the product of such a server, and may
/// lack parts; ours is whole.
fn drop_lossy_copies(files: &mut [File]) {
    for file in files {
        if file.package.as_deref() != Some("google.protobuf")
            || file
                .name
                .as_deref()
                .is_some_and(|name| name.starts_with("google/protobuf/"))
        {
            continue;
        }
        let ours: HashSet<&str> = builtin_files()
            .iter()
            .filter(|f| f.package == file.package)
            .flat_map(|f| {
                let messages = f.message_type.iter().filter_map(|m| m.name.as_deref());
                messages.chain(f.enum_type.iter().filter_map(|e| e.name.as_deref()))
            })
            .collect();
        let kept = |name: &Option<String>| !ours.contains(name.as_deref().unwrap_or(""));
        file.message_type.retain(|m| kept(&m.name));
        file.enum_type.retain(|e| kept(&e.name));
    }
}

/// Adds the imports that the file's references show.
fn import(index: &Index, names: &[String], at: usize, file: &mut File) {
    let mut missing = Vec::new();
    references(file, &mut |scope, name| {
        let found = index
            .resolve(scope, name)
            .and_then(|full| index.0.get(&full));
        if let Some(&(_, Some(other))) = found
            && other != at
            && !missing.contains(&names[other])
        {
            missing.push(names[other].clone());
        }
    });
    missing.retain(|name| !file.dependency.contains(name));
    file.dependency.extend(missing);
}

fn repair_message(index: &Index, scope: &str, message: &mut DescriptorProto, proto3: bool) {
    let name = join(scope, message.name.as_deref().unwrap_or(""));
    for field in message.field.iter_mut().chain(&mut message.extension) {
        repair_field(index, &name, field);
    }
    if proto3 {
        mark_optional(message);
    }
    name_map_entries(&name, message);
    for nested in &mut message.nested_type {
        repair_message(index, &name, nested, proto3);
    }
}

fn repair_field(index: &Index, scope: &str, field: &mut FieldDescriptorProto) {
    if let Some(extendee) = &mut field.extendee {
        qualify(index, scope, extendee);
    }
    let Some(name) = &mut field.type_name else {
        return;
    };
    qualify(index, scope, name);
    if field.r#type.is_none() {
        field.r#type = match index.0.get(&name[1..]) {
            Some((Kind::Enum, _)) => Some(Type::TYPE_ENUM),
            _ => Some(Type::TYPE_MESSAGE),
        };
    }
}

fn qualify(index: &Index, scope: &str, name: &mut String) {
    if let Some(full) = index.resolve(scope, name) {
        *name = format!(".{full}");
    } else if !name.starts_with('.') {
        name.insert(0, '.');
    }
}

/// The compiler names an optional field's synthetic oneof after the field; that much survives.
fn mark_optional(message: &mut DescriptorProto) {
    for (at, oneof) in message.oneof_decl.iter().enumerate() {
        let name = oneof.name.as_deref().unwrap_or("");
        let members = || {
            message
                .field
                .iter()
                .filter(|f| f.oneof_index == i32::try_from(at).ok())
        };
        let synthetic = members().count() == 1
            && members().all(|f| {
                let field = f.name.as_deref().unwrap_or("");
                name.trim_start_matches('X') == format!("_{field}")
            });
        if synthetic
            && let Some(field) = message
                .field
                .iter_mut()
                .find(|f| f.oneof_index == i32::try_from(at).ok())
        {
            field.proto3_optional = Some(true);
        }
    }
}

/// Gives map entries the name that the language prescribes: `counters` → `CountersEntry`.
fn name_map_entries(scope: &str, message: &mut DescriptorProto) {
    for at in 0..message.field.len() {
        let field = &message.field[at];
        if field.label != Some(Label::LABEL_REPEATED) {
            continue;
        }
        let (Some(name), Some(type_name)) = (&field.name, &field.type_name) else {
            continue;
        };
        let Some(short) = type_name
            .strip_prefix(&format!(".{scope}."))
            .map(str::to_owned)
        else {
            continue;
        };
        let wanted = entry_name(name);
        let taken = message
            .nested_type
            .iter()
            .any(|n| n.name.as_deref() == Some(&wanted));
        if taken || short == wanted {
            continue;
        }
        let entry = message.nested_type.iter_mut().find(|n| {
            n.name.as_deref() == Some(&short)
                && n.options.as_option().and_then(|o| o.map_entry) == Some(true)
        });
        if let Some(entry) = entry {
            entry.name = Some(wanted.clone());
            message.field[at].type_name = Some(format!(".{scope}.{wanted}"));
        }
    }
}

fn entry_name(field: &str) -> String {
    let mut out = String::new();
    let mut upper = true;
    for c in field.chars() {
        match c {
            '_' => upper = true,
            c if std::mem::take(&mut upper) => out.extend(c.to_uppercase()),
            c => out.push(c),
        }
    }
    out + "Entry"
}

/// The references of a file that nothing in `files` or in itself declares.
pub(crate) fn dangling(file: &File, files: &[File]) -> bool {
    let mut index = Index(HashMap::new());
    for (at, known) in files.iter().enumerate() {
        index.add_file(known, Some(at));
    }
    index.add_file(file, None);
    let mut dangling = false;
    references(file, &mut |scope, name| {
        dangling |= index.resolve(scope, name).is_none();
    });
    dangling
}
