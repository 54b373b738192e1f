//! The node of a claim, and the instance that a node stands for.
//!
//! With this provider the Node object *is* the machine: what exists is what can be listed. Both
//! directions are pure functions.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1 as core,
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use karpenter_api::{
    Condition, NodeClaim, ResourceList, conditions,
    labels::{CAPACITY_TYPE, HOSTNAME, ZONE, kwok, taints},
    objects::Node,
};
use karpenter_cloud::{Instance, Launched};
use karpenter_plan::Price;

use crate::{
    instance_type::allowed,
    name::{node_name, node_of, partition, provider_id},
    seed::Seed,
    select::{Choice, requests},
};

/// Everything that is decided about a node before it exists.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Blueprint {
    /// The node's name.
    pub(crate) name: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    capacity: ResourceList,
    allocatable: ResourceList,
}

impl Blueprint {
    /// The node of a claim that got this choice.
    pub(crate) fn new(claim: &NodeClaim, choice: &Choice<'_>, identity: &str, seed: Seed) -> Self {
        let claim_name = claim.metadata.name.as_deref().unwrap_or_default();
        let mut annotations = claim.metadata.annotations.clone().unwrap_or_default();
        annotations.insert(kwok::NODE.to_owned(), kwok::FAKE.to_owned());
        let mut labels = labels(claim, choice);
        labels.extend([
            (kwok::NODE.to_owned(), kwok::FAKE.to_owned()),
            (
                kwok::NODE_VIEWER_PRICE.to_owned(),
                six_decimals(choice.offering.price),
            ),
            (
                kwok::PARTITION.to_owned(),
                partition(seed, identity).to_owned(),
            ),
            // The claim's name, not the node's: with this provider the two differ.
            (HOSTNAME.to_owned(), claim_name.to_owned()),
        ]);
        let requests = requests(claim);
        let mut allocatable = requests.clone();
        allocatable.extend(
            choice
                .allocatable
                .iter()
                .map(|(name, amount)| (name.clone(), *amount)),
        );
        Self {
            name: node_name(seed, claim_name, identity),
            labels,
            annotations,
            // Upstream: a fake node's capacity is what was asked for, not what the type has.
            capacity: requests.clone(),
            allocatable,
        }
    }

    /// The node that a launched claim still waits for, if it does: everything about it was written
    /// into the claim when it was launched.
    pub(crate) fn owed(claim: &NodeClaim) -> Option<Self> {
        let status = claim.status.as_ref()?;
        let name = node_of(status.provider_id.as_deref()?)?;
        let stated = status.conditions.as_deref().unwrap_or_default();
        let registered = conditions::get(stated, "Registered");
        if claim.metadata.deletion_timestamp.is_some() || registered.is_some_and(Condition::is_true)
        {
            return None;
        }
        Some(Self {
            name: name.to_owned(),
            labels: claim.metadata.labels.clone().unwrap_or_default(),
            annotations: claim.metadata.annotations.clone().unwrap_or_default(),
            capacity: status.capacity.clone().unwrap_or_default(),
            allocatable: status.allocatable.clone().unwrap_or_default(),
        })
    }

    /// The id that node and claim share.
    pub(crate) fn provider_id(&self) -> String {
        provider_id(&self.name)
    }

    /// What the launch step is told.
    pub(crate) fn launched(&self) -> Launched {
        Launched {
            provider_id: self.provider_id(),
            image_id: String::new(),
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
            capacity: self.capacity.clone(),
            allocatable: self.allocatable.clone(),
        }
    }

    /// The object to create.
    pub(crate) fn node(&self) -> core::Node {
        let taint = taints::unregistered();
        core::Node {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                labels: Some(self.labels.clone()),
                annotations: Some(self.annotations.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(core::NodeSpec {
                provider_id: Some(self.provider_id()),
                taints: Some(vec![core::Taint {
                    key: taint.key,
                    value: taint.value,
                    effect: taint.effect,
                    time_added: None,
                }]),
                ..core::NodeSpec::default()
            }),
            status: Some(core::NodeStatus {
                capacity: Some(printed(&self.capacity)),
                allocatable: Some(printed(&self.allocatable)),
                phase: Some("Pending".to_owned()),
                ..core::NodeStatus::default()
            }),
        }
    }
}

/// The labels that claim, type and offering state; what is more specific wins.
fn labels(claim: &NodeClaim, choice: &Choice<'_>) -> BTreeMap<String, String> {
    let mut labels = claim.metadata.labels.clone().unwrap_or_default();
    for one in &claim.spec.requirements {
        if let [only] = allowed(one) {
            labels.insert(one.key.clone(), only.clone());
        }
    }
    for one in &choice.instance_type.requirements {
        match allowed(one) {
            [only] => _ = labels.insert(one.key.clone(), only.clone()),
            // A machine runs one of the systems its type can run: the first that the claim allows.
            [first, ..] if one.key != ZONE && one.key != CAPACITY_TYPE => {
                let asked = claim
                    .spec
                    .requirements
                    .iter()
                    .find(|asked| asked.key == one.key);
                let asked = asked.map(allowed).unwrap_or_default();
                let agreed = allowed(one).iter().find(|value| asked.contains(value));
                labels
                    .entry(one.key.clone())
                    .or_insert_with(|| agreed.unwrap_or(first).clone());
            }
            _ => {}
        }
    }
    for one in &choice.offering.requirements {
        if let [only] = allowed(one) {
            labels.insert(one.key.clone(), only.clone());
        }
    }
    labels
}

/// Dollars with six decimals, halves up.
fn six_decimals(price: Price) -> String {
    const UNITS_PER_MICRODOLLAR: i64 = 10_000_000;
    let micro = price.0.saturating_add(UNITS_PER_MICRODOLLAR / 2) / UNITS_PER_MICRODOLLAR;
    format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000)
}

fn printed(amounts: &ResourceList) -> BTreeMap<String, Quantity> {
    amounts
        .iter()
        .map(|(name, amount)| (name.clone(), Quantity(amount.to_string())))
        .collect()
}

/// The instance that a node stands for; nothing if the node is not one of ours, or on its way out.
pub(crate) fn instance(node: &Node) -> Option<Instance> {
    let provider_id = node.spec.provider_id.as_deref()?;
    node_of(provider_id)?;
    if node.metadata.deletion_timestamp.is_some() {
        return None;
    }
    Some(Instance {
        provider_id: provider_id.to_owned(),
        image_id: String::new(),
        labels: node.metadata.labels.clone().unwrap_or_default(),
        annotations: node.metadata.annotations.clone().unwrap_or_default(),
        capacity: node.status.capacity.clone().unwrap_or_default(),
        allocatable: node.status.allocatable.clone().unwrap_or_default(),
        terminating: false,
    })
}

#[cfg(test)]
mod tests {
    use karpenter_plan::Price;

    use super::six_decimals;

    #[test]
    fn prices_have_six_decimals() {
        for (units, expected) in [
            (0, "0.000000"),
            (271_474_836_480, "0.027147"),
            (190_032_385_536, "0.019003"),
            (4_999_999, "0.000000"),
            (5_000_000, "0.000001"),
            (85_990_232_555_520, "8.599023"),
            (i64::MAX, "922337.203685"),
        ] {
            assert_eq!(six_decimals(Price(units)), expected);
        }
    }
}
