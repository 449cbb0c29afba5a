//! The msctl binary.

fn main() {}
