//! Topology spread, pod affinity and pod anti-affinity.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};
use core::cmp::Reverse;

use karpenter_api::objects::{
    self,
    pod::{PodAffinity, PodAffinityTerm, TopologySpreadConstraint},
};

use super::Lowering;
use crate::{
    requirement::Operator,
    selector::{Selector, SelectorTerm},
    topology::{AffinityTerm, Namespaces, Spread, Topology},
};

/// Labels of the pod that states a rule.
pub(super) type PodLabels<'a> = Option<&'a BTreeMap<String, String>>;

impl Lowering {
    /// The rules of a pod, and what in them has no meaning.
    pub(super) fn topology(
        &mut self,
        spec: &objects::PodSpec,
        labels: PodLabels<'_>,
        faults: &mut Vec<String>,
    ) -> Topology {
        let spreads = spec
            .topology_spread_constraints
            .iter()
            .filter_map(|spread| {
                self.spread(spread, labels)
                    .map_err(|fault| faults.push(fault))
                    .ok()
            })
            .collect();
        let affinity = spec.affinity.as_deref();
        let together = affinity.and_then(|all| all.pod_affinity.as_ref());
        let apart = affinity.and_then(|all| all.pod_anti_affinity.as_ref());
        Topology {
            spreads,
            affinity: self.required(together, faults),
            anti_affinity: self.required(apart, faults),
            preferred_affinity: self.preferred(together),
            preferred_anti_affinity: self.preferred(apart),
        }
    }

    /// Spreads that the operator configured for pods without any.
    pub fn default_spreads(&mut self, constraints: &[TopologySpreadConstraint]) -> Vec<Spread> {
        constraints
            .iter()
            .filter_map(|constraint| self.spread(constraint, None).ok())
            .collect()
    }

    fn spread(
        &mut self,
        spread: &TopologySpreadConstraint,
        labels: PodLabels<'_>,
    ) -> Result<Spread, String> {
        let TopologySpreadConstraint {
            max_skew,
            topology_key,
            when_unsatisfiable,
            label_selector,
            min_domains,
            node_affinity_policy,
            node_taints_policy,
            match_label_keys,
        } = spread;
        let place = |message: String| format!("topology spread over {topology_key}: {message}");
        let mut selector = self.selector(label_selector.as_ref()).map_err(place)?;
        if let Some(terms) = &mut selector.terms {
            for key in match_label_keys {
                if let Some(value) = labels.and_then(|labels| labels.get(key)) {
                    terms.push(SelectorTerm {
                        key: self.string(key),
                        operator: Operator::In,
                        values: [self.string(value)].into(),
                    });
                }
            }
        }
        Ok(Spread {
            key: self.key(topology_key),
            max_skew: i64::from(*max_skew),
            min_domains: min_domains.and_then(|count| u32::try_from(count).ok()),
            is_hard: when_unsatisfiable != "ScheduleAnyway",
            selector: selector.sorted(),
            honors_affinity: node_affinity_policy.as_deref() != Some("Ignore"),
            honors_taints: node_taints_policy.as_deref() == Some("Honor"),
        })
    }

    fn required(
        &mut self,
        affinity: Option<&PodAffinity>,
        faults: &mut Vec<String>,
    ) -> Vec<AffinityTerm> {
        affinity
            .into_iter()
            .flat_map(|affinity| &affinity.required)
            .filter_map(|term| {
                self.affinity_term(term)
                    .map_err(|fault| faults.push(fault))
                    .ok()
            })
            .collect()
    }

    /// Preferences, the heaviest first. What has no meaning can never be met and is left out.
    fn preferred(&mut self, affinity: Option<&PodAffinity>) -> Vec<AffinityTerm> {
        let mut weighted: Vec<_> = affinity
            .into_iter()
            .flat_map(|affinity| &affinity.preferred)
            .collect();
        weighted.sort_by_key(|term| Reverse(term.weight));
        weighted
            .into_iter()
            .filter_map(|term| self.affinity_term(&term.pod_affinity_term).ok())
            .collect()
    }

    fn affinity_term(&mut self, term: &PodAffinityTerm) -> Result<AffinityTerm, String> {
        let PodAffinityTerm {
            topology_key,
            label_selector,
            namespaces,
            namespace_selector,
            ..
        } = term;
        let place = |message: String| format!("pod affinity over {topology_key}: {message}");
        let selector = self.selector(label_selector.as_ref()).map_err(place)?;
        let mut listed: Vec<_> = namespaces.iter().map(|name| self.string(name)).collect();
        listed.sort();
        listed.dedup();
        let namespaces = match namespace_selector {
            None if listed.is_empty() => Namespaces::Own,
            None => Namespaces::Listed(listed),
            Some(selector) => {
                let selector = self.selector(Some(selector)).map_err(place)?.sorted();
                if selector
                    == (Selector {
                        terms: Some(Vec::new()),
                    })
                {
                    Namespaces::All
                } else {
                    Namespaces::Selected(selector, listed)
                }
            }
        };
        Ok(AffinityTerm {
            key: self.key(topology_key),
            selector: selector.sorted(),
            namespaces,
        })
    }
}
