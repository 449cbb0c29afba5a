//! The rule about keys that hold no instance.

use super::{Code, Finding, Severity};
use crate::kv::Key;
use crate::registry::Poison;

/// The finding that a quarantined key is.
#[must_use]
pub fn of_poison(key: &Key, poison: &Poison) -> Finding {
    Finding {
        code: Code::PoisonRecord,
        severity: Severity::Warning,
        message: format!("{key} holds no instance: {}", poison.reason),
        next: format!("see it with: msctl keys '{key}'"),
    }
}
