//! Upstream's own benchmark: pods in five equal classes on 400 types.
//!
//! `cargo bench -p karpenter-plan --bench neighbors [-- NAME]`. Prints the nodes of each plan, how long
//! lowering with freezing ("prepare") and solving ("solve") take, and pods per second ("elem/s").

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measuring tool: it prints"
)]

mod world;

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use jiff::Timestamp;
use karpenter_api::objects;
use karpenter_plan::{
    CatalogFeed, InstanceType, NodeInput, Offering, Options, Overhead, Parts, Plan, PoolPart,
    Price, Snapshot, check, schedule,
};
use serde_json::{Value, json};

use self::world::{ZONE, entry, lowering, pending, pool};

const HOST: &str = "kubernetes.io/hostname";
const OFFERINGS: [(&str, &str); 5] = [
    ("spot", "zone-1"),
    ("spot", "zone-2"),
    ("on-demand", "zone-1"),
    ("on-demand", "zone-2"),
    ("on-demand", "zone-3"),
];

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
    pending(&name, labels, &spec)
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

/// The snapshot of a cluster that has nothing but one NodePool, these nodes and these pods.
fn prepare(feed: &CatalogFeed, nodes: &[objects::Node], pods: &[objects::Pod]) -> Snapshot {
    let mut lowering = lowering(&[]);
    let catalog = lowering.catalog(feed);
    let pool = Arc::new(lowering.pool(&pool(&json!([]))).unwrap());
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
    let pods = pods.iter().map(|pod| Arc::new(lowering.pod(pod))).collect();
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
    Snapshot::freeze(Timestamp::UNIX_EPOCH, parts)
}

/// Times one world; says beforehand what its plan comes to.
fn measure(criterion: &mut Criterion, name: &str, pods: &[objects::Pod], options: &Options) {
    let feed = CatalogFeed {
        generation: 1,
        types: types().into(),
    };
    let snapshot = prepare(&feed, &[], pods);
    let (plan, report) = schedule(&snapshot, options);
    check::check(&snapshot, &plan, &report).unwrap();
    let (nodes, unplaced) = (plan.claims.len(), report.unplaced.len());
    println!("{name}/{}: {nodes} nodes, {unplaced} unplaced", pods.len());
    let mut group = criterion.benchmark_group(name);
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(10)
        .throughput(Throughput::Elements(pods.len() as u64));
    let id = |what| BenchmarkId::new(what, pods.len());
    group.bench_function(id("prepare"), |bencher| {
        bencher.iter_with_large_drop(|| prepare(&feed, &[], pods));
    });
    group.bench_function(id("solve"), |bencher| {
        bencher.iter_with_large_drop(|| schedule(&snapshot, options));
    });
    group.finish();
}

/// Pods of one deployment with a rule about hosts: spread over them, or alone on theirs.
fn about_hosts(name: &str, count: usize) -> Vec<objects::Pod> {
    let labels = json!({"app": "web"});
    let selector = json!({"matchLabels": labels});
    let rules = if name.ends_with("spread") {
        let rule = json!([{
            "maxSkew": 1, "topologyKey": HOST, "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": selector,
        }]);
        ("topologySpreadConstraints", rule)
    } else {
        let rule = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": HOST, "labelSelector": selector},
        ]}});
        ("affinity", rule)
    };
    let mut draws = Draws(42);
    (0..count)
        .map(|at| pod(&mut draws, at, &labels, (rules.0, rules.1.clone())))
        .collect()
}

/// Empty nodes, each large enough for any of the pods.
fn empty_nodes(count: usize) -> Vec<objects::Node> {
    let amounts = json!({"cpu": "4", "memory": "16Gi", "pods": "110"});
    (0..count)
        .map(|at| {
            let name = format!("n-{at}");
            serde_json::from_value(json!({
                "metadata": {"name": name, "uid": name, "labels": {HOST: name, ZONE: "zone-1"}},
                "spec": {"providerID": format!("p://{name}")},
                "status": {"capacity": amounts, "allocatable": amounts},
            }))
            .unwrap()
        })
        .collect()
}

#[inline(never)]
fn solve(snapshot: &Snapshot, options: &Options) -> Plan {
    schedule(snapshot, options).0
}

/// Solves one world once, for `bench/counts.sh`, which counts the instructions of [`solve`].
fn solve_once(name: &str, count: usize) {
    let pods = match name {
        "diverse" => diverse(count),
        "respected" | "ignored" => solitary(count),
        _ => about_hosts(name, count),
    };
    let nodes = if name.starts_with("existing") {
        count
    } else {
        0
    };
    let feed = CatalogFeed {
        generation: 1,
        types: types().into(),
    };
    let options = Options {
        ignore_preferences: name == "ignored",
        ..Options::default()
    };
    let plan = solve(&prepare(&feed, &empty_nodes(nodes), &pods), &options);
    println!(
        "{} on nodes, {} claims",
        plan.bindings.len(),
        plan.claims.len()
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, word, name, count, ..] = &arguments[..]
        && word == "once"
    {
        return solve_once(name, count.parse().unwrap());
    }
    let mut criterion = Criterion::default().configure_from_args();
    let respected = Options::default();
    let ignored = Options {
        ignore_preferences: true,
        ..Options::default()
    };
    for count in [1, 100, 1_000, 5_000, 20_000] {
        measure(&mut criterion, "diverse", &diverse(count), &respected);
    }
    let alone = solitary(4_000);
    measure(&mut criterion, "preferences respected", &alone, &respected);
    measure(&mut criterion, "preferences ignored", &alone, &ignored);
    criterion.final_summary();
}
