//! A service, its instances and their endpoints: the record that a process writes about itself.
//!
//! Names that exist are valid: `[A-Za-z0-9][A-Za-z0-9._-]*`. Nothing rewrites a name to make it so.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use serde::de::Visitor;
use serde::{Deserialize, Serialize};

use crate::kv::{Entry, Key, LeaseId, Revision};
use crate::plan::Seen;
use crate::safe::escape;

/// The longest name: keys stay readable and a hostile one cannot fill a screen.
pub const MAX_NAME: usize = 253;

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("the name is empty; a name starts with a letter or digit")]
    Empty,
    /// Longer than [`MAX_NAME`].
    #[error("the name has {0} characters, at most {MAX_NAME} are allowed")]
    TooLong(usize),
    /// A character that names do not have.
    #[error(
        "'{name}': {found:?} is not allowed {place}; a name is letters, digits, '.', '_' and '-', and starts with a letter or digit"
    )]
    Character {
        /// The refused text, made safe to show.
        name: String,
        /// The first wrong character.
        found: char,
        /// Where it stands.
        place: &'static str,
    },
}

/// Checks a text against the grammar of names.
///
/// # Errors
/// See [`NameError`].
pub fn check_name(text: &str) -> Result<(), NameError> {
    if text.len() > MAX_NAME {
        return Err(NameError::TooLong(text.chars().count()));
    }
    let mut characters = text.chars();
    let Some(first) = characters.next() else {
        return Err(NameError::Empty);
    };
    let refuse = |found, place| {
        Err(NameError::Character {
            name: escape(text).into_owned(),
            found,
            place,
        })
    };
    if !first.is_ascii_alphanumeric() {
        return refuse(first, "at the start");
    }
    match characters.find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-')) {
        Some(found) => refuse(found, "in a name"),
        None => Ok(()),
    }
}

/// Reads a text without a copy of it in between.
struct Text<F>(F);

impl<T, E: fmt::Display, F: FnOnce(&str) -> Result<T, E>> Visitor<'_> for Text<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<R: serde::de::Error>(self, text: &str) -> Result<T, R> {
        self.0(text).map_err(R::custom)
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes a text that follows the grammar of names.
            ///
            /// # Errors
            /// [`NameError`] says which character is wrong.
            pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
                let text = text.as_ref();
                check_name(text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().into()
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Text(|text: &str| Self::new(text)))
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }
    };
}

name! {
    /// The name under which instances of one service register.
    ServiceName
}
name! {
    /// The name of one process of a service, stable over its restarts where it can be.
    InstanceId
}

impl InstanceId {
    /// The name that another framework gives an instance, such as its address: whatever is visible
    /// ASCII without a slash.
    ///
    /// # Errors
    /// [`NameError`] says which character is wrong.
    pub fn foreign(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_NAME {
            return Err(NameError::TooLong(text.chars().count()));
        }
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        match text.chars().find(|c| !c.is_ascii_graphic() || *c == '/') {
            Some(found) => Err(NameError::Character {
                name: escape(text).into_owned(),
                found,
                place: "in a name",
            }),
            None => Ok(Self(text.into())),
        }
    }
}

/// Where and how an instance is reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// `grpc` or `http`; foreign records have others.
    pub protocol: Arc<str>,
    /// `host:port`.
    pub address: Arc<str>,
    /// Whether TLS is spoken.
    pub secure: bool,
}

/// A text that names no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no endpoint: {cause}; write it like grpc://10.0.0.4:9000")]
pub struct EndpointError {
    /// The refused text, made safe to show.
    pub text: String,
    /// What is wrong with it.
    pub cause: &'static str,
}

impl Endpoint {
    /// Reads `grpc://host:port`, `grpcs://…`, `http://…`, `https://…`, or any other
    /// `scheme://host:port`. A trailing slash is tolerated; `?isSecure=true` (older kratos) is read.
    ///
    /// # Errors
    /// [`EndpointError`] when the scheme, the host or the port is missing.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let refuse = |cause| EndpointError {
            text: escape(text).into_owned(),
            cause,
        };
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| refuse("it has no scheme"))?;
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let address = address.trim_end_matches('/');
        if scheme.is_empty()
            || !scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        {
            return Err(refuse("the scheme is not a word"));
        }
        let (host, port) = address
            .rsplit_once(':')
            .ok_or_else(|| refuse("it has no port"))?;
        if host.is_empty()
            || !host
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-._:[]%".contains(c))
        {
            return Err(refuse("the host is not a name or an address"));
        }
        if !matches!(port.parse::<u16>(), Ok(1..)) {
            return Err(refuse("the port is not a number from 1 to 65535"));
        }
        let (protocol, secure) = match scheme {
            "grpcs" => ("grpc", true),
            "https" => ("http", true),
            other => (other, query.split('&').any(|pair| pair == "isSecure=true")),
        };
        Ok(Self {
            protocol: shared(protocol),
            address: address.into(),
            secure,
        })
    }

    /// Whether gRPC is spoken there.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        &*self.protocol == "grpc"
    }
}

/// The name of a protocol; nearly all endpoints share one of two.
fn shared(protocol: &str) -> Arc<str> {
    static GRPC: LazyLock<Arc<str>> = LazyLock::new(|| "grpc".into());
    static HTTP: LazyLock<Arc<str>> = LazyLock::new(|| "http".into());
    match protocol {
        "grpc" => Arc::clone(&GRPC),
        "http" => Arc::clone(&HTTP),
        other => other.into(),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secure = if self.secure { "s" } else { "" };
        write!(f, "{}{secure}://{}", self.protocol, self.address)
    }
}

impl Serialize for Endpoint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text(Self::parse))
    }
}

/// What a process writes about itself under `/services/<service>/<instance-id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceRecord {
    /// The service it belongs to.
    pub service: ServiceName,
    /// Which of its instances it is.
    pub id: InstanceId,
    /// The version of the software; may be empty.
    #[serde(default)]
    pub version: String,
    /// Where it is reached.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    /// Its share of the calls, in relation to its peers.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// Facts for people and for routing (`zone`).
    #[serde(default, deserialize_with = "null_is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// When the process started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
}

const fn default_weight() -> u32 {
    100
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl InstanceRecord {
    /// A record with the defaults of everything but its names.
    #[must_use]
    pub fn new(service: ServiceName, id: InstanceId) -> Self {
        Self {
            service,
            id,
            version: String::new(),
            endpoints: Vec::new(),
            weight: default_weight(),
            metadata: BTreeMap::new(),
            started_at: None,
        }
    }

    /// The value of the record's key.
    ///
    /// # Errors
    /// Does not fail for records that can be made; the error is serde's.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// The first endpoint that speaks gRPC.
    #[must_use]
    pub fn grpc(&self) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.is_grpc())
    }

    /// The zone it runs in, from its metadata.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        self.metadata.get("zone").map(String::as_str)
    }
}

/// Who wrote a record, told from its key and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Format {
    /// The layout of this project.
    Native,
    /// go-kratos.
    Kratos,
    /// go-zero's discov.
    GoZero,
    /// go-micro.
    GoMicro,
    /// kitex.
    Kitex,
    /// hertz.
    Hertz,
    /// dubbo-go, a key for each interface.
    Dubbo,
    /// dubbo-go, a key for each application.
    DubboApplication,
    /// Dubbo for Java.
    DubboJava,
    /// GoFrame.
    #[serde(rename = "goframe")]
    GoFrame,
    /// etcd's own naming for gRPC clients.
    EtcdNaming,
    /// rpcx.
    Rpcx,
    /// Jupiter.
    Jupiter,
    /// go-kit.
    GoKit,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Native => "native",
            Self::Kratos => "kratos",
            Self::GoZero => "go-zero",
            Self::GoMicro => "go-micro",
            Self::Kitex => "kitex",
            Self::Hertz => "hertz",
            Self::Dubbo => "dubbo",
            Self::DubboApplication => "dubbo-application",
            Self::DubboJava => "dubbo-java",
            Self::GoFrame => "goframe",
            Self::EtcdNaming => "etcd-naming",
            Self::Rpcx => "rpcx",
            Self::Jupiter => "jupiter",
            Self::GoKit => "go-kit",
        })
    }
}

/// A record together with the key that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// What the process wrote.
    pub record: InstanceRecord,
    /// Where it stands.
    pub key: Key,
    /// The lease that takes it away when the process no longer keeps it.
    pub lease: Option<LeaseId>,
    /// When it was last written.
    pub mod_revision: Revision,
    /// When it came to be.
    pub create_revision: Revision,
    /// Who wrote it.
    pub format: Format,
}

impl Instance {
    /// What was seen of its record: its revision is the guard of a write; the value is not kept.
    #[must_use]
    pub fn seen(&self) -> Seen {
        Seen::At(Entry {
            key: self.key.clone(),
            value: Arc::from(&[][..]),
            create_revision: self.create_revision,
            mod_revision: self.mod_revision,
            version: 1,
            lease: self.lease,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_grammar_or_are_refused() {
        for good in ["order", "user.v1", "a", "0", "order-7f3a-1", "A_b.c-d"] {
            assert!(ServiceName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "_a", "a b", "a/b", "ä", "a\n", "a\u{1b}"] {
            assert!(ServiceName::new(bad).is_err(), "{bad:?}");
        }
        assert!(InstanceId::new("a".repeat(MAX_NAME)).is_ok());
        assert!(InstanceId::new("a".repeat(MAX_NAME + 1)).is_err());
    }

    #[test]
    fn a_refused_name_says_which_character_and_is_safe_to_show() {
        let error = ServiceName::new("a\u{1b}[2J").unwrap_err().to_string();
        assert!(error.contains("'a\\u{1b}[2J'"), "{error}");
        assert!(!error.contains('\u{1b}'), "{error}");
    }

    #[test]
    fn endpoints_are_read_and_written_alike() {
        for (text, protocol, address, secure) in [
            ("grpc://10.0.0.4:9000", "grpc", "10.0.0.4:9000", false),
            ("grpcs://a.b:1", "grpc", "a.b:1", true),
            ("https://[::1]:443", "http", "[::1]:443", true),
            ("http://h:80", "http", "h:80", false),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!(
                (&*endpoint.protocol, &*endpoint.address, endpoint.secure),
                (protocol, address, secure)
            );
            assert_eq!(endpoint.to_string(), text);
        }
        assert!(Endpoint::parse("grpc://h:1?isSecure=true").unwrap().secure);
        assert_eq!(
            Endpoint::parse("grpc://h:1/").unwrap().to_string(),
            "grpc://h:1"
        );
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for bad in [
            "",
            "h:1",
            "grpc://",
            "grpc://h",
            "grpc://:1",
            "grpc://h:0",
            "grpc://h:65536",
            "grpc://h\u{1b}:1",
            "://h:1",
            "grpc://h:x",
        ] {
            assert!(Endpoint::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_record_is_written_as_the_key_layout_says() {
        let mut record = InstanceRecord::new(
            ServiceName::new("order").unwrap(),
            InstanceId::new("o-1").unwrap(),
        );
        record.version = "1.4.2".into();
        record.endpoints = vec![
            Endpoint::parse("grpc://h:1").unwrap(),
            Endpoint::parse("http://h:1").unwrap(),
        ];
        record.started_at = Some("2026-11-22T10:00:00Z".parse().unwrap());
        let json = String::from_utf8(record.to_json().unwrap()).unwrap();
        assert_eq!(
            json,
            r#"{"service":"order","id":"o-1","version":"1.4.2","endpoints":["grpc://h:1","http://h:1"],"weight":100,"metadata":{},"started_at":"2026-11-22T10:00:00Z"}"#
        );
        assert_eq!(
            serde_json::from_str::<InstanceRecord>(&json).unwrap(),
            record
        );
    }
}
