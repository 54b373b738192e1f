//! Section 10.3: overlays on prices and capacities.

use std::sync::Arc;

use karpenter_api::NodeOverlay;
use karpenter_plan::{
    Catalog, CatalogFeed, InstanceType, Lowering, Pool, Price,
    overlay::{self, Corrected, Fault, Verdict},
};
use serde_json::{Value, json};

use crate::fixtures::{Manifest, instance_type, pool, req, resources, universe, well_known};

/// An overlay with these requirements.
fn overlay(name: &str, requirements: &[&str]) -> Manifest {
    let requirements: Vec<Value> = requirements.iter().map(|entry| req(entry)).collect();
    Manifest(json!({
        "apiVersion": "karpenter.sh/v1alpha1", "kind": "NodeOverlay",
        "metadata": {"name": name},
        "spec": {"requirements": requirements},
    }))
}

impl Manifest {
    fn price(self, price: &str) -> Self {
        self.set("spec.price", price)
    }

    fn adjusts(self, adjustment: &str) -> Self {
        self.set("spec.priceAdjustment", adjustment)
    }

    fn adds(self, resource: &str, amount: &str) -> Self {
        self.put("spec.capacity", resource, amount)
    }
}

/// What overlays come to for some pools.
struct Outcome {
    feeds: Vec<Option<Corrected>>,
    verdicts: Vec<Verdict>,
    lowering: Lowering,
}

/// Applies overlays to pools with the same types; a pool whose types failed has none.
fn apply(types: Vec<InstanceType>, overlays: &[Manifest], pools: &[(Manifest, bool)]) -> Outcome {
    let mut lowering = Lowering::new(&well_known());
    let feed = CatalogFeed {
        generation: 1,
        types: types.into(),
    };
    let overlays: Vec<Arc<NodeOverlay>> = overlays
        .iter()
        .map(|overlay| Arc::new(overlay.read()))
        .collect();
    let lowered: Vec<(Pool, bool)> = pools
        .iter()
        .map(|(pool, has_types)| (lowering.pool(&pool.read()).unwrap(), *has_types))
        .collect();
    let inputs: Vec<_> = lowered
        .iter()
        .map(|(pool, has_types)| (pool, has_types.then_some(&feed)))
        .collect();
    let (feeds, verdicts) = overlay::apply(&mut lowering, &overlays, &inputs);
    Outcome {
        feeds,
        verdicts,
        lowering,
    }
}

/// The same for one pool.
fn one(types: Vec<InstanceType>, overlays: &[Manifest]) -> Outcome {
    apply(types, overlays, &[(pool("np"), true)])
}

impl Outcome {
    fn catalog(&mut self) -> Arc<Catalog> {
        let corrected = self.feeds[0].as_ref().unwrap();
        self.lowering.corrected_catalog(corrected)
    }

    /// Dollars of each offering of a type, in the feed's order.
    fn prices(&self, name: &str) -> Vec<f64> {
        let feed = &self.feeds[0].as_ref().unwrap().feed;
        let found = feed.types.iter().find(|own| own.name == name).unwrap();
        let dollars = |price: Price| (price.dollars() * 1000.0).round() / 1000.0;
        found
            .offerings
            .iter()
            .map(|offering| dollars(offering.price))
            .collect()
    }

    fn fault(&self, name: &str) -> Option<&Fault> {
        let found = self.verdicts.iter().find(|verdict| &*verdict.name == name);
        found.unwrap().fault.as_ref()
    }
}

/// A type whose offerings all cost the same: spot in z1 and z2, on demand in z1, z2 and z3.
fn at(price: f64) -> Vec<InstanceType> {
    let mut only = instance_type("only", 4, 4);
    for offering in &mut only.offerings {
        offering.price = Price::from_dollars(price);
    }
    vec![only]
}

#[test]
fn one_zone() {
    let row = "scheduling/O1";
    let mut outcome = one(at(2.0), &[overlay("cheap", &["zone In z2"]).price("0.5")]);
    assert_eq!(outcome.prices("only"), [2.0, 0.5, 2.0, 0.5, 2.0], "{row}");
    let outcome_of_spot = one(
        at(2.0),
        &[overlay("cheap", &["zone In z2", "capacity In spot"]).price("0.5")],
    );
    assert_eq!(
        outcome_of_spot.prices("only"),
        [2.0, 0.5, 2.0, 2.0, 2.0],
        "{row}"
    );
    let catalog = outcome.catalog();
    let marks: Vec<_> = catalog
        .types
        .values()
        .map(|own| (own.price_overlaid, own.capacity_overlaid))
        .collect();
    assert_eq!(marks, [(true, false)]);
}

#[test]
fn arithmetic_of_adjustments() {
    let row = "scheduling/O2";
    for (price, adjustment, expected) in [
        (2.0, "-100%", 0.0),
        (2.0, "-5", 0.0),
        (10.0, "+10%", 11.0),
        (10.0, "-25%", 7.5),
        (10.0, "+0.05", 10.05),
        (10.0, "+150%", 25.0),
    ] {
        let outcome = one(at(price), &[overlay("o", &[]).adjusts(adjustment)]);
        assert_eq!(
            outcome.prices("only"),
            [expected; 5],
            "{row}: {price} {adjustment}"
        );
    }
}

#[test]
fn equal_weights_conflict() {
    let row = "scheduling/O3";
    let outcome = one(
        at(2.0),
        &[
            overlay("a", &["zone In z1 z2"]).price("0.1"),
            overlay("b", &["zone In z2 z3"]).price("0.2"),
        ],
    );
    assert_eq!(outcome.fault("b"), None, "{row}");
    assert_eq!(outcome.fault("a"), Some(&Fault::Conflict), "{row}");
    assert_eq!(
        outcome.prices("only"),
        [2.0, 0.2, 2.0, 0.2, 0.2],
        "{row}: the earlier one is applied nowhere"
    );
    // Apart they do not meet.
    let apart = one(
        at(2.0),
        &[
            overlay("a", &["zone In z1"]).price("0.1"),
            overlay("b", &["zone In z2"]).price("0.2"),
        ],
    );
    assert!(apart.verdicts.iter().all(|verdict| verdict.fault.is_none()));
    assert_eq!(apart.prices("only"), [0.1, 0.2, 0.1, 0.2, 2.0]);
    // Capacities conflict by resource.
    let capacities = one(
        at(2.0),
        &[
            overlay("a", &[]).adds("example.com/fuse", "1"),
            overlay("b", &[]).adds("example.com/fuse", "2"),
            overlay("c", &[]).adds("example.com/licence", "3"),
        ],
    );
    assert_eq!(capacities.fault("c"), None);
    assert_eq!(capacities.fault("b"), None);
    assert_eq!(capacities.fault("a"), Some(&Fault::Conflict));
}

#[test]
fn heavier_overlays_win() {
    let row = "scheduling/O4";
    let mut outcome = one(
        at(2.0),
        &[
            overlay("light", &[])
                .set("spec.weight", 5)
                .price("0.5")
                .adds("example.com/licence", "1")
                .adds("example.com/fuse", "1"),
            overlay("heavy", &[])
                .set("spec.weight", 10)
                .price("1.5")
                .adds("example.com/fuse", "4"),
        ],
    );
    assert_eq!(outcome.prices("only"), [1.5; 5], "{row}");
    let catalog = outcome.catalog();
    let vocabulary = outcome.lowering.vocabulary();
    let only = catalog.type_named("only").unwrap();
    let has = |name: &str| {
        let resource = vocabulary.resource(name).unwrap();
        (
            catalog.types[only].capacity.get(resource),
            catalog.types[only].allocatable.get(resource),
        )
    };
    assert_eq!(has("example.com/fuse"), (4000, 4000), "{row}");
    assert_eq!(has("example.com/licence"), (1000, 1000), "{row}");
}

#[test]
fn what_cannot_be_meant() {
    let row = "scheduling/O5";
    let outcome = one(
        at(2.0),
        &[
            overlay("core", &[]).adds("cpu", "1"),
            overlay("empty", &["zone NotIn"]).price("1"),
            overlay("domain", &["karpenter.sh/registered Exists"]).price("1"),
            overlay("text", &[]).price("cheap"),
        ],
    );
    for (name, part) in [
        ("core", "spec.capacity: cpu may not be set"),
        ("empty", "with operator NotIn must have a value defined"),
        (
            "domain",
            "using label karpenter.sh/registered is not allowed",
        ),
        ("text", "spec.price: \"cheap\" is no number"),
    ] {
        let fault = outcome.fault(name).unwrap();
        assert_eq!(fault.reason(), "RuntimeValidation", "{row}");
        assert!(fault.message().contains(part), "{row}: {fault:?}");
    }
    assert!(outcome.feeds[0].is_none(), "nothing is changed");
}

#[test]
fn a_pool_without_types_keeps_nobody_back() {
    let outcome = apply(
        at(2.0),
        &[
            overlay("all", &[]).price("1"),
            overlay("own", &["pool In b"])
                .set("spec.weight", 1)
                .price("0.5"),
        ],
        &[
            (pool("a"), false),
            (pool("b"), true),
            (pool("c"), true),
            (pool("d"), true),
        ],
    );
    let prices: Vec<Option<f64>> = outcome
        .feeds
        .iter()
        .map(|feed| Some(feed.as_ref()?.feed.types[0].offerings[0].price.dollars()))
        .collect();
    assert_eq!(
        prices,
        [None, Some(0.5), Some(1.0), Some(1.0)],
        "scheduling/O6"
    );
    let generations: Vec<u64> = outcome
        .feeds
        .iter()
        .flatten()
        .map(|corrected| corrected.feed.generation)
        .collect();
    assert_ne!(generations[0], generations[1]);
    assert_eq!(
        generations[1], generations[2],
        "pools that are corrected alike share a catalogue"
    );
}

#[test]
fn selection_looks_at_the_type_with_its_pool() {
    let labeled = pool("np").template_label("team", "a");
    let types = || {
        let mut types = universe();
        types[0]
            .capacity
            .extend(resources(&[("example.com/fuse", "1")]));
        types
    };
    let changed = |requirements: &[&str]| {
        let outcome = apply(
            types(),
            &[overlay("o", requirements).price("9")],
            &[(labeled.clone(), true)],
        );
        outcome.feeds[0]
            .as_ref()
            .map(|corrected| corrected.prices.iter().cloned().collect::<Vec<_>>())
            .unwrap_or_default()
    };
    assert_eq!(changed(&["arch In arm64"]), ["arm"]);
    assert_eq!(changed(&["integer Gt 4"]), ["arm"]);
    assert_eq!(changed(&["team In a", "type In small"]), ["small"]);
    assert_eq!(changed(&["team In b"]), [""; 0]);
    // A label that neither the type nor the pool has is not there.
    assert_eq!(changed(&["example.com/colour In red"]), [""; 0]);
    assert_eq!(changed(&["zone In z9"]), [""; 0]);
}
