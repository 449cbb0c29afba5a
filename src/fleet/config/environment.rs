//! Config from environment variables: `ORDER__TIMEOUT__WRITE` is `timeout.write` of `order`.

use crate::service::ServiceName;

/// What the variables of a service start with: its name in capitals, `-` and `.` as `_`, then `__`.
#[must_use]
pub fn environment_prefix(service: &ServiceName) -> String {
    let mut prefix: String = service
        .as_str()
        .chars()
        .map(|c| {
            if matches!(c, '-' | '.') {
                '_'
            } else {
                c.to_ascii_uppercase()
            }
        })
        .collect();
    prefix.push_str("__");
    prefix
}

/// The path a variable sets; `None` when it is not one of the service's. Variables have no case:
/// the path is the one of `known` that equals it but for case and for `-` against `_`, else its
/// lower-case form.
#[must_use]
pub fn environment_path<'k>(
    service: &ServiceName,
    variable: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<String> {
    let rest = variable.strip_prefix(&environment_prefix(service))?;
    if rest.is_empty() || rest.split("__").any(str::is_empty) {
        return None;
    }
    let path = rest.replace("__", ".").to_ascii_lowercase();
    let folded = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    Some(
        known
            .into_iter()
            .find(|known| folded(known) == path)
            .map_or(path.clone(), Into::into),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_names_a_path() {
        let service = ServiceName::new("order-api").unwrap();
        for (variable, path) in [
            ("ORDER_API__TIMEOUT__WRITE", Some("timeout.write")),
            ("ORDER_API__PAGE_SIZE", Some("page-size")),
            ("ORDER_API__MAXSIZE", Some("maxSize")),
            ("ORDER_API__", None),
            ("ORDER_API__A____B", None),
            ("ORDER__A", None),
            ("PATH", None),
        ] {
            let found = environment_path(&service, variable, ["maxSize", "page-size"]);
            assert_eq!(found.as_deref(), path, "{variable}");
        }
    }
}
