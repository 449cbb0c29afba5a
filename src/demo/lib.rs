//! The demo services `user` and `order`: the platform library's first customer. Each runs as a process of its
//! own, on that library alone; what an operator can do to them, faults included, is in `assets/proto`.

mod ending;
mod fault;
mod options;
mod order;
mod peers;
mod run;
mod settings;
mod store;
mod user;
mod watching;

pub use options::{Identity, Options, Parent, Token};
pub use platform::{Prefixes, platform::Serving};
pub use run::{run_order, run_user, start_order, start_user};

/// Messages, clients and service traits, generated from `assets/proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod pb {
    /// `fault.v1`
    pub mod fault {
        tonic::include_proto!("fault.v1");
    }
    /// `order.v1`
    pub mod order {
        tonic::include_proto!("order.v1");
    }
    /// `user.v1`
    pub mod user {
        tonic::include_proto!("user.v1");
    }
}

/// Descriptors of every service here, with comments and HTTP rules.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("demo");
