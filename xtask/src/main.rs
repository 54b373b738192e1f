//! Every command that CI runs.

fn main() {}
