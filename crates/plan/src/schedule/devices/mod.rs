//! Devices for pods that claim some (section 9 of scheduling.md).
//!
//! Goals: a pod goes only where all its claims can be satisfied; a device is never given away twice; a round
//! without such pods pays nothing, as nothing of this is built then.
//!
//! A claim in the making may still become any of several instance types, each of which promises other
//! devices. Types that promise the same devices are one *group*, and the search runs once for each group.
//! What was found for a group holds only if the machine turns out to be of the group; so to others, a claim
//! in the making uses the most that any of its groups uses. When groups drop out, what they used is free
//! again.
//!
//! The phases of one question: what of the pod's claims is settled already (section 9.6), by the cluster or
//! by this round, and what that asks of the machine; then the search for the rest. The answer becomes true
//! when the place accepts the pod for all other reasons, too ([`Allocator::settle`]).

use alloc::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
    vec::Vec,
};

use rustc_hash::{FxHashMap, FxHashSet};

pub(super) use self::wish::DeviceWish;
use self::{
    demand::{Demand, Verdicts},
    published::{Published, Visible},
    search::{Pick, Search},
    usage::{Choice, DeviceKey, Totals, Usage, add_totals},
};
pub use self::{
    outcome::{DeviceAllocation, PickedDevice},
    refusal::DeviceRefusal,
};
use super::Refusal;
use crate::{
    catalog::{Catalog, Slots},
    device::{Claim, Devices, TypeDevices},
    pod::Pod,
    requirement::{Requirement, Requirements, Undefined},
    snapshot::{Snapshot, View},
    vocabulary::{KeyId, NodeId, PodId},
};

mod demand;
mod outcome;
mod published;
mod refusal;
mod search;
mod usage;
mod wish;

/// So many devices are tried for one pod in one place. Upstream gives up after five seconds; a bound that
/// does not depend on the machine gives the same answer every time.
const MAX_TRIES: usize = 200_000;

/// Who holds devices in this round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Holder {
    /// A place that exists.
    Node(NodeId),
    /// A claim that this round has opened, by index.
    Claim(usize),
}

/// What a machine may turn out to be: a number of the group and what it promises.
type Group<'g> = (usize, &'g TypeDevices);

/// The devices of a place that exists are in this group.
const ONLY_GROUP: usize = 0;

/// An answer: what the machine must be, and the devices for each group that is left.
#[derive(Debug)]
struct Grant {
    /// The claims that devices were found for.
    claims: Vec<Arc<Claim>>,
    requirements: Requirements,
    /// Devices by group; empty when nothing was left to find, and every group remains.
    groups: Vec<(usize, Vec<Pick>)>,
}

/// Devices that this round gave to a claim.
#[derive(Debug)]
struct Given {
    holder: Holder,
    claim: Arc<Claim>,
    groups: BTreeMap<usize, Vec<Pick>>,
}

impl Given {
    fn choices(&self) -> impl Iterator<Item = &Choice> {
        let picks = self.groups.values().flatten();
        picks.map(|pick| &*pick.choice)
    }
}

/// What a place that is asked must know: for a claim in the making the slots that are left.
#[derive(Debug)]
pub(super) struct Granted {
    /// What the devices ask of the machine.
    pub(super) requirements: Requirements,
    /// Slots whose types have the devices.
    pub(super) slots: Slots,
}

/// All devices of a round.
#[derive(Debug)]
pub(super) struct Allocator<'a> {
    snapshot: &'a Snapshot,
    devices: &'a Devices,
    moved: FxHashSet<Arc<str>>,
    published: Published,
    in_use: Usage,
    holders: BTreeMap<Holder, BTreeMap<usize, Usage>>,
    given: FxHashMap<(Arc<str>, Arc<str>), Given>,
    visible: FxHashMap<(Option<NodeId>, Requirements), Rc<Visible>>,
    verdicts: Verdicts,
    /// The last answer, until the place has accepted or refused.
    pending: Option<Grant>,
}

impl<'a> Allocator<'a> {
    /// Nothing if no pod claims devices, or if they are ignored.
    pub(super) fn new(view: &View<'a>, pods: &[PodId]) -> Option<Self> {
        let snapshot = view.base;
        let devices = snapshot.devices.as_deref()?;
        let mut claiming = pods
            .iter()
            .filter(|pod| !snapshot.pods[**pod].device_claims.is_empty());
        claiming.next()?;
        // Pods that have a node and look for another are on the move.
        let moved = pods
            .iter()
            .map(|&pod| &snapshot.pods[pod])
            .filter(|pod| pod.node.is_some())
            .map(|pod| pod.uid.clone())
            .collect();
        let published = Published::new(view, &devices.slices);
        Some(Self {
            in_use: published.in_use(snapshot, &moved),
            snapshot,
            devices,
            moved,
            published,
            holders: BTreeMap::new(),
            given: FxHashMap::default(),
            visible: FxHashMap::default(),
            verdicts: Verdicts::default(),
            pending: None,
        })
    }

    /// Why the pod's claims cannot be looked at, if they cannot (section 9.2).
    pub(super) fn fault(&self, pod: &Pod) -> Option<Refusal> {
        let missing = self.devices.claims_of(pod).err()?;
        Some(Refusal::DeviceClaimMissing(missing))
    }

    /// Whether the place has devices for the pod.
    pub(super) fn node_accepts(&mut self, pod: &Pod, node: NodeId) -> bool {
        let snapshot = self.snapshot;
        let promised = promised(snapshot, node);
        let none = TypeDevices::default();
        let groups = [(ONLY_GROUP, promised.unwrap_or(&none))];
        let requirements = &snapshot.nodes[node].requirements;
        let holder = Some(Holder::Node(node));
        self.allocate(pod, holder, requirements, &groups).is_ok()
    }

    /// Whether a claim with these requirements, which may still become any of the slots, has devices for
    /// the pod, and what it would have to be. The holder is absent for a claim that is to be opened.
    pub(super) fn claim_accepts(
        &mut self,
        pod: &Pod,
        holder: Option<Holder>,
        requirements: &Requirements,
        catalog: &Catalog,
        slots: &Slots,
    ) -> Result<Granted, DeviceRefusal> {
        let groups: Vec<Group<'_>> = catalog
            .device_groups()
            .iter()
            .enumerate()
            .filter(|(_, (_, own))| !own.is_disjoint(slots))
            .map(|(at, (devices, _))| (at, &**devices))
            .collect();
        let grant = self.allocate(pod, holder, requirements, &groups)?;
        let mut left = slots.clone();
        if !grant.groups.is_empty() {
            let mut having = Slots::with_capacity(catalog.slot_count());
            for (group, _) in &grant.groups {
                having.union_with(&catalog.device_groups()[*group].1);
            }
            left.intersect_with(&having);
        }
        Ok(Granted {
            requirements: grant.requirements.clone(),
            slots: left,
        })
    }

    fn allocate(
        &mut self,
        pod: &Pod,
        holder: Option<Holder>,
        requirements: &Requirements,
        groups: &[Group<'_>],
    ) -> Result<&Grant, DeviceRefusal> {
        self.pending = None;
        let grant = self.grant(pod, holder, requirements, groups)?;
        Ok(self.pending.insert(grant))
    }

    fn grant(
        &mut self,
        pod: &Pod,
        holder: Option<Holder>,
        requirements: &Requirements,
        groups: &[Group<'_>],
    ) -> Result<Grant, DeviceRefusal> {
        let (snapshot, devices) = (self.snapshot, self.devices);
        let vocabulary = &*snapshot.vocabulary;
        let claims = devices
            .claims_of(pod)
            .map_err(|name| DeviceRefusal::Missing(name.clone()))?;
        let node = match holder {
            Some(Holder::Node(node)) => Some(node),
            Some(Holder::Claim(_)) | None => None,
        };
        let node_name = node.and_then(|node| Some(&*snapshot.nodes[node].node.as_ref()?.name));
        let mut current = requirements.clone();
        let mut settled = Requirements::new();
        let mut open = Vec::new();
        for claim in claims {
            let Some(asked) = self.settled(claim, holder, node_name)? else {
                open.push(claim.clone());
                continue;
            };
            if !current.compatible(&asked, Undefined::AllowedIfWellKnown, vocabulary) {
                return Err(DeviceRefusal::claim(claim, ELSEWHERE));
            }
            current.add_all(&asked, vocabulary);
            settled.add_all(&asked, vocabulary);
        }
        if open.is_empty() {
            return Ok(Grant {
                claims: open,
                requirements: settled,
                groups: Vec::new(),
            });
        }
        let demands: Vec<Rc<Demand>> = open
            .iter()
            .map(|claim| self.verdicts.demand(claim, devices))
            .collect::<Result<_, _>>()?;
        let visible = self.visible(node, node_name, requirements);
        let elsewhere = self.elsewhere(holder);
        let mut tries = MAX_TRIES;
        let mut current = Rc::new(current);
        let mut found = Vec::new();
        // Upstream returns what the new devices ask for, not what settled claims do.
        let mut gathered = Requirements::new();
        for &(group, promised) in groups {
            let mut usage = elsewhere.clone();
            let own = holder.and_then(|holder| self.holders.get(&holder)?.get(&group));
            if let Some(own) = own {
                usage.add(own);
            }
            let mut totals = self.published.totals.clone();
            let mut search = Search {
                demands: &demands,
                choices: choices(&visible, promised, &mut totals),
                flaw: visible.flaw.clone(),
                bindings: &promised.bindings,
                totals: &totals,
                vocabulary,
                verdicts: &mut self.verdicts,
                usage,
                requirements: [current.clone()].into(),
                tries: &mut tries,
                picks: Vec::new(),
            };
            if !search.run()? {
                continue;
            }
            // What one type needs holds for those that come after it, too.
            if let Some(narrowed) = search.requirements.pop() {
                current = narrowed;
            }
            for pick in &search.picks {
                if let Some(topology) = &pick.choice.topology {
                    gathered.add_all(topology, vocabulary);
                }
            }
            found.push((group, search.picks));
        }
        if found.is_empty() {
            return Err(DeviceRefusal::NoTypes);
        }
        Ok(Grant {
            claims: open,
            requirements: gathered,
            groups: found,
        })
    }

    /// What a claim that has its devices asks of the machine; nothing if it has none yet (section 9.6).
    fn settled(
        &self,
        claim: &Claim,
        holder: Option<Holder>,
        node_name: Option<&str>,
    ) -> Result<Option<Requirements>, DeviceRefusal> {
        let key = (claim.namespace.clone(), claim.name.clone());
        if let Some(given) = self.given.get(&key) {
            let is_bound = given
                .choices()
                .any(|choice| choice.is_local || matches!(choice.key, DeviceKey::Promised(_)));
            if is_bound && holder != Some(given.holder) {
                return Err(DeviceRefusal::claim(claim, HELD));
            }
            let mut asked = Requirements::new();
            for topology in given
                .choices()
                .filter_map(|choice| choice.topology.as_ref())
            {
                asked.add_all(topology, &self.snapshot.vocabulary);
            }
            return Ok(Some(asked));
        }
        let Some(allocation) = &claim.allocation else {
            return Ok(None);
        };
        if claim.moves(|uid| self.moved.contains(uid)) {
            return Ok(None);
        }
        let is_here = |nodes: &Vec<Arc<str>>| nodes.iter().any(|own| Some(&**own) == node_name);
        if !allocation.nodes.as_ref().is_none_or(is_here) {
            return Err(DeviceRefusal::claim(claim, ELSEWHERE));
        }
        Ok(Some(allocation.requirements.clone()))
    }

    fn visible(
        &mut self,
        node: Option<NodeId>,
        name: Option<&str>,
        requirements: &Requirements,
    ) -> Rc<Visible> {
        let key = (node, requirements.clone());
        let published = &self.published;
        let vocabulary = &self.snapshot.vocabulary;
        let known = self.visible.entry(key);
        known
            .or_insert_with(|| Rc::new(published.visible(name, requirements, vocabulary)))
            .clone()
    }

    /// What the cluster and all other holders use of published devices.
    fn elsewhere(&self, holder: Option<Holder>) -> Usage {
        let mut usage = self.in_use.clone();
        for (_, groups) in self.holders.iter().filter(|(own, _)| Some(**own) != holder) {
            let mut most = Usage::default();
            for group in groups.values() {
                most.maximum(&group.published());
            }
            usage.add(&most);
        }
        usage
    }

    /// The place has accepted the pod, so what was found for it is given away.
    pub(super) fn settle(&mut self, holder: Holder) {
        let Some(grant) = self.pending.take() else {
            return;
        };
        let Grant { claims, groups, .. } = grant;
        if groups.is_empty() {
            return;
        }
        let left: BTreeSet<usize> = groups.iter().map(|(group, _)| *group).collect();
        self.retain(holder, |group| left.contains(&group));
        let own = self.holders.entry(holder).or_default();
        for (group, picks) in &groups {
            let usage = own.entry(*group).or_default();
            for pick in picks {
                let Choice { key, device, .. } = &*pick.choice;
                usage.take(*key, device, &pick.amounts);
            }
        }
        for (at, claim) in claims.into_iter().enumerate() {
            let of_claim = groups.iter().map(|(group, picks)| {
                let own = picks.iter().filter(|pick| pick.claim == at);
                (*group, own.cloned().collect())
            });
            let key = (claim.namespace.clone(), claim.name.clone());
            let groups = of_claim.collect();
            let given = Given {
                holder,
                claim,
                groups,
            };
            self.given.insert(key, given);
        }
    }

    /// The claim can no longer become slots other than these: what was given to other groups is free.
    pub(super) fn prune(&mut self, holder: Holder, catalog: &Catalog, slots: &Slots) {
        if self.holders.contains_key(&holder) {
            let groups = catalog.device_groups();
            self.retain(holder, |group| !groups[group].1.is_disjoint(slots));
        }
    }

    fn retain(&mut self, holder: Holder, is_left: impl Fn(usize) -> bool) {
        let Some(own) = self.holders.get_mut(&holder) else {
            return;
        };
        let before = own.len();
        own.retain(|group, _| is_left(*group));
        if own.len() == before {
            return;
        }
        #[expect(
            clippy::iter_over_hash_type,
            reason = "each entry is changed for itself"
        )]
        for given in self.given.values_mut() {
            if given.holder == holder {
                given.groups.retain(|group, _| is_left(*group));
            }
        }
    }
}

/// A claim that the cluster has allocated is bound to other machines.
const ELSEWHERE: &str = "its devices cannot be used there";
/// A claim that this round has satisfied is bound to one machine.
const HELD: &str = "its devices belong to another node";

/// Published devices first, then those that the type promises, whose counters are added.
fn choices(visible: &Visible, promised: &TypeDevices, totals: &mut Totals) -> Vec<Rc<Choice>> {
    let mut choices = visible.choices.clone();
    for ((driver, pool), sets) in &promised.counters {
        add_totals(totals, true, (driver, pool), sets);
    }
    choices.extend(promised.devices.iter().zip(0..).map(|(device, number)| {
        Rc::new(Choice {
            key: DeviceKey::Promised(number),
            device: device.clone(),
            topology: None,
            is_local: true,
        })
    }));
    choices
}

/// What drivers on a node that is not initialised will publish, if its instance type is known.
pub(super) fn promised(snapshot: &Snapshot, node: NodeId) -> Option<&TypeDevices> {
    let lowered = &snapshot.nodes[node];
    if lowered.initialized {
        return None;
    }
    let pool = snapshot.places[node].pool?;
    let catalog = snapshot.catalogs[pool].as_ref().ok()?;
    let labelled = lowered.requirements.get(KeyId::INSTANCE_TYPE);
    let name = labelled.and_then(Requirement::single_value)?;
    let found = catalog.type_named(snapshot.vocabulary.value_text(name))?;
    Some(&catalog.types[found].devices)
}
