//! NodePools: the template of claims, limits, and rules of disruption.

use alloc::{format, string::String, vec::Vec};

use karpenter_api::{NodePool, conditions};

use super::{Lowering, Problem, name_of, requirement::Entry, span};
use crate::{
    pool::{NodeClassReference, Pool, consolidation_policy, disruption_faults},
    requirement::{Requirement, Requirements},
};

/// The version of the drift hash that claims are stamped with.
const HASH_VERSION: &str = "v3";

impl Lowering {
    /// A NodePool.
    pub fn pool(&mut self, pool: &NodePool) -> Result<Pool, Problem> {
        let meta = &pool.metadata;
        let name = name_of(meta);
        let problem = |message| Problem {
            kind: "NodePool",
            namespace: None,
            name: name.into(),
            pool: None,
            message,
        };
        let template = &pool.spec.template;
        let class = &template.spec.node_class_ref;
        let mut labels = template
            .metadata
            .as_ref()
            .and_then(|meta| meta.labels.clone())
            .unwrap_or_default();
        labels.insert("karpenter.sh/nodepool".into(), name.into());
        labels.insert(
            format!("{}/{}", class.group, class.kind.to_ascii_lowercase()),
            class.name.clone(),
        );
        let mut requirements = Requirements::new();
        for entry in &template.spec.requirements {
            let requirement = self.requirement(entry.into()).map_err(problem)?;
            requirements.add(requirement, &self.vocabulary);
        }
        for (key, value) in &labels {
            let values = core::slice::from_ref(value);
            let entry = Entry {
                key,
                operator: "In",
                values,
                min_values: None,
            };
            let requirement: Requirement = self.requirement(entry).map_err(problem)?;
            requirements.add(requirement, &self.vocabulary);
        }
        let hash: String = karpenter_api::hash::nodepool_hash(pool);
        let mut annotations = template
            .metadata
            .as_ref()
            .and_then(|meta| meta.annotations.clone())
            .unwrap_or_default();
        annotations.insert("karpenter.sh/nodepool-hash".into(), hash.clone());
        annotations.insert(
            "karpenter.sh/nodepool-hash-version".into(),
            HASH_VERSION.into(),
        );
        let conditions: &[_] = pool
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_deref())
            .unwrap_or_default();
        let disruption = pool.spec.disruption.as_ref();
        Ok(Pool {
            name: self.string(name),
            uid: meta.uid.as_deref().unwrap_or_default().into(),
            labels: self.labels(Some(&labels)),
            annotations: self.labels(Some(&annotations)),
            requirements,
            taints: self.taints(template.spec.taints.as_ref()),
            startup_taints: self.taints(template.spec.startup_taints.as_ref()),
            supported: self
                .node_classes
                .iter()
                .any(|(group, kind)| *group == class.group && *kind == class.kind),
            node_class: NodeClassReference {
                group: self.string(&class.group),
                kind: self.string(&class.kind),
                name: self.string(&class.name),
            },
            weight: pool.spec.weight.unwrap_or(0),
            limits: self.capacity(pool.spec.limits.as_ref()),
            consolidate_after: match disruption.and_then(|rules| rules.consolidate_after.as_ref()) {
                // The API's default.
                None => Some(jiff::SignedDuration::ZERO),
                Some(after) => after.duration().map(span),
            },
            // Where it cannot be read none of its nodes is disrupted, whatever stands here.
            policy: consolidation_policy(disruption).unwrap_or_default(),
            disruption_faults: disruption_faults(disruption),
            budgets: disruption
                .and_then(|rules| rules.budgets.clone())
                .unwrap_or_else(default_budgets),
            hash: hash.as_str().into(),
            ready: conditions::is_true(conditions, conditions::READY),
            registration_healthy: conditions::is_true(
                conditions,
                conditions::NODE_REGISTRATION_HEALTHY,
            ),
            replicas: pool.spec.replicas,
            deleting: meta.deletion_timestamp.is_some(),
            expire_after: template.spec.expire_after.clone(),
            termination_grace_period: template.spec.termination_grace_period,
        })
    }
}

/// The API's default, for objects that did not pass through it.
fn default_budgets() -> Vec<karpenter_api::Budget> {
    [karpenter_api::Budget {
        nodes: "10%".into(),
        ..Default::default()
    }]
    .into()
}
