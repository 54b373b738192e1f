//! What a large cluster costs with a real catalogue: `cargo bench -p karpenter-control --bench catalogue -- FILE`.
//!
//! `FILE` holds instance types as `--instance-types` reads them, such as `cargo xtask catalogue` writes. 5,000
//! nodes with ten pods each are in the mirror. Prints the median of several rounds: freezing after one
//! object has changed, and solving for one pending pod and for a thousand diverse ones.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measuring tool: it prints, and it is the one place here that looks at a clock"
)]

use std::{env, path::Path, time::Instant};

use jiff::Timestamp;
use karpenter_api::{
    NodePool,
    objects::{Node, Pod},
};
use karpenter_control::mirror::Mirror;
use karpenter_plan::{CatalogFeed, Options, WellKnown, schedule};
use serde_json::{Value, json};

const ROUNDS: usize = 7;
const NODES: usize = 5_000;
const PODS_PER_NODE: usize = 10;

fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// An on-demand node of eight processors that is nearly full.
fn node(at: usize) -> Node {
    let name = format!("n-{at}");
    let amounts = json!({"cpu": "8", "memory": "32Gi", "pods": "58"});
    object(json!({
        "metadata": {
            "name": name, "uid": name, "resourceVersion": "1",
            "labels": {
                "kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux",
                "topology.kubernetes.io/zone": zone(at), "karpenter.sh/nodepool": "default",
                "karpenter.sh/capacity-type": "on-demand", "node.kubernetes.io/instance-type": "m5.2xlarge",
                "karpenter.sh/registered": "true", "karpenter.sh/initialized": "true",
            },
        },
        "spec": {"providerID": format!("p://{name}")},
        "status": {"capacity": amounts, "allocatable": amounts},
    }))
}

fn zone(at: usize) -> &'static str {
    ["us-east-1a", "us-east-1b", "us-east-1c"][at % 3]
}

fn spec(cpu: &str, memory: &str) -> Value {
    let requests = json!({"cpu": cpu, "memory": memory});
    json!({"containers": [{"name": "main", "resources": {"requests": requests}}]})
}

fn running(at: usize) -> Pod {
    let name = format!("r-{at}");
    let mut spec = spec("780m", "3Gi");
    spec["nodeName"] = json!(format!("n-{}", at / PODS_PER_NODE));
    object(json!({
        "metadata": {
            "name": name, "namespace": "default", "uid": name, "resourceVersion": "1",
            "labels": {"app": format!("app-{}", at % 200)},
        },
        "spec": spec,
        "status": {"phase": "Running", "conditions": [{"type": "PodScheduled", "status": "True"}]},
    }))
}

/// A pod that waits: one of thirty sizes and of sixty kinds, some spread, some apart, some held to places.
fn pending(at: usize) -> Pod {
    let app = format!("new-{}", at % 60);
    let size = at % 30;
    let mut spec = spec(
        &format!("{}m", 250 + size * 310),
        &format!("{}Mi", 256 + (size * 7 % 30) * 700),
    );
    let selector = json!({"matchLabels": {"app": app}});
    match at % 60 {
        0..=19 => {}
        20..=29 => spec["nodeSelector"] = json!({"topology.kubernetes.io/zone": zone(at)}),
        30..=34 => spec["nodeSelector"] = json!({"kubernetes.io/arch": "arm64"}),
        35..=39 => spec["nodeSelector"] = json!({"karpenter.sh/capacity-type": "spot"}),
        40..=49 => {
            spec["topologySpreadConstraints"] = json!([{
                "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector,
            }]);
        }
        _ => {
            spec["affinity"] = json!({"podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {"topologyKey": "kubernetes.io/hostname", "labelSelector": selector},
                ],
            }});
        }
    }
    let name = format!("p-{at}");
    object(json!({
        "metadata": {
            "name": name, "namespace": "default", "uid": name, "resourceVersion": "1",
            "labels": {"app": app},
        },
        "spec": spec,
        "status": {"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"},
        ]},
    }))
}

fn pool() -> NodePool {
    object(json!({
        "apiVersion": "karpenter.sh/v1", "kind": "NodePool",
        "metadata": {"name": "default", "uid": "default", "resourceVersion": "1", "generation": 1},
        "spec": {"template": {"spec": {
            "nodeClassRef": {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default"},
            "requirements": [{"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot", "on-demand"]}],
        }}},
        "status": {"conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        ]},
    }))
}

/// The mirror of the cluster with so many pods that wait.
fn cluster(feed: &CatalogFeed, waiting: usize) -> Mirror {
    let mirror = Mirror::new(&WellKnown {
        labels: feed.types[0]
            .requirements
            .iter()
            .map(|own| own.key.clone())
            .collect(),
        node_classes: vec![("karpenter.kwok.sh".to_owned(), "KWOKNodeClass".to_owned())],
        ..WellKnown::default()
    });
    mirror.set_catalog("default", Ok(feed.clone()));
    mirror.apply(pool());
    (0..NODES).for_each(|at| {
        mirror.apply(node(at));
    });
    (0..NODES * PODS_PER_NODE).for_each(|at| {
        mirror.apply(running(at));
    });
    (0..waiting).for_each(|at| {
        mirror.apply(pending(at));
    });
    mirror
}

/// Milliseconds that something takes, the median of some rounds.
fn median(mut run: impl FnMut(usize)) -> f64 {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|round| {
            let start = Instant::now();
            run(round);
            start.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
}

/// A change that is frozen for `bench/counts.sh`, which counts the instructions of [`freeze`].
fn change(mirror: &Mirror, what: &str) {
    match what {
        "nothing" => {}
        "node" => {
            let mut changed = node(NODES / 2);
            changed.metadata.resource_version = Some("2".to_owned());
            changed.spec.unschedulable = Some(true);
            mirror.apply(changed);
        }
        "binding" => {
            let mut bound = pending(0);
            bound.metadata.resource_version = Some("2".to_owned());
            bound.spec.node_name = Some(format!("n-{}", NODES / 2));
            mirror.apply(bound);
        }
        "pod" => {
            mirror.apply(pending(1));
        }
        _ => {
            mirror.apply(node(NODES));
        }
    }
}

#[inline(never)]
fn freeze(mirror: &Mirror, now: Timestamp) {
    mirror.snapshot(now);
}

/// Freezes a large cluster once, and once more after a change.
fn freeze_once(what: &str) {
    let feed = CatalogFeed {
        generation: 1,
        types: karpenter_kwok::catalog::generated().into(),
    };
    let mirror = cluster(&feed, 1);
    let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
    if what == "everything" {
        return freeze(&mirror, now);
    }
    mirror.snapshot(now);
    change(&mirror, what);
    freeze(&mirror, now);
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    if let [_, word, what, ..] = &arguments[..]
        && word == "once"
    {
        return freeze_once(what);
    }
    let Some(file) = env::args().skip(1).find(|word| !word.starts_with("--")) else {
        println!("which instance types? `-- FILE`, as `cargo xtask catalogue` writes it");
        return;
    };
    let types = karpenter_kwok::file::read(Path::new(&file)).unwrap().types;
    let offerings: usize = types.iter().map(|own| own.offerings.len()).sum();
    println!(
        "{} types, {offerings} offerings, {NODES} nodes, {} pods; load {}",
        types.len(),
        NODES * PODS_PER_NODE,
        std::fs::read_to_string("/proc/loadavg")
            .unwrap_or_default()
            .trim()
    );
    let feed = CatalogFeed {
        generation: 1,
        types: types.into(),
    };
    let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
    for waiting in [1, 1_000] {
        let mirror = cluster(&feed, waiting);
        mirror.snapshot(now);
        let freeze = median(|round| {
            let mut changed = node(round);
            changed.metadata.resource_version = Some(format!("{}", 100 + round));
            changed.spec.unschedulable = Some(round.is_multiple_of(2));
            mirror.apply(changed);
            mirror.snapshot(now);
        });
        let binding = median(|round| {
            let mut bound = running(round);
            bound.metadata.resource_version = Some(format!("{}", 100 + round));
            bound.spec.node_name = Some(format!("n-{}", 100 + round));
            mirror.apply(bound);
            mirror.snapshot(now);
        });
        let coming = median(|round| {
            mirror.apply(running(NODES * PODS_PER_NODE + round));
            mirror.apply(node(NODES + round));
            mirror.snapshot(now);
        });
        let snapshot = mirror.snapshot(now);
        let (plan, report) = schedule(&snapshot, &Options::default());
        let solve = median(|_| {
            schedule(&snapshot, &Options::default());
        });
        println!(
            "{waiting:>6} pending: freeze {freeze:.2} ms, after a binding {binding:.2} ms, after a new pod and node {coming:.2} ms, solve {solve:.2} ms, {} on nodes, {} claims, {} without a place",
            plan.bindings.len(),
            plan.claims.len(),
            report.unplaced.len()
        );
    }
}
