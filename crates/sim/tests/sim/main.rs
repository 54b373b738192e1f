//! The mini control plane with our controllers on it, in virtual time.
#![allow(clippy::unwrap_used)]

mod common;
mod cordon;
mod day;
mod determinism;
mod drain;
mod gated;
mod main_job;
mod plane;
mod static_pool;
