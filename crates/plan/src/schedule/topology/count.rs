//! Counting pods where they are and where they are put.

use alloc::rc::Rc;

use fixedbitset::FixedBitSet;
use rustc_hash::FxHashMap;

use super::{Domains, GroupId, Rule, Site, Topology, possible_values};
use crate::{
    pod::Pod,
    requirement::{Requirement, Requirements},
    schedule::set::{SetId, Sets},
    taint::Taint,
    vocabulary::{NodeId, SubjectId},
};

impl Topology<'_> {
    /// Terms of pods that are somewhere and do not want others near them.
    pub(super) fn count_objections(&mut self, in_batch: &FixedBitSet) {
        let snapshot = self.snapshot;
        for &(id, node) in &snapshot.anti_affine {
            if !in_batch.contains(id.0 as usize) {
                for &group in &*self.inverse_of(&snapshot.pods[id]) {
                    self.count_on_node(group, node);
                }
            }
        }
    }

    /// Pods that are somewhere and do not move (section 5.3). Pods that a claim was made for count where
    /// they will be.
    pub(super) fn count_pods(&mut self, in_batch: &FixedBitSet) {
        let snapshot = self.snapshot;
        let mut listed: FxHashMap<SubjectId, Rc<[GroupId]>> = FxHashMap::default();
        for (node, place) in snapshot.places.iter() {
            for &id in place.pods.iter().chain(&place.prebound) {
                let pod = &*snapshot.pods[id];
                if pod.is_terminating() || in_batch.contains(id.0 as usize) {
                    continue;
                }
                let groups = listed
                    .entry(pod.subject_id)
                    .or_insert_with(|| self.listing(pod))
                    .clone();
                for &group in &*groups {
                    self.count_on_node(group, node);
                }
            }
        }
    }

    /// Groups that count a pod that is already somewhere.
    fn listing(&self, pod: &Pod) -> Rc<[GroupId]> {
        (0..self.groups.len())
            .map(GroupId)
            .filter(|id| {
                let group = &self.groups[id.0];
                group.identity.rule != Rule::Inverse && group.lists(&pod.namespace, &pod.labels)
            })
            .collect()
    }

    fn count_on_node(&mut self, id: GroupId, node: NodeId) {
        let identity = self.groups[id.0].identity.clone();
        let counts = identity
            .filter
            .is_none_or(|filter| self.filters[filter.0].1.contains(node.0 as usize));
        if !counts {
            return;
        }
        let host = self.hosts_of_nodes[node];
        let group = &mut self.groups[id.0];
        match &mut group.domains {
            Domains::Hosts(hosts) => hosts.record(host, identity.max_skew),
            Domains::Values(values) => {
                let possible = possible_values(&self.snapshot.nodes[node], identity.key);
                let is_settled = possible.len() == 1;
                let all = matches!(identity.rule, Rule::AntiAffinity | Rule::Inverse);
                if is_settled || all {
                    values.record_all(possible);
                } else if let (Rule::Affinity, Some(host), true) = (
                    identity.rule,
                    host,
                    self.snapshot.nodes[node].is_unlaunched(),
                ) {
                    values.leave_open(host);
                }
            }
        }
        group.version += 1;
    }

    /// Counts a pod where it was put (section 5.9).
    pub(in crate::schedule) fn record(&mut self, pod: &Pod, sets: &Sets<'_>, site: Site<'_>) {
        if self.groups.is_empty() {
            return;
        }
        let selecting = self.selecting(pod);
        let inverse = if pod.shape.topology.anti_affinity.is_empty() {
            Rc::default()
        } else {
            self.inverse_of(pod)
        };
        for &id in selecting.counting.iter().chain(&*inverse) {
            match site {
                Site::Node(node) => self.count_on_node(id, node),
                Site::Claim {
                    host,
                    set,
                    template,
                    taints,
                } => {
                    if self.filter_accepts(id, sets, set, template, taints) {
                        self.count_on_claim(id, host, sets.get(set));
                    }
                }
            }
        }
    }

    fn filter_accepts(
        &mut self,
        id: GroupId,
        sets: &Sets<'_>,
        set: SetId,
        template: usize,
        taints: &[Taint],
    ) -> bool {
        let Some(filter) = self.groups[id.0].identity.filter else {
            return true;
        };
        let (filters, snapshot) = (&self.filters, self.snapshot);
        *self
            .filtered_sets
            .entry((filter, set, template))
            .or_insert_with(|| filters[filter.0].0.accepts(sets.get(set), taints, snapshot))
    }

    fn count_on_claim(&mut self, id: GroupId, host: usize, set: &Requirements) {
        let group = &mut self.groups[id.0];
        let identity = &group.identity;
        match &mut group.domains {
            Domains::Hosts(hosts) => hosts.record(Some(host), identity.max_skew),
            Domains::Values(values) => {
                let requirement = set.get(identity.key).filter(|own| !own.is_complement());
                let possible = requirement.map_or(&[][..], Requirement::values);
                let all = matches!(identity.rule, Rule::AntiAffinity | Rule::Inverse);
                if possible.len() == 1 || all {
                    values.record_all(possible);
                } else if identity.rule == Rule::Affinity {
                    values.leave_open(host);
                } else {
                    return;
                }
            }
        }
        group.version += 1;
    }
}
