//! Instance types as the command line shows them: every figure worked out, in a stable shape.
//!
//! The serialised form is a contract with other programs. Nothing here is specific to this provider's
//! types; any catalogue can be described.

use std::collections::BTreeMap;

use karpenter_api::{
    ResourceList,
    labels::{CAPACITY_TYPE, ZONE},
};
use karpenter_plan::{InstanceType, Offering};
use serde::Serialize;

use crate::instance_type::{allocatable, allowed, total_overhead, values};

/// An instance type with everything that follows from it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TypeDescription {
    /// The name.
    pub name: String,
    /// The labels of its nodes. Zone and capacity type are left to the offerings; where machines of
    /// the type can have one of several values, they are joined by commas.
    pub labels: BTreeMap<String, String>,
    /// What a machine has.
    pub capacity: ResourceList,
    /// What of it pods cannot use.
    pub overhead: ResourceList,
    /// What is left for pods.
    pub allocatable: ResourceList,
    /// How it can be bought, by zone and capacity type.
    pub offerings: Vec<OfferingDescription>,
}

/// One way to buy a type.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OfferingDescription {
    /// The zone; empty where the offering names none.
    pub zone: String,
    /// `spot`, `on-demand` or `reserved`; empty where the offering names none.
    pub capacity_type: String,
    /// Dollars for one hour.
    pub price_per_hour: f64,
    /// Whether it can be had at present.
    pub available: bool,
}

/// Describes types, in order of name.
pub fn describe(types: &[InstanceType]) -> Vec<TypeDescription> {
    let mut described: Vec<TypeDescription> = types.iter().map(describe_one).collect();
    described.sort_by(|one, other| one.name.cmp(&other.name));
    described
}

/// Whether machines of the type can carry this label. Zones and capacity types count as labels.
pub fn can_carry(instance_type: &InstanceType, key: &str, value: &str) -> bool {
    values(&instance_type.requirements, key)
        .iter()
        .any(|possible| possible == value)
}

fn describe_one(instance_type: &InstanceType) -> TypeDescription {
    let labels = instance_type
        .requirements
        .iter()
        .filter(|one| one.key != ZONE && one.key != CAPACITY_TYPE && !allowed(one).is_empty())
        .map(|one| (one.key.clone(), allowed(one).join(",")))
        .collect();
    let mut offerings: Vec<OfferingDescription> = instance_type
        .offerings
        .iter()
        .map(describe_offering)
        .collect();
    // A stable sort: offerings that agree in both stay in the order of the catalogue.
    offerings.sort_by(|one, other| {
        (&one.zone, &one.capacity_type).cmp(&(&other.zone, &other.capacity_type))
    });
    TypeDescription {
        name: instance_type.name.clone(),
        labels,
        capacity: instance_type.capacity.clone(),
        overhead: total_overhead(&instance_type.overhead),
        allocatable: allocatable(instance_type),
        offerings,
    }
}

fn describe_offering(offering: &Offering) -> OfferingDescription {
    let value = |key: &str| values(&offering.requirements, key).join(",");
    OfferingDescription {
        zone: value(ZONE),
        capacity_type: value(CAPACITY_TYPE),
        price_per_hour: offering.price.dollars(),
        available: offering.available,
    }
}

#[cfg(test)]
mod tests {
    use super::{can_carry, describe};
    use crate::catalog::generated;

    #[test]
    fn the_json_form_is_the_contract() {
        let types = generated();
        let described = describe(&types[..1]);
        let shown = serde_json::to_value(&described).unwrap();
        let mut offerings = Vec::new();
        for zone in ["test-zone-a", "test-zone-b", "test-zone-c", "test-zone-d"] {
            for (capacity_type, price) in [
                ("on-demand", 0.027_147_483_648),
                ("spot", 0.019_003_238_553_6),
            ] {
                offerings.push(serde_json::json!({
                    "zone": zone,
                    "capacityType": capacity_type,
                    "pricePerHour": price,
                    "available": true,
                }));
            }
        }
        let expected = serde_json::json!([{
            "name": "c-1x-amd64-linux",
            "labels": {
                "karpenter.kwok.sh/instance-cpu": "1",
                "karpenter.kwok.sh/instance-family": "c",
                "karpenter.kwok.sh/instance-memory": "2Gi",
                "karpenter.kwok.sh/instance-size": "1",
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/os": "linux",
                "node.kubernetes.io/instance-type": "c-1x-amd64-linux",
            },
            "capacity": {"cpu": "1", "ephemeral-storage": "20Gi", "memory": "2Gi", "pods": "16"},
            "overhead": {"cpu": "100m", "memory": "10Mi"},
            "allocatable":
                {"cpu": "900m", "ephemeral-storage": "20Gi", "memory": "2038Mi", "pods": "16"},
            "offerings": offerings,
        }]);
        assert_eq!(shown, expected);
    }

    #[test]
    fn descriptions_are_in_order_of_name() {
        let names: Vec<String> = describe(&generated())
            .into_iter()
            .map(|one| one.name)
            .collect();
        assert!(names.is_sorted());
        assert_eq!(names.len(), 144);
    }

    #[test]
    fn labels_include_zones_and_capacity_types() {
        let first = &generated()[0];
        for (key, value, expected) in [
            ("kubernetes.io/os", "linux", true),
            ("kubernetes.io/os", "windows", false),
            ("topology.kubernetes.io/zone", "test-zone-d", true),
            ("karpenter.sh/capacity-type", "reserved", false),
            ("example.com/unknown", "", false),
        ] {
            assert_eq!(can_carry(first, key, value), expected, "{key}={value}");
        }
    }
}
