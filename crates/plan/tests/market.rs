//! Days in which spot prices move: machines must not churn.
//!
//! A command is carried out at once, the cheapest offering that is not sold out is bought, and pods that
//! moved are scheduled as the provisioner would. 20 worlds are played here, others with
//! `MARKET_WORLDS=1-1000 cargo test --release --workspace --test plan market`.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
};

use jiff::{SignedDuration, Timestamp};
use karpenter_api::labels::annotations::REPLACED_TYPES;
use karpenter_plan::{
    Command, InstanceType, NewClaim, Options, Price, Snapshot,
    disrupt::{Decision, DisruptOptions, disrupt},
    schedule,
};
use serde_json::json;

use crate::world::{NOW, Objects, TestPod, instance_type, node, pod, pool};

const STEP: SignedDuration = SignedDuration::from_mins(5);
const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// More commands than this at one instant never come to rest.
const MOST: usize = 200;

/// Numbers that look random and are the same every time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// What is known of a machine besides its objects.
#[derive(Clone, Debug)]
struct Machine {
    /// When it came as a replacement.
    replaced_at: Option<Timestamp>,
    /// The types that stood in its place, its own last.
    types: Vec<String>,
}

struct Market {
    now: Timestamp,
    objects: Objects,
    /// Types with the prices around which others move.
    base: Vec<InstanceType>,
    pods: BTreeMap<String, (TestPod, Option<String>)>,
    machines: BTreeMap<String, Machine>,
    /// Types that can be had no longer, although they are offered.
    sold_out: BTreeSet<String>,
    launched: usize,
    /// Replacements that came to be.
    moves: usize,
}

impl Market {
    fn new(objects: Objects) -> Self {
        Self {
            now: NOW.parse().unwrap(),
            base: objects.types.clone(),
            objects,
            pods: BTreeMap::new(),
            machines: BTreeMap::new(),
            sold_out: BTreeSet::new(),
            launched: 0,
            moves: 0,
        }
    }

    fn add(&mut self, name: &str, pod: TestPod) {
        self.pods.insert(name.to_owned(), (pod, None));
    }

    fn snapshot(&mut self) -> Snapshot {
        let placed = |(pod, node): &(TestPod, Option<String>)| match node {
            Some(node) => pod.clone().on(node),
            None => pod.clone(),
        };
        self.objects.pods = self.pods.values().map(placed).collect();
        self.objects.snapshot(&self.now.to_string())
    }

    /// Spot prices are somewhere within a tenth of where they began.
    fn move_prices(&mut self, chance: &mut Chance) {
        for (own, base) in self.objects.types.iter_mut().zip(&self.base) {
            for (offering, base) in own.offerings.iter_mut().zip(&base.offerings) {
                let is_spot = offering
                    .requirements
                    .iter()
                    .any(|own| own.values.as_deref() == Some(&["spot".to_owned()]));
                if is_spot {
                    let percent = 90 + i64::try_from(chance.below(21)).unwrap();
                    offering.price = Price(base.price.0 * percent / 100);
                }
            }
        }
    }

    /// Every pod that waits gets its place, on machines that are launched for it where there is none.
    fn provision(&mut self) {
        let snapshot = self.snapshot();
        let (plan, _) = schedule(&snapshot, &Options::default());
        for (pod, node) in &plan.bindings {
            let name = snapshot.pods[*pod].name.to_string();
            let node = snapshot.nodes[*node].name.to_string();
            self.pods.get_mut(&name).unwrap().1 = Some(node);
        }
        for claim in &plan.claims {
            let Some(name) = self.launch_planned(&snapshot, claim) else {
                continue;
            };
            for pod in &claim.pods {
                let pod = snapshot.pods[*pod].name.to_string();
                self.pods.get_mut(&pod).unwrap().1 = Some(name.clone());
            }
        }
    }

    fn launch_planned(&mut self, snapshot: &Snapshot, claim: &NewClaim) -> Option<String> {
        let replacement = karpenter_plan::disrupt::Replacement::planned(snapshot, claim);
        let types: Vec<String> = replacement
            .instance_types
            .iter()
            .map(ToString::to_string)
            .collect();
        let zones = allowed(&replacement, "topology.kubernetes.io/zone");
        let capacity = allowed(&replacement, "karpenter.sh/capacity-type");
        self.launch(
            &types,
            zones.as_deref(),
            capacity.as_deref(),
            None,
            Vec::new(),
        )
    }

    /// Buys the cheapest machine of these types that is not sold out.
    fn launch(
        &mut self,
        types: &[String],
        zones: Option<&[String]>,
        capacity: Option<&[String]>,
        annotation: Option<&str>,
        mut before: Vec<String>,
    ) -> Option<String> {
        let admits = |list: Option<&[String]>, value: &str| {
            list.is_none_or(|list| list.iter().any(|own| own == value))
        };
        let of = |own: &karpenter_plan::Offering, at: usize| {
            own.requirements[at].values.as_ref().unwrap()[0].clone()
        };
        let for_sale = self
            .objects
            .types
            .iter()
            .filter(|own| types.contains(&own.name) && !self.sold_out.contains(&own.name))
            .flat_map(|own| own.offerings.iter().map(move |offering| (own, offering)))
            .filter(|(_, own)| admits(zones, &of(own, 0)) && admits(capacity, &of(own, 1)));
        let (own, offering) = for_sale.min_by_key(|(_, own)| own.price)?;
        self.launched += 1;
        let name = format!("m-{:04}", self.launched);
        let mut machine = node(&name)
            .instance_type(&own.name)
            .zone(&of(offering, 0))
            .capacity_type(&of(offering, 1))
            .created(&self.now.to_string());
        if let Some(text) = annotation {
            machine = machine.annotation(REPLACED_TYPES, text);
        }
        before.push(own.name.clone());
        self.machines.insert(
            name.clone(),
            Machine {
                replaced_at: annotation.map(|_| self.now),
                types: before,
            },
        );
        self.objects.nodes.push(machine);
        Some(name)
    }

    /// Carries out what is proposed, until nothing is; says until when that holds.
    fn settle(&mut self, world: &str) -> Option<Timestamp> {
        for _ in 0..MOST {
            let snapshot = self.snapshot();
            let (commands, report) = disrupt(&snapshot, &options());
            if commands.is_empty() {
                return report.valid_until;
            }
            for command in commands {
                self.carry_out(world, &command);
            }
            self.provision();
        }
        panic!("{world}: no rest at {}", self.now);
    }

    fn carry_out(&mut self, world: &str, command: &Command) {
        let names: Vec<String> = command
            .nodes
            .iter()
            .map(|own| own.node.to_string())
            .collect();
        if command.decision == Decision::Replace && !self.replace(world, command, &names) {
            return;
        }
        self.objects.nodes.retain(|own| !names.contains(&own.name));
        for (_, node) in self.pods.values_mut() {
            if node.as_ref().is_some_and(|node| names.contains(node)) {
                *node = None;
            }
        }
    }

    /// Launches the replacement, or writes on the nodes that there was none.
    fn replace(&mut self, world: &str, command: &Command, names: &[String]) -> bool {
        let [replacement] = &command.replacements[..] else {
            panic!("{world}: {command:?}")
        };
        let mut before = Vec::new();
        for name in names {
            let machine = &self.machines[name];
            let age = machine.replaced_at.map(|at| self.now.duration_since(at));
            assert!(
                age.is_none_or(|age| age >= HOUR),
                "{world}: {name} is replaced twice within an hour"
            );
            before.extend(machine.types.iter().cloned());
        }
        let types: Vec<String> = replacement
            .instance_types
            .iter()
            .map(ToString::to_string)
            .collect();
        let annotations = replacement.object.metadata.annotations.clone().unwrap();
        let (zones, capacity) = (
            allowed(replacement, "topology.kubernetes.io/zone"),
            allowed(replacement, "karpenter.sh/capacity-type"),
        );
        let annotation = annotations[REPLACED_TYPES].clone();
        let launched = self.launch(
            &types,
            zones.as_deref(),
            capacity.as_deref(),
            Some(&annotation),
            before.clone(),
        );
        let Some(name) = launched else {
            let now = self.now.to_string();
            for own in &mut self.objects.nodes {
                if names.contains(&own.name) {
                    let failed = own.clone().since("DisruptionReason", &now);
                    *own = failed.with_false("DisruptionReason");
                }
            }
            return false;
        };
        self.moves += 1;
        // The types that stood here before those that go now: A, then B, then A again is a circle.
        let own = self.machines[&name].types.last().cloned().unwrap();
        for gone in names {
            let types = &self.machines[gone].types;
            let earlier = &types[..types.len() - 1];
            assert!(
                !earlier.contains(&own),
                "{world}: {types:?} and then {own} at {}",
                self.now
            );
        }
        true
    }
}

/// The values that a requirement of the claim lists.
fn allowed(replacement: &karpenter_plan::disrupt::Replacement, key: &str) -> Option<Vec<String>> {
    let requirements = &replacement.object.spec.requirements;
    let own = requirements
        .iter()
        .find(|own| own.key == key && own.operator == "In")?;
    own.values.clone()
}

fn options() -> DisruptOptions<'static> {
    DisruptOptions {
        spot_to_spot: true,
        ..DisruptOptions::default()
    }
}

/// Four families of five sizes.
fn types() -> Vec<InstanceType> {
    let families = [("c", 2, 0.9), ("m", 4, 1.0), ("r", 8, 1.2), ("x", 4, 1.02)];
    let sizes = [2u32, 4, 8, 16, 32];
    let of = |(family, ratio, factor): (&str, u32, f64)| {
        sizes.map(|cpu| {
            let price = 0.05 * f64::from(cpu) * factor;
            instance_type(&format!("{family}-{cpu}"), cpu, cpu * ratio, price)
        })
    };
    families.into_iter().flat_map(of).collect()
}

/// A world of its own: pools, pods of several sizes, and what they may be bought as.
fn random(chance: &mut Chance) -> Market {
    let mut pools = vec![pool("default")];
    let policies = ["WhenEmptyOrUnderutilized", "Balanced"];
    let policy = policies[usize::try_from(chance.below(2)).unwrap()];
    pools[0] = pools[0]
        .clone()
        .disruption("consolidationPolicy", json!(policy));
    match chance.below(3) {
        0 => {
            pools[0] = pools[0]
                .clone()
                .requires("karpenter.sh/capacity-type", &["spot"]);
        }
        1 => {}
        _ => {
            pools
                .push(pool("second").requires("node.kubernetes.io/instance-type", &["c-8", "m-8"]));
        }
    }
    let mut objects = Objects::new(pools);
    objects.types = types();
    let mut market = Market::new(objects);
    for at in 0..4 + chance.below(16) {
        let cpu = [250, 500, 900, 1800, 3500][usize::try_from(chance.below(5)).unwrap()];
        let memory = [256, 900, 3000, 7000][usize::try_from(chance.below(4)).unwrap()];
        let one = pod(&format!("p-{at}"))
            .request("cpu", &format!("{cpu}m"))
            .request("memory", &format!("{memory}Mi"));
        market.add(&format!("p-{at}"), one);
    }
    market
}

fn day(seed: u64) {
    let world = format!("world {seed}");
    let mut chance = Chance(seed);
    let mut market = random(&mut chance);
    market.provision();
    let steps = 24 * 12;
    for _ in 0..steps {
        market.move_prices(&mut chance);
        let until = market.settle(&world);
        // With constant pods and prices nothing comes up before the report says so.
        let next = market.now + STEP;
        let last = until.map_or(next, |until| until.min(next)) - SignedDuration::from_secs(1);
        if last > market.now {
            let then = market.objects.snapshot(&last.to_string());
            let (commands, _) = disrupt(&then, &options());
            assert_eq!(commands, [], "{world}: before {until:?} at {last}");
        }
        market.now = next;
    }
}

#[test]
fn moving_prices_move_no_machine_back_and_forth() {
    let worlds = env::var("MARKET_WORLDS").unwrap_or_else(|_| "1-20".into());
    let (first, last) = worlds.split_once('-').expect("MARKET_WORLDS=1-1000");
    for seed in first.parse().unwrap()..=last.parse().unwrap() {
        day(seed);
    }
}

/// A pod that comes every four minutes and stays for two, beside pods that fill a machine.
#[test]
fn jobs_that_come_and_go_do_not_move_machines_for_ever() {
    let mut objects = Objects::new(vec![pool("default").on_demand()]);
    objects.types = types();
    let mut market = Market::new(objects);
    for at in 0..6 {
        let one = pod(&format!("p-{at}")).request("cpu", "600m");
        market.add(&format!("p-{at}"), one);
    }
    market.provision();
    for _ in 0..15 {
        market.add("job", pod("job").request("cpu", "1500m"));
        market.provision();
        market.settle("jobs");
        market.now += SignedDuration::from_mins(2);
        market.pods.remove("job");
        market.settle("jobs");
        market.now += SignedDuration::from_mins(2);
    }
    assert!(market.moves <= 3, "{} moves in an hour", market.moves);
}

/// Six hundred machines that could be cheaper, of a type that is offered and cannot be had.
#[test]
fn what_is_sold_out_is_not_asked_for_again_and_again() {
    let mut objects = Objects::new(vec![pool("default").on_demand()]);
    objects.types = vec![
        instance_type("preferred", 4, 16, 0.1),
        instance_type("bought", 4, 16, 0.2),
    ];
    let mut market = Market::new(objects);
    market.sold_out.insert("preferred".into());
    for at in 0..600 {
        let one = pod(&format!("p-{at}")).request("cpu", "3500m");
        market.add(&format!("p-{at}"), one);
    }
    market.provision();
    assert_eq!(market.machines.len(), 600);
    // Each is asked for once in a while, and none has moved.
    let snapshot = market.snapshot();
    let (commands, _) = disrupt(&snapshot, &options());
    assert_eq!(commands.len(), 1);
    for _ in 0..3 {
        let snapshot = market.snapshot();
        let (commands, _) = disrupt(&snapshot, &options());
        for command in &commands {
            market.carry_out("sold out", command);
        }
    }
    assert_eq!(market.moves, 0);
    // What comes into stock is used, and then all is quiet.
    market.sold_out.clear();
    market.objects.nodes.truncate(3);
    market.pods.retain(|_, (_, node)| {
        ["m-0001", "m-0002", "m-0003"]
            .map(ToOwned::to_owned)
            .contains(node.as_ref().unwrap())
    });
    market.now += HOUR;
    market.settle("in stock");
    assert_eq!(market.moves, 3);
}

/// A machine that is nine tenths full of its only pods.
#[test]
fn a_full_machine_is_not_replaced_by_its_own_type() {
    let mut objects = Objects::new(vec![pool("default").on_demand()]);
    objects.types = types();
    let mut market = Market::new(objects);
    for at in 0..7 {
        let one = pod(&format!("p-{at}"))
            .request("cpu", "500m")
            .request("memory", "900Mi");
        market.add(&format!("p-{at}"), one);
    }
    market.provision();
    let before: Vec<String> = market.machines.keys().cloned().collect();
    for _ in 0..12 {
        market.settle("full");
        market.now += STEP;
    }
    assert!(market.moves <= 1, "{before:?}: {} moves", market.moves);
}
