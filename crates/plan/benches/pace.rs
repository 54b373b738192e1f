//! How long a round takes: `cargo bench -p karpenter-plan --bench pace`.
//!
//! Prints the median of several rounds for a few sizes of world, lowering and freezing apart from solving.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measuring tool: it prints, and it is the one place here that looks at a clock"
)]

mod world;

use std::{sync::Arc, time::Instant};

use jiff::Timestamp;
use karpenter_api::objects;
use karpenter_plan::{
    Catalog, CatalogFeed, InstanceType, NodeInput, Offering, Options, Overhead, Parts, PoolPart,
    Price, Snapshot, check, schedule,
};
use serde_json::{Value, json};

use self::world::{ZONE, entry, lowering, pending, pool};

const ROUNDS: usize = 7;

/// The product of 12 sizes, 3 ratios of memory, 2 architectures and 2 systems: 144 types.
fn types() -> Vec<InstanceType> {
    let mut types = Vec::new();
    for cpu in [1i64, 2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256] {
        for (family, ratio) in [("c", 2), ("s", 4), ("m", 8)] {
            for arch in ["amd64", "arm64"] {
                for os in ["linux", "windows"] {
                    types.push(instance_type(cpu, family, ratio, arch, os));
                }
            }
        }
    }
    types
}

fn instance_type(cpu: i64, family: &str, ratio: i64, arch: &str, os: &str) -> InstanceType {
    let name = format!("{family}-{cpu}x-{arch}-{os}");
    let amounts = [
        ("cpu", cpu.to_string()),
        ("memory", format!("{}Gi", cpu * ratio)),
        ("pods", (cpu * 16).clamp(4, 1024).to_string()),
    ];
    let zones = ["a", "b", "c", "d"];
    let price = 0.025 * cpu as f64 + 0.001 * (cpu * ratio) as f64;
    let offerings = zones.iter().flat_map(|zone| {
        [("spot", 0.7), ("on-demand", 1.0)].map(|(capacity, factor)| Offering {
            requirements: vec![
                entry("karpenter.sh/capacity-type", &[capacity]),
                entry(ZONE, &[zone]),
            ],
            price: Price::from_dollars(price * factor),
            available: true,
            ..Offering::default()
        })
    });
    InstanceType {
        requirements: vec![
            entry("node.kubernetes.io/instance-type", &[&name]),
            entry("kubernetes.io/arch", &[arch]),
            entry("kubernetes.io/os", &[os]),
            entry(ZONE, &zones),
            entry("karpenter.sh/capacity-type", &["spot", "on-demand"]),
            entry("family", &[family]),
        ],
        capacity: amounts
            .into_iter()
            .map(|(name, amount)| (name.to_owned(), amount.parse().unwrap()))
            .collect(),
        overhead: Overhead {
            kube_reserved: [("cpu".to_owned(), "100m".parse().unwrap())].into(),
            ..Overhead::default()
        },
        offerings: offerings.collect(),
        name,
        ..InstanceType::default()
    }
}

fn pod(name: &str, cpu: &str, memory: &str, selector: &Value) -> objects::Pod {
    let requests = json!({"cpu": cpu, "memory": memory});
    let containers = json!([{"name": "main", "resources": {"requests": requests}}]);
    let spec = json!({"nodeSelector": selector, "containers": containers});
    pending(name, &json!({}), &spec)
}

/// Pods of so many shapes and thirty sizes.
fn diverse(count: usize, shapes: usize) -> Vec<objects::Pod> {
    let zones = ["a", "b", "c", "d"];
    (0..count)
        .map(|at| {
            let shape = at % shapes;
            let mut selector = json!({ZONE: zones[shape % 4]});
            if shape >= 4 {
                selector["team"] = json!(format!("team-{}", shape / 4));
            }
            if shape.is_multiple_of(3) {
                selector["kubernetes.io/arch"] = json!("arm64");
            }
            let size = at % 30;
            let cpu = format!("{}m", 100 + size * 130);
            let memory = format!("{}Mi", 128 + (size * 7 % 30) * 250);
            pod(&format!("p-{at}"), &cpu, &memory, &selector)
        })
        .collect()
}

fn nodes(count: usize) -> Vec<objects::Node> {
    (0..count)
        .map(|at| {
            let amounts = json!({"cpu": "4", "memory": "16Gi", "pods": "110"});
            let name = format!("n-{at}");
            serde_json::from_value(json!({
                "metadata": {"name": name, "uid": name, "labels": {
                    "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": "a",
                    "kubernetes.io/arch": "amd64", "team": "team-1",
                }},
                "spec": {"providerID": format!("p://{name}")},
                "status": {"capacity": amounts, "allocatable": amounts},
            }))
            .unwrap()
        })
        .collect()
}

fn measure(title: &str, pods: &[objects::Pod], nodes: &[objects::Node]) {
    let mut lowering = lowering(&["family"]);
    let feed = CatalogFeed {
        generation: 1,
        types: types().into(),
    };
    let catalog: Arc<Catalog> = lowering.catalog(&feed);
    let pool = Arc::new(
        lowering
            .pool(&pool(&json!([{"key": "team", "operator": "Exists"}])))
            .unwrap(),
    );
    let start = Instant::now();
    let pods = pods.iter().map(|pod| Arc::new(lowering.pod(pod))).collect();
    let lowered = start.elapsed();
    let nodes = nodes
        .iter()
        .map(|node| {
            let input = NodeInput {
                node: Some(node),
                ..NodeInput::default()
            };
            Arc::new(lowering.node(&input).unwrap())
        })
        .collect();
    let parts = Parts {
        vocabulary: lowering.vocabulary().clone(),
        pools: vec![PoolPart {
            pool,
            catalog: Ok(catalog),
        }],
        nodes,
        pods,
        ..Parts::default()
    };
    let mut freezing = Vec::new();
    let mut solving = Vec::new();
    let mut outcome = (0, 0, 0);
    for _ in 0..ROUNDS {
        let parts = parts.clone();
        let start = Instant::now();
        let snapshot = Snapshot::freeze(Timestamp::UNIX_EPOCH, parts);
        freezing.push(start.elapsed());
        let start = Instant::now();
        let (plan, report) = schedule(&snapshot, &Options::default());
        solving.push(start.elapsed());
        outcome = (
            plan.bindings.len(),
            plan.claims.len(),
            report.unplaced.len(),
        );
        if cfg!(debug_assertions) {
            check::check(&snapshot, &plan, &report).unwrap();
        }
    }
    freezing.sort();
    solving.sort();
    let (bound, claims, unplaced) = outcome;
    println!(
        "{title}: lower {lowered:.1?}, freeze {:.1?}, solve {:.1?}; {bound} on nodes, {claims} claims, {unplaced} unplaced",
        freezing[ROUNDS / 2],
        solving[ROUNDS / 2],
    );
}

fn main() {
    let mut two_kinds: Vec<objects::Pod> = Vec::new();
    for at in 0..500 {
        two_kinds.push(pod(&format!("a-{at}"), "900m", "3100Mi", &json!({})));
        two_kinds.push(pod(&format!("b-{at}"), "3500m", "28Gi", &json!({})));
    }
    measure("1,000 pods of 2 kinds", &two_kinds, &[]);
    measure("1,000 pods of 10 shapes", &diverse(1_000, 10), &[]);
    measure("20,000 pods of 100 shapes", &diverse(20_000, 100), &[]);
    measure(
        "20,000 pods of 100 shapes, 5,000 nodes",
        &diverse(20_000, 100),
        &nodes(5_000),
    );
    measure("1 pod, 5,000 nodes", &diverse(1, 1), &nodes(5_000));
}
