//! What a call is aimed at: `user.Get`, `user.v1.UserService/Get`, `user/user.v1.UserService.Get`.
//!
//! Pure: which services are registered is handed in. The longest registered name wins where a text
//! could be cut in several ways, so that `user.admin.Get` means `user.admin` when that exists.

use fleet::ServiceName;

use crate::report::Failure;

/// A target, cut into its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The registered service that is called; `None` when only a method is named.
    pub service: Option<ServiceName>,
    /// The method as a person types it: `Get`, `UserService.Get`, `user.v1.UserService/Get`.
    pub symbol: String,
}

impl Target {
    /// Cuts a target where the services are known.
    ///
    /// # Errors
    /// Kind `Usage` when no method is named in it.
    pub fn parse<'a>(
        text: &str,
        registered: impl IntoIterator<Item = &'a ServiceName>,
    ) -> Result<Self, Failure> {
        let text = text.trim().trim_start_matches('/');
        if text.is_empty() || text.ends_with(['.', '/']) {
            return Err(shape(text));
        }
        // The registered service comes first and is followed by '/' or '.'.
        let service = registered
            .into_iter()
            .filter(|name| {
                text.strip_prefix(name.as_str())
                    .is_some_and(|rest| rest.len() > 1 && rest.starts_with(['.', '/']))
            })
            .max_by_key(|name| name.as_str().len());
        let Some(service) = service else {
            return Self::symbol(text);
        };
        let rest = &text[service.as_str().len()..];
        // `user.v1.UserService/Get` names a method of a package called like the service, as long as
        // what is behind the dot is more than a method's name.
        let symbol = match rest.strip_prefix('/') {
            Some(symbol) => symbol,
            None if rest[1..].contains(['.', '/']) => text,
            None => &rest[1..],
        };
        Ok(Self {
            service: Some(service.clone()),
            symbol: symbol.to_owned(),
        })
    }

    /// A target that is a method alone, for a server named by its address.
    ///
    /// # Errors
    /// Kind `Usage` when no method is named in it.
    pub fn symbol(text: &str) -> Result<Self, Failure> {
        let text = text.trim().trim_start_matches('/');
        if text.is_empty() || text.ends_with(['.', '/']) {
            return Err(shape(text));
        }
        Ok(Self {
            service: None,
            symbol: text.to_owned(),
        })
    }

    /// The part that would name a registered service, for suggestions.
    #[must_use]
    pub fn first_word(&self) -> &str {
        self.symbol.split(['.', '/']).next().unwrap_or(&self.symbol)
    }
}

fn shape(text: &str) -> Failure {
    Failure::usage(format!("'{text}' names no method"))
        .next("Write it like user.Get, or user.v1.UserService/Get.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_cut_where_a_registered_service_ends() {
        let names = ["user", "user.admin", "order"].map(|n| ServiceName::new(n).unwrap());
        for (text, service, symbol) in [
            ("user.Get", Some("user"), "Get"),
            ("user/Get", Some("user"), "Get"),
            (
                "user/user.v1.UserService.Get",
                Some("user"),
                "user.v1.UserService.Get",
            ),
            ("user/UserService/Get", Some("user"), "UserService/Get"),
            (
                "user.v1.UserService/Get",
                Some("user"),
                "user.v1.UserService/Get",
            ),
            ("user.UserService.Get", Some("user"), "user.UserService.Get"),
            ("user.admin.Get", Some("user.admin"), "Get"),
            ("shop.v1.Cart/Get", None, "shop.v1.Cart/Get"),
            ("users.Get", None, "users.Get"),
            (
                "/order.v1.OrderService/Get",
                Some("order"),
                "order.v1.OrderService/Get",
            ),
        ] {
            let target = Target::parse(text, &names).unwrap();
            assert_eq!(
                target.service.as_ref().map(ServiceName::as_str),
                service,
                "{text}"
            );
            assert_eq!(target.symbol, symbol, "{text}");
        }
        for text in ["", "user.", "/", "user/"] {
            assert!(Target::parse(text, &names).is_err(), "{text}");
        }
    }
}
