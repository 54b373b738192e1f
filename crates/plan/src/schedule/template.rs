//! Where new claims come from: each pool's template, what it may launch, and the daemons that come along.

use alloc::{boxed::Box, rc::Rc, sync::Arc, vec::Vec};
use core::cmp::Reverse;

use super::{
    FilterVerdict, MinValuesPolicy, Options, Refusal, Report, TemplateRefusal,
    ask::Ask,
    devices::DeviceWish,
    open::OpenClaim,
    reserve::{Held, Reservations},
    set::{Left, SetId, Sets, WishId, merely_asks, tolerate_preferred},
    topology::Topology,
};
use crate::{
    catalog::{self, Catalog, Slots},
    pod::HostPort,
    pool::Pool,
    requirement::{Requirement, Requirements, Undefined},
    resources::{ResourceId, Resources},
    snapshot::{Snapshot, View},
    taint::tolerates,
    vocabulary::{KeyId, PoolId, TypeId, ValueId},
};

/// Slots that get the same daemons.
#[derive(Clone, Debug)]
pub(super) struct DaemonGroup {
    pub(super) slots: Slots,
    pub(super) requests: Resources,
    pub(super) ports: Vec<HostPort>,
}

/// A pool that may get claims.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) pool: PoolId,
    pub(super) catalog: Arc<Catalog>,
    /// The template's requirements.
    pub(super) set: SetId,
    /// Slots that the template leaves.
    pub(super) slots: Slots,
    pub(super) groups: Vec<DaemonGroup>,
    /// What is left of the limits.
    remaining: Resources,
}

/// The templates in the order they are tried.
#[derive(Debug)]
pub(super) struct Templates {
    pub(super) templates: Vec<Template>,
    /// Some template has a taint that merely asks not to be used.
    pub(super) prefer_no_schedule: bool,
}

/// Heavier pools first; among equals the later name, as upstream does.
fn order(id: PoolId, pool: &Pool) -> impl Ord {
    (Reverse(pool.weight), Reverse(id))
}

impl Templates {
    pub(super) fn new(
        view: &View<'_>,
        options: &Options,
        sets: &mut Sets<'_>,
        report: &mut Report,
    ) -> Self {
        let snapshot = view.base;
        let mut pools: Vec<(PoolId, &Pool)> = snapshot
            .pools
            .iter()
            .map(|(id, pool)| (id, &**pool))
            .filter(|(_, pool)| pool.is_dynamic())
            .collect();
        pools.sort_by(|a, b| order(a.0, a.1).cmp(&order(b.0, b.1)));
        let prefer_no_schedule = pools
            .iter()
            .any(|(_, pool)| pool.taints.iter().any(merely_asks));
        let mut templates = Vec::new();
        for (id, pool) in pools {
            let (catalog, set, slots) = match launchable(snapshot, options, sets, id) {
                Ok(found) => found,
                Err(starved) => {
                    report.pools_without_types.push((id, starved));
                    continue;
                }
            };
            templates.push(Template {
                pool: id,
                catalog: Arc::clone(catalog),
                set,
                groups: daemon_groups(snapshot, pool, catalog),
                slots,
                remaining: remaining(view, id, pool),
            });
        }
        Self {
            templates,
            prefer_no_schedule,
        }
    }

    /// Opens a claim for the pod with the first template that accepts it.
    pub(super) fn open(
        &mut self,
        ask: &Ask<'_>,
        sets: &mut Sets<'_>,
        topology: &mut Topology<'_>,
        reservations: &Reservations,
        options: &Options,
    ) -> Result<(OpenClaim, Held), Refusal> {
        if self.templates.is_empty() {
            return Err(Refusal::NoTypes);
        }
        let mut refusals = Vec::new();
        for (index, template) in self.templates.iter_mut().enumerate() {
            match template.open(index, ask, sets, topology, reservations, options) {
                Ok(opened) => return Ok(opened),
                Err(refusal) => {
                    // A lower pool does not serve what a higher one may still serve from a reservation.
                    let is_last = refusal.is_deferral();
                    refusals.push((template.pool, refusal));
                    if is_last {
                        break;
                    }
                }
            }
        }
        Err(Refusal::Templates(refusals))
    }
}

impl Templates {
    /// The requirements of a finished claim, which is bought from the reservations that it holds.
    pub(super) fn reserved(
        &self,
        reservations: &Reservations,
        at: usize,
        claim: &OpenClaim,
        sets: &mut Sets<'_>,
    ) -> SetId {
        let catalog = &self.templates[claim.template].catalog;
        match reservations.bind(at, catalog, sets.get(claim.set), sets.vocabulary()) {
            Some(requirements) => sets.intern(requirements),
            None => claim.set,
        }
    }
}

/// What a pool's own requirements leave to launch; otherwise whether only minimum numbers of values
/// stand in the way.
fn launchable<'a>(
    snapshot: &'a Snapshot,
    options: &Options,
    sets: &mut Sets<'_>,
    id: PoolId,
) -> Result<(&'a Arc<Catalog>, SetId, Slots), bool> {
    let catalog = snapshot.catalogs[id].as_ref().map_err(|_| false)?;
    let requirements = &snapshot.pools[id].requirements;
    let set = sets.intern(requirements.clone());
    let mut slots = sets.left(id, catalog, set).both.clone();
    slots.intersect_with(&catalog.slots_fitting(&Resources::new()));
    if slots.is_clear() {
        return Err(false);
    }
    let starved = options.min_values == MinValuesPolicy::Strict
        && !min_values_met(catalog, &slots, requirements);
    if starved {
        return Err(true);
    }
    Ok((catalog, set, slots))
}

/// Whether a pool's requirements leave any instance type, whatever the pods ask for; if not, the error
/// says whether that is only because of minimum numbers of values.
pub fn leaves_types(snapshot: &Snapshot, pool: PoolId, options: &Options) -> Result<(), bool> {
    launchable(snapshot, options, &mut Sets::new(snapshot), pool).map(|_| ())
}

impl Template {
    fn open(
        &mut self,
        index: usize,
        ask: &Ask<'_>,
        sets: &mut Sets<'_>,
        topology: &mut Topology<'_>,
        reservations: &Reservations,
        options: &Options,
    ) -> Result<(OpenClaim, Held), TemplateRefusal> {
        if self.remaining.find(ResourceId::NODES) == Some(0) {
            return Err(TemplateRefusal::NodeLimit);
        }
        let mut within = self.slots.clone();
        if !self.remaining.is_empty() {
            within.intersect_with(&self.catalog.slots_within(&self.remaining));
            if within.is_clear() {
                return Err(TemplateRefusal::Limits);
            }
        }
        if !self.tolerates(sets, ask.wish) {
            return Err(TemplateRefusal::Taints);
        }
        let wished = sets
            .narrow(self.set, ask.wish)
            .ok_or(TemplateRefusal::Requirements)?;
        let mut refusal = TemplateRefusal::Volumes;
        for volumes in ask.volumes.alternatives() {
            let set = match volumes {
                None => Some(wished),
                Some(volumes) => sets.narrow(wished, volumes),
            };
            let Some(set) = set else {
                refusal = TemplateRefusal::Volumes;
                continue;
            };
            let opened = self
                .open_with(ask, sets, topology, options, set, &within)
                .and_then(|(set, slots, relaxed)| {
                    let held = reservations.ask(None, &self.catalog, sets, set, &slots)?;
                    Ok((set, slots, relaxed, held))
                });
            match opened {
                Ok((set, slots, min_values_relaxed, held)) => {
                    self.spend(&slots);
                    let claim = OpenClaim {
                        template: index,
                        set,
                        slots,
                        pods: [ask.id].into(),
                        requests: ask.pod.requests.clone(),
                        ports: ask.pod.shape.ports.clone(),
                        min_values_relaxed,
                    };
                    return Ok((claim, held));
                }
                Err(found) => refusal = found,
            }
        }
        Err(refusal)
    }

    /// The requirements and slots of a claim for the pod, and whether minimum numbers of values were
    /// lowered for it.
    fn open_with(
        &self,
        ask: &Ask<'_>,
        sets: &mut Sets<'_>,
        topology: &mut Topology<'_>,
        options: &Options,
        set: SetId,
        within: &Slots,
    ) -> Result<(SetId, Slots, bool), TemplateRefusal> {
        let devices = match &ask.devices {
            None => None,
            Some(_) => Some(
                DeviceWish::of(ask, None, sets, self.set, self, within)
                    .map_err(TemplateRefusal::Devices)?,
            ),
        };
        let (set, having) = match &devices {
            None => (set, None),
            Some(devices) => {
                let narrowed = sets.narrow(set, devices.wish).ok_or_else(|| {
                    let wish = sets.wish_of(devices.wish);
                    TemplateRefusal::DeviceRequirements(Box::new(wish.requirements.clone()))
                })?;
                (narrowed, Some(&devices.slots))
            }
        };
        let narrowed = topology
            .narrow(ask.profile, sets, set)
            .filter(|_| topology.allows_new_host(ask.profile));
        let Some(set) = narrowed else {
            let refusal = topology.refusal(ask.profile, sets, set);
            return Err(refusal.map_or(TemplateRefusal::Requirements, |refusal| {
                TemplateRefusal::Topology(Box::new(refusal))
            }));
        };
        let left = sets.left(self.pool, &self.catalog, set);
        let (requests, ports) = (&ask.pod.requests, &ask.pod.shape.ports);
        let mut kept = self.filter(&left, within, requests, |group| {
            !group
                .ports
                .iter()
                .any(|taken| ports.iter().any(|own| own.conflicts(taken)))
        });
        if kept.is_clear() {
            let verdict = self.verdict(&left, within, requests, ports);
            return Err(TemplateRefusal::InstanceTypes(verdict));
        }
        if let Some(having) = having {
            kept.intersect_with(having);
            if kept.is_clear() {
                return Err(TemplateRefusal::DeviceTypes);
            }
        }
        let requirements = sets.get(set).clone();
        if min_values_met(&self.catalog, &kept, &requirements) {
            return Ok((set, kept, false));
        }
        if options.min_values == MinValuesPolicy::Strict {
            return Err(TemplateRefusal::MinValues);
        }
        let reachable = with_reachable_min_values(&self.catalog, &kept, &requirements);
        Ok((sets.intern(reachable), kept, true))
    }

    /// True when the wish tolerates the template's taints; startup taints never matter.
    pub(super) fn tolerates(&self, sets: &Sets<'_>, wish: WishId) -> bool {
        tolerates(
            &sets.wish_of(wish).tolerations,
            &sets.snapshot().pools[self.pool].taints,
        )
    }

    /// Slots that are left, are among the candidates, and are large enough with their daemons.
    pub(super) fn filter(
        &self,
        left: &Left,
        candidates: &Slots,
        requests: &Resources,
        admits: impl Fn(&DaemonGroup) -> bool,
    ) -> Slots {
        let mut kept = Slots::with_capacity(self.catalog.slot_count());
        for group in self.groups.iter().filter(|group| admits(group)) {
            let mut of_group = left.both.clone();
            of_group.intersect_with(candidates);
            of_group.intersect_with(&group.slots);
            if of_group.is_clear() {
                continue;
            }
            let mut total = requests.clone();
            total.add(&group.requests);
            of_group.intersect_with(&self.catalog.slots_fitting(&total));
            kept.union_with(&of_group);
        }
        kept
    }

    /// Which tests some slot met, for the text. "Fits" is only asked where there is an offering.
    fn verdict(
        &self,
        left: &Left,
        candidates: &Slots,
        requests: &Resources,
        ports: &[HostPort],
    ) -> FilterVerdict {
        let mut verdict = FilterVerdict::default();
        for group in &self.groups {
            if group
                .ports
                .iter()
                .any(|taken| ports.iter().any(|own| own.conflicts(taken)))
            {
                continue;
            }
            let mut total = requests.clone();
            total.add(&group.requests);
            let mut candidates = candidates.clone();
            candidates.intersect_with(&group.slots);
            let mut fitting = self.catalog.slots_fitting(&total);
            fitting.intersect_with(&left.offered);
            let any = |slots: &Slots| candidates.intersection(slots).next().is_some();
            verdict.requirements |= any(&left.meeting);
            verdict.offering |= any(&left.offered);
            verdict.fits |= any(&fitting);
            verdict.requirements_and_offering |= any(&left.both);
            verdict.fits_and_offering |= any(&fitting);
            fitting.intersect_with(&left.meeting);
            verdict.requirements_and_fits |= any(&fitting);
        }
        verdict
    }

    /// Takes from the limits the most that the claim can turn out to be.
    fn spend(&mut self, slots: &Slots) {
        if self.remaining.is_empty() {
            return;
        }
        let mut most = Resources::new();
        for instance_type in self.catalog.types_of(slots) {
            most.maximum(&self.catalog.types[instance_type].capacity);
        }
        // Upstream: `nodes` is no part of what a type has, so a limit of nodes does not shrink within a
        // round. It is documented as eventually consistent for pools whose size follows pods.
        self.remaining.subtract_present(&most);
    }
}

/// The pool's limits less what its nodes and claims have.
pub(super) fn remaining(view: &View<'_>, id: PoolId, pool: &Pool) -> Resources {
    let snapshot = view.base;
    let mut remaining = pool.limits.clone();
    if remaining.is_empty() {
        return remaining;
    }
    for (node, place) in snapshot.places.iter() {
        let counts =
            place.pool == Some(id) && !snapshot.nodes[node].marked && !view.gone.contains(node);
        if counts {
            remaining.subtract_present(&place.capacity);
        }
    }
    remaining
}

/// Divides the slots by the set of daemons that they get.
pub(super) fn daemon_groups(
    snapshot: &Snapshot,
    pool: &Pool,
    catalog: &Catalog,
) -> Vec<DaemonGroup> {
    let vocabulary = &*snapshot.vocabulary;
    let mut template = pool.requirements.clone();
    // A node gets these labels in time, so daemons that wait for them count.
    for key in [KeyId::REGISTERED, KeyId::INITIALIZED] {
        template.add(Requirement::any_of(key, [ValueId::TRUE]), vocabulary);
    }
    let mut groups: Vec<DaemonGroup> = [DaemonGroup {
        slots: catalog::all(catalog.slot_count()),
        requests: Resources::new(),
        ports: Vec::new(),
    }]
    .into();
    for daemon in snapshot.daemons.values() {
        let shape = &daemon.shape;
        if shape.never_comes(snapshot.devices.is_none()) {
            continue;
        }
        let mut tolerations = shape.tolerations.clone();
        tolerations.push(tolerate_preferred());
        if !tolerates(&tolerations, &pool.taints) {
            continue;
        }
        let mut slots = Slots::with_capacity(catalog.slot_count());
        for alternative in &shape.alternatives {
            if template.compatible(alternative, Undefined::AllowedIfWellKnown, vocabulary) {
                slots.union_with(&catalog.slots_meeting(alternative, vocabulary));
            }
        }
        groups = groups
            .into_iter()
            .flat_map(|group| split(group, &slots, daemon))
            .collect();
    }
    groups
}

fn split(
    group: DaemonGroup,
    slots: &Slots,
    daemon: &crate::Daemon,
) -> impl Iterator<Item = DaemonGroup> {
    let mut with = group.clone();
    with.slots.intersect_with(slots);
    with.requests.add(&daemon.requests);
    with.ports.extend(daemon.shape.ports.iter().cloned());
    let mut without = group;
    without.slots.difference_with(slots);
    [with, without]
        .into_iter()
        .filter(|group| !group.slots.is_clear())
}

/// Distinct values of a key that the types may have.
fn values_of(catalog: &Catalog, types: &[TypeId], key: KeyId) -> usize {
    let mut values: Vec<ValueId> = types
        .iter()
        .filter_map(|id| catalog.types[*id].requirements.get(key))
        .filter(|requirement| !requirement.is_complement())
        .flat_map(|requirement| requirement.values().iter().copied())
        .collect();
    values.sort_unstable();
    values.dedup();
    values.len()
}

/// True when the types of the slots span every minimum number of values.
pub(super) fn min_values_met(
    catalog: &Catalog,
    slots: &Slots,
    requirements: &Requirements,
) -> bool {
    unmet_min_values(catalog, slots, requirements).is_empty()
}

/// Keys whose minimum is not reached, with the number of values found.
pub(super) fn unmet_min_values(
    catalog: &Catalog,
    slots: &Slots,
    requirements: &Requirements,
) -> Vec<(KeyId, usize)> {
    if requirements.iter().all(|own| own.min_values().is_none()) {
        return Vec::new();
    }
    unmet_among(catalog, &catalog.types_of(slots), requirements)
}

/// The same for a list of types.
pub(crate) fn unmet_among(
    catalog: &Catalog,
    types: &[TypeId],
    requirements: &Requirements,
) -> Vec<(KeyId, usize)> {
    requirements
        .iter()
        .filter_map(|requirement| Some((requirement.key(), requirement.min_values()?)))
        .map(|(key, minimum)| (key, minimum, values_of(catalog, types, key)))
        .filter(|(_, minimum, found)| *found < *minimum as usize)
        .map(|(key, _, found)| (key, found))
        .collect()
}

fn with_reachable_min_values(
    catalog: &Catalog,
    slots: &Slots,
    requirements: &Rc<Requirements>,
) -> Requirements {
    let mut relaxed = (**requirements).clone();
    for (key, found) in unmet_min_values(catalog, slots, requirements) {
        if let Some(requirement) = requirements.get(key) {
            let found = u32::try_from(found).unwrap_or(u32::MAX);
            relaxed.replace(requirement.clone().with_min_values(Some(found)));
        }
    }
    relaxed
}
