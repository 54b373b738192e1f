//! The pure core: snapshots in, plans and reasons out.
#![no_std]
#![cfg_attr(test, allow(clippy::unwrap_used))]

extern crate alloc;

pub mod budget;
pub mod cron;
