//! Tests of the whole server, and of its pure parts.
//! Invariant: what a real etcd answers is asked of a real etcd; a missing one fails the test.

mod alike;
mod client;
mod concurrency;
mod differential;
mod etcdctl;
mod hostile;
mod lease;
mod peer;
mod server;
mod store;
mod watch;
mod watch_properties;
