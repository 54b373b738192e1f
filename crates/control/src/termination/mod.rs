//! Nodes that go: tainted, drained, ended.
//!
//! Table of contents: [`node`] names what a node needs next, [`drain`] which of its pods leave when,
//! [`eviction`] what one attempt to evict one pod comes to. These are pure.
#![allow(dead_code)] // The controllers that act on these decisions come next.

pub(crate) mod drain;
mod eviction;
mod node;
