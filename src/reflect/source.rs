//! Where schemas come from: a server's reflection, or files; and how one is served in turn.

pub mod answer;
pub mod file;
pub(crate) mod repair;
pub mod server;
