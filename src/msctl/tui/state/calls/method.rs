//! A method as a person picks it: names, text, and which sides stream.

use std::sync::Arc;

/// Which sides send more than one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One to one.
    Unary,
    /// One to many.
    ServerStream,
    /// Many to one.
    ClientStream,
    /// Many to many.
    Bidi,
}

/// A method as a person picks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method {
    /// `user.v1.UserService`
    pub service: Arc<str>,
    /// `Get`
    pub name: Arc<str>,
    /// Which sides stream.
    pub kind: Kind,
    /// JSON to start from.
    pub template: Arc<str>,
    /// What the request means: comments and fields.
    pub about: Arc<str>,
}

impl Method {
    /// `user.v1.UserService/Get`
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.service, self.name)
    }
}

/// What is known of a service's methods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Methods {
    /// Being asked.
    Asked,
    /// As the service told.
    Known(Vec<Arc<Method>>),
    /// It could not be asked, or does not tell.
    Failed(String),
}
