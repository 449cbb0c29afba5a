//! The stories that a service library must withstand, against a real etcd and real sockets. Each
//! fails when the behaviour it names is taken out.

mod channel;
mod config;
mod discovery;
mod life;
mod peer;
mod registry;
mod world;
