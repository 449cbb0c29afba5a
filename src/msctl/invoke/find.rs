//! From a target to a server and a method: the registered service that was named, or the one
//! whose servers know the method.
