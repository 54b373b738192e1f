//! Instance types.

use karpenter_plan::{InstanceType, Offering, Overhead, Price};
use serde_json::{Value, json};

/// The label that names a reservation.
pub(super) const RESERVATION: &str = "example.com/reservation";

/// An instance type in zones `a` and `b`, spot at half the price in `a`.
pub(crate) fn instance_type(name: &str, cpu: u32, memory_gib: u32, price: f64) -> InstanceType {
    let offers = [
        ("a", "on-demand", price),
        ("b", "on-demand", price),
        ("a", "spot", price / 2.0),
    ];
    offered(name, cpu, memory_gib, &offers)
}

/// An instance type that can be bought in these zones, as these capacity types, at these prices.
pub(crate) fn offered(
    name: &str,
    cpu: u32,
    memory_gib: u32,
    offers: &[(&str, &str, f64)],
) -> InstanceType {
    let requirement = |key: &str, values: &[&str]| karpenter_api::Requirement {
        key: key.into(),
        operator: "In".into(),
        values: Some(values.iter().map(ToString::to_string).collect()),
        min_values: None,
    };
    let reservation = |zone: &str| format!("{name}-{zone}");
    let offering = |&(zone, capacity_type, price): &(&str, &str, f64)| Offering {
        requirements: vec![
            requirement("topology.kubernetes.io/zone", &[zone]),
            requirement("karpenter.sh/capacity-type", &[capacity_type]),
        ]
        .into_iter()
        .chain(
            (capacity_type == "reserved").then(|| requirement(RESERVATION, &[&reservation(zone)])),
        )
        .collect(),
        price: Price::from_dollars(price),
        available: true,
        reservation_capacity: i64::from(capacity_type == "reserved"),
        ..Offering::default()
    };
    let amounts = |pairs: &[(&str, String)]| {
        pairs
            .iter()
            .map(|(name, amount)| (name.to_string(), amount.parse().unwrap()))
            .collect()
    };
    let overhead = Overhead {
        kube_reserved: amounts(&[("cpu", "100m".into()), ("memory", "100Mi".into())]),
        ..Overhead::default()
    };
    let zones: Vec<&str> = offers.iter().map(|(zone, ..)| *zone).collect();
    let capacity_types: Vec<&str> = offers.iter().map(|(_, own, _)| *own).collect();
    let reserved = offers.iter().filter(|(_, own, _)| *own == "reserved");
    let reservations: Vec<String> = reserved.map(|(zone, ..)| reservation(zone)).collect();
    let reservations: Vec<&str> = reservations.iter().map(String::as_str).collect();
    InstanceType {
        name: name.into(),
        requirements: vec![
            requirement("node.kubernetes.io/instance-type", &[name]),
            requirement("kubernetes.io/arch", &["amd64"]),
            requirement("kubernetes.io/os", &["linux"]),
            requirement("topology.kubernetes.io/zone", &zones),
            requirement("karpenter.sh/capacity-type", &capacity_types),
        ]
        .into_iter()
        .chain((!reservations.is_empty()).then(|| requirement(RESERVATION, &reservations)))
        .collect(),
        capacity: amounts(&[
            ("cpu", cpu.to_string()),
            ("memory", format!("{memory_gib}Gi")),
            ("pods", "20".into()),
        ]),
        overhead,
        offerings: offers.iter().map(offering).collect(),
        ..InstanceType::default()
    }
}

/// What a node of some type has.
pub(super) struct Machine {
    pub(super) capacity: Value,
    pub(super) allocatable: Value,
}

/// A machine of the type of that name, or of one like `small` when there is none.
pub(super) fn machine(types: &[InstanceType], name: &str) -> Machine {
    let unknown = || instance_type(name, 4, 16, 0.0);
    let own = types.iter().find(|own| own.name == name);
    let own = own.cloned().unwrap_or_else(unknown);
    let mut allocatable = own.capacity.clone();
    for (resource, amount) in &own.overhead.kube_reserved {
        *allocatable.get_mut(resource).unwrap() -= *amount;
    }
    Machine {
        capacity: json!(own.capacity),
        allocatable: json!(allocatable),
    }
}
