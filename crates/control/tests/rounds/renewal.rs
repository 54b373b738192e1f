//! A snapshot does not show which one it was made from.

use karpenter_api::{
    NodeClaim, NodePool,
    objects::{DaemonSet, Node, Pod, pod::TopologySpreadConstraint},
};
use karpenter_control::mirror::{Key, Mirror};
use karpenter_plan::{Parts, PoolPart, Snapshot};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::world::{EPOCH, World};

/// Objects of each kind that come, change and go.
const NAMES: u64 = 6;

struct Story<'w> {
    world: &'w World,
    mirror: Mirror,
    seed: u64,
    version: u64,
}

fn read<T: DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).unwrap()
}

impl<'w> Story<'w> {
    async fn new(world: &'w World, seed: u64) -> Self {
        let mirror = Mirror::new(world.ctx.cloud.well_known());
        let story = Self {
            world,
            mirror,
            seed,
            version: 0,
        };
        for name in ["a", "b"] {
            story.pool(name, 10).await;
        }
        story
    }

    async fn pool(&self, name: &str, weight: u64) {
        let pool: NodePool = read(json!({
            "metadata": { "name": name, "uid": name, "generation": weight },
            "spec": { "weight": weight, "template": { "spec": { "nodeClassRef": {
                "group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default",
            }, "requirements": [] } }, "disruption": {} },
            "status": { "conditions": [{
                "type": "Ready", "status": "True", "reason": "Ready", "message": "",
                "lastTransitionTime": EPOCH,
            }] },
        }));
        let feed = self.world.ctx.cloud.catalog(&pool).await.unwrap();
        self.mirror.apply(pool);
        self.mirror.set_catalog(name, Ok(feed));
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.seed >> 33) % below
    }

    fn metadata(&mut self, name: &str) -> Value {
        self.version += 1;
        json!({
            "name": name, "uid": format!("{name}-{}", self.draw(2)),
            "resourceVersion": self.version.to_string(), "creationTimestamp": EPOCH,
        })
    }

    fn node(&mut self, name: &str) -> Node {
        let mut node = json!({
            "metadata": self.metadata(name),
            "spec": { "unschedulable": self.draw(2) == 0 },
            "status": {
                "allocatable": { "cpu": "4", "memory": "8Gi", "pods": "10" },
                "conditions": [{ "type": "Ready", "status": "True" }],
            },
        });
        let pool = ["a", "b", "c"][self.index(3)];
        node["metadata"]["labels"] = json!({ "karpenter.sh/nodepool": pool });
        if self.draw(3) > 0 {
            // Claims share machines now and then, which is a fault that must not confuse anybody.
            node["spec"]["providerID"] = json!(format!("p-{}", self.draw(NAMES)));
        }
        read(node)
    }

    fn index(&mut self, below: u64) -> usize {
        usize::try_from(self.draw(below)).unwrap()
    }

    fn claim(&mut self, name: &str) -> NodeClaim {
        let machine = (self.draw(3) > 0).then(|| format!("p-{}", self.draw(NAMES)));
        let state = |holds: bool| if holds { "True" } else { "Unknown" };
        let conditions: Vec<Value> = [("Registered", self.draw(2)), ("Initialized", self.draw(2))]
            .map(|(kind, holds)| {
                json!({
                    "type": kind, "status": state(holds == 1), "reason": "", "message": "",
                    "lastTransitionTime": EPOCH,
                })
            })
            .into();
        let mut claim = json!({
            "metadata": self.metadata(name),
            "spec": { "nodeClassRef": {
                "group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default",
            }, "requirements": [] },
            "status": { "providerID": machine, "conditions": conditions },
        });
        let pool = ["a", "b"][self.index(2)];
        claim["metadata"]["labels"] = json!({ "karpenter.sh/nodepool": pool });
        read(claim)
    }

    fn pod(&mut self, name: &str) -> Pod {
        let node = (self.draw(3) > 0).then(|| format!("n-{}", self.draw(NAMES)));
        let apart = json!({ "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": { "matchLabels": { "app": "web" } },
            }],
        } });
        let phase = ["Pending", "Running", "Succeeded"][self.index(3)];
        let namespace = ["default", "other"][self.index(2)];
        let mut pod = json!({
            "metadata": self.metadata(name),
            "spec": {
                "nodeName": node,
                "affinity": if self.draw(2) == 0 { apart } else { json!({}) },
                "containers": [{ "name": "main", "resources": { "requests": {
                    "cpu": format!("{}m", 100 + self.draw(9) * 100),
                } } }],
            },
            "status": {
                "phase": phase,
                "conditions": [{
                    "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                }],
            },
        });
        pod["metadata"]["namespace"] = json!(namespace);
        pod["metadata"]["labels"] = json!({ "app": "web" });
        if self.draw(4) == 0 {
            pod["metadata"]["ownerReferences"] = json!([{
                "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": "agent",
                "controller": true,
            }]);
        }
        read(pod)
    }

    fn daemon(&mut self) -> DaemonSet {
        let mut metadata = self.metadata("agent");
        metadata["namespace"] = json!("default");
        read(json!({
            "metadata": metadata,
            "spec": { "template": { "spec": { "containers": [{
                "name": "main", "resources": { "requests": { "cpu": "100m" } },
            }] } } },
        }))
    }

    /// Something happens to something.
    async fn happen(&mut self) {
        let (node, claim, pod) = (
            format!("n-{}", self.draw(NAMES)),
            // Until its node is registered a claim may have the name of another node.
            format!("{}-{}", ["c", "n"][self.index(2)], self.draw(NAMES)),
            format!("w-{}", self.draw(2 * NAMES)),
        );
        let key = Key::new(["default", "other"][self.index(2)], pod.as_str());
        match self.draw(24) {
            0..=3 => {
                let object = self.node(&node);
                self.mirror.apply(object);
            }
            4 => self.mirror.delete::<Node>(&Key::cluster(node), ""),
            5..=7 => {
                let object = self.claim(&claim);
                self.mirror.apply(object);
            }
            8 => self
                .mirror
                .delete::<NodeClaim>(&Key::cluster(claim.as_str()), ""),
            9..=14 => {
                let object = self.pod(&pod);
                self.mirror.apply(object);
            }
            15 | 16 => self.mirror.delete::<Pod>(&key, ""),
            17 => self.mirror.expect(&claim, [key]),
            18 => {
                let until = EPOCH.parse().unwrap();
                let machine = format!("p-{}", self.draw(NAMES));
                self.mirror.nominate(&machine, until);
            }
            19 => self.mirror.mark(&format!("{claim}-0")),
            20 => self.mirror.unmark(&format!("{claim}-0")),
            21 => {
                let object = self.daemon();
                self.mirror.apply(object);
            }
            22 => {
                let weight = 10 + self.draw(3);
                self.pool("a", weight).await;
            }
            _ => {
                let key = Key::cluster(claim.as_str());
                if self.draw(2) == 0 {
                    self.mirror
                        .set_aside::<NodeClaim>(key, None, "what is this".into());
                } else {
                    self.mirror.accept::<NodeClaim>(&key);
                }
            }
        }
    }
}

/// The same world frozen from its parts, with nothing to start from.
fn frozen(snapshot: &Snapshot) -> Snapshot {
    let pools = snapshot.pools.values().zip(snapshot.catalogs.values());
    let pools = pools.map(|(pool, catalog)| PoolPart {
        pool: pool.clone(),
        catalog: catalog.clone(),
    });
    let parts = Parts {
        vocabulary: snapshot.vocabulary.clone(),
        pools: pools.collect(),
        nodes: snapshot.nodes.values().cloned().collect(),
        pods: snapshot.pods.values().cloned().collect(),
        daemons: snapshot.daemons.values().cloned().collect(),
        budgets: snapshot.budgets.clone(),
        volumes: snapshot.volumes.clone(),
        devices: snapshot.devices.clone(),
        namespaces: snapshot.namespaces.clone(),
        set_aside: snapshot.set_aside.clone(),
        ..Parts::default()
    };
    Snapshot::freeze(snapshot.now, parts)
}

/// All that joining comes to, and the names it rests on.
fn joined(snapshot: &Snapshot) -> String {
    let nodes: Vec<_> = snapshot.nodes.values().map(|node| &**node).collect();
    let pods: Vec<_> = snapshot
        .pods
        .values()
        .map(|pod| (&pod.namespace, &pod.name))
        .collect();
    let (places, bound) = (&snapshot.places, &snapshot.bound);
    let (apart, aside) = (&snapshot.anti_affine, &snapshot.set_aside);
    format!("{nodes:#?} {pods:#?} {places:#?} {bound:#?} {apart:#?} {aside:#?}")
}

/// What tells whether the right objects were joined, in words that do not depend on who met them first.
/// Until when nodes are kept is left out: that is forgotten where a snapshot finds no such machine.
fn told(snapshot: &Snapshot) -> String {
    let nodes = snapshot.nodes.values().map(|node| {
        let of_node = node.node.as_ref().map(|facts| (&facts.name, &facts.uid));
        let of_claim = node.claim.as_ref().map(|facts| (&facts.name, &facts.uid));
        let (pool, prebound) = (&node.pool, &node.prebound);
        let spec = (node.marked, &node.taints, node.registered);
        format!(
            "{} {of_node:?} {of_claim:?} {pool:?} {spec:?} {prebound:?}",
            node.name
        )
    });
    let pods = snapshot.pods.values().map(|pod| {
        format!(
            "{}/{} {} {:?} {:?}",
            pod.namespace, pod.name, pod.uid, pod.node, pod.requests
        )
    });
    let (nodes, pods): (Vec<_>, Vec<_>) = (nodes.collect(), pods.collect());
    format!(
        "{nodes:#?} {pods:#?} {:#?} {:#?}",
        snapshot.bound, snapshot.set_aside
    )
}

/// Asserts that both are equal, and shows where they begin not to be.
fn check(left: &str, right: &str, about: &str) {
    let mut lines = left.lines().zip(right.lines()).enumerate();
    let differ = lines.find(|(_, (left, right))| left != right);
    let around = |text: &str, at: usize| {
        let lines = text.lines().skip(at.saturating_sub(40)).take(50);
        lines.collect::<Vec<_>>().join("\n")
    };
    if let Some((at, _)) = differ {
        let (left, right) = (around(left, at), around(right, at));
        panic!("{about}, line {at}: {left}\n\nis not\n\n{right}");
    }
    assert_eq!(left.len(), right.len(), "{about}");
}

/// What has become of things in the end, and how much there was to see on the way for whoever looked.
async fn tell(world: &World, seed: u64, looks: bool) -> (String, [usize; 3]) {
    let now = EPOCH.parse().unwrap();
    let mut seen = [0; 3];
    let mut story = Story::new(world, seed).await;
    if seed % 4 == 3 {
        let spread: TopologySpreadConstraint = read(json!({
            "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "ScheduleAnyway",
        }));
        story.mirror.set_default_constraints([spread].into());
    }
    let mut held = None;
    for step in 0..150 {
        for _ in 0..=story.draw(3) {
            story.happen().await;
        }
        // Some rounds still hold the last snapshot when the next is made.
        let holds = story.draw(2) == 0;
        if !looks {
            continue;
        }
        let snapshot = story.mirror.snapshot(now);
        let anew = joined(&frozen(&snapshot));
        check(
            &joined(&snapshot),
            &anew,
            &format!("seed {seed}, step {step}"),
        );
        for place in snapshot.places.values() {
            seen[0] += place.pods.len();
            seen[1] += place.prebound.len();
        }
        seen[2] += snapshot.anti_affine.len();
        held = holds.then_some(snapshot);
    }
    drop(held);
    (told(&story.mirror.snapshot(now)), seen)
}

#[tokio::test(start_paused = true)]
async fn the_last_snapshot_does_not_show_in_the_next() {
    let world = World::new().await;
    let mut seen = [0; 3];
    for seed in 0..12 {
        let (often, more) = tell(&world, seed, true).await;
        let (once, _) = tell(&world, seed, false).await;
        check(&often, &once, &format!("seed {seed}"));
        (0..3).for_each(|at| seen[at] += more[at]);
    }
    assert!(
        seen.iter().all(|count| *count > 100),
        "pods on nodes, expected and apart: {seen:?}"
    );
}
