//! What services publish of their config, read from etcd. A schema that cannot be read is told and
//! checks nothing: a service's fault never stands in the way of its operator.

use fleet::config::{Published, Scope};

use crate::report::Failure;
use crate::session::Session;

/// Reads what is published of some scopes; a global key may be any service's, so `global` reads
/// all.
///
/// # Errors
/// When etcd cannot be read.
pub async fn read(session: &Session, scopes: &[Scope]) -> Result<Published, Failure> {
    let prefix = &session.prefixes().schema;
    let mut published = Published::default();
    if scopes.contains(&Scope::Global) || scopes.len() > 4 {
        for entry in session.list(prefix).await?.entries {
            published.learn(prefix, &entry.key, &entry.value);
        }
        return Ok(published);
    }
    for scope in scopes {
        if let Scope::Service(service) = scope
            && let (Some(entry), _) = session.get(&prefix.join(service.as_str())).await?
        {
            published.learn(prefix, &entry.key, &entry.value);
        }
    }
    Ok(published)
}

/// Reads all of them.
///
/// # Errors
/// When etcd cannot be read.
pub async fn read_all(session: &Session) -> Result<Published, Failure> {
    read(session, &[Scope::Global]).await
}
