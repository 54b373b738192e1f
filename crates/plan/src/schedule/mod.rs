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

use alloc::{collections::VecDeque, rc::Rc, vec::Vec};
use core::cell::RefCell;

use fixedbitset::FixedBitSet;
use rustc_hash::FxHashMap;

pub(crate) use self::template::unmet_among;
use self::{
    ask::{Ask, VolumeWishes},
    claim::PriceOrders,
    class::Classes,
    devices::{Allocator, Holder},
    existing::Existing,
    open::OpenClaims,
    reserve::Reservations,
    set::Sets,
    template::Templates,
    topology::{Site, Topology},
};
pub use self::{
    claim::{MAX_INSTANCE_TYPES, NewClaim, node_claim},
    devices::{DeviceAllocation, DeviceRefusal, PickedDevice},
    gather::is_fully_blocked,
    ladder::Step,
    reason::{FilterVerdict, Refusal, SkipReason, TemplateRefusal},
    template::leaves_types,
    topology::{Rule, TopologyRefusal},
};
use crate::{
    pod::{Ignored, Pod},
    resources::ResourceId,
    snapshot::{NodeMask, Snapshot, View},
    vocabulary::{IdVec, NodeId, PodId, PoolId, ShapeId},
};

mod ask;
mod attach;
pub(crate) mod claim;
mod class;
mod devices;
mod existing;
mod gather;
mod ladder;
mod open;
mod reason;
mod reserve;
mod set;
mod template;
mod topology;

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
    /// What reservations mean.
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
    /// Devices for ResourceClaims of the pods on places that exist, in order of place and name.
    pub devices: Vec<(NodeId, DeviceAllocation)>,
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
    /// Pods that were placed without some of their preferences, in id order, with what was left.
    pub relaxed: Vec<(PodId, Step)>,
    /// Pools whose requirements leave no instance type, in the order they are tried; true when only
    /// because of minimum numbers of values.
    pub pools_without_types: Vec<(PoolId, bool)>,
    /// There is no pool that may get claims.
    pub no_pools: bool,
}

impl Report {
    /// What was left of the wishes of a pod that was placed without some of them.
    pub fn step(&self, pod: PodId) -> Option<Step> {
        let at = self
            .relaxed
            .binary_search_by_key(&pod, |(id, _)| *id)
            .ok()?;
        Some(self.relaxed[at].1)
    }
}

/// Schedules the pods that wait and those on nodes that are going away.
pub fn schedule(snapshot: &Snapshot, options: &Options) -> (Plan, Report) {
    simulate(
        &View {
            base: snapshot,
            gone: NodeMask::new(),
            displaced: &[],
            closed: NodeMask::new(),
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
    let mut solve = Solve::new(view, *options, &pods, &mut report);
    solve.run(pods, &mut report);
    let plan = solve.finish(&mut report);
    report.unplaced.sort_by_key(|(pod, _)| *pod);
    report.relaxed.sort_unstable_by_key(|(pod, _)| *pod);
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
    /// Pods that closed nodes do not take.
    moved: FixedBitSet,
    options: Options,
    sets: Sets<'a>,
    classes: Classes,
    existing: Existing<'a>,
    open: OpenClaims,
    templates: Templates,
    topology: Topology<'a>,
    reservations: Reservations,
    volumes: VolumeWishes,
    /// Devices, if some pod claims any.
    devices: Option<Rc<RefCell<Allocator<'a>>>>,
    ladders: FxHashMap<ShapeId, Rc<[Step]>>,
    bindings: Vec<(PodId, NodeId)>,
    /// Counts what may turn a refusal into an acceptance: a claim opened, one that defines more keys, or
    /// one that lets go of a reservation.
    version: u32,
}

impl<'a> Solve<'a> {
    fn new(view: &'a View<'a>, options: Options, pods: &[PodId], report: &mut Report) -> Self {
        let snapshot = view.base;
        let mut sets = Sets::new(snapshot);
        let templates = Templates::new(view, &options, &mut sets, report);
        let existing = Existing::new(view);
        let topology = Topology::new(view, pods, existing.numbers(), |shape| {
            Step::ladder(shape, options.ignore_preferences, false)
        });
        Self {
            snapshot,
            moved: view.moved(),
            options,
            classes: Classes::default(),
            existing,
            open: OpenClaims::default(),
            templates,
            topology,
            reservations: Reservations::new(snapshot, options.reserved),
            volumes: VolumeWishes::default(),
            devices: Allocator::new(view, pods).map(|own| Rc::new(RefCell::new(own))),
            ladders: FxHashMap::default(),
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
        if pod.shape.claims_devices && self.snapshot.devices.is_none() {
            return Err(Refusal::DevicesIgnored);
        }
        let claims_devices = !pod.device_claims.is_empty();
        if let Some(devices) = self.devices.as_ref().filter(|_| claims_devices)
            && let Some(refusal) = devices.borrow().fault(pod)
        {
            return Err(refusal);
        }
        if let Some(key) = pod.shape.contradiction {
            return Err(Refusal::Contradiction(key));
        }
        let ladder = self.ladder(pod);
        let mut refusal = Refusal::NoTypes;
        for (rank, &step) in ladder.iter().enumerate() {
            match self.place_once(id, pod, step) {
                Ok(()) => {
                    let ignores = self.options.ignore_preferences && pod.shape.has_preferences();
                    let is_hopeless = pod.shape.preference_steps.contains(&None);
                    if rank > 0 || ignores || is_hopeless {
                        report.relaxed.push((id, step));
                    }
                    return Ok(());
                }
                Err(found) => refusal = found,
            }
            // No preference is given up for what the next round may serve from a reservation.
            if refusal.is_deferral() {
                break;
            }
        }
        Err(refusal)
    }

    fn ladder(&mut self, pod: &Pod) -> Rc<[Step]> {
        let known = self.ladders.entry(pod.shape_id).or_insert_with(|| {
            let ignore = self.options.ignore_preferences;
            Step::ladder(&pod.shape, ignore, self.templates.prefer_no_schedule).into()
        });
        let known = known.clone();
        if self.snapshot.volumes.fault(pod).is_none() {
            return known;
        }
        known.iter().map(|step| step.without_spreads()).collect()
    }

    fn place_once(&mut self, id: PodId, pod: &'a Pod, step: Step) -> Result<(), Refusal> {
        let wish = self.sets.wish(&pod.shape, pod.shape_id, step);
        let volumes = self
            .volumes
            .of(self.snapshot, &mut self.sets, pod)
            .map_err(Refusal::Volumes)?;
        let moved = self.moved.contains(id.0 as usize);
        let class = self.classes.of(pod, wish, &volumes, moved);
        let (profile, stamp) = self.topology.ask(pod, step);
        if let Some((version, at, refusal)) = self.classes[class].refused_at.get(&profile)
            && (*version, *at) == (self.version, stamp)
        {
            return Err(refusal.clone());
        }
        let ask = Ask {
            id,
            pod,
            wish,
            volumes,
            class,
            profile,
            moved,
            devices: self
                .devices
                .clone()
                .filter(|_| !pod.device_claims.is_empty()),
        };
        let class = &mut self.classes[ask.class];
        let found = self.existing.place(&ask, class, &self.sets, &self.topology);
        if let Some(node) = found {
            self.bindings.push((id, node));
            if let Some(devices) = &ask.devices {
                devices.borrow_mut().settle(Holder::Node(node));
            }
            self.topology.record(pod, &self.sets, Site::Node(node));
            return Ok(());
        }
        let accepted = self.open.place(
            &ask,
            &mut self.classes,
            &mut self.sets,
            &mut self.topology,
            &mut self.reservations,
            &self.templates,
        );
        if let Some((at, opens_more)) = accepted {
            self.settle_devices(&ask, at);
            self.version += u32::from(opens_more);
            self.record_on_claim(pod, at);
            return Ok(());
        }
        let refusal = match self.open_claim(&ask) {
            Ok(()) => return Ok(()),
            Err(refusal) => refusal,
        };
        let class = ask.class;
        if !refusal.may_pass() && ask.devices.is_none() {
            // Limits only shrink and templates do not change: no later try can succeed.
            self.classes[class].no_new_claim = Some(refusal.clone());
        }
        // Which of their volumes a node has attached already sets pods of a class apart.
        if pod.volumes.is_empty() && ask.devices.is_none() {
            self.classes[class]
                .refused_at
                .insert(profile, (self.version, stamp, refusal.clone()));
        }
        Err(refusal)
    }

    fn open_claim(&mut self, ask: &Ask<'_>) -> Result<(), Refusal> {
        if let Some(refusal) = &self.classes[ask.class].no_new_claim {
            return Err(refusal.clone());
        }
        let (claim, held) = self.templates.open(
            ask,
            &mut self.sets,
            &mut self.topology,
            &self.reservations,
            &self.options,
        )?;
        let at = self.open.push(claim);
        self.reservations.hold(at, held);
        self.settle_devices(ask, at);
        self.topology.open_host();
        self.version += 1;
        self.record_on_claim(ask.pod, at);
        Ok(())
    }

    /// The claim got the devices that were found for the pod, and lost those of types that dropped out.
    fn settle_devices(&mut self, ask: &Ask<'_>, at: usize) {
        let Some(devices) = &self.devices else {
            return;
        };
        let mut devices = devices.borrow_mut();
        if ask.devices.is_some() {
            devices.settle(Holder::Claim(at));
        }
        let claim = self.open.claim(at);
        let catalog = &self.templates.templates[claim.template].catalog;
        devices.prune(Holder::Claim(at), catalog, &claim.slots);
    }

    fn record_on_claim(&mut self, pod: &Pod, at: usize) {
        let claim = self.open.claim(at);
        let template = claim.template;
        let pool = self.templates.templates[template].pool;
        let site = Site::Claim {
            host: self.topology.first_claim_host() + at,
            set: claim.set,
            template,
            taints: &self.snapshot.pools[pool].taints,
        };
        self.topology.record(pod, &self.sets, site);
    }

    fn finish(self, report: &mut Report) -> Plan {
        let Self {
            options,
            mut sets,
            open,
            reservations,
            templates,
            bindings,
            devices,
            ..
        } = self;
        let devices = devices.as_ref().map(|own| own.borrow());
        let mut claims = Vec::new();
        let mut orders = PriceOrders::default();
        for (at, mut claim) in open.into_claims().into_iter().enumerate() {
            let index = claims.len();
            claim.set = templates.reserved(&reservations, at, &claim, &mut sets);
            let catalog = templates.templates[claim.template].catalog.clone();
            match claim::finish(&options, &sets, &templates, &mut orders, claim, index) {
                Ok(mut claim) => {
                    if let Some(devices) = &devices {
                        claim.devices = devices.of_claim(at, &catalog, &claim.instance_types);
                    }
                    claims.push(claim);
                }
                Err((pool, pods)) => {
                    let refusal = Refusal::Truncated(pool);
                    report
                        .unplaced
                        .extend(pods.into_iter().map(|pod| (pod, refusal.clone())));
                }
            }
        }
        Plan {
            bindings,
            claims,
            devices: devices.map_or(Vec::new(), |own| own.of_nodes()),
        }
    }
}
