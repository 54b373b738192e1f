//! Claims: from a wish for a node to the node, and back.
//!
//! Table of contents: [`step`] names what a claim needs next, out of [`liveness`], [`launch`],
//! [`registration`] and [`initialization`]; [`finalize`] does the same for one that goes. The smaller
//! rules stand beside them: [`expiration`], [`podevents`], [`consolidatable`]. All of these are pure;
//! [`draft`] is the object they think on.
#![allow(dead_code)] // The controllers that act on these decisions come next.

mod consolidatable;
pub(crate) mod draft;
mod expiration;
mod finalize;
mod initialization;
mod launch;
mod liveness;
mod podevents;
mod registration;
mod step;
