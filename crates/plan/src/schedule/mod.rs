//! One scheduling round: pending pods onto what is there, onto what will be, and onto new claims.
//!
//! Pods go in upstream's order: large ones first. For each, every node that exists is asked in order,
//! then every claim this round has opened, emptiest first, then each pool's template by weight; the
//! first that accepts gets the pod. A pod whose first wish fails everywhere steps down its ladder of
//! wishes. Pods that fail are tried again while others succeed, since others may open what they need.
//!
//! It is fast because questions repeat: constraint sets are interned, and (set, shape) pairs, type masks
//! and refusals are remembered. Within a round places only fill up and claims only narrow, so most
//! refusals hold for the rest of the round; `class` says which.

use alloc::{collections::VecDeque, vec::Vec};

pub use self::{
    claim::{MAX_INSTANCE_TYPES, NewClaim, node_claim},
    gather::is_fully_blocked,
    reason::{FilterVerdict, Refusal, SkipReason, TemplateRefusal},
    template::leaves_types,
};
use self::{
    class::{Attempt, Classes},
    existing::Existing,
    open::OpenClaims,
    set::Sets,
    template::Templates,
};
use crate::{
    pod::{Ignored, Pod},
    resources::ResourceId,
    snapshot::{NodeMask, Snapshot, View},
    vocabulary::{IdVec, NodeId, PodId, PoolId},
};

mod claim;
mod class;
mod existing;
mod gather;
mod open;
mod reason;
mod set;
mod template;

/// What to do when instance types cannot span the asked-for number of values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinValuesPolicy {
    /// Refuse.
    #[default]
    Strict,
    /// Ask for fewer.
    BestEffort,
}

/// How reservations limit a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReservedPolicy {
    /// A pod waits while a compatible reservation might still serve it.
    #[default]
    Strict,
    /// A pod does without: for what-ifs.
    Fallback,
    /// Reservations are offerings like others.
    Ignored,
}

/// How to schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Chooses where any value would do.
    pub seed: u64,
    /// What minimum numbers of values mean.
    pub min_values: MinValuesPolicy,
    /// What reservations mean. Not looked at yet: reserved offerings come with the AWS provider.
    pub reserved: ReservedPolicy,
    /// Drop preferences from the start.
    pub ignore_preferences: bool,
}

/// What shall be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Pods for places that exist, in the order of placement. Nodes that receive one are nominated.
    pub bindings: Vec<(PodId, NodeId)>,
    /// Claims to create, in the order they were opened.
    pub claims: Vec<NewClaim>,
}

/// Why the rest is not done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Pods that have no place, and why, in id order.
    pub unplaced: Vec<(PodId, Refusal)>,
    /// Pods that are not ours to schedule or are invalid, in id order.
    pub ignored: Vec<(PodId, Ignored)>,
    /// Pods that need nothing now, in id order.
    pub skipped: Vec<(PodId, SkipReason)>,
    /// Pods that were placed without some of their preferences, in id order.
    pub relaxed: Vec<PodId>,
    /// Pools whose requirements leave no instance type, in the order they are tried; true when only
    /// because of minimum numbers of values.
    pub pools_without_types: Vec<(PoolId, bool)>,
    /// There is no pool that may get claims.
    pub no_pools: bool,
}

/// Schedules the pods that wait and those on nodes that are going away.
pub fn schedule(snapshot: &Snapshot, options: &Options) -> (Plan, Report) {
    simulate(
        &View {
            base: snapshot,
            gone: NodeMask::new(),
            displaced: &[],
        },
        options,
    )
}

/// The same in a world where some nodes are gone and their pods need a place.
pub fn simulate(view: &View<'_>, options: &Options) -> (Plan, Report) {
    let snapshot = view.base;
    let mut report = Report::default();
    let mut pods = gather::pods(view, &mut report);
    if pods.is_empty() {
        return (Plan::default(), report);
    }
    // Without a pool that may grow, upstream does not even look at the nodes that exist.
    if !snapshot.pools.values().any(|pool| pool.is_dynamic()) {
        report.no_pools = true;
        report.unplaced = pods
            .into_iter()
            .map(|pod| (pod, Refusal::NoPools))
            .collect();
        report.unplaced.sort_by_key(|(pod, _)| *pod);
        return (Plan::default(), report);
    }
    pods.sort_by(|&a, &b| order(&snapshot.pods[a]).cmp(&order(&snapshot.pods[b])));
    let mut solve = Solve::new(view, *options, &mut report);
    solve.run(pods, &mut report);
    let plan = solve.finish(&mut report);
    report.unplaced.sort_by_key(|(pod, _)| *pod);
    report.relaxed.sort_unstable();
    (plan, report)
}

/// Large pods first, old ones before young ones; the uid makes the order total.
fn order(pod: &Pod) -> impl Ord {
    use core::cmp::Reverse;
    (
        Reverse(pod.requests.get(ResourceId::CPU)),
        Reverse(pod.requests.get(ResourceId::MEMORY)),
        pod.created,
        pod.uid.clone(),
    )
}

/// Everything a round remembers.
struct Solve<'a> {
    snapshot: &'a Snapshot,
    options: Options,
    sets: Sets<'a>,
    classes: Classes,
    existing: Existing<'a>,
    open: OpenClaims,
    templates: Templates,
    bindings: Vec<(PodId, NodeId)>,
    /// Counts what may turn a refusal into an acceptance: a claim opened, or one that defines more keys.
    version: u32,
}

impl<'a> Solve<'a> {
    fn new(view: &'a View<'a>, options: Options, report: &mut Report) -> Self {
        let snapshot = view.base;
        let mut sets = Sets::new(snapshot);
        let templates = Templates::new(view, &options, &mut sets, report);
        Self {
            snapshot,
            options,
            classes: Classes::default(),
            existing: Existing::new(view),
            open: OpenClaims::default(),
            templates,
            sets,
            bindings: Vec::new(),
            version: 0,
        }
    }

    fn run(&mut self, pods: Vec<PodId>, report: &mut Report) {
        let mut refusals: IdVec<PodId, Option<Refusal>> =
            self.snapshot.pods.ids().map(|_| None).collect();
        // For each pod the length of the queue behind it when it was last put back.
        let mut queue: VecDeque<(PodId, usize)> = pods.into_iter().map(|pod| (pod, 0)).collect();
        while let Some((pod, length)) = queue.pop_front() {
            // The queue has not shrunk since: a whole cycle made no progress.
            if length == queue.len() + 1 {
                queue.push_front((pod, length));
                break;
            }
            match self.place(pod, report) {
                Ok(()) => refusals[pod] = None,
                Err(refusal) => {
                    refusals[pod] = Some(refusal);
                    queue.push_back((pod, queue.len() + 1));
                }
            }
        }
        for (pod, _) in queue {
            let refusal = refusals[pod].take().unwrap_or(Refusal::NoTypes);
            report.unplaced.push((pod, refusal));
        }
    }

    /// Places a pod, stepping down its wishes.
    fn place(&mut self, id: PodId, report: &mut Report) -> Result<(), Refusal> {
        let pod = &self.snapshot.pods[id];
        if let Some(unsupported) = pod.shape.unsupported {
            return Err(Refusal::Unsupported(unsupported));
        }
        if let Some(key) = pod.shape.contradiction {
            return Err(Refusal::Contradiction(key));
        }
        let attempts = Attempt::ladder(
            &pod.shape,
            self.options.ignore_preferences,
            self.templates.prefer_no_schedule,
        );
        let mut refusal = Refusal::NoTypes;
        for (rank, attempt) in attempts.into_iter().enumerate() {
            match self.place_once(id, pod, attempt) {
                Ok(()) => {
                    if rank > 0 || !pod.shape.relaxed.is_empty() {
                        report.relaxed.push(id);
                    }
                    return Ok(());
                }
                Err(found) => refusal = found,
            }
        }
        Err(refusal)
    }

    fn place_once(&mut self, id: PodId, pod: &Pod, attempt: Attempt) -> Result<(), Refusal> {
        let class = self.classes.of(pod, attempt);
        if let Some((version, refusal)) = &self.classes[class].refused_at
            && *version == self.version
        {
            return Err(refusal.clone());
        }
        let wish = self.sets.wish(&pod.shape, pod.shape_id, attempt);
        if let Some(node) =
            self.existing
                .place(&mut self.classes[class], &mut self.sets, wish, id, pod)
        {
            self.bindings.push((id, node));
            return Ok(());
        }
        let accepted = self.open.place(
            class,
            &mut self.classes,
            &mut self.sets,
            &self.templates,
            wish,
            id,
            pod,
        );
        if let Some(defines_more) = accepted {
            self.version += u32::from(defines_more);
            return Ok(());
        }
        if let Some(refusal) = &self.classes[class].no_new_claim {
            let refusal = refusal.clone();
            self.classes[class].refused_at = Some((self.version, refusal.clone()));
            return Err(refusal);
        }
        match self
            .templates
            .open(&mut self.sets, &self.options, wish, id, pod)
        {
            Ok(claim) => {
                self.open.push(claim);
                self.version += 1;
                Ok(())
            }
            Err(refusal) => {
                // Limits only shrink and templates do not change: no later try can succeed.
                self.classes[class].no_new_claim = Some(refusal.clone());
                self.classes[class].refused_at = Some((self.version, refusal.clone()));
                Err(refusal)
            }
        }
    }

    fn finish(self, report: &mut Report) -> Plan {
        let Self {
            snapshot,
            options,
            sets,
            open,
            templates,
            bindings,
            ..
        } = self;
        let mut claims = Vec::new();
        for claim in open.into_claims() {
            match claim::finish(snapshot, &options, &sets, &templates, claim, claims.len()) {
                Ok(claim) => claims.push(claim),
                Err((pool, pods)) => {
                    let refusal = Refusal::Truncated(pool);
                    report
                        .unplaced
                        .extend(pods.into_iter().map(|pod| (pod, refusal.clone())));
                }
            }
        }
        Plan { bindings, claims }
    }
}
