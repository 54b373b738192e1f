//! The server from outside: through `kube::Client`, and byte by byte over its service.
#![allow(clippy::unwrap_used)]
#![recursion_limit = "256"]

mod cluster;
mod conversation;
mod karpenter;
mod mutated;
