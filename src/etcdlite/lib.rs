//! etcdlite
