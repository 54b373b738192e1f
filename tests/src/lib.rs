//! What needs a real control plane, and the scenarios that run on a real one and on the one in
//! memory from the same source.
//!
//! Reading order: [`control_plane`] (etcd, API server and the rest as children of this process),
//! [`controller`] (ours, as a child), [`cluster`] (what a scenario may do, and the two that can do
//! it), [`scenarios`], [`verdicts`] (what a real API server says to Karpenter's objects), and [`worlds`]
//! (what a pod scheduler says to our placements).
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod cluster;
pub mod control_plane;
pub mod controller;
mod deployments;
pub mod figures;
pub mod scenarios;
pub mod verdicts;
pub mod worlds;
