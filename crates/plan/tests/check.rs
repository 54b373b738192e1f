//! The judge is judged: valid plans pass, and each kind of corruption is called by its name.
#![allow(clippy::unwrap_used)]

use karpenter_plan::{
    KeyId, NodeId, Options, Plan, PodId, Price, Refusal, Report, Requirement, ResourceId, Snapshot,
    Violation, check,
    schedule::{SkipReason, schedule},
    vocabulary::{Id, TypeId},
};
use serde_json::json;

use crate::world::{NOW, Objects, TestPod, instance_type, node, pod, pool};

/// A small generator, so that a seed names a world.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // The multiplier and increment are Knuth's; the high bits are the random ones.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next()).unwrap() % bound
    }

    fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }
}

/// A world in which something of every kind happens: nodes with room, a node that goes away, several
/// pools with weights, taints, limits and minimum values, DaemonSets, host ports, zones, pods that
/// cannot be placed.
fn world(seed: u64) -> Objects {
    let mut random = Random(seed);
    let mut objects = Objects::new(vec![
        pool("default")
            .template_label("team", "red")
            .field("weight", json!(5))
            .template("requirements", json!([
                {"key": "node.kubernetes.io/instance-type", "operator": "Exists", "minValues": 2},
                {"key": "tier", "operator": "In", "values": ["gold", "silver"]},
            ])),
        pool("limited")
            .field("weight", json!(50))
            .field("limits", json!({"cpu": "20", "nodes": "3"}))
            .template("taints", json!([{"key": "limited", "effect": "NoSchedule"}])),
        pool("plain").template("taints", json!([{"key": "plain", "effect": "NoSchedule"}])),
        pool("rich")
            .field("weight", json!(10))
            .template("taints", json!([{"key": "plain", "effect": "NoSchedule"}])),
    ]);
    objects.types.push(instance_type("medium", 8, 32, 0.2));
    objects.types.push(instance_type("medium-too", 8, 32, 0.21));
    objects.types.push(instance_type("huge", 64, 256, 1.6));
    objects
        .daemons
        .push(daemon("everywhere", "100m", &json!({})));
    objects.daemons.push(daemon(
        "on-large",
        "200m",
        &json!({
            "nodeSelector": {"node.kubernetes.io/instance-type": "large"},
            "containers": [{
                "name": "main", "ports": [{"containerPort": 9100, "hostPort": 9100}],
                "resources": {"requests": {"cpu": "200m"}},
            }],
        }),
    ));
    objects.nodes = vec![
        node("existing-a").label("team", "red"),
        node("existing-b")
            .taint("special", "", "NoSchedule")
            .label("topology.kubernetes.io/zone", "b"),
        node("going").marked(),
    ];
    objects.pods = vec![
        pod("settled-a")
            .on("existing-a")
            .request("cpu", "500m")
            .host_port(7000),
        pod("settled-b").on("existing-b").request("cpu", "500m"),
        pod("moving").on("going").request("cpu", "250m"),
        pod("stuck")
            .on("going")
            .annotation("karpenter.sh/do-not-disrupt", "true"),
        pod("daemon")
            .on("existing-a")
            .owner("DaemonSet")
            .request("cpu", "40m"),
        pod("impossible").request("cpu", "900"),
        pod("unsupported").spec("resourceClaims", json!([{"name": "gpu"}])),
        pod("ignored").selector("kubernetes.io/hostname", "existing-a"),
        pod("special").tolerating("special").request("cpu", "1"),
        pod("limited-0")
            .tolerating("limited")
            .request("cpu", "3500m")
            .selector("karpenter.sh/nodepool", "limited"),
        pod("plain-0")
            .tolerating("plain")
            .request("cpu", "3500m")
            .request("memory", "14Gi")
            .spec(
                "affinity",
                required(&[("karpenter.sh/nodepool", json!(["plain", "rich"]))]),
            ),
    ];
    for index in 0..(8 + random.below(8)) {
        let mut pod = pod(&format!("pod-{index:02}"))
            .request("cpu", &format!("{}m", 100 * (1 + random.below(60))))
            .request("memory", &format!("{}Mi", 128 * (1 + random.below(40))));
        pod = match random.below(7) {
            0 => pod.selector("topology.kubernetes.io/zone", random.pick(&["a", "b"])),
            1 => pod.selector("karpenter.sh/capacity-type", "spot"),
            2 => pod.selector("tier", random.pick(&["gold", "silver"])),
            3 => pod.host_port(random.pick(&[7000, 7001, 9100])),
            4 => pod.tolerating("plain"),
            5 => terms(pod),
            _ => pod,
        };
        objects.pods.push(pod);
    }
    // Two that must meet in no place, and two that certainly open claims.
    objects
        .pods
        .push(pod("port-0").host_port(8080).request("cpu", "6"));
    objects
        .pods
        .push(pod("port-1").host_port(8080).request("cpu", "6"));
    objects
        .pods
        .push(pod("gold").selector("tier", "gold").request("cpu", "5"));
    objects.pods.push(
        pod("zoned")
            .selector("topology.kubernetes.io/zone", "b")
            .request("cpu", "7"),
    );
    objects
}

/// Required node affinity: one term for each key with its values.
fn required(terms: &[(&str, serde_json::Value)]) -> serde_json::Value {
    let terms: Vec<_> = terms
        .iter()
        .map(|(key, values)| {
            json!({"matchExpressions": [{"key": key, "operator": "In", "values": values}]})
        })
        .collect();
    json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": terms,
    }}})
}

/// Either of two required terms, of which the first cannot be met.
fn terms(pod: TestPod) -> TestPod {
    pod.spec(
        "affinity",
        required(&[
            ("topology.kubernetes.io/zone", json!(["nowhere"])),
            ("kubernetes.io/arch", json!(["amd64", "arm64"])),
        ]),
    )
}

fn daemon(name: &str, cpu: &str, spec: &serde_json::Value) -> serde_json::Value {
    let mut template = json!({
        "containers": [{"name": "main", "resources": {"requests": {"cpu": cpu}}}],
    });
    for (field, value) in spec.as_object().unwrap() {
        template[field] = value.clone();
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": template},
        },
    })
}

/// A valid plan to spoil.
struct Case {
    snapshot: Snapshot,
    plan: Plan,
    report: Report,
}

impl Case {
    fn new(seed: u64) -> Self {
        let snapshot = world(seed).snapshot(NOW);
        let (plan, report) = schedule(&snapshot, &Options::default());
        Self {
            snapshot,
            plan,
            report,
        }
    }

    fn pod(&self, name: &str) -> PodId {
        self.snapshot.pod_named("default", name).unwrap()
    }

    fn node(&self, name: &str) -> NodeId {
        self.snapshot.node_named(name).unwrap()
    }

    /// The claim that a pod was placed in.
    fn claim_of(&self, name: &str) -> Option<usize> {
        let pod = self.pod(name);
        self.plan
            .claims
            .iter()
            .position(|claim| claim.pods.contains(&pod))
    }

    /// Takes a pod out of the plan and the report.
    fn unplace(&mut self, pod: PodId) {
        self.plan.bindings.retain(|(bound, _)| *bound != pod);
        for claim in &mut self.plan.claims {
            if let Some(at) = claim.pods.iter().position(|found| *found == pod) {
                claim.pods.remove(at);
                let requests = &self.snapshot.pods[pod].requests;
                claim.requests.subtract(requests);
            }
        }
        self.report.unplaced.retain(|(found, _)| *found != pod);
        self.report.ignored.retain(|(found, _)| *found != pod);
        self.report.skipped.retain(|(found, _)| *found != pod);
    }

    /// Puts a pod somewhere else.
    fn bind(&mut self, pod: &str, node: &str) {
        let (pod, node) = (self.pod(pod), self.node(node));
        self.unplace(pod);
        self.plan.bindings.push((pod, node));
    }

    /// Moves a pod into a claim, sums corrected.
    fn join(&mut self, pod: &str, claim: usize) {
        let pod = self.pod(pod);
        self.unplace(pod);
        self.plan.claims[claim].pods.push(pod);
        let requests = self.snapshot.pods[pod].requests.clone();
        self.plan.claims[claim].requests.add(&requests);
    }

    /// The instance type of that name in the catalogue of a claim's pool.
    fn kind(&self, claim: usize, name: &str) -> TypeId {
        let pool = self.plan.claims[claim].pool;
        self.snapshot.catalogs[pool]
            .as_ref()
            .unwrap()
            .type_named(name)
            .unwrap()
    }

    fn violations(&self) -> Vec<Violation> {
        check(&self.snapshot, &self.plan, &self.report)
            .err()
            .unwrap_or_default()
    }
}

/// Spoils a plan; false when this plan offers nothing to spoil.
type Corruption = fn(&mut Case) -> bool;
type Expected = fn(&Violation) -> bool;

macro_rules! expect {
    ($pattern:pat) => {
        |violation| matches!(violation, $pattern)
    };
}

const CORRUPTIONS: &[(&str, Corruption, Expected)] = &[
    (
        "forget a placed pod",
        |case| {
            let pod = case.plan.bindings.first().map(|(pod, _)| *pod);
            pod.map(|pod| case.unplace(pod)).is_some()
        },
        expect!(Violation::PodForgotten(_)),
    ),
    (
        "forget a refused pod",
        |case| case.report.unplaced.pop().is_some(),
        expect!(Violation::PodForgotten(_)),
    ),
    (
        "forget an ignored pod",
        |case| case.report.ignored.pop().is_some(),
        expect!(Violation::PodForgotten(_)),
    ),
    (
        "forget a pod that is stuck",
        |case| case.report.skipped.pop().is_some(),
        expect!(Violation::PodForgotten(_)),
    ),
    (
        "place a pod twice",
        |case| {
            let binding = case.plan.bindings[0];
            case.plan.bindings.push(binding);
            true
        },
        expect!(Violation::PodTwice(_)),
    ),
    (
        "place a pod and refuse it",
        |case| {
            let pod = case.plan.claims[0].pods[0];
            case.report.unplaced.push((pod, Refusal::NoTypes));
            true
        },
        expect!(Violation::PodTwice(_)),
    ),
    (
        "move a pod that is content",
        |case| {
            case.bind("settled-a", "existing-b");
            true
        },
        expect!(Violation::PodNotWaiting(_)),
    ),
    (
        "move a pod that must stay",
        |case| {
            case.bind("stuck", "existing-a");
            true
        },
        expect!(Violation::PodNotWaiting(_)),
    ),
    (
        "place a pod nobody can place yet",
        |case| {
            case.bind("unsupported", "existing-a");
            true
        },
        expect!(Violation::PodRefused(_)),
    ),
    (
        "place an ignored pod",
        |case| {
            case.bind("ignored", "existing-a");
            true
        },
        expect!(Violation::PodRefused(_)),
    ),
    (
        "skip a pod without cause",
        |case| {
            let (pod, node) = (case.pod("impossible"), case.node("existing-a"));
            case.unplace(pod);
            case.report.skipped.push((pod, SkipReason::Expected(node)));
            true
        },
        expect!(Violation::SkipUnfounded(_)),
    ),
    (
        "call a waiting pod immovable",
        |case| {
            let pod = case.pod("moving");
            case.unplace(pod);
            case.report.skipped.push((pod, SkipReason::NotMovable));
            true
        },
        expect!(Violation::SkipUnfounded(_)),
    ),
    (
        "say that there are no pools",
        |case| {
            case.report.no_pools = true;
            true
        },
        expect!(Violation::NoPools),
    ),
    (
        "name a pod that is not there",
        |case| {
            case.plan.bindings.push((PodId(9_999), NodeId(0)));
            true
        },
        expect!(Violation::Dangling("pod")),
    ),
    (
        "name a node that is not there",
        |case| {
            case.plan.bindings[0].1 = NodeId(9_999);
            true
        },
        expect!(Violation::Dangling("node")),
    ),
    (
        "name a type that is not there",
        |case| {
            case.plan.claims[0].instance_types[0] = TypeId(9_999);
            true
        },
        expect!(Violation::Dangling("instance type")),
    ),
    (
        "use a node that goes away",
        |case| {
            case.bind("moving", "going");
            true
        },
        expect!(Violation::NodeGoing(..)),
    ),
    (
        "overlook a node's taint",
        |case| {
            case.bind("moving", "existing-b");
            true
        },
        expect!(Violation::NodeTaint(..)),
    ),
    (
        "overlook a node's labels",
        |case| {
            case.bind("zoned", "existing-a");
            true
        },
        expect!(Violation::NodeLabels(..)),
    ),
    (
        "overlook a label that a node lacks",
        |case| {
            case.bind("gold", "existing-a");
            true
        },
        expect!(Violation::NodeLabels(..)),
    ),
    (
        "overlook a node's host ports",
        |case| {
            case.bind("port-0", "existing-a");
            case.bind("port-1", "existing-a");
            true
        },
        expect!(Violation::NodePorts(..)),
    ),
    (
        "fill a node beyond its capacity",
        |case| {
            case.bind("port-0", "existing-a");
            true
        },
        expect!(Violation::NodeCapacity(_, ResourceId::CPU)),
    ),
    (
        "forget the DaemonSets of a node",
        |case| {
            // The node has just what its pods ask for; the DaemonSet's pod there is an older, smaller one.
            let node = case.node("existing-a");
            let place = &case.snapshot.places[node];
            let arrivals = case
                .plan
                .bindings
                .iter()
                .filter(|(_, found)| *found == node);
            let arrivals: Vec<PodId> = arrivals.map(|(pod, _)| *pod).collect();
            let pods = place
                .pods
                .iter()
                .chain(&arrivals)
                .map(|&pod| &case.snapshot.pods[pod]);
            let asked = pods.map(|pod| pod.requests.get(ResourceId::CPU)).sum();
            std::sync::Arc::make_mut(&mut case.snapshot.places)[node]
                .allocatable
                .set(ResourceId::CPU, asked);
            !arrivals.is_empty()
        },
        expect!(Violation::NodeCapacity(_, ResourceId::CPU)),
    ),
    (
        "open a claim in a pool that may not grow",
        |case| {
            let pool = case.plan.claims[0].pool;
            let mut changed = (*case.snapshot.pools[pool]).clone();
            changed.ready = false;
            case.snapshot.pools[pool] = changed.into();
            true
        },
        expect!(Violation::ClaimPool(..)),
    ),
    (
        "open a claim for nobody",
        |case| {
            let mut claim = case.plan.claims[0].clone();
            for pod in &claim.pods {
                claim.requests.subtract(&case.snapshot.pods[*pod].requests);
            }
            claim.pods.clear();
            case.plan.claims.push(claim);
            true
        },
        expect!(Violation::ClaimWithoutPods(_)),
    ),
    (
        "leave a claim no type",
        |case| {
            case.plan.claims[0].instance_types.clear();
            true
        },
        expect!(Violation::ClaimTypes(_)),
    ),
    (
        "name a type twice",
        |case| {
            let first = case.plan.claims[0].instance_types[0];
            case.plan.claims[0].instance_types.insert(0, first);
            true
        },
        expect!(Violation::ClaimTypes(_)),
    ),
    (
        "name more than 600 types",
        |case| {
            let claim = &mut case.plan.claims[0];
            let last = *claim.instance_types.last().unwrap();
            claim.instance_types.resize(601, last);
            true
        },
        expect!(Violation::ClaimTypes(_)),
    ),
    (
        "overlook a claim's taint",
        |case| {
            let Some(claim) = case.claim_of("limited-0") else {
                return false;
            };
            case.join("gold", claim);
            true
        },
        expect!(Violation::ClaimTaint(..)),
    ),
    (
        "leave out what a pod requires",
        |case| {
            let Some(claim) = case.claim_of("gold") else {
                return false;
            };
            let tier = case.snapshot.vocabulary.key("tier").unwrap();
            let pool = &case.snapshot.pools[case.plan.claims[claim].pool];
            let template = pool.requirements.get(tier).unwrap().clone();
            case.plan.claims[claim].requirements.replace(template);
            true
        },
        expect!(Violation::ClaimLabels(..)),
    ),
    (
        "leave zones that a pod excludes",
        |case| {
            let Some(claim) = case.claim_of("zoned") else {
                return false;
            };
            case.plan.claims[claim].requirements.remove(KeyId::ZONE);
            true
        },
        expect!(Violation::ClaimLabels(..)),
    ),
    (
        "require a label that the pool never sets",
        |case| {
            let Some(claim) = case.claim_of("plain-0") else {
                return false;
            };
            let gold = case.pod("gold");
            let wanted = case.snapshot.pods[gold].shape.alternatives[0].clone();
            case.join("gold", claim);
            let vocabulary = case.snapshot.vocabulary.clone();
            case.plan.claims[claim]
                .requirements
                .add_all(&wanted, &vocabulary);
            true
        },
        expect!(Violation::ClaimLabelUndefined(..)),
    ),
    (
        "leave out what the pool requires",
        |case| {
            let Some(claim) = case.claim_of("gold") else {
                return false;
            };
            let team = case.snapshot.vocabulary.key("team").unwrap();
            case.plan.claims[claim].requirements.remove(team);
            true
        },
        expect!(Violation::ClaimBeyondPool(..)),
    ),
    (
        "put two host ports into one claim",
        |case| {
            let Some(claim) = case.claim_of("port-0") else {
                return false;
            };
            case.join("port-1", claim);
            true
        },
        expect!(Violation::ClaimPorts(..)),
    ),
    (
        "add a claim's requests up wrongly",
        |case| {
            let requests = &mut case.plan.claims[0].requests;
            requests.set(ResourceId::CPU, requests.get(ResourceId::CPU) + 1);
            true
        },
        expect!(Violation::ClaimRequests(_, ResourceId::CPU)),
    ),
    (
        "count a claim's pods wrongly",
        |case| {
            let requests = &mut case.plan.claims[0].requests;
            requests.set(ResourceId::PODS, requests.get(ResourceId::PODS) - 1000);
            true
        },
        expect!(Violation::ClaimRequests(_, ResourceId::PODS)),
    ),
    (
        "order types by something else",
        |case| {
            let claims = &mut case.plan.claims;
            let claim = claims
                .iter_mut()
                .find(|claim| claim.instance_types.len() > 1);
            claim.map(|claim| claim.instance_types.reverse()).is_some()
        },
        expect!(Violation::ClaimOrder(_)),
    ),
    (
        "name another price",
        |case| {
            let claim = &mut case.plan.claims[0];
            claim.price = Price(claim.price.0 + 1);
            true
        },
        expect!(Violation::ClaimCheapest(_)),
    ),
    (
        "name no cheapest offering",
        |case| {
            case.plan.claims[0].cheapest = None;
            true
        },
        expect!(Violation::ClaimCheapest(_)),
    ),
    (
        "offer too few types",
        |case| {
            let Some(claim) = case.claim_of("gold") else {
                return false;
            };
            case.plan.claims[claim].instance_types.truncate(1);
            true
        },
        expect!(Violation::ClaimMinValues(..)),
    ),
    (
        "offer a type whose labels do not fit",
        |case| {
            let catalogs = &case.snapshot.catalogs;
            let mut claims = case.plan.claims.iter_mut();
            let Some(claim) = claims.find(|claim| claim.instance_types.len() > 1) else {
                return false;
            };
            let first = &catalogs[claim.pool].as_ref().unwrap().types[claim.instance_types[0]];
            let only_first = case.snapshot.vocabulary.value(&first.name).unwrap();
            claim
                .requirements
                .replace(Requirement::any_of(KeyId::INSTANCE_TYPE, [only_first]));
            true
        },
        expect!(Violation::TypeLabels(..)),
    ),
    (
        "offer a type that cannot be bought",
        |case| {
            let claim = &case.plan.claims[0];
            let (pool, kind) = (claim.pool, claim.instance_types[0]);
            let mut catalog = (**case.snapshot.catalogs[pool].as_ref().unwrap()).clone();
            for offering in catalog.types[kind].offering_ids() {
                catalog.offerings[offering].available = false;
            }
            case.snapshot.catalogs[pool] = Ok(catalog.into());
            true
        },
        expect!(Violation::TypeOffering(..)),
    ),
    (
        "offer a type that is too small",
        |case| {
            let Some(claim) = case.claim_of("port-0") else {
                return false;
            };
            let small = case.kind(claim, "small");
            case.plan.claims[claim].instance_types.insert(0, small);
            true
        },
        expect!(Violation::TypeCapacity(..)),
    ),
    (
        "forget the DaemonSets of a type",
        |case| {
            // The claim asks for all that its first type has, which leaves nothing for DaemonSets.
            let claim = &case.plan.claims[0];
            let catalog = case.snapshot.catalogs[claim.pool].as_ref().unwrap();
            let room = catalog.types[claim.instance_types[0]]
                .allocatable
                .get(ResourceId::CPU);
            let pod = claim.pods[0];
            let others: i64 = claim.pods[1..]
                .iter()
                .map(|&pod| case.snapshot.pods[pod].requests.get(ResourceId::CPU))
                .sum();
            let mut changed = (*case.snapshot.pods[pod]).clone();
            changed.requests.set(ResourceId::CPU, room - others);
            case.snapshot.pods.replace(pod, changed.into());
            true
        },
        expect!(Violation::TypeCapacity(..)),
    ),
    (
        "overlook a DaemonSet's host port",
        |case| {
            let claims = case.plan.claims.iter().enumerate();
            let large = |claim: usize| case.kind(claim, "large");
            let Some(claim) = claims.map(|(index, _)| index).find(|&index| {
                case.plan.claims[index]
                    .instance_types
                    .contains(&large(index))
            }) else {
                return false;
            };
            let pod = case.plan.claims[claim].pods[0];
            let mut changed = (*case.snapshot.pods[pod]).clone();
            let mut shape = (*changed.shape).clone();
            shape.ports.push(karpenter_plan::pod::HostPort {
                ip: "0.0.0.0".into(),
                port: 9100,
                protocol: "TCP".into(),
            });
            changed.shape = shape.into();
            case.snapshot.pods.replace(pod, changed.into());
            true
        },
        expect!(Violation::TypePorts(..)),
    ),
    (
        "overlook a limit on resources",
        |case| {
            let Some(claim) = case.claim_of("limited-0") else {
                return false;
            };
            let huge = case.kind(claim, "huge");
            case.plan.claims[claim].instance_types.push(huge);
            true
        },
        expect!(Violation::Limit(_, ResourceId::CPU)),
    ),
    (
        "overlook a limit on nodes",
        |case| {
            let Some(claim) = case.claim_of("limited-0") else {
                return false;
            };
            let pool = case.plan.claims[claim].pool;
            let mut changed = (*case.snapshot.pools[pool]).clone();
            changed.limits.set(ResourceId::NODES, 0);
            case.snapshot.pools[pool] = changed.into();
            true
        },
        expect!(Violation::Limit(_, ResourceId::NODES)),
    ),
    (
        "pass over a heavier pool",
        |case| {
            let Some(claim) = case.claim_of("plain-0") else {
                return false;
            };
            let plain = case.snapshot.pool_named("plain").unwrap();
            let rich = case.snapshot.pool_named("rich").unwrap();
            if case.plan.claims[claim].pool != rich {
                return false;
            }
            case.plan.claims[claim].pool = plain;
            let template = case.snapshot.pools[plain].requirements.clone();
            for requirement in &template {
                case.plan.claims[claim]
                    .requirements
                    .replace(requirement.clone());
            }
            true
        },
        expect!(Violation::Weight(..)),
    ),
];

const SEEDS: u64 = 12;

#[test]
fn valid_plans_pass() {
    for seed in 0..SEEDS {
        let case = Case::new(seed);
        let violations = case.violations();
        let texts: Vec<String> = violations.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [] as [&str; 0],
            "seed {seed}: {:?} {:?}",
            case.plan,
            case.report
        );
        assert!(
            !case.plan.bindings.is_empty() && case.plan.claims.len() > 3,
            "seed {seed}"
        );
    }
}

#[test]
fn each_corruption_is_called_by_its_name() {
    for (name, corrupt, is_expected) in CORRUPTIONS {
        let mut spoiled = 0;
        for seed in 0..SEEDS {
            let mut case = Case::new(seed);
            if !corrupt(&mut case) {
                continue;
            }
            spoiled += 1;
            let violations = case.violations();
            assert!(
                violations.iter().any(is_expected),
                "{name}, seed {seed}: {violations:?}"
            );
        }
        assert!(
            spoiled * 2 > SEEDS,
            "{name}: only {spoiled} of {SEEDS} plans could be spoiled"
        );
    }
}

#[test]
fn nothing_is_planned_without_pools() {
    let mut objects = world(1);
    for pool in &mut objects.pools {
        *pool = pool.clone().replicas(1);
    }
    let snapshot = objects.snapshot(NOW);
    let (plan, report) = schedule(&snapshot, &Options::default());
    assert_eq!(check(&snapshot, &plan, &report), Ok(()));
    let mut case = Case {
        snapshot,
        plan,
        report,
    };
    case.bind("special", "existing-b");
    assert!(case.violations().contains(&Violation::NoPools));
}

#[test]
fn ids_are_in_name_order() {
    // The corruptions above name pods and types; this keeps the names honest.
    let case = Case::new(0);
    let names: Vec<&str> = case.snapshot.pods.values().map(|pod| &*pod.name).collect();
    assert!(names.is_sorted());
    assert_eq!(
        case.pod("impossible").index(),
        names.iter().position(|n| *n == "impossible").unwrap()
    );
}
