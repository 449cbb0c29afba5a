//! msctl: see and steer a fleet of microservices that meet in etcd.
//!
//! The command line (`cli`) and the console (`tui`) are two faces over the same rooms: `settings`
//! says which fleet, `session` reaches it, `probe` asks it, `invoke` calls it, `report` prints.
//! What keys mean is `fleet`'s, bytes in and out of etcd are `etcd`'s: nothing of either is here.

pub mod dial;
pub mod invoke;
pub mod probe;
pub mod report;
pub mod settings;
pub mod suggest;
