//! Calling a method by name, for the command line and the console alike: from what a person types
//! to a method, a server that has it, a stream of requests and the events of the answer.

pub mod documents;
pub mod target;
