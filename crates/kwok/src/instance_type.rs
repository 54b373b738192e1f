//! One instance type from the few facts that the generated catalogue and a file state about it.
//!
//! Both sources go through [`assemble`], so that labels, overhead and the union of zones are computed
//! in one place. What a type is called decides its family and size labels.

use karpenter_api::{
    Quantity, Requirement, ResourceList,
    labels::{ARCH, CAPACITY_TYPE, INSTANCE_TYPE, OS, ZONE, kwok},
};
use karpenter_plan::{InstanceType, Offering, Overhead};

/// Resource names that a type must state.
pub(crate) const CPU: &str = "cpu";
/// See [`CPU`].
pub(crate) const MEMORY: &str = "memory";
/// How many pods a node may hold.
pub(crate) const PODS: &str = "pods";
/// Local disk.
pub(crate) const EPHEMERAL_STORAGE: &str = "ephemeral-storage";

const MEBIBYTE: i64 = 1 << 20;

/// The facts about a type.
pub(crate) struct Facts {
    /// Its name.
    pub(crate) name: String,
    /// `amd64` or `arm64`.
    pub(crate) architecture: String,
    /// The systems its machines can run.
    pub(crate) operating_systems: Vec<String>,
    /// What its machines have.
    pub(crate) capacity: ResourceList,
    /// How it can be bought.
    pub(crate) offerings: Vec<Offering>,
}

/// The type with its labels and overhead.
pub(crate) fn assemble(facts: Facts) -> InstanceType {
    let amount = |name: &str| facts.capacity.get(name).copied().unwrap_or(Quantity::ZERO);
    let (cpu, memory) = (amount(CPU).to_string(), amount(MEMORY).to_string());
    let requirements = vec![
        any_of(INSTANCE_TYPE, [facts.name.clone()]),
        any_of(ARCH, [facts.architecture]),
        any_of(OS, facts.operating_systems),
        any_of(ZONE, offered(&facts.offerings, ZONE)),
        any_of(CAPACITY_TYPE, offered(&facts.offerings, CAPACITY_TYPE)),
        any_of(
            kwok::INSTANCE_SIZE,
            [size(&facts.name).map_or_else(|| cpu.clone(), str::to_owned)],
        ),
        any_of(kwok::INSTANCE_FAMILY, [family(&facts.name).to_owned()]),
        any_of(kwok::INSTANCE_CPU, [cpu.clone()]),
        any_of(kwok::INSTANCE_MEMORY, [memory]),
    ];
    InstanceType {
        name: facts.name,
        requirements,
        capacity: facts.capacity,
        overhead: overhead(),
        offerings: facts.offerings,
        ..InstanceType::default()
    }
}

/// What every fake machine keeps for Kubernetes' daemons.
fn overhead() -> Overhead {
    let kube_reserved = [
        (CPU.to_owned(), Quantity::from_milli(100)),
        (MEMORY.to_owned(), Quantity::from_bytes(10 * MEBIBYTE)),
    ];
    Overhead {
        kube_reserved: kube_reserved.into(),
        ..Overhead::default()
    }
}

/// A requirement for one of several values.
pub(crate) fn any_of(key: &str, values: impl IntoIterator<Item = String>) -> Requirement {
    Requirement {
        key: key.to_owned(),
        operator: "In".to_owned(),
        values: Some(values.into_iter().collect()),
        min_values: None,
    }
}

/// The values of a requirement if it lists what is allowed; empty for every other operator.
pub(crate) fn allowed(requirement: &Requirement) -> &[String] {
    let listed = requirement.values.as_deref().unwrap_or_default();
    if requirement.operator == "In" {
        listed
    } else {
        &[]
    }
}

/// The values that an offering or type states for a key.
pub(crate) fn values<'a>(requirements: &'a [Requirement], key: &str) -> &'a [String] {
    requirements
        .iter()
        .find(|one| one.key == key)
        .map(allowed)
        .unwrap_or_default()
}

/// The values of a key over all offerings, in order and each once.
fn offered(offerings: &[Offering], key: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for value in offerings
        .iter()
        .flat_map(|offering| values(&offering.requirements, key))
    {
        if !found.contains(value) {
            found.push(value.clone());
        }
    }
    found.sort();
    found
}

/// Everything that machines of a type keep for themselves.
pub(crate) fn total_overhead(overhead: &Overhead) -> ResourceList {
    let parts = [
        &overhead.kube_reserved,
        &overhead.system_reserved,
        &overhead.eviction_threshold,
    ];
    let mut total = ResourceList::new();
    for (name, amount) in parts.into_iter().flatten() {
        *total.entry(name.clone()).or_insert(Quantity::ZERO) += *amount;
    }
    total
}

/// What pods may use of a machine of this type: capacity without overhead, memory also without huge
/// pages.
pub(crate) fn allocatable(instance_type: &InstanceType) -> ResourceList {
    let overhead = total_overhead(&instance_type.overhead);
    let mut left = instance_type.capacity.clone();
    for (name, amount) in &mut left {
        if let Some(kept) = overhead.get(name) {
            *amount -= *kept;
        }
    }
    let huge: Quantity = instance_type
        .capacity
        .iter()
        .filter(|(name, _)| name.starts_with("hugepages-"))
        .map(|(_, amount)| amount)
        .sum();
    if let Some(memory) = left.get_mut(MEMORY).filter(|_| !huge.is_zero()) {
        *memory = (*memory - huge).max(Quantity::ZERO);
    }
    left
}

/// The size in a name of the form `<family>.<size>` with a size in Amazon's vocabulary.
fn size(name: &str) -> Option<&str> {
    let (family, size) = name.split_once('.')?;
    let word = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'_';
    let known = matches!(
        size,
        "nano" | "micro" | "small" | "medium" | "large" | "metal"
    ) || size
        .strip_suffix("xlarge")
        .is_some_and(|count| count.bytes().all(|digit| digit.is_ascii_digit()));
    (!family.is_empty() && family.bytes().all(word) && known).then_some(size)
}

/// The text before the first `.` or `-`, else the first letter.
fn family(name: &str) -> &str {
    match name.find(['.', '-']) {
        Some(end) => &name[..end],
        None => name
            .char_indices()
            .nth(1)
            .map_or(name, |(second, _)| &name[..second]),
    }
}

#[cfg(test)]
mod tests {
    use karpenter_plan::InstanceType;

    use super::{allocatable, family, size};

    #[test]
    fn names_give_size_and_family() {
        let rows = [
            // operations/O58: size and family of `t3.large` and of `foo`
            ("t3.large", Some("large"), "t3"),
            ("foo", None, "f"),
            ("c-2x-amd64-linux", None, "c"),
            ("m5.metal", Some("metal"), "m5"),
            ("m5.24xlarge", Some("24xlarge"), "m5"),
            ("m5.xlarge", Some("xlarge"), "m5"),
            ("m5_x.nano", Some("nano"), "m5_x"),
            ("m5-flex.large", None, "m5"),
            ("m5.large.x", None, "m5"),
            ("m5.huge", None, "m5"),
            ("m5.axlarge", None, "m5"),
            (".large", None, ""),
            ("ünder", None, "ü"),
            ("x", None, "x"),
            ("", None, ""),
        ];
        for (name, expected_size, expected_family) in rows {
            assert_eq!(size(name), expected_size, "size of {name:?}");
            assert_eq!(family(name), expected_family, "family of {name:?}");
        }
    }

    #[test]
    fn huge_pages_come_out_of_memory() {
        let list = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, text)| ((*name).to_owned(), text.parse().unwrap()))
                .collect()
        };
        let rows = [
            (
                &[("memory", "1Gi"), ("hugepages-2Mi", "100Mi")][..],
                "924Mi",
            ),
            (&[("memory", "100Mi"), ("hugepages-2Mi", "1Gi")][..], "0"),
            (&[("memory", "1Gi")][..], "1Gi"),
        ];
        for (capacity, expected) in rows {
            let instance_type = InstanceType {
                capacity: list(capacity),
                ..InstanceType::default()
            };
            assert_eq!(allocatable(&instance_type)["memory"].to_string(), expected);
        }
    }
}
