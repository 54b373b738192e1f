//! A world from a seed: pools, nodes that are there, pods that run, and pods that wait, with rules.

use serde_json::{Value, json};

use super::random::Random;

mod objects;
mod rules;

pub(super) use objects::daemon_pod;
pub(super) use rules::has_rules;

const ZONE: &str = "topology.kubernetes.io/zone";
const HOST: &str = "kubernetes.io/hostname";
const ZONES: [&str; 4] = ["test-zone-a", "test-zone-b", "test-zone-c", "test-zone-d"];
const APPS: [&str; 3] = ["web", "db", "cache"];
const HARD: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const SOFT: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Objects of one world.
pub(super) struct World {
    /// Two of them, with labels that tell them apart.
    pub(super) namespaces: Vec<Value>,
    pub(super) pools: Vec<Value>,
    pub(super) nodes: Vec<Value>,
    pub(super) daemons: Vec<Value>,
    pub(super) replica_sets: Vec<Value>,
    pub(super) volumes: Vec<Value>,
    /// Pods that are somewhere, daemons too.
    pub(super) running: Vec<Value>,
    pub(super) pending: Vec<Value>,
}

/// How pods of ReplicaSets spread that do not say so themselves.
pub(super) fn default_spreads() -> Value {
    json!([
        {"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule"},
        {"maxSkew": 3, "topologyKey": HOST, "whenUnsatisfiable": "DoNotSchedule"},
    ])
}

/// The world of a seed.
pub(super) fn world(seed: u64) -> World {
    let mut random = Random::new(seed);
    let names = [format!("world-{seed}"), format!("world-{seed}-other")];
    let tiers = ["front", "back"].into_iter();
    let mut world = World {
        namespaces: tiers
            .zip(&names)
            .map(|(tier, name)| json!({"metadata": {"name": name, "labels": {"tier": tier}}}))
            .collect(),
        pools: Vec::new(),
        nodes: Vec::new(),
        daemons: Vec::new(),
        replica_sets: Vec::new(),
        volumes: Vec::new(),
        running: Vec::new(),
        pending: Vec::new(),
    };
    for index in 0..=random.below(2) {
        world.pools.push(objects::pool(&mut random, index));
    }
    if random.chance(40) {
        for index in 0..=random.below(2) {
            let daemon = objects::daemon(&mut random, &names[0], index);
            world.daemons.push(daemon);
        }
    }
    let daemons_run = random.chance(50);
    for index in 0..random.below(4) {
        let node = objects::node(&mut random, seed, index);
        for other in 0..random.below(3) {
            let name = format!("running-{index}-{other}");
            let app = random.pick(&APPS);
            let mut pod = pod(a_namespace(&mut random, &names), &name, app);
            pod["spec"]["nodeName"] = node["metadata"]["name"].clone();
            pod["status"] = json!({
                "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
            });
            if random.chance(30) {
                let (list, rule) = rules::term(&mut random, app, "podAntiAffinity", HARD);
                rules::push(&mut pod, &list, rule);
            }
            world.running.push(pod);
        }
        if daemons_run {
            let daemons = world.daemons.iter();
            let pods = daemons.filter_map(|daemon| daemon_pod(daemon, &node));
            world.running.extend(pods);
        }
        world.nodes.push(node);
    }
    for group in 0..2 + random.below(4) {
        let namespace = a_namespace(&mut random, &names);
        replicas(&mut random, namespace, group, &mut world);
    }
    rules::leave_out_unsettled(&mut world.pending);
    world
}

/// The first one, or more rarely the other.
fn a_namespace<'n>(random: &mut Random, names: &'n [String; 2]) -> &'n str {
    &names[usize::from(random.chance(25))]
}

fn pod(namespace: &str, name: &str, app: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": namespace, "uid": name, "labels": {"app": app},
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"containers": [{
            "name": "main", "image": "example.org/main",
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
        }]},
        "status": {"phase": "Pending", "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        }]},
    })
}

/// Some pods that are alike.
fn replicas(random: &mut Random, namespace: &str, group: usize, world: &mut World) {
    let app = random.pick(&APPS);
    let mut template = pod(namespace, "template", app);
    let group = format!("group-{group}");
    template["metadata"]["labels"]["group"] = json!(group);
    let spec = &mut template["spec"];
    spec["containers"][0]["resources"]["requests"] = json!({
        "cpu": random.pick(&["100m", "500m", "900m", "2", "3500m"]),
        "memory": random.pick(&["64Mi", "1Gi", "3100Mi", "9Gi"]),
    });
    if random.chance(20) {
        spec["nodeSelector"] = json!({ZONE: random.pick(&ZONES)});
    }
    if random.chance(15) {
        spec["nodeSelector"]["example.com/team"] = json!(random.pick(&["red", "blue"]));
    }
    if random.chance(20) {
        let values: Vec<&str> = ZONES.into_iter().filter(|_| random.chance(50)).collect();
        let operator = random.pick(&["In", "NotIn"]);
        if !values.is_empty() {
            spec["affinity"]["nodeAffinity"][HARD] = json!({"nodeSelectorTerms": [{
                "matchExpressions": [{"key": ZONE, "operator": operator, "values": values}],
            }]});
        }
    }
    if random.chance(35) {
        spec["tolerations"] = json!([{"key": "special", "operator": "Exists"}]);
    }
    if random.chance(10) {
        spec["containers"][0]["ports"] = json!([{"containerPort": 80, "hostPort": 8080}]);
    }
    for _ in 0..random.below(3) {
        let (list, rule) = rules::rule(random, app);
        rules::push(&mut template, &list, rule);
    }
    rules::leave_out_held(&mut template);
    if random.chance(25) {
        let set = replica_set(namespace, &group, app);
        template["metadata"]["ownerReferences"] = json!([objects::owner(&set)]);
        world.replica_sets.push(set);
    }
    let has_volumes = random.chance(15);
    for replica in 0..=random.below(6) {
        let name = format!("pod-{group}-{replica}");
        let mut pod = template.clone();
        pod["metadata"]["name"] = json!(name);
        pod["metadata"]["uid"] = json!(name);
        if has_volumes {
            pod["spec"]["volumes"] =
                json!([{"name": "data", "persistentVolumeClaim": {"claimName": name}}]);
            world
                .volumes
                .extend(objects::volume(random, namespace, &name));
        }
        world.pending.push(pod);
    }
}

/// The controller of some pods that are alike, by which the cluster's default spreads know them.
fn replica_set(namespace: &str, group: &str, app: &str) -> Value {
    let labels = json!({"app": app, "group": group});
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": group, "namespace": namespace, "uid": group},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": "example.org/main"}]},
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_world() {
        let told = |seed| {
            let world = world(seed);
            json!([
                world.pools,
                world.nodes,
                world.running,
                world.pending,
                world.volumes
            ])
        };
        assert_eq!(told(7), told(7));
        assert_ne!(told(7), told(8));
        let worlds = || (0..50).map(world);
        let rules = worlds().flat_map(|world| world.pending);
        assert!(rules.filter(has_rules).count() > 100);
        let daemons = worlds().flat_map(|world| world.daemons);
        assert!(daemons.count() > 10);
        let sets = worlds().flat_map(|world| world.replica_sets);
        assert!(sets.count() > 10);
        let text = json!(worlds().map(|world| world.pending).collect::<Vec<_>>()).to_string();
        assert!(text.matches("namespaceSelector").count() > 10);
    }
}
