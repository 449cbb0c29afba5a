//! Records that other frameworks write, told apart by the shape of key and value, one key at a time,
//! as prefixes collide. They are read as they are and never rewritten.

mod json;

use crate::kv::{Entry, Prefix};
use crate::safe::escape;
use crate::service::{Endpoint, Format, Instance, InstanceId, InstanceRecord, ServiceName};

/// Larger values name no addresses a process would write.
const MAX_RECORD: usize = 256 * 1024;

/// What a format reads out of a key, before names are checked.
struct Draft {
    format: Format,
    service: String,
    id: String,
    endpoints: Vec<Endpoint>,
}

/// Reads one entry: `None` where no format knows it, an error where one does and it is broken, and
/// no instance for a folder or marker that its framework puts beside instances.
pub(super) fn read(
    prefix: &Prefix,
    entry: &Entry,
) -> Option<Result<Option<Box<Instance>>, String>> {
    if entry.value.len() > MAX_RECORD {
        return None;
    }
    let rest = std::str::from_utf8(prefix.strip(&entry.key)?).ok()?;
    let value = std::str::from_utf8(&entry.value).ok()?.trim();
    if value.starts_with('{') {
        let record = json::read(&entry.key, rest, value)?;
        return Some(record.and_then(|record| instance(entry, record)));
    }
    if is_marker(rest, value) {
        return Some(Ok(None));
    }
    let draft = dubbo_interface(rest)
        .or_else(|| rpcx(rest))
        .or_else(|| ephemeral(rest, value).map(Ok))
        .or_else(|| bare(rest, value).map(Ok))?;
    Some(draft.and_then(|draft| {
        let mut record = record(&draft)?;
        if draft.format == Format::Rpcx {
            weigh(&mut record, value);
        }
        instance(entry, (draft.format, record))
    }))
}

fn instance(
    entry: &Entry,
    (format, record): (Format, InstanceRecord),
) -> Result<Option<Box<Instance>>, String> {
    Ok(Some(Box::new(Instance {
        record,
        key: entry.key.clone(),
        lease: entry.lease,
        mod_revision: entry.mod_revision,
        create_revision: entry.create_revision,
        format,
    })))
}

fn record(draft: &Draft) -> Result<InstanceRecord, String> {
    let format = draft.format;
    let service = ServiceName::new(&draft.service).map_err(|e| format!("{format} service: {e}"))?;
    let id = InstanceId::foreign(&draft.id).map_err(|e| format!("{format} instance: {e}"))?;
    let mut record = InstanceRecord::new(service, id);
    record.endpoints.clone_from(&draft.endpoints);
    Ok(record)
}

/// An endpoint of a protocol at `host:port`.
fn endpoint(format: Format, protocol: &str, address: &str) -> Result<Endpoint, String> {
    Endpoint::parse(&format!("{protocol}://{address}")).map_err(|e| format!("{format} record: {e}"))
}

/// The last two parts of a key: the name, which may have folders before it, and what stands under it.
fn split(rest: &str) -> Option<(&str, &str)> {
    let (name, id) = rest.rsplit_once('/')?;
    let name = name.rsplit('/').next()?;
    (!name.is_empty() && !id.is_empty()).then_some((name, id))
}

/// Parents that dubbo and rpcx put there.
fn is_marker(rest: &str, value: &str) -> bool {
    const DUBBO: [&str; 4] = ["providers", "consumers", "configurators", "routers"];
    let rest = rest.trim_end_matches('/');
    let last = rest.rsplit('/').next().unwrap_or("");
    let dubbo_folder = DUBBO.contains(&last) && rest.contains('/');
    let dubbo_other = rest
        .rsplit_once('/')
        .is_some_and(|(folder, _)| DUBBO[1..].iter().any(|kind| folder.ends_with(kind)));
    value == "rpcx_path"
        || dubbo_folder
        || dubbo_other
        // rpcx names a service's parent after the service, dubbo leaves it empty.
        || (!rest.contains('/') && (value == rest || value.is_empty()) && !rest.is_empty())
        // Which application serves an interface.
        || rest.starts_with("mapping/")
}

/// `<interface>/providers/<url-escaped dubbo URL>`: the data is in the key.
fn dubbo_interface(rest: &str) -> Option<Result<Draft, String>> {
    let (interface, url) = rest.split_once("/providers/")?;
    // Jupiter's early keys look the same and hold JSON.
    let url = unescape(url);
    let (scheme, after) = url.split_once("://")?;
    let address = after.split(['/', '?']).next().unwrap_or("");
    let made = endpoint(Format::Dubbo, scheme, address).map(|endpoint| Draft {
        format: Format::Dubbo,
        service: interface.rsplit('/').next().unwrap_or(interface).to_owned(),
        id: address.to_owned(),
        endpoints: vec![endpoint],
    });
    Some(made)
}

/// `%XX` as bytes; what is no escape stays.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = (byte == b'%')
            .then(|| after.get(..2))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match hex {
            Some(value) => {
                bytes.push(value);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `<base>/Arith/tcp@10.0.0.1:8972`, the value a query string.
fn rpcx(rest: &str) -> Option<Result<Draft, String>> {
    let (service, id) = split(rest)?;
    let (protocol, address) = id.split_once('@')?;
    let made = endpoint(Format::Rpcx, protocol, address).map(|endpoint| Draft {
        format: Format::Rpcx,
        service: service.to_owned(),
        id: id.to_owned(),
        endpoints: vec![endpoint],
    });
    Some(made)
}

fn weigh(record: &mut InstanceRecord, query: &str) {
    for pair in query.split('&') {
        let Some((name, value)) = pair.split_once('=') else {
            continue;
        };
        match (name, value.parse()) {
            ("weight", Ok(weight)) => record.weight = weight,
            _ => drop(
                record
                    .metadata
                    .insert(escape(name).into_owned(), escape(value).into_owned()),
            ),
        }
    }
}

/// Dubbo Java's paths that hold their lease's id: the address is in the key.
fn ephemeral(rest: &str, value: &str) -> Option<Draft> {
    let (service, id) = split(rest)?;
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let endpoint = endpoint(Format::DubboJava, "dubbo", id).ok()?;
    Some(Draft {
        format: Format::DubboJava,
        service: service.to_owned(),
        id: id.to_owned(),
        endpoints: vec![endpoint],
    })
}

/// A bare address: go-zero under a lease's number or a configured id, go-kit under the address.
fn bare(rest: &str, value: &str) -> Option<Draft> {
    let (service, id) = split(rest)?;
    let address = value.rsplit("://").next()?;
    let go_kit = id.contains(':') || value.contains("://");
    let (format, protocol) = match value.split_once("://") {
        Some((scheme, _)) => (Format::GoKit, scheme),
        None if go_kit => (Format::GoKit, "tcp"),
        None => (Format::GoZero, "grpc"),
    };
    let endpoint = endpoint(format, protocol, address).ok()?;
    Some(Draft {
        format,
        service: service.to_owned(),
        id: id.to_owned(),
        endpoints: vec![endpoint],
    })
}

#[cfg(test)]
mod tests;
