//! Rules between pods within a round: who counts where, and what that leaves of a candidate (section 5
//! of scheduling.md).
//!
//! Rules that say the same share one [`Group`]. All groups of a round exist before the first pod is
//! placed, those of later steps of a ladder too, so that no placement goes uncounted. Pods that state
//! the same rules and are counted by the same rules share a *profile*; what a profile leaves of an
//! interned requirement set is worked out once per change of its groups. Host names are numbered, and
//! what a rule forbids of them is a set of numbers, so that a thousand nodes that are taken cost a few
//! dozen words.

use alloc::{rc::Rc, sync::Arc, vec::Vec};

use fixedbitset::FixedBitSet;
use rustc_hash::{FxHashMap, FxHashSet};

pub use self::{group::Rule, refusal::TopologyRefusal};
use self::{
    group::{Hosts, Stake, Values},
    universe::Universe,
};
use super::{ladder::Step, set::SetId};
use crate::{
    labels::Labels,
    node::Node,
    pod::{Pod, Shape},
    requirement::{Requirement, Requirements, Undefined},
    selector::Selector,
    snapshot::{Snapshot, View},
    taint::{Taint, Toleration, tolerates},
    vocabulary::{IdVec, KeyId, NodeId, PodId, ShapeId, SubjectId, ValueId},
};

mod ask;
mod count;
mod group;
mod refusal;
mod terms;
mod universe;

/// What makes two rules the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    rule: Rule,
    key: KeyId,
    /// Namespaces in order; `None` is all.
    namespaces: Option<Vec<Arc<str>>>,
    selector: Selector,
    /// Zero but for spreads.
    max_skew: i64,
    filter: Option<FilterId>,
    /// Domains that are known from the start.
    seeds: Vec<ValueId>,
}

/// A rule and its counts.
#[derive(Debug)]
struct Group {
    identity: Rc<Identity>,
    domains: Domains,
    /// Goes up with each pod that is counted.
    version: u64,
}

#[derive(Debug)]
enum Domains {
    Hosts(Hosts),
    Values(Values),
}

impl Group {
    fn selects(&self, namespace: &Arc<str>, labels: &Labels) -> bool {
        self.identity.selector.selects(labels) && self.reaches(namespace)
    }

    /// The group counts pods of the namespace. A rule without a selector counts them all, although it
    /// selects none.
    fn lists(&self, namespace: &Arc<str>, labels: &Labels) -> bool {
        let selector = &self.identity.selector;
        (selector.terms.is_none() || selector.selects(labels)) && self.reaches(namespace)
    }

    fn reaches(&self, namespace: &Arc<str>) -> bool {
        let namespaces = self.identity.namespaces.as_ref();
        namespaces.is_none_or(|names| names.contains(namespace))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct GroupId(usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FilterId(usize);

/// Nodes that count for a spread (section 5.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Filter {
    /// One of them must hold; empty when all nodes do.
    alternatives: Vec<Requirements>,
    /// They must tolerate all taints, if there are any.
    tolerations: Option<Vec<Toleration>>,
}

/// Which groups count a pod and which others it must mind.
#[derive(Debug, Default)]
struct Selecting {
    /// Groups that count it.
    counting: Vec<GroupId>,
    /// Groups of pods that object to it.
    objecting: Vec<GroupId>,
}

/// What a pod must mind in one step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Profile {
    hosts: Vec<(GroupId, Stake)>,
    values: Vec<(GroupId, Stake)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ProfileId(usize);

/// The question at hand: one profile at one state of its groups.
#[derive(Debug, Default)]
struct Asking {
    profile: Option<ProfileId>,
    stamp: u64,
    /// For the rules over values, how many pods a domain may have.
    limits: Vec<i64>,
    /// Hosts that are forbidden.
    forbidden: FixedBitSet,
    /// What is left of each set.
    narrowed: FxHashMap<SetId, Option<SetId>>,
}

/// All rules of a round.
#[derive(Debug)]
pub(super) struct Topology<'a> {
    snapshot: &'a Snapshot,
    hosts_of_nodes: IdVec<NodeId, Option<usize>>,
    /// The number of the host of the first claim.
    first_claim_host: usize,
    /// Hosts so far: places that exist, then claims.
    host_count: usize,
    universe: Universe<'a>,
    groups: Vec<Group>,
    ids: FxHashMap<Rc<Identity>, GroupId>,
    filters: Vec<(Rc<Filter>, FixedBitSet)>,
    filter_ids: FxHashMap<Rc<Filter>, FilterId>,
    /// Labels of nodes that pass a filter.
    values_of_nodes: FxHashMap<(KeyId, Option<FilterId>), Rc<[ValueId]>>,
    filtered_sets: FxHashMap<(FilterId, SetId, usize), bool>,
    selecting: FxHashMap<SubjectId, Rc<Selecting>>,
    inverse: FxHashMap<(ShapeId, Arc<str>), Rc<[GroupId]>>,
    profiles: Vec<Rc<Profile>>,
    profile_ids: FxHashMap<Rc<Profile>, ProfileId>,
    known_profiles: FxHashMap<(ShapeId, Step, SubjectId), ProfileId>,
    asking: Asking,
}

/// Where a pod was put.
#[derive(Clone, Copy, Debug)]
pub(super) enum Site<'s> {
    /// On a place that exists.
    Node(NodeId),
    /// On a claim of this round.
    Claim {
        host: usize,
        set: SetId,
        template: usize,
        taints: &'s [Taint],
    },
}

impl<'a> Topology<'a> {
    /// Groups of all pods of the batch in all their steps, with the pods that are already somewhere.
    pub(super) fn new(
        view: &View<'a>,
        batch: &[PodId],
        hosts_of_nodes: IdVec<NodeId, Option<usize>>,
        ladder: impl Fn(&Shape) -> Vec<Step>,
    ) -> Self {
        let snapshot = view.base;
        let mut topology = Self {
            snapshot,
            first_claim_host: hosts_of_nodes.values().flatten().count(),
            host_count: hosts_of_nodes.values().flatten().count(),
            hosts_of_nodes,
            universe: Universe::new(snapshot),
            groups: Vec::new(),
            ids: FxHashMap::default(),
            filters: Vec::new(),
            filter_ids: FxHashMap::default(),
            values_of_nodes: FxHashMap::default(),
            filtered_sets: FxHashMap::default(),
            selecting: FxHashMap::default(),
            inverse: FxHashMap::default(),
            profiles: [Rc::default()].into(),
            profile_ids: [(Rc::default(), ProfileId(0))].into_iter().collect(),
            known_profiles: FxHashMap::default(),
            asking: Asking::default(),
        };
        let mut seen: FxHashSet<(ShapeId, &Arc<str>)> = FxHashSet::default();
        for &id in batch {
            let pod = &*snapshot.pods[id];
            if pod.shape.has_rules() && seen.insert((pod.shape_id, &pod.namespace)) {
                for step in ladder(&pod.shape) {
                    topology.owned(pod, step);
                }
                topology.inverse_of(pod);
            }
        }
        let mut in_batch = FixedBitSet::with_capacity(snapshot.pods.len());
        in_batch.extend(batch.iter().map(|pod| pod.0 as usize));
        topology.count_objections(&in_batch);
        if !topology.groups.is_empty() {
            topology.count_pods(&in_batch);
        }
        topology
    }

    /// The groups whose rules a pod states in a step, with the number of domains that it wants.
    fn owned(&mut self, pod: &Pod, step: Step) -> Vec<(GroupId, Option<u32>)> {
        let shape = &*pod.shape;
        let mut owned = Vec::new();
        for spread in step.spreads(shape) {
            let alternatives = if spread.honors_affinity {
                &shape.alternatives[..]
            } else {
                &[]
            };
            let alternatives: Vec<Requirements> = if alternatives.iter().any(Requirements::is_empty)
            {
                Vec::new()
            } else {
                alternatives.to_vec()
            };
            let tolerations = spread.honors_taints.then(|| shape.tolerations.clone());
            let filter = self.filter(alternatives, tolerations.clone());
            let seeds = self.seeds(spread.key, tolerations.as_deref());
            let group = self.group(Identity {
                rule: Rule::Spread,
                key: spread.key,
                namespaces: Some([pod.namespace.clone()].into()),
                selector: spread.selector.clone(),
                max_skew: spread.max_skew,
                filter,
                seeds,
            });
            owned.push((group, spread.min_domains));
        }
        for term in &shape.topology.affinity {
            let group = self.joined_term(pod, term);
            owned.push((group, None));
        }
        for term in step.preferred_affinity(shape) {
            let group = self.term(pod, term, Rule::Affinity);
            owned.push((group, None));
        }
        for term in step.anti_affinity(shape) {
            let group = self.term(pod, term, Rule::AntiAffinity);
            owned.push((group, None));
        }
        owned
    }

    fn seeds(&mut self, key: KeyId, tolerations: Option<&[Toleration]>) -> Vec<ValueId> {
        if key == KeyId::HOSTNAME {
            return Vec::new();
        }
        self.universe.values(key, tolerations)
    }

    fn filter(
        &mut self,
        alternatives: Vec<Requirements>,
        tolerations: Option<Vec<Toleration>>,
    ) -> Option<FilterId> {
        if alternatives.is_empty() && tolerations.is_none() {
            return None;
        }
        let filter = Filter {
            alternatives,
            tolerations,
        };
        if let Some(&id) = self.filter_ids.get(&filter) {
            return Some(id);
        }
        let snapshot = self.snapshot;
        let mut nodes = FixedBitSet::with_capacity(snapshot.nodes.len());
        for (at, node) in snapshot.nodes.values().enumerate() {
            nodes.set(
                at,
                filter.accepts(&node.requirements, &node.taints, snapshot),
            );
        }
        let (id, filter) = (FilterId(self.filters.len()), Rc::new(filter));
        self.filters.push((filter.clone(), nodes));
        self.filter_ids.insert(filter, id);
        Some(id)
    }

    fn group(&mut self, identity: Identity) -> GroupId {
        if let Some(&id) = self.ids.get(&identity) {
            return id;
        }
        let domains = if identity.key == KeyId::HOSTNAME {
            Domains::Hosts(Hosts::default())
        } else {
            let mut values = Values::default();
            let of_nodes = self.values_of_nodes(identity.key, identity.filter);
            for &value in identity.seeds.iter().chain(&*of_nodes) {
                values.know(value);
            }
            Domains::Values(values)
        };
        let (id, identity) = (GroupId(self.groups.len()), Rc::new(identity));
        self.groups.push(Group {
            identity: identity.clone(),
            domains,
            version: 0,
        });
        self.ids.insert(identity, id);
        id
    }

    /// Values of nodes that take part in the round.
    fn values_of_nodes(&mut self, key: KeyId, filter: Option<FilterId>) -> Rc<[ValueId]> {
        if let Some(known) = self.values_of_nodes.get(&(key, filter)) {
            return known.clone();
        }
        let mut values: Vec<ValueId> = self
            .snapshot
            .nodes
            .iter()
            .filter(|(id, node)| {
                self.hosts_of_nodes[*id].is_some()
                    && node.node.is_some()
                    && filter.is_none_or(|filter| self.filters[filter.0].1.contains(id.0 as usize))
            })
            .flat_map(|(_, node)| possible_values(node, key).iter().copied())
            .collect();
        values.sort_unstable();
        values.dedup();
        let values: Rc<[ValueId]> = values.into();
        self.values_of_nodes.insert((key, filter), values.clone());
        values
    }

    fn selecting(&mut self, pod: &Pod) -> Rc<Selecting> {
        if let Some(known) = self.selecting.get(&pod.subject_id) {
            return known.clone();
        }
        let mut found = Selecting::default();
        for (at, group) in self.groups.iter().enumerate() {
            if group.selects(&pod.namespace, &pod.labels) {
                match group.identity.rule {
                    Rule::Inverse => found.objecting.push(GroupId(at)),
                    Rule::Spread | Rule::Affinity | Rule::AntiAffinity => {
                        found.counting.push(GroupId(at));
                    }
                }
            }
        }
        let found = Rc::new(found);
        self.selecting.insert(pod.subject_id, found.clone());
        found
    }

    fn profile(&mut self, pod: &Pod, step: Step) -> ProfileId {
        let key = (pod.shape_id, step, pod.subject_id);
        if let Some(&known) = self.known_profiles.get(&key) {
            return known;
        }
        let selecting = self.selecting(pod);
        let mut members = if pod.shape.has_rules() {
            self.owned(pod, step)
        } else {
            Vec::new()
        };
        members.extend(selecting.objecting.iter().map(|&group| (group, None)));
        let mut profile = Profile::default();
        for (id, min_domains) in members {
            let identity = &self.groups[id.0].identity;
            let stake = Stake {
                counts_itself: selecting.counting.contains(&id),
                min_domains,
                pod: required(&pod.shape, identity.key),
            };
            if identity.key == KeyId::HOSTNAME {
                profile.hosts.push((id, stake));
            } else {
                profile.values.push((id, stake));
            }
        }
        let id = if let Some(&id) = self.profile_ids.get(&profile) {
            id
        } else {
            let (id, profile) = (ProfileId(self.profiles.len()), Rc::new(profile));
            self.profiles.push(profile.clone());
            self.profile_ids.insert(profile, id);
            id
        };
        self.known_profiles.insert(key, id);
        id
    }

    /// There is one more claim, whose host has the next number.
    pub(super) fn open_host(&mut self) {
        self.host_count += 1;
    }

    /// The number of the host of the first claim.
    pub(super) fn first_claim_host(&self) -> usize {
        self.first_claim_host
    }
}

impl Filter {
    fn accepts(&self, place: &Requirements, taints: &[Taint], snapshot: &Snapshot) -> bool {
        let is_met = self.alternatives.is_empty()
            || self
                .alternatives
                .iter()
                .any(|wanted| place.compatible(wanted, Undefined::Refused, &snapshot.vocabulary));
        is_met
            && self
                .tolerations
                .as_ref()
                .is_none_or(|own| tolerates(own, taints))
    }
}

/// What the pod requires of a key, whichever of its alternatives holds. The alternative that is tried
/// says nothing: the kube-scheduler will look at all of them.
fn required(shape: &Shape, key: KeyId) -> Option<Requirement> {
    if let [only] = &shape.alternatives[..] {
        return only.get(key).cloned();
    }
    let mut values = Vec::new();
    for alternative in &shape.alternatives {
        let own = alternative.get(key).filter(|own| !own.is_complement())?;
        values.extend_from_slice(own.values());
    }
    Some(Requirement::any_of(key, values))
}

/// Values that a node's label may have: one once there is a Node, perhaps several before.
fn possible_values(node: &Node, key: KeyId) -> &[ValueId] {
    let own = node.requirements.get(key);
    let promised = || {
        let claim = node.claim.as_ref().filter(|_| node.is_unlaunched())?;
        claim.requirements.get(key)
    };
    let requirement = own.or_else(promised).filter(|own| !own.is_complement());
    requirement.map_or(&[], Requirement::values)
}
