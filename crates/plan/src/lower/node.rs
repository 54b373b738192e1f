//! Nodes and claims: which of the two objects speaks, and what a pod must tolerate.

use alloc::{collections::BTreeMap, string::String, sync::Arc, vec::Vec};

use karpenter_api::{Condition, NodeClaim, Taint, labels::annotations, objects};

use super::{Lowering, NodeInput, Problem, created, deletion, name_of, span};
use crate::{
    disrupt::lasting,
    node::{self, ClaimFacts, Node, NodeFacts},
    requirement::{Requirement, Requirements},
    vocabulary::KeyId,
};

const REGISTERED: &str = "karpenter.sh/registered";
const INITIALIZED: &str = "karpenter.sh/initialized";
const NODEPOOL: &str = "karpenter.sh/nodepool";
const HOSTNAME: &str = "kubernetes.io/hostname";
const INSTANCE_TYPE: &str = "node.kubernetes.io/instance-type";

/// Taints by key and effect that every node starts with and that go by themselves.
const EPHEMERAL_TAINTS: [(&str, &str); 5] = [
    ("node.kubernetes.io/not-ready", "NoSchedule"),
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoSchedule"),
    (
        "node.cloudprovider.kubernetes.io/uninitialized",
        "NoSchedule",
    ),
    ("karpenter.sh/unregistered", "NoExecute"),
];
/// Taints with such keys go by themselves too.
const EPHEMERAL_PREFIX: &str = "readiness.k8s.io/";

/// True for a Node of ours that is not yet far enough to count: it has no provider id, or neither an
/// instance type nor the mark of initialisation. Until then its claim stands for it.
pub fn is_premature(node: &objects::Node) -> bool {
    let has = |key: &str| {
        node.metadata
            .labels
            .as_ref()
            .is_some_and(|all| all.contains_key(key))
    };
    let provider_id = node.spec.provider_id.as_deref().unwrap_or_default();
    has(NODEPOOL) && (provider_id.is_empty() || !(has(INSTANCE_TYPE) || has(INITIALIZED)))
}

impl Lowering {
    /// A node, a claim, or both.
    pub fn node(&mut self, input: &NodeInput<'_>) -> Result<Node, Problem> {
        let NodeInput {
            node,
            claim,
            marked,
            nominated_until,
            prebound,
        } = input;
        let (node, claim) = (*node, *claim);
        let says = |key: &str| {
            node.and_then(|node| node.metadata.labels.as_ref()?.get(key))
                .is_some_and(|value| value == "true")
        };
        let registered = claim.is_none() || says(REGISTERED);
        let initialized = claim.is_none() || says(INITIALIZED);
        // Until the Node is registered its labels, annotations and taints are those of its claim.
        let (meta, speaks) = match (node, claim) {
            (Some(node), _) if registered => (&node.metadata, Speaker::Node(node)),
            (_, Some(claim)) => (&claim.metadata, Speaker::Claim(claim)),
            (Some(node), None) => (&node.metadata, Speaker::Node(node)),
            (None, None) => return Err(nothing()),
        };
        let facts = claim.map(|claim| self.claim_facts(claim)).transpose()?;
        let mut labels: BTreeMap<String, String> = meta.labels.clone().unwrap_or_default();
        if let Some(facts) = facts
            .as_ref()
            .filter(|facts| !facts.launched && node.is_none())
        {
            for requirement in &facts.requirements {
                if let Some(value) = requirement.single_value() {
                    labels.insert(
                        String::from(&**self.vocabulary.key_name(requirement.key())),
                        String::from(&**self.vocabulary.value_text(value)),
                    );
                }
            }
        }
        let name = self.string(name_of(meta));
        let mut requirements = Requirements::new();
        let host_name = labels.get(HOSTNAME).map_or(&*name, String::as_str);
        let host_name = self.value(host_name);
        for (key, value) in &labels {
            let requirement = Requirement::any_of(self.key(key), [self.value(value)]);
            requirements.add(requirement, &self.vocabulary);
        }
        requirements.replace(Requirement::any_of(KeyId::HOSTNAME, [host_name]));
        requirements.shrink();
        let taints = match speaks {
            Speaker::Node(node) => Some(&node.spec.taints),
            Speaker::Claim(claim) => claim.spec.taints.as_ref(),
        };
        let startup_taints: &[Taint] = claim
            .and_then(|claim| claim.spec.startup_taints.as_deref())
            .unwrap_or_default();
        let passing = |taint: &Taint| {
            !initialized
                && (is_ephemeral(taint) || startup_taints.iter().any(|own| own.matches(taint)))
        };
        let taints: Vec<_> = taints
            .into_iter()
            .flatten()
            .filter(|taint| !passing(taint))
            .map(|taint| self.taint(taint))
            .collect();
        let (capacity, allocatable) = self.amounts(node, claim, initialized);
        let provider_id = node
            .and_then(|node| node.spec.provider_id.as_deref())
            .filter(|id| !id.is_empty())
            .or_else(|| claim?.status.as_ref()?.provider_id.as_deref())
            .filter(|id| !id.is_empty());
        let marked = *marked
            || match &facts {
                Some(facts) => facts.deletion.is_some() || facts.instance_terminating,
                None => node.is_some_and(|node| node.metadata.deletion_timestamp.is_some()),
            };
        let annotations: BTreeMap<String, String> = meta
            .annotations
            .iter()
            .flatten()
            .filter(|(key, _)| {
                key.split_once('/')
                    .is_some_and(|(domain, _)| is_ours(domain))
            })
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let pool = labels.get(NODEPOOL).map(|pool| self.string(pool));
        Ok(Node {
            node: node.map(node_facts),
            provider_id: provider_id.map(Arc::from),
            pool,
            labels: self.labels(Some(&labels)),
            annotations: self.labels(Some(&annotations)),
            requirements,
            taints,
            registered,
            initialized,
            marked,
            nominated_until: *nominated_until,
            capacity,
            allocatable,
            prebound: prebound.clone(),
            claim: facts,
            name,
        })
    }

    fn claim_facts(&mut self, claim: &NodeClaim) -> Result<ClaimFacts, Problem> {
        let meta = &claim.metadata;
        let status = claim.status.as_ref();
        let conditions = status
            .and_then(|status| status.conditions.as_deref())
            .unwrap_or_default();
        let condition = |type_: &str| {
            conditions
                .iter()
                .find(|found| found.type_ == type_ && found.is_true())
                .map(lower)
        };
        let mut requirements = Requirements::new();
        for entry in &claim.spec.requirements {
            match self.requirement(entry.into()) {
                Ok(requirement) => requirements.add(requirement, &self.vocabulary),
                Err(message) => {
                    let pool = meta.labels.as_ref().and_then(|labels| labels.get(NODEPOOL));
                    return Err(Problem {
                        kind: "NodeClaim",
                        namespace: None,
                        name: name_of(meta).into(),
                        pool: pool.map(|pool| Arc::from(pool.as_str())),
                        message,
                    });
                }
            }
        }
        requirements.shrink();
        Ok(ClaimFacts {
            name: name_of(meta).into(),
            uid: meta.uid.as_deref().unwrap_or_default().into(),
            created: created(meta),
            deletion: deletion(meta),
            launched: status
                .and_then(|status| status.provider_id.as_deref())
                .is_some_and(|id| !id.is_empty()),
            initialized: condition("Initialized"),
            consolidatable: condition("Consolidatable"),
            drifted: condition("Drifted"),
            disruption_reason: condition("DisruptionReason"),
            replacement_failed: conditions
                .iter()
                .find(|found| found.type_ == "DisruptionReason" && found.status == "False")
                .map(|found| found.last_transition_time.0),
            replaced: meta
                .annotations
                .as_ref()
                .and_then(|all| all.get(annotations::REPLACED_TYPES))
                .map(|text| lasting::parse(text))
                .unwrap_or_default(),
            instance_terminating: condition("InstanceTerminating").is_some(),
            last_pod_event: status
                .and_then(|status| status.last_pod_event_time.as_ref())
                .map(|time| time.0),
            expire_after: claim
                .spec
                .expire_after
                .as_ref()
                .and_then(karpenter_api::NillableDuration::duration)
                .map(span),
            termination_grace_period: claim.spec.termination_grace_period.map(span),
            requirements,
        })
    }

    /// The Node's amounts; until it is initialised, what it does not know yet is what was promised.
    fn amounts(
        &mut self,
        node: Option<&objects::Node>,
        claim: Option<&NodeClaim>,
        initialized: bool,
    ) -> (crate::Resources, crate::Resources) {
        let (mut capacity, mut allocatable) = match node {
            Some(node) => (
                self.capacity(node.status.capacity.as_ref()),
                self.capacity(node.status.allocatable.as_ref()),
            ),
            None => Default::default(),
        };
        let promised = claim
            .and_then(|claim| claim.status.as_ref())
            .filter(|_| !initialized);
        if let Some(status) = promised {
            for (own, promised) in [
                (&mut capacity, &status.capacity),
                (&mut allocatable, &status.allocatable),
            ] {
                for (id, amount) in self.capacity(promised.as_ref()).iter() {
                    if own.get(id) == 0 {
                        own.set(id, amount);
                    }
                }
            }
        }
        (capacity, allocatable)
    }
}

enum Speaker<'a> {
    Node(&'a objects::Node),
    Claim(&'a NodeClaim),
}

fn nothing() -> Problem {
    Problem {
        kind: "Node",
        namespace: None,
        name: "".into(),
        pool: None,
        message: "neither a Node nor a NodeClaim is there".into(),
    }
}

fn node_facts(node: &objects::Node) -> NodeFacts {
    let meta = &node.metadata;
    NodeFacts {
        name: name_of(meta).into(),
        uid: meta.uid.as_deref().unwrap_or_default().into(),
        created: created(meta),
        deletion: deletion(meta),
        ready: node.condition("Ready").map(|found| found.status == "True"),
        disrupted_taint: node
            .spec
            .taints
            .iter()
            .any(|taint| taint.key == "karpenter.sh/disrupted" && taint.effect == "NoSchedule"),
    }
}

fn lower(condition: &Condition) -> node::Condition {
    node::Condition {
        since: condition.last_transition_time.0,
        reason: Arc::from(condition.reason.as_str()),
    }
}

fn is_ephemeral(taint: &Taint) -> bool {
    taint.key.starts_with(EPHEMERAL_PREFIX)
        || EPHEMERAL_TAINTS
            .iter()
            .any(|(key, effect)| taint.key == *key && taint.effect == *effect)
}

fn is_ours(domain: &str) -> bool {
    domain == "karpenter.sh" || domain.ends_with(".karpenter.sh")
}
