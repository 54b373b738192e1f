//! The KWOK provider: nodes without machines.
//!
//! A launched claim becomes a Node object after a while, and that object is the whole machine; whoever
//! plays the kubelet (the KWOK controller, or our own simulation) makes it ready. So the complete
//! controller can run where there is no cloud. The crate prints nothing, reads no environment and
//! knows no clock but tokio's.
//!
//! Reading order: [`Kwok`], `select` (what a claim gets), `node` (what it looks like), `register` (when
//! it appears); [`catalog`] and [`mod@file`] say what can be had, [`mod@describe`] and [`mod@table`]
//! show it.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod catalog;
pub mod describe;
pub mod file;
mod instance_type;
#[cfg(test)]
mod mutation;
mod name;
mod node;
mod provider;
mod register;
mod seed;
mod select;
pub mod table;

pub use describe::{OfferingDescription, TypeDescription, describe};
pub use provider::{Kwok, KwokOptions};
