//! What a pod wishes, step by step: all its preferences first, then fewer and fewer (section 4.9 of
//! scheduling.md).

use alloc::{format, string::String, vec::Vec};

use crate::{
    pod::Shape,
    requirement::Requirements,
    topology::{AffinityTerm, Spread},
    vocabulary::Vocabulary,
};

/// One step of a pod's ladder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Step {
    /// Index into the preferred sets followed by the alternatives.
    pub(super) rank: u16,
    /// Heaviest preferred pod affinity terms that are dropped.
    together: u16,
    /// Heaviest preferred pod anti-affinity terms that are dropped.
    apart: u16,
    /// Spreads that may be dropped and are.
    spreads: u16,
    /// Spreads do not matter: the pod moves, and nobody knows where its volumes are.
    without_spreads: bool,
    /// Taints that merely ask not to be used are tolerated.
    pub(super) tolerate_preferred: bool,
}

/// Counts are of things that one person wrote into one manifest.
fn narrow(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

impl Step {
    /// The steps of a shape in order.
    pub(super) fn ladder(
        shape: &Shape,
        ignore_preferences: bool,
        prefer_no_schedule: bool,
    ) -> Vec<Self> {
        let topology = &shape.topology;
        let last = shape.alternatives.len() - 1;
        let soft = topology.spreads.iter().filter(|own| !own.is_hard).count();
        let (together, apart) = (
            topology.preferred_affinity.len(),
            topology.preferred_anti_affinity.len(),
        );
        // Steps of the node affinity: for each the alternative and the set, unless it excludes itself.
        let strict = |alternative: usize| narrow(shape.preferred.len() + alternative);
        let nodes: Vec<Option<u16>> = if ignore_preferences || shape.preference_steps.is_empty() {
            (0..=last).map(|at| Some(strict(at))).collect()
        } else {
            let steps = shape.preference_steps.iter().copied();
            steps.chain([Some(strict(last))]).collect()
        };
        let full = Self {
            together: if ignore_preferences {
                narrow(together)
            } else {
                0
            },
            apart: if ignore_preferences { narrow(apart) } else { 0 },
            spreads: if ignore_preferences { narrow(soft) } else { 0 },
            ..Self::default()
        };
        let mut steps = Vec::new();
        let mut step = full;
        let mut push = |step: Self, node: usize| {
            if let Some(rank) = nodes[node] {
                steps.push(Self { rank, ..step });
            }
        };
        for node in 0..=last {
            push(step, node);
        }
        while step.together < narrow(together) {
            step.together += 1;
            push(step, last);
        }
        while step.apart < narrow(apart) {
            step.apart += 1;
            push(step, last);
        }
        for node in last + 1..nodes.len() {
            push(step, node);
        }
        while step.spreads < narrow(soft) {
            step.spreads += 1;
            push(step, nodes.len() - 1);
        }
        if prefer_no_schedule {
            step.tolerate_preferred = true;
            push(step, nodes.len() - 1);
        }
        steps
    }

    /// The same without any spread.
    pub(super) fn without_spreads(self) -> Self {
        Self {
            without_spreads: true,
            ..self
        }
    }

    /// What the step requires of nodes.
    pub(super) fn requirements(self, shape: &Shape) -> &Requirements {
        let rank = usize::from(self.rank);
        match shape.preferred.get(rank) {
            Some(requirements) => requirements,
            None => &shape.alternatives[rank - shape.preferred.len()],
        }
    }

    /// Spreads that are kept in this step. Upstream drops the first that may be dropped and moves the
    /// last into its place.
    pub(super) fn spreads(self, shape: &Shape) -> Vec<&Spread> {
        if self.without_spreads {
            return Vec::new();
        }
        let mut kept: Vec<&Spread> = shape.topology.spreads.iter().collect();
        for _ in 0..self.spreads {
            if let Some(at) = kept.iter().position(|spread| !spread.is_hard) {
                kept.swap_remove(at);
            }
        }
        kept
    }

    /// Preferred affinity terms that are kept in this step.
    pub(super) fn preferred_affinity(self, shape: &Shape) -> &[AffinityTerm] {
        &shape.topology.preferred_affinity[usize::from(self.together)..]
    }

    /// Anti-affinity terms that are kept in this step.
    pub(super) fn anti_affinity(self, shape: &Shape) -> impl Iterator<Item = &AffinityTerm> {
        let preferred = &shape.topology.preferred_anti_affinity[usize::from(self.apart)..];
        shape.topology.anti_affinity.iter().chain(preferred)
    }

    /// Preferences for other pods that the step gives up, as texts.
    pub(crate) fn dropped(self, shape: &Shape, vocabulary: &Vocabulary) -> Vec<String> {
        let topology = &shape.topology;
        let kept = self.spreads(shape);
        let spreads = topology
            .spreads
            .iter()
            .filter(|own| !kept.iter().any(|other| core::ptr::eq(*own, *other)))
            .map(|spread| {
                let key = vocabulary.key_name(spread.key);
                format!("topology spread over {key} (ScheduleAnyway)")
            });
        let together = &topology.preferred_affinity[..usize::from(self.together)];
        let apart = &topology.preferred_anti_affinity[..usize::from(self.apart)];
        let terms = together
            .iter()
            .map(|term| ("affinity", term))
            .chain(apart.iter().map(|term| ("anti-affinity", term)))
            .map(|(kind, term)| {
                let key = vocabulary.key_name(term.key);
                format!("preferred pod {kind} over {key}")
            });
        spreads.chain(terms).collect()
    }
}
