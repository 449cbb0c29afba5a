//! The foreign formats whose value is a JSON object, told apart by the fields that only they have.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Draft, endpoint, record, split};
use crate::kv::Key;
use crate::service::{Endpoint, Format, InstanceRecord};

type Fields = Map<String, Value>;
type Made = Result<(Format, InstanceRecord), String>;

/// Reads a value; `None` where it has the fields of no format.
pub(super) fn read(key: &Key, rest: &str, value: &str) -> Option<Made> {
    let fields: Fields = serde_json::from_str(value).ok()?;
    let has = |name: &str| fields.contains_key(name);
    if has("MetadataX") {
        return Some(jupiter(rest, object(&fields, "MetadataX")));
    }
    if has("Op") && has("Addr") {
        return Some(naming(rest, &fields));
    }
    if has("nodes") && has("name") {
        return Some(go_micro(&fields));
    }
    if has("network") && has("address") {
        return Some(kitex(key, rest, &fields));
    }
    if has("ServiceName") && has("Host") {
        let names = ["ServiceName", "Host", "Port", "Metadata", "Weight"];
        return Some(dubbo(Format::DubboApplication, rest, &fields, names));
    }
    if has("serviceName") && has("host") {
        let names = ["serviceName", "host", "port", "metadata", "weight"];
        return Some(dubbo(Format::DubboJava, rest, &fields, names));
    }
    if has("scheme") && has("address") {
        return Some(jupiter(rest, Some(&fields)));
    }
    if has("name") && fields.get("endpoints").is_some_and(Value::is_array) {
        return Some(kratos(&fields));
    }
    if (has("protocol") || has("insecure")) && rest.split('/').count() >= 5 {
        return Some(go_frame(rest, &fields));
    }
    None
}

fn text<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.get(name).and_then(Value::as_str).unwrap_or("")
}

fn object<'a>(fields: &'a Fields, name: &str) -> Option<&'a Fields> {
    fields.get(name)?.as_object()
}

/// What a record says of itself, values that are no text as their JSON.
fn metadata(fields: Option<&Fields>) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::new();
    for (name, value) in fields.into_iter().flatten() {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Null => continue,
            other => other.to_string(),
        };
        metadata.insert(name.clone(), value);
    }
    metadata
}

fn weight(fields: &Fields, name: &str) -> Option<u32> {
    u32::try_from(fields.get(name)?.as_u64()?).ok()
}

fn made(draft: &Draft) -> Made {
    Ok((draft.format, record(draft)?))
}

fn kratos(fields: &Fields) -> Made {
    let urls = fields.get("endpoints").and_then(Value::as_array);
    let mut endpoints = Vec::new();
    for url in urls.into_iter().flatten() {
        let url = url
            .as_str()
            .ok_or("kratos record: an endpoint is no text")?;
        endpoints.push(Endpoint::parse(url).map_err(|e| format!("kratos record: {e}"))?);
    }
    let (format, mut record) = made(&Draft {
        format: Format::Kratos,
        service: text(fields, "name").to_owned(),
        id: text(fields, "id").to_owned(),
        endpoints,
    })?;
    record.version = text(fields, "version").to_owned();
    record.metadata = metadata(object(fields, "metadata"));
    Ok((format, record))
}

fn go_micro(fields: &Fields) -> Made {
    let nodes = fields.get("nodes").and_then(Value::as_array);
    let node = nodes
        .and_then(|nodes| nodes.first())
        .and_then(Value::as_object)
        .ok_or("go-micro record: it has no node")?;
    let said = metadata(object(node, "metadata"));
    let protocol = said.get("protocol").map_or("mucp", String::as_str);
    let endpoint = endpoint(Format::GoMicro, protocol, text(node, "address"))?;
    let (format, mut record) = made(&Draft {
        format: Format::GoMicro,
        service: text(fields, "name").to_owned(),
        id: text(node, "id").to_owned(),
        endpoints: vec![endpoint],
    })?;
    record.version = text(fields, "version").to_owned();
    record.metadata = said;
    Ok((format, record))
}

/// kitex and hertz write the same value; their prefixes tell them apart.
fn kitex(key: &Key, rest: &str, fields: &Fields) -> Made {
    let hertz = key.as_str().is_some_and(|key| key.contains("hertz"));
    let (format, protocol) = if hertz {
        (Format::Hertz, "http")
    } else {
        (Format::Kitex, text(fields, "network"))
    };
    let address = text(fields, "address");
    let (service, id) = split(rest).ok_or("kitex key: it is not <service>/<address>")?;
    let (format, mut record) = made(&Draft {
        format,
        service: service.to_owned(),
        id: id.to_owned(),
        endpoints: vec![endpoint(format, protocol, address)?],
    })?;
    record.weight = weight(fields, "weight").unwrap_or(record.weight);
    record.metadata = metadata(object(fields, "tags"));
    Ok((format, record))
}

/// dubbo's application mode; Go and Java differ in the case of their names.
fn dubbo(format: Format, rest: &str, fields: &Fields, names: [&str; 5]) -> Made {
    let [service, host, port, meta, weighs] = names;
    let port = fields.get(port).and_then(Value::as_u64).unwrap_or(0);
    let address = format!("{}:{port}", text(fields, host));
    let said = metadata(object(fields, meta));
    // Which protocols it speaks where: JSON in a text.
    let listed: Vec<Value> = said
        .get("dubbo.endpoints")
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let mut endpoints = Vec::new();
    for one in &listed {
        let protocol = one["protocol"].as_str().unwrap_or("dubbo");
        let port = one["port"].as_u64().unwrap_or(port);
        let at = format!("{}:{port}", text(fields, host));
        endpoints.push(endpoint(format, protocol, &at)?);
    }
    if endpoints.is_empty() {
        endpoints.push(endpoint(format, "dubbo", &address)?);
    }
    let id = match text(fields, "ID") {
        "" => split(rest).map_or(address.as_str(), |(_, id)| id),
        id => id,
    };
    let (format, mut record) = made(&Draft {
        format,
        service: text(fields, service).to_owned(),
        id: id.to_owned(),
        endpoints,
    })?;
    record.weight = weight(fields, weighs).unwrap_or(record.weight);
    record.metadata = said;
    Ok((format, record))
}

/// `<deployment>/<namespace>/<name>/<version>/<addresses, comma-joined>`.
fn go_frame(rest: &str, fields: &Fields) -> Made {
    let mut parts = rest.rsplit('/');
    let (Some(addresses), Some(version), Some(name)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err("goframe key: it has too few parts".to_owned());
    };
    let protocol = match text(fields, "protocol") {
        "" => "http",
        protocol => protocol,
    };
    let secure = fields.get("insecure").and_then(Value::as_bool) == Some(false);
    let mut endpoints = Vec::new();
    for address in addresses.split(',') {
        let mut one = endpoint(Format::GoFrame, protocol, address)?;
        one.secure |= secure;
        endpoints.push(one);
    }
    let (format, mut record) = made(&Draft {
        format: Format::GoFrame,
        service: name.to_owned(),
        id: addresses.to_owned(),
        endpoints,
    })?;
    record.version = version.to_owned();
    record.metadata = metadata(Some(fields));
    Ok((format, record))
}

/// etcd's own naming for gRPC: `<target>/<anything>`.
fn naming(rest: &str, fields: &Fields) -> Made {
    let (service, id) = split(rest).ok_or("naming key: it is not <target>/<name>")?;
    let (format, mut record) = made(&Draft {
        format: Format::EtcdNaming,
        service: service.to_owned(),
        id: id.to_owned(),
        endpoints: vec![endpoint(Format::EtcdNaming, "grpc", text(fields, "Addr"))?],
    })?;
    record.metadata = metadata(object(fields, "Metadata"));
    Ok((format, record))
}

/// `<scheme>:<name>:v1:<mode>/<address>`, or in 0.2 `<mode>/providers/<scheme>://<address>`.
fn jupiter(rest: &str, info: Option<&Fields>) -> Made {
    let info = info.ok_or("jupiter record: it says nothing of itself")?;
    let scheme = match text(info, "scheme") {
        "" => "grpc",
        scheme => scheme,
    };
    let id = rest.rsplit('/').next().unwrap_or(rest);
    let (format, mut record) = made(&Draft {
        format: Format::Jupiter,
        service: text(info, "name").to_owned(),
        id: id.to_owned(),
        endpoints: vec![endpoint(Format::Jupiter, scheme, text(info, "address"))?],
    })?;
    record.version = text(info, "version").to_owned();
    record.weight = match info.get("weight").and_then(Value::as_f64) {
        Some(weight) if (0.0..=f64::from(u32::MAX)).contains(&weight) => weight as u32,
        _ => record.weight,
    };
    record.metadata = metadata(object(info, "metadata"));
    for name in ["zone", "region", "env"] {
        let value = text(info, name);
        if !value.is_empty() {
            record.metadata.insert(name.to_owned(), value.to_owned());
        }
    }
    // Switched off by its owner: no calls.
    if info.get("enable").and_then(Value::as_bool) == Some(false) {
        record.weight = 0;
    }
    Ok((format, record))
}
