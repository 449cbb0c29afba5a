//! Which fields of a user an update takes over. Pure; a path that names nothing, or what only the server
//! sets, is refused by name.

use prost_types::FieldMask;
use tonic::Status;

use crate::pb::user::{Address, User};

/// The paths to take over: those of the mask, or without one the fields that are set.
pub(super) fn paths(patch: &User, mask: Option<FieldMask>) -> Result<Vec<String>, Status> {
    let named = mask.map(|mask| mask.paths).unwrap_or_default();
    let paths = if named.is_empty() {
        set_fields(patch)
    } else {
        named
    };
    if paths.is_empty() {
        return Err(Status::invalid_argument(
            "user: nothing to change. Set a field or name it in update_mask",
        ));
    }
    Ok(paths)
}

/// `user` with the fields at `paths` taken from `patch`.
pub(super) fn apply(mut user: User, patch: &User, paths: &[String]) -> Result<User, Status> {
    for path in paths {
        match path.as_str() {
            "*" => {
                user.name.clone_from(&patch.name);
                user.email.clone_from(&patch.email);
                user.tags.clone_from(&patch.tags);
                user.address.clone_from(&patch.address);
            }
            "name" => user.name.clone_from(&patch.name),
            "email" => user.email.clone_from(&patch.email),
            "tags" => user.tags.clone_from(&patch.tags),
            "address" => user.address.clone_from(&patch.address),
            "id" | "created_at" | "updated_at" | "greeting" => {
                return Err(Status::invalid_argument(format!(
                    "update_mask: {path} is set by the server"
                )));
            }
            other => {
                let part = other
                    .strip_prefix("address.")
                    .and_then(|name| part_of(&patch.address, name));
                let Some((name, value)) = part else {
                    return Err(Status::invalid_argument(format!(
                        "update_mask: a user has no field {other:?}"
                    )));
                };
                let address = user.address.get_or_insert_default();
                match name {
                    Part::Street => address.street = value,
                    Part::City => address.city = value,
                    Part::Country => address.country = value,
                }
            }
        }
    }
    Ok(user)
}

enum Part {
    Street,
    City,
    Country,
}

fn part_of(address: &Option<Address>, name: &str) -> Option<(Part, String)> {
    let address = address.clone().unwrap_or_default();
    match name {
        "street" => Some((Part::Street, address.street)),
        "city" => Some((Part::City, address.city)),
        "country" => Some((Part::Country, address.country)),
        _ => None,
    }
}

fn set_fields(patch: &User) -> Vec<String> {
    [
        ("name", !patch.name.is_empty()),
        ("email", !patch.email.is_empty()),
        ("tags", !patch.tags.is_empty()),
        ("address", patch.address.is_some()),
    ]
    .into_iter()
    .filter(|(_, is_set)| *is_set)
    .map(|(name, _)| name.to_owned())
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> User {
        let address = Address {
            street: "1".into(),
            city: "London".into(),
            country: "GB".into(),
        };
        User {
            name: "Ada".into(),
            email: "a@b".into(),
            address: Some(address),
            ..User::default()
        }
    }

    fn check(patch: &User, mask: &[&str], expected: Result<User, &str>) {
        let mask = FieldMask {
            paths: mask.iter().map(|path| (*path).to_owned()).collect(),
        };
        let result = paths(patch, Some(mask)).and_then(|paths| apply(ada(), patch, &paths));
        match (result, expected) {
            (Ok(user), Ok(expected)) => assert_eq!(user, expected),
            (Err(error), Err(word)) => assert!(error.message().contains(word), "{error}"),
            (result, expected) => panic!("{result:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn only_the_named_fields_change() {
        let patch = User {
            name: "Eve".into(),
            email: "e@f".into(),
            ..User::default()
        };
        check(
            &patch,
            &["name"],
            Ok(User {
                name: "Eve".into(),
                ..ada()
            }),
        );
        check(
            &patch,
            &["address"],
            Ok(User {
                address: None,
                ..ada()
            }),
        );
        check(
            &patch,
            &[],
            Ok(User {
                name: "Eve".into(),
                email: "e@f".into(),
                ..ada()
            }),
        );
        check(
            &patch,
            &["*"],
            Ok(User {
                name: "Eve".into(),
                email: "e@f".into(),
                ..User::default()
            }),
        );
        check(&patch, &["created_at"], Err("set by the server"));
        check(&patch, &["nick"], Err("\"nick\""));
        check(&User::default(), &[], Err("nothing to change"));
    }

    #[test]
    fn a_deep_path_leaves_its_neighbours_alone() {
        let address = Address {
            city: "Turin".into(),
            ..Address::default()
        };
        let patch = User {
            address: Some(address),
            ..User::default()
        };
        let mut moved = ada();
        moved.address.as_mut().unwrap().city = "Turin".into();
        check(&patch, &["address.city"], Ok(moved));
        check(&patch, &["address.planet"], Err("address.planet"));
    }
}
