//! The masks against a naive twin that asks every type and offering one by one.

use alloc::{format, string::ToString, vec, vec::Vec};

use karpenter_api::{Quantity, ResourceList};
use proptest::{collection::vec, prelude::*, sample::select};

use super::{Catalog, CatalogFeed, InstanceType, Offering, Overhead};
use crate::{
    lower::{Lowering, WellKnown},
    price::Price,
    requirement::{Operator, Requirement, Requirements, Undefined},
    resources::{ResourceId, Resources},
    vocabulary::{TypeId, Vocabulary},
};

#[path = "../../../api/src/cases.rs"]
mod cases;

const KEYS: [&str; 4] = [
    "topology.kubernetes.io/zone",
    "karpenter.sh/capacity-type",
    "size",
    "custom",
];
const VALUES: [&str; 5] = ["a", "b", "1", "5", "9"];

fn entry() -> impl Strategy<Value = karpenter_api::Requirement> {
    (
        select(KEYS.to_vec()),
        select(vec![
            "In",
            "NotIn",
            "Exists",
            "DoesNotExist",
            "Gt",
            "Lt",
            "Gte",
            "Lte",
        ]),
        vec(select(VALUES.to_vec()), 1..3),
        0..10i64,
    )
        .prop_map(
            |(key, operator, values, number)| karpenter_api::Requirement {
                key: key.to_string(),
                operator: operator.to_string(),
                values: match operator {
                    "In" | "NotIn" => Some(values.into_iter().map(ToString::to_string).collect()),
                    "Exists" | "DoesNotExist" => None,
                    _ => Some(vec![number.to_string()]),
                },
                min_values: None,
            },
        )
}

fn amounts(cpu: i64, gpu: Option<i64>) -> ResourceList {
    let mut list = ResourceList::new();
    list.insert("cpu".to_string(), Quantity::from_integer(cpu));
    if let Some(gpu) = gpu {
        list.insert("gpu".to_string(), Quantity::from_integer(gpu));
    }
    list
}

fn offering() -> impl Strategy<Value = Offering> {
    (
        vec(entry(), 0..3),
        1..5i64,
        any::<bool>(),
        proptest::option::weighted(0.3, 0..5i64),
    )
        .prop_map(|(requirements, price, available, gpu)| Offering {
            requirements,
            price: Price(price),
            available,
            capacity_override: gpu.map(|gpu| amounts(4, Some(gpu))).unwrap_or_default(),
            ..Offering::default()
        })
}

fn feed() -> impl Strategy<Value = CatalogFeed> {
    let instance_type = (
        vec(entry(), 0..4),
        1..8i64,
        proptest::option::of(0..3i64),
        vec(offering(), 0..4),
        0..3i64,
    );
    vec(instance_type, 1..12).prop_map(|types| CatalogFeed {
        generation: 1,
        types: types
            .into_iter()
            .enumerate()
            .map(
                |(at, (requirements, cpu, gpu, offerings, reserved))| InstanceType {
                    name: format!("t{at:02}"),
                    requirements,
                    capacity: amounts(cpu, gpu),
                    overhead: Overhead {
                        kube_reserved: amounts(reserved, None),
                        ..Overhead::default()
                    },
                    offerings,
                    ..InstanceType::default()
                },
            )
            .collect(),
    })
}

/// What the masks say, type by type, without masks.
fn naive(
    catalog: &Catalog,
    requirements: &Requirements,
    requests: &Resources,
    vocabulary: &Vocabulary,
) -> Vec<TypeId> {
    let buys = |id: TypeId| {
        catalog.types[id].offering_ids().any(|offering| {
            let offering = &catalog.offerings[offering];
            offering.available
                && requests.fits(&offering.allocatable)
                && requirements.compatible(
                    &offering.requirements,
                    Undefined::AllowedIfWellKnown,
                    vocabulary,
                )
        })
    };
    catalog
        .types
        .iter()
        .filter(|(id, own)| requirements.intersects(&own.requirements, vocabulary) && buys(*id))
        .map(|(id, _)| id)
        .collect()
}

proptest! {
    #![proptest_config(cases::cases(500))]

    #[test]
    fn masks_say_what_a_naive_reading_says(
        feed in feed(),
        asked in vec(entry(), 0..4),
        cpu in 0..9i64,
        gpu in proptest::option::of(0..3i64),
    ) {
        let mut lowering = Lowering::new(&WellKnown {
            labels: vec!["size".to_string()],
            ..WellKnown::default()
        });
        let catalog = lowering.catalog(&feed);
        let mut requirements = Requirements::new();
        let mut requests = Resources::new();
        requests.set(ResourceId::CPU, cpu * 1000);
        if let Some((id, gpu)) = lowering.vocabulary().resource("gpu").zip(gpu) {
            requests.set(id, gpu * 1000);
        }
        let mut vocabulary = (**lowering.vocabulary()).clone();
        for entry in asked {
            let key = vocabulary.intern_key(&entry.key);
            let texts = entry.values.unwrap_or_default();
            let number = texts.first().and_then(|text| text.parse().ok()).unwrap_or(0);
            let values: Vec<_> = texts.iter().map(|text| vocabulary.intern_value(text)).collect();
            let operator = Operator::parse(&entry.operator).unwrap();
            requirements.add(Requirement::of(key, operator, values, number), &vocabulary);
        }
        let mut slots = catalog.slots_meeting(&requirements, &vocabulary);
        slots.intersect_with(&catalog.slots_offered(&requirements, &vocabulary));
        slots.intersect_with(&catalog.slots_fitting(&requests));
        let masked = catalog.types_of(&slots);
        prop_assert_eq!(masked, naive(&catalog, &requirements, &requests, &vocabulary));
    }
}
