//! Descriptors, linked and made searchable: the one source from which JSON, rules, calls and
//! descriptions are driven. Editions, proto2 and proto3 alike.
//! Invariant: a `Schema` never changes; handles (`Message`, `Method`, …) keep it alive and are
//! cheap to clone. Where descriptors come from is `source/`.

mod builtin;
mod comments;
mod find;
pub(crate) mod table;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use buffa::Message as _;
use buffa_descriptor::generated::descriptor::{FileDescriptorProto, FileDescriptorSet};
use buffa_descriptor::{DescriptorPool, EnumIndex, MessageIndex};

use crate::error::Error;
pub(crate) use builtin::{files as builtin_files, join};
pub(crate) use find::nearest;
pub use find::{FindError, Symbol};
use table::{EnumTable, Table};

/// Memory that decoding descriptors may take; their Rust form is several times the wire's.
const DECODE_MEMORY: usize = 1 << 30;

/// A linked set of descriptors.
#[derive(Clone)]
pub struct Schema(Arc<Inner>);

pub(crate) struct Inner {
    pool: Arc<DescriptorPool>,
    message_ids: Vec<MessageIndex>,
    enum_ids: Vec<EnumIndex>,
    tables: Vec<OnceLock<Table>>,
    enums: Vec<OnceLock<EnumTable>>,
    comments: OnceLock<HashMap<String, String>>,
}

impl Schema {
    /// Links a serialised `FileDescriptorSet`. The well-known types, `google.rpc` and
    /// `google.api.http` are added where the set lacks them.
    ///
    /// # Errors
    /// [`Error::Descriptors`] when the bytes are no descriptor set or do not fit together.
    pub fn from_descriptor_set(bytes: &[u8]) -> Result<Schema, Error> {
        Schema::from_set(decode(bytes, "descriptor set")?, "descriptor set")
    }

    /// Links serialised `FileDescriptorProto`s in any order, as reflection serves them.
    ///
    /// # Errors
    /// As [`Schema::from_descriptor_set`].
    pub fn from_files<B: AsRef<[u8]>>(files: impl IntoIterator<Item = B>) -> Result<Schema, Error> {
        let mut set = FileDescriptorSet::default();
        for file in files {
            set.file.push(decode(file.as_ref(), "file descriptor")?);
        }
        Schema::from_set(set, "file descriptors")
    }

    /// Only the built-in types: the well-known ones, `google.rpc`, `google.api`.
    pub fn builtin() -> Schema {
        static BUILTIN: OnceLock<Schema> = OnceLock::new();
        BUILTIN
            .get_or_init(|| {
                // An empty pool is the proof-free fallback; a test asserts that it never happens.
                Schema::from_set(FileDescriptorSet::default(), "built-in types")
                    .unwrap_or_else(|_| Schema::link(DescriptorPool::default()))
            })
            .clone()
    }

    pub(crate) fn from_set(mut set: FileDescriptorSet, origin: &str) -> Result<Schema, Error> {
        builtin::complete(&mut set);
        let pool = DescriptorPool::new(set).map_err(|cause| Error::Descriptors {
            origin: origin.to_owned(),
            cause: cause.to_string(),
        })?;
        Ok(Schema::link(pool))
    }

    fn link(pool: DescriptorPool) -> Schema {
        let message_ids: Vec<MessageIndex> = pool
            .messages()
            .iter()
            .filter_map(|m| pool.message_index(m.full_name()))
            .collect();
        let enum_ids: Vec<EnumIndex> = pool
            .enums()
            .iter()
            .filter_map(|e| pool.enum_index(e.full_name()))
            .collect();
        Schema(Arc::new(Inner {
            tables: message_ids.iter().map(|_| OnceLock::new()).collect(),
            enums: enum_ids.iter().map(|_| OnceLock::new()).collect(),
            message_ids,
            enum_ids,
            pool: Arc::new(pool),
            comments: OnceLock::new(),
        }))
    }

    /// All files as one serialised `FileDescriptorSet`: what a cache or `--protoset` file holds.
    pub fn to_descriptor_set(&self) -> Vec<u8> {
        let set = FileDescriptorSet {
            file: self.0.pool.files().to_vec(),
            ..Default::default()
        };
        set.encode_to_vec()
    }

    /// The serialised files, each with its name, in load order.
    pub fn files(&self) -> impl Iterator<Item = (&str, Vec<u8>)> {
        self.0
            .pool
            .files()
            .iter()
            .map(|f| (f.name.as_deref().unwrap_or(""), f.encode_to_vec()))
    }

    /// The linked pool itself, for what this crate does not offer.
    pub fn pool(&self) -> &Arc<DescriptorPool> {
        &self.0.pool
    }

    /// Every service, in load order.
    pub fn services(&self) -> impl Iterator<Item = Service> + '_ {
        (0..self.0.pool.services().len()).map(|id| Service {
            schema: self.clone(),
            id,
        })
    }

    /// The service of exactly this full name.
    pub fn service(&self, full_name: &str) -> Option<Service> {
        let id = self
            .0
            .pool
            .services()
            .iter()
            .position(|s| s.full_name() == full_name)?;
        Some(Service {
            schema: self.clone(),
            id,
        })
    }

    /// The method of exactly this name: `pkg.Service/Method`, with or without a leading slash.
    pub fn method(&self, path: &str) -> Option<Method> {
        let (service, method) = path.strip_prefix('/').unwrap_or(path).rsplit_once('/')?;
        self.service(service)?.method(method)
    }

    /// The message of exactly this full name.
    pub fn message(&self, full_name: &str) -> Option<Message> {
        Some(Message {
            schema: self.clone(),
            id: self.0.message_id_by_name(full_name)?,
        })
    }

    /// The enum of exactly this full name.
    pub fn enumeration(&self, full_name: &str) -> Option<Enum> {
        let index = self.0.pool.enum_index(full_name)?;
        Some(Enum {
            schema: self.clone(),
            id: self.0.enum_id(index)?,
        })
    }

    /// Every message, nested ones and map entries included, in load order.
    pub fn messages(&self) -> impl Iterator<Item = Message> + '_ {
        (0..self.0.tables.len()).map(|id| Message {
            schema: self.clone(),
            id,
        })
    }

    /// Every enum, in load order.
    pub fn enumerations(&self) -> impl Iterator<Item = Enum> + '_ {
        (0..self.0.enums.len()).map(|id| Enum {
            schema: self.clone(),
            id,
        })
    }

    /// The comment above a symbol or field (`pkg.Message.field`), where the descriptors carry it.
    pub fn comment(&self, full_name: &str) -> Option<&str> {
        self.0
            .comments
            .get_or_init(|| comments::collect(self.0.pool.files()))
            .get(full_name)
            .map(String::as_str)
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    pub(crate) fn message_at(&self, id: usize) -> Message {
        Message {
            schema: self.clone(),
            id,
        }
    }

    pub(crate) fn enum_at(&self, id: usize) -> Enum {
        Enum {
            schema: self.clone(),
            id,
        }
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema")
            .field("files", &self.0.pool.files().len())
            .field("services", &self.0.pool.services().len())
            .finish()
    }
}

impl Inner {
    pub(crate) fn pool(&self) -> &DescriptorPool {
        &self.pool
    }

    pub(crate) fn message_id(&self, index: MessageIndex) -> Option<usize> {
        self.message_ids.binary_search(&index).ok()
    }

    pub(crate) fn message_index(&self, id: usize) -> Option<MessageIndex> {
        self.message_ids.get(id).copied()
    }

    pub(crate) fn message_id_by_name(&self, full_name: &str) -> Option<usize> {
        self.message_id(self.pool.message_index(full_name)?)
    }

    pub(crate) fn enum_id(&self, index: EnumIndex) -> Option<usize> {
        self.enum_ids.binary_search(&index).ok()
    }

    /// The codec's table of a message, compiled when first asked for.
    #[inline]
    pub(crate) fn table(&self, id: usize) -> &Table {
        self.tables[id].get_or_init(|| Table::compile(self, id))
    }

    #[inline]
    pub(crate) fn enum_table(&self, id: usize) -> &EnumTable {
        self.enums[id].get_or_init(|| EnumTable::compile(&self.pool.enums()[id]))
    }
}

/// A message type of a schema.
#[derive(Clone)]
pub struct Message {
    schema: Schema,
    id: usize,
}

impl Message {
    /// The full name without a leading dot.
    pub fn full_name(&self) -> &str {
        self.schema.0.pool.messages()[self.id].full_name()
    }

    /// The schema that this message belongs to.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    pub(crate) fn id(&self) -> usize {
        self.id
    }

    pub(crate) fn table(&self) -> &Table {
        self.schema.0.table(self.id)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({})", self.full_name())
    }
}

/// An enum type of a schema.
#[derive(Clone)]
pub struct Enum {
    schema: Schema,
    id: usize,
}

impl Enum {
    /// The full name without a leading dot.
    pub fn full_name(&self) -> &str {
        self.schema.0.pool.enums()[self.id].full_name()
    }

    /// The schema that this enum belongs to.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Names and numbers in declaration order.
    pub fn values(&self) -> impl Iterator<Item = (&str, i32)> {
        self.schema.0.pool.enums()[self.id]
            .values()
            .iter()
            .map(|v| (v.name(), v.number()))
    }
}

impl fmt::Debug for Enum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Enum({})", self.full_name())
    }
}

/// A service of a schema.
#[derive(Clone)]
pub struct Service {
    schema: Schema,
    id: usize,
}

impl Service {
    /// The full name without a leading dot.
    pub fn full_name(&self) -> &str {
        self.schema.0.pool.services()[self.id].full_name()
    }

    /// The schema that this service belongs to.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Its methods in declaration order.
    pub fn methods(&self) -> impl Iterator<Item = Method> + '_ {
        let count = self.schema.0.pool.services()[self.id].methods().len();
        (0..count).filter_map(|at| Method::new(&self.schema, self.id, at))
    }

    /// The method of exactly this name.
    pub fn method(&self, name: &str) -> Option<Method> {
        let methods = self.schema.0.pool.services()[self.id].methods();
        Method::new(
            &self.schema,
            self.id,
            methods.iter().position(|m| m.name() == name)?,
        )
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Service({})", self.full_name())
    }
}

/// A method of a service.
#[derive(Clone)]
pub struct Method {
    schema: Schema,
    service: usize,
    at: usize,
    path: Arc<str>,
    input: usize,
    output: usize,
}

/// Which sides send more than one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodKind {
    /// One request, one response.
    Unary,
    /// A stream of requests, one response.
    ClientStream,
    /// One request, a stream of responses.
    ServerStream,
    /// Streams both ways.
    Bidi,
}

impl Method {
    fn new(schema: &Schema, service: usize, at: usize) -> Option<Method> {
        let owner = schema.0.pool.services().get(service)?;
        let method = owner.methods().get(at)?;
        Some(Method {
            input: schema.0.message_id(method.input())?,
            output: schema.0.message_id(method.output())?,
            path: format!("/{}/{}", owner.full_name(), method.name()).into(),
            schema: schema.clone(),
            service,
            at,
        })
    }

    fn descriptor(&self) -> &buffa_descriptor::MethodDescriptor {
        &self.schema.0.pool.services()[self.service].methods()[self.at]
    }

    /// The HTTP/2 path: `/pkg.Service/Method`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// `pkg.Service.Method`.
    pub fn full_name(&self) -> String {
        self.path[1..].replace('/', ".")
    }

    /// The method's own name.
    pub fn name(&self) -> &str {
        self.descriptor().name()
    }

    /// The service that has it.
    pub fn service(&self) -> Service {
        Service {
            schema: self.schema.clone(),
            id: self.service,
        }
    }

    /// The schema that it belongs to.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The request's type.
    pub fn input(&self) -> Message {
        self.schema.message_at(self.input)
    }

    /// The response's type.
    pub fn output(&self) -> Message {
        self.schema.message_at(self.output)
    }

    /// Whether the client sends a stream.
    pub fn client_streaming(&self) -> bool {
        self.descriptor().is_client_streaming()
    }

    /// Whether the server sends a stream.
    pub fn server_streaming(&self) -> bool {
        self.descriptor().is_server_streaming()
    }

    /// Both of the above as one word.
    pub fn kind(&self) -> MethodKind {
        match (self.client_streaming(), self.server_streaming()) {
            (false, false) => MethodKind::Unary,
            (true, false) => MethodKind::ClientStream,
            (false, true) => MethodKind::ServerStream,
            (true, true) => MethodKind::Bidi,
        }
    }

    /// Whether the method promises to be safe to repeat (`idempotency_level`).
    pub fn idempotent(&self) -> bool {
        use buffa_descriptor::generated::descriptor::method_options::IdempotencyLevel;
        matches!(
            self.descriptor()
                .options()
                .and_then(|o| o.idempotency_level),
            Some(IdempotencyLevel::IDEMPOTENT | IdempotencyLevel::NO_SIDE_EFFECTS)
        )
    }

    /// The serialised `google.protobuf.MethodOptions`; empty where there are none.
    pub fn options(&self) -> Vec<u8> {
        self.descriptor()
            .options()
            .map(|o| o.encode_to_vec())
            .unwrap_or_default()
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Method({})", self.path)
    }
}

pub(crate) fn decode<M: buffa::Message + Default>(bytes: &[u8], origin: &str) -> Result<M, Error> {
    buffa::DecodeOptions::new()
        .with_element_memory_limit(DECODE_MEMORY)
        .with_unknown_field_limit(usize::MAX)
        .decode_from_slice(bytes)
        .map_err(|cause| Error::Descriptors {
            origin: origin.to_owned(),
            cause: cause.to_string(),
        })
}

/// A decoded file, for those who mend it before it is linked.
pub(crate) type File = FileDescriptorProto;
