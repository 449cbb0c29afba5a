//! Where schemas come from: a server's reflection, or files.

pub mod file;
pub(crate) mod repair;
pub mod server;
