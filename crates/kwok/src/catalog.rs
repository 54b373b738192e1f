//! The generated catalogue: 144 invented types, so that a first try needs no file.
//!
//! Three families (2, 4 and 8 GiB a core), twelve sizes, two architectures and two operating systems,
//! each as spot and on demand in four zones. Prices follow from the size alone, in exact units.

use karpenter_api::{
    Quantity, ResourceList,
    labels::{AMD64, ARM64, CAPACITY_TYPE, LINUX, ON_DEMAND, SPOT, WINDOWS, ZONE},
};
use karpenter_plan::{InstanceType, Offering, Price};

use crate::instance_type::{CPU, EPHEMERAL_STORAGE, Facts, MEMORY, PODS, any_of, assemble};

/// Cores of the sizes.
const CORES: [i64; 12] = [1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256];
/// Families with their GiB of memory per core.
const FAMILIES: [(&str, i64); 3] = [("c", 2), ("s", 4), ("m", 8)];
/// Zones in which everything is offered.
pub(crate) const ZONES: [&str; 4] = ["test-zone-a", "test-zone-b", "test-zone-c", "test-zone-d"];

const GIBIBYTE: i64 = 1 << 30;

/// Price units (1e-13 dollars) of an hour of one core: 0.025 dollars.
const CORE_HOUR: i64 = 250_000_000_000;
/// Price units of an hour of one byte of memory: 0.001 dollars per 1e9 bytes.
const BYTE_HOUR: i64 = 10;

/// All 144 types.
pub fn generated() -> Vec<InstanceType> {
    let mut types = Vec::new();
    for cores in CORES {
        for (family, gibibytes_per_core) in FAMILIES {
            for architecture in [AMD64, ARM64] {
                for system in [LINUX, WINDOWS] {
                    types.push(assemble(Facts {
                        name: format!("{family}-{cores}x-{architecture}-{system}"),
                        architecture: architecture.to_owned(),
                        operating_systems: vec![system.to_owned()],
                        capacity: capacity(cores, cores * gibibytes_per_core),
                        offerings: offerings(cores, cores * gibibytes_per_core),
                    }));
                }
            }
        }
    }
    types
}

fn capacity(cores: i64, gibibytes: i64) -> ResourceList {
    [
        (CPU.to_owned(), Quantity::from_integer(cores)),
        (
            MEMORY.to_owned(),
            Quantity::from_bytes(gibibytes * GIBIBYTE),
        ),
        (
            PODS.to_owned(),
            Quantity::from_integer((16 * cores).min(1024)),
        ),
        (
            EPHEMERAL_STORAGE.to_owned(),
            Quantity::from_bytes(20 * GIBIBYTE),
        ),
    ]
    .into()
}

fn offerings(cores: i64, gibibytes: i64) -> Vec<Offering> {
    let on_demand = cores * CORE_HOUR + gibibytes * GIBIBYTE * BYTE_HOUR;
    // Seven tenths without a remainder, since both summands are multiples of ten.
    let prices = [(SPOT, on_demand / 10 * 7), (ON_DEMAND, on_demand)];
    let of_zone = |zone: &'static str| {
        prices.map(|(capacity_type, price)| Offering {
            requirements: vec![
                any_of(CAPACITY_TYPE, [capacity_type.to_owned()]),
                any_of(ZONE, [zone.to_owned()]),
            ],
            price: Price(price),
            available: true,
            ..Offering::default()
        })
    };
    ZONES.into_iter().flat_map(of_zone).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::generated;
    use crate::describe::describe;

    #[test]
    fn there_are_144_distinct_types() {
        let types = generated();
        let names: BTreeSet<&str> = types.iter().map(|one| one.name.as_str()).collect();
        assert_eq!((types.len(), names.len()), (144, 144));
        for name in [
            "c-1x-amd64-linux",
            "m-256x-arm64-windows",
            "s-48x-arm64-linux",
        ] {
            assert!(names.contains(name), "{name}");
        }
        assert!(types.iter().all(|one| one.offerings.len() == 8));
    }

    /// Name; memory, pods; price units on demand and spot; allocatable cpu and memory; size, family.
    type Row = (
        &'static str,
        [&'static str; 2],
        [i64; 2],
        [&'static str; 2],
        [&'static str; 2],
    );

    #[test]
    fn sizes_and_prices_are_exact() {
        let rows: [Row; 4] = [
            (
                "c-1x-amd64-linux",
                ["2Gi", "16"],
                // 0.025 + 0.001 × 2.147483648
                [271_474_836_480, 190_032_385_536],
                ["900m", "2038Mi"],
                ["1", "c"],
            ),
            (
                "s-2x-arm64-windows",
                ["8Gi", "32"],
                // 0.05 + 0.001 × 8.589934592
                [585_899_345_920, 410_129_542_144],
                ["1900m", "8182Mi"],
                ["2", "s"],
            ),
            (
                "m-48x-amd64-linux",
                ["384Gi", "768"],
                // 1.2 + 0.001 × 412.316860416
                [16_123_168_604_160, 11_286_218_022_912],
                ["47900m", "393206Mi"],
                ["48", "m"],
            ),
            (
                "m-256x-arm64-linux",
                ["2Ti", "1024"],
                // 6.4 + 0.001 × 2199.023255552
                [85_990_232_555_520, 60_193_162_788_864],
                ["255900m", "2097142Mi"],
                ["256", "m"],
            ),
        ];
        let types = generated();
        let described = describe(&types);
        for (name, capacity, prices, allocatable, labels) in rows {
            let raw = types.iter().find(|one| one.name == name).unwrap();
            let shown = described.iter().find(|one| one.name == name).unwrap();
            let text = |list: &karpenter_api::ResourceList, key: &str| list[key].to_string();
            assert_eq!(
                [
                    text(&shown.capacity, "memory"),
                    text(&shown.capacity, "pods")
                ],
                capacity
            );
            assert_eq!(text(&shown.capacity, "ephemeral-storage"), "20Gi");
            assert_eq!(
                [
                    text(&shown.allocatable, "cpu"),
                    text(&shown.allocatable, "memory")
                ],
                allocatable,
                "{name}"
            );
            assert_eq!(
                [
                    text(&shown.overhead, "cpu"),
                    text(&shown.overhead, "memory")
                ],
                ["100m", "10Mi"]
            );
            assert_eq!(shown.labels["karpenter.kwok.sh/instance-size"], labels[0]);
            assert_eq!(shown.labels["karpenter.kwok.sh/instance-family"], labels[1]);
            assert_eq!(
                shown.labels["karpenter.kwok.sh/instance-memory"],
                capacity[0]
            );
            for offering in &raw.offerings {
                let spot = offering.requirements[0].values.as_deref() == Some(&["spot".to_owned()]);
                assert_eq!(offering.price.0, prices[usize::from(spot)], "{name}");
            }
        }
    }
}
