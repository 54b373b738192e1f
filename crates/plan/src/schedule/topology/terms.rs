//! Groups of affinity and anti-affinity terms.

use alloc::rc::Rc;

use super::{GroupId, Identity, Rule, Topology};
use crate::{pod::Pod, topology::AffinityTerm};

impl Topology<'_> {
    /// Groups through which a pod keeps others away.
    pub(super) fn inverse_of(&mut self, pod: &Pod) -> Rc<[GroupId]> {
        let key = (pod.shape_id, pod.namespace.clone());
        if let Some(known) = self.inverse.get(&key) {
            return known.clone();
        }
        let terms = &pod.shape.topology.anti_affinity;
        let groups: Rc<[GroupId]> = terms
            .iter()
            .map(|term| self.term(pod, term, Rule::Inverse))
            .collect();
        self.inverse.insert(key, groups.clone());
        groups
    }

    /// A required affinity term. To the kube-scheduler only pods count that all required terms of a pod
    /// select.
    pub(super) fn joined_term(&mut self, pod: &Pod, term: &AffinityTerm) -> GroupId {
        let mut identity = self.identity_of(pod, term, Rule::Affinity);
        for other in &pod.shape.topology.affinity {
            let other = self.identity_of(pod, other, Rule::Affinity);
            identity.selector = identity.selector.and(&other.selector);
            identity.namespaces = match (identity.namespaces, other.namespaces) {
                (Some(own), Some(others)) => Some(
                    own.into_iter()
                        .filter(|name| others.contains(name))
                        .collect(),
                ),
                (own, others) => own.or(others),
            };
        }
        self.group(identity)
    }

    pub(super) fn term(&mut self, pod: &Pod, term: &AffinityTerm, rule: Rule) -> GroupId {
        let identity = self.identity_of(pod, term, rule);
        self.group(identity)
    }

    fn identity_of(&mut self, pod: &Pod, term: &AffinityTerm, rule: Rule) -> Identity {
        let tolerations = (rule != Rule::Inverse).then_some(&*pod.shape.tolerations);
        let seeds = self.seeds(term.key, tolerations);
        Identity {
            rule,
            key: term.key,
            namespaces: term
                .namespaces
                .resolve(&pod.namespace, &self.snapshot.namespaces),
            selector: term.selector.clone(),
            max_skew: 0,
            filter: None,
            seeds,
        }
    }
}
