//! ci.
fn main() {}
