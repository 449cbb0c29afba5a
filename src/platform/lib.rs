//! The library that a service embeds to be a citizen of the fleet: registered while it is alive,
//! configured live, calling its peers by name.

pub mod channel;
pub mod config;
pub mod deadline;
pub mod discover;
mod error;

pub use error::Error;
