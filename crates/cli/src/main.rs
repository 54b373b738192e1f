//! The binary `karpenter`.

fn main() {}
