//! A world from a seed: pools, nodes that are there, pods that run, and pods that wait, with rules.

use serde_json::{Value, json};

const ZONE: &str = "topology.kubernetes.io/zone";
const HOST: &str = "kubernetes.io/hostname";
const ZONES: [&str; 4] = ["test-zone-a", "test-zone-b", "test-zone-c", "test-zone-d"];
const APPS: [&str; 3] = ["web", "db", "cache"];
const HARD: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const SOFT: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Numbers that follow from a seed.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        // Mixed, since streams of neighboring states are the same but for their start.
        Self(mixed(seed.wrapping_add(0x5EED)))
    }

    /// A number below `bound`, which is not zero.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        usize::try_from(mixed(self.0) % bound as u64).unwrap_or(0)
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
}

fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// Objects of one world. Everything in a namespace is in its own.
pub(super) struct World {
    pub(super) namespace: String,
    pub(super) pools: Vec<Value>,
    pub(super) nodes: Vec<Value>,
    pub(super) volumes: Vec<Value>,
    pub(super) running: Vec<Value>,
    pub(super) pending: Vec<Value>,
}

/// The world of a seed.
pub(super) fn world(seed: u64) -> World {
    let mut random = Random::new(seed);
    let mut world = World {
        namespace: format!("world-{seed}"),
        pools: Vec::new(),
        nodes: Vec::new(),
        volumes: Vec::new(),
        running: Vec::new(),
        pending: Vec::new(),
    };
    for index in 0..=random.below(2) {
        world.pools.push(pool(&mut random, index));
    }
    for index in 0..random.below(4) {
        let node = node(&mut random, seed, index);
        for other in 0..random.below(3) {
            let name = format!("running-{index}-{other}");
            let app = random.pick(&APPS);
            let mut pod = pod(&world.namespace, &name, app);
            pod["spec"]["nodeName"] = node["metadata"]["name"].clone();
            pod["status"] = json!({
                "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
            });
            if random.chance(30) {
                let (list, rule) = term(&mut random, app, "podAntiAffinity", HARD);
                push(&mut pod, &list, rule);
            }
            world.running.push(pod);
        }
        world.nodes.push(node);
    }
    for group in 0..2 + random.below(4) {
        replicas(&mut random, group, &mut world);
    }
    world
}

fn pool(random: &mut Random, index: usize) -> Value {
    let mut requirements = vec![
        json!({"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}),
        json!({"key": "karpenter.kwok.sh/instance-cpu", "operator": "Lt", "values": ["17"]}),
    ];
    if random.chance(30) {
        let zones: Vec<&str> = ZONES.into_iter().filter(|_| random.chance(60)).collect();
        if !zones.is_empty() {
            requirements.push(json!({"key": ZONE, "operator": "In", "values": zones}));
        }
    }
    let mut spec = json!({
        "nodeClassRef": {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default"},
        "requirements": requirements,
    });
    if random.chance(25) {
        spec["taints"] = json!([{"key": "special", "value": "yes", "effect": "NoSchedule"}]);
    }
    let mut template = json!({"spec": spec});
    if random.chance(40) {
        template["metadata"] =
            json!({"labels": {"example.com/team": random.pick(&["red", "blue"])}});
    }
    json!({
        "apiVersion": "karpenter.sh/v1", "kind": "NodePool",
        "metadata": {"name": format!("pool-{index}"), "uid": format!("pool-{index}"), "generation": 1},
        "spec": {"weight": 1 + random.below(3), "template": template, "disruption": {}},
        "status": {"conditions": [{
            "type": "Ready", "status": "True", "reason": "Ready", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]},
    })
}

fn node(random: &mut Random, seed: u64, index: usize) -> Value {
    let name = format!("old-{seed}-{index}");
    let amounts = json!({"cpu": random.pick(&["2", "4", "8"]), "memory": "32Gi", "pods": "20"});
    let mut labels = json!({
        HOST: name, ZONE: random.pick(&ZONES),
        "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux",
    });
    if random.chance(30) {
        labels["example.com/team"] = json!(random.pick(&["red", "blue"]));
    }
    let taints = if random.chance(20) {
        json!([{"key": "special", "value": "yes", "effect": "NoSchedule"}])
    } else {
        json!([])
    };
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "uid": name, "labels": labels},
        "spec": {"providerID": format!("test://{name}"), "taints": taints},
        "status": {
            "capacity": amounts, "allocatable": amounts,
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
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
fn replicas(random: &mut Random, group: usize, world: &mut World) {
    let app = random.pick(&APPS);
    let mut template = pod(&world.namespace, "template", app);
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
        let (list, rule) = rule(random, app);
        push(&mut template, &list, rule);
    }
    leave_out_disagreements(&mut template);
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
                .extend(volume(random, &world.namespace, &name));
        }
        world.pending.push(pod);
    }
}

/// Two things that Karpenter allows and the kube-scheduler refuses, so that such placements are known to
/// be wrong: where the pod is held to some nodes, a spread with `nodeAffinityPolicy: Ignore` measures only
/// the domains that the pod may use, and a pod that is affine to its own kind starts a new domain although
/// others of the kind are where it may not go.
fn leave_out_disagreements(template: &mut Value) {
    let spec = &mut template["spec"];
    let is_held = spec["nodeSelector"].is_object() || spec["affinity"]["nodeAffinity"].is_object();
    if !is_held {
        return;
    }
    for spread in spec["topologySpreadConstraints"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        spread["nodeAffinityPolicy"] = json!("Honor");
    }
    if let Some(affinity) = spec["affinity"].as_object_mut() {
        affinity.remove("podAffinity");
    }
}

/// A rule between pods: where it stands in the pod, and what it says.
fn rule(random: &mut Random, own: &str) -> (String, Value) {
    if random.chance(50) {
        return spread(random, own);
    }
    let kind = random.pick(&["podAffinity", "podAntiAffinity", "podAntiAffinity"]);
    let strength = random.pick(&[HARD, HARD, SOFT]);
    // Affinity to others finds them rarely, to the own kind always.
    let app = if random.chance(60) {
        own
    } else {
        random.pick(&APPS)
    };
    term(random, app, kind, strength)
}

fn spread(random: &mut Random, own: &str) -> (String, Value) {
    let is_hard = random.chance(75);
    let mut rule = json!({
        "topologyKey": random.pick(&[ZONE, ZONE, HOST]),
        "maxSkew": 1 + random.below(2),
        "whenUnsatisfiable": if is_hard { "DoNotSchedule" } else { "ScheduleAnyway" },
        "labelSelector": {"matchLabels": {"app": own}},
        "nodeAffinityPolicy": random.pick(&["Honor", "Honor", "Ignore"]),
        "nodeTaintsPolicy": random.pick(&["Honor", "Ignore"]),
    });
    if is_hard && random.chance(20) {
        rule["minDomains"] = json!(1 + random.below(4));
    }
    ("/spec/topologySpreadConstraints".to_owned(), rule)
}

fn term(random: &mut Random, app: &str, kind: &str, strength: &str) -> (String, Value) {
    let term = json!({
        "topologyKey": random.pick(&[ZONE, HOST]),
        "labelSelector": {"matchLabels": {"app": app}},
    });
    let rule = if strength == SOFT {
        json!({"weight": 1 + random.below(9), "podAffinityTerm": term})
    } else {
        term
    };
    (format!("/spec/affinity/{kind}/{strength}"), rule)
}

/// A claim and its volume, which is in some zone.
fn volume(random: &mut Random, namespace: &str, name: &str) -> [Value; 2] {
    let volume = format!("{namespace}-{name}");
    [
        json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                "csi": {"driver": "disks.example", "volumeHandle": volume},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [{
                    "key": ZONE, "operator": "In", "values": [random.pick(&ZONES)],
                }]}]}},
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": name, "namespace": namespace,
                "annotations": {"pv.kubernetes.io/bind-completed": "yes"},
            },
            "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": volume,
                "resources": {"requests": {"storage": "1Gi"}},
            },
            "status": {"phase": "Bound"},
        }),
    ]
}

/// Appends to a list, which is made where it is not there.
fn push(pod: &mut Value, list: &str, rule: Value) {
    let mut at = pod;
    for step in list.split('/').skip(1) {
        at = &mut at[step];
    }
    // Kubernetes refuses two spreads over one key of one kind.
    let same = |other: &Value| {
        ["topologyKey", "whenUnsatisfiable"]
            .iter()
            .all(|field| other[field] == rule[field])
    };
    match at.as_array_mut() {
        Some(rules) if list.ends_with("SpreadConstraints") && rules.iter().any(same) => {}
        Some(rules) => rules.push(rule),
        None => *at = json!([rule]),
    }
}

/// Whether a pod states rules about other pods.
pub(super) fn has_rules(pod: &Value) -> bool {
    let spec = &pod["spec"];
    ["topologySpreadConstraints"]
        .iter()
        .any(|field| spec[field].is_array())
        || ["podAffinity", "podAntiAffinity"]
            .iter()
            .any(|field| spec["affinity"][field].is_object())
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
        let rules = (0..50).flat_map(|seed| world(seed).pending);
        assert!(rules.filter(has_rules).count() > 100);
    }
}
