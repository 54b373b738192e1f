//! A mini control plane around the embedded Kubernetes API: a pod scheduler, workload controllers, disruption budget
//! status and kubelets, enough for pods to run and nodes to become ready as they would on a real cluster.
//!
//! Reading order: [`World`] and [`Assembly`] put everything together; `plane` is the loop of the mini control plane,
//! `controller` the shape of what runs in it, `cluster` what they look at; `binder`, `workload`, `budget` and
//! `kubelet` are the controllers.
//!
//! The rule of the crate: decisions are functions of what is known, made one after the other by one task, so the
//! same beginning always gives the same end.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod assembly;
mod binder;
mod budget;
mod clock;
mod cluster;
mod controller;
mod cordon;
mod kubelet;
mod manifest;
mod objects;
mod plane;
mod state;
mod timers;
mod watch;
mod workload;
mod world;
mod write;
mod writer;

pub use assembly::{Assembly, Options, StartError};
pub use clock::Clock;
pub use kubelet::{EXIT_CODE, KubeletOptions, Nodes, RUNS_FOR};
pub use manifest::{ApplyError, apply, documents};
pub use state::{NodeState, PodState, State};
pub use world::{GENESIS, NotSo, World};
