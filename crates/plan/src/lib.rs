//! The pure core: snapshots in, plans and reasons out.
//!
//! Everything here is a function of its arguments. Time is [`Snapshot::now`], randomness a seed in
//! [`Options`]; there is no clock, no file, no thread and no client, and `no_std` keeps it so.
//!
//! Reading order: [`vocabulary`] and [`requirement`] (labels as small integers), [`resources`],
//! [`catalog`] (what could be launched), [`pod`], [`node`], [`pool`] (the cluster lowered),
//! [`lower`] (how it is lowered), [`snapshot`] (all of it frozen), [`schedule`](mod@schedule).

#![no_std]
#![cfg_attr(test, allow(clippy::unwrap_used))]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod buffer;
pub mod catalog;
pub mod daemon;
pub mod default_spread;
pub mod device;
pub mod disruption_budget;
pub mod labels;
pub mod node;
pub mod overlay;
pub mod pod;
pub mod pool;
pub mod price;
pub mod requirement;
pub mod resources;
pub mod selector;
pub mod snapshot;
pub mod taint;
pub mod topology;
pub mod vocabulary;
pub mod volume;

pub mod lower;
pub mod schedule;

pub mod budget;
pub mod check;
pub mod cron;
pub mod disrupt;
pub mod explain;
pub mod static_pool;

pub use crate::{
    catalog::{
        AttributeBinding, Catalog, CatalogFeed, InstanceType, Offering, Overhead,
        ResourceSliceTemplate,
    },
    check::{Violation, check, check_view},
    daemon::Daemon,
    disrupt::{Command, DisruptOptions, DisruptReport, disrupt},
    disruption_budget::DisruptionBudget,
    explain::{PodExplanation, explain_pod},
    labels::Labels,
    lower::{Lowering, NodeInput, Problem, WellKnown},
    node::Node,
    pod::Pod,
    pool::Pool,
    price::{Cost, Price},
    requirement::{Requirement, Requirements},
    resources::{ResourceId, Resources},
    schedule::{NewClaim, Options, Plan, Refusal, Report, node_claim, schedule, simulate},
    snapshot::{NodeMask, Parts, PoolPart, Roster, Snapshot, View},
    taint::{Taint, Toleration},
    vocabulary::{
        IdVec, KeyId, NodeId, OfferingId, PodId, PoolId, ShapeId, TypeId, ValueId, Vocabulary,
    },
};
