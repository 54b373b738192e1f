//! Upstream's own benchmark: pods in five equal classes on 400 types.
//!
//! `cargo bench -p karpenter-plan --bench neighbors [-- NAME]`. Prints the median of several rounds:
//! lowering and freezing, solving, pods per second and nodes.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measuring tool: it prints, and it is the one place here that looks at a clock"
)]

use std::{sync::Arc, time::Instant};

use jiff::Timestamp;
use karpenter_api::{NodePool, objects};
use karpenter_plan::{
    CatalogFeed, InstanceType, Lowering, Offering, Options, Overhead, Parts, PoolPart, Price,
    Snapshot, WellKnown, check, schedule,
};
use serde_json::{Value, json};

const ROUNDS: usize = 5;
const ZONE: &str = "topology.kubernetes.io/zone";
const HOST: &str = "kubernetes.io/hostname";
const OFFERINGS: [(&str, &str); 5] = [
    ("spot", "zone-1"),
    ("spot", "zone-2"),
    ("on-demand", "zone-1"),
    ("on-demand", "zone-2"),
    ("on-demand", "zone-3"),
];

fn entry(key: &str, values: &[&str]) -> karpenter_api::Requirement {
    karpenter_api::Requirement {
        key: key.to_owned(),
        operator: "In".to_owned(),
        values: Some(values.iter().map(|value| (*value).to_owned()).collect()),
        min_values: None,
    }
}

/// Type `i` has `i + 1` cores, twice as many Gi and ten times as many pods.
fn types() -> Vec<InstanceType> {
    (1..=400i64)
        .map(|size| {
            let name = format!("type-{size}");
            let amounts = [
                ("cpu", size.to_string()),
                ("memory", format!("{}Gi", 2 * size)),
                ("pods", (10 * size).to_string()),
            ];
            InstanceType {
                requirements: vec![
                    entry("node.kubernetes.io/instance-type", &[&name]),
                    entry("kubernetes.io/arch", &["amd64"]),
                    entry("kubernetes.io/os", &["linux"]),
                    entry(ZONE, &["zone-1", "zone-2", "zone-3"]),
                    entry("karpenter.sh/capacity-type", &["spot", "on-demand"]),
                ],
                capacity: amounts
                    .into_iter()
                    .map(|(name, amount)| (name.to_owned(), amount.parse().unwrap()))
                    .collect(),
                overhead: Overhead {
                    kube_reserved: [("cpu".to_owned(), "100m".parse().unwrap())].into(),
                    ..Overhead::default()
                },
                offerings: OFFERINGS
                    .iter()
                    .map(|(capacity, zone)| Offering {
                        requirements: vec![
                            entry("karpenter.sh/capacity-type", &[capacity]),
                            entry(ZONE, &[zone]),
                        ],
                        price: Price::from_dollars(0.03 * size as f64),
                        available: true,
                        ..Offering::default()
                    })
                    .collect(),
                name,
                ..InstanceType::default()
            }
        })
        .collect()
}

fn pool() -> NodePool {
    serde_json::from_value(json!({
        "apiVersion": "karpenter.sh/v1", "kind": "NodePool",
        "metadata": {"name": "default", "uid": "default"},
        "spec": {"template": {"spec": {
            "nodeClassRef": {"group": "g", "kind": "K", "name": "default"}, "requirements": [],
        }}},
        "status": {"conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        ]},
    }))
    .unwrap()
}

/// A stream of draws that is the same each time (a linear congruence, high bits only).
struct Draws(u64);

impl Draws {
    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        all[usize::try_from(self.0 >> 33).unwrap() % all.len()]
    }
}

fn pod(draws: &mut Draws, at: usize, labels: &Value, rules: (&str, Value)) -> objects::Pod {
    let cpu = draws.one_of(&[100, 250, 500, 1_000, 1_500]);
    let memory = draws.one_of(&[100, 256, 512, 1_024, 2_048, 4_096]);
    let requests = json!({"cpu": format!("{cpu}m"), "memory": format!("{memory}Mi")});
    let mut spec = json!({"containers": [{"name": "main", "resources": {"requests": requests}}]});
    if !rules.0.is_empty() {
        spec[rules.0] = rules.1;
    }
    let name = format!("p-{at}");
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "default", "uid": name, "labels": labels},
        "spec": spec,
        "status": {"conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"},
        ]},
    }))
    .unwrap()
}

const LETTERS: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

/// Pods in five equal classes.
fn diverse(count: usize) -> Vec<objects::Pod> {
    let mut draws = Draws(42);
    let spread = |key: &str, letter: &str| {
        let rule = json!([{
            "maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"my-label": letter}},
        }]);
        ("topologySpreadConstraints", rule)
    };
    (0..count)
        .map(|at| {
            let (own, other) = (draws.one_of(&LETTERS), draws.one_of(&LETTERS));
            let (labels, rules) = match at * 5 / count.max(5) {
                0 => (json!({"my-label": own}), ("", Value::Null)),
                1 => (json!({"my-label": own}), spread(ZONE, other)),
                2 => (json!({"my-label": own}), spread(HOST, other)),
                3 => {
                    let labels = json!({"my-affinity": own});
                    let rule = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                        {"topologyKey": ZONE, "labelSelector": {"matchLabels": labels}},
                    ]}});
                    (labels, ("affinity", rule))
                }
                _ => {
                    let labels = json!({"app": "nginx"});
                    let rule = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                        {"topologyKey": HOST, "labelSelector": {"matchLabels": labels}},
                    ]}});
                    (labels, ("affinity", rule))
                }
            };
            pod(&mut draws, at, &labels, rules)
        })
        .collect()
}

/// Pods that would rather be alone.
fn solitary(count: usize) -> Vec<objects::Pod> {
    let mut draws = Draws(42);
    let labels = json!({"app": "nginx"});
    let rule = json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 10, "podAffinityTerm": {"topologyKey": HOST, "labelSelector": {"matchLabels": labels}}},
    ]}});
    (0..count)
        .map(|at| pod(&mut draws, at, &labels, ("affinity", rule.clone())))
        .collect()
}

fn measure(title: &str, pods: &[objects::Pod], options: &Options) {
    let wanted = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    if wanted.is_some_and(|wanted| !title.starts_with(&wanted)) {
        return;
    }
    let feed = CatalogFeed {
        generation: 1,
        types: types().into(),
    };
    let (mut preparing, mut solving) = (Vec::new(), Vec::new());
    let mut outcome = (0, 0);
    for _ in 0..ROUNDS {
        let mut lowering = Lowering::new(&WellKnown {
            node_classes: vec![("g".to_owned(), "K".to_owned())],
            ..WellKnown::default()
        });
        let catalog = lowering.catalog(&feed);
        let pool = Arc::new(lowering.pool(&pool()).unwrap());
        let start = Instant::now();
        let pods = pods.iter().map(|pod| Arc::new(lowering.pod(pod))).collect();
        let parts = Parts {
            vocabulary: lowering.vocabulary().clone(),
            pools: vec![PoolPart {
                pool,
                catalog: Ok(catalog),
            }],
            pods,
            ..Parts::default()
        };
        let snapshot = Snapshot::freeze(Timestamp::UNIX_EPOCH, parts);
        preparing.push(start.elapsed());
        let start = Instant::now();
        let (plan, report) = schedule(&snapshot, options);
        solving.push(start.elapsed());
        outcome = (plan.claims.len(), report.unplaced.len());
        if cfg!(debug_assertions) {
            check::check(&snapshot, &plan, &report).unwrap();
        }
    }
    preparing.sort();
    solving.sort();
    let (claims, unplaced) = outcome;
    let solve = solving[ROUNDS / 2];
    println!(
        "{title}: lower and freeze {:.2?}, solve {solve:.2?}, {:.0} pods/s; {claims} nodes, {unplaced} unplaced",
        preparing[ROUNDS / 2],
        pods.len() as f64 / solve.as_secs_f64(),
    );
}

fn main() {
    let respected = Options::default();
    let ignored = Options {
        ignore_preferences: true,
        ..Options::default()
    };
    for count in [1, 100, 1_000, 5_000, 20_000] {
        measure(&format!("{count} pods"), &diverse(count), &respected);
    }
    measure(
        "4000 pods, preferences respected",
        &solitary(4_000),
        &respected,
    );
    measure("4000 pods, preferences ignored", &solitary(4_000), &ignored);
}
