//! Pools: what their status says.
#![allow(dead_code)] // The controllers that act on these decisions come next.

mod counter;
mod health;
mod readiness;
