//! Every claim of devices is satisfied where its pod is, by devices that exist, suit and are not given away
//! twice, whatever instance type the machine turns out to be.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use karpenter_api::Quantity;

use super::existing::host_name;
use super::terms::Terms;
use super::violation::Violation;
use crate::device::{
    Amounts, Claim, Constraint, Device, DeviceName, Devices, Evaluator, Reach, Slice, TypeDevices,
    Verdict,
};
use crate::schedule::{DeviceAllocation, NewClaim, PickedDevice, Plan, Report};
use crate::snapshot::{Snapshot, View};
use crate::vocabulary::{KeyId, NodeId, PodId};

/// Where devices are used.
#[derive(Clone, Copy)]
enum Place<'p> {
    Node(NodeId),
    Claim(usize, &'p NewClaim),
}

impl Place<'_> {
    fn is(self, other: Self) -> bool {
        match (self, other) {
            (Place::Node(own), Place::Node(other)) => own == other,
            (Place::Claim(own, _), Place::Claim(other, _)) => own == other,
            (Place::Node(_), Place::Claim(..)) | (Place::Claim(..), Place::Node(_)) => false,
        }
    }
}

/// One of the things that a machine may turn out to be: what it promises, and what is used of it.
struct Future<'p> {
    promised: Option<&'p TypeDevices>,
    picks: Vec<(&'p DeviceAllocation, &'p PickedDevice)>,
}

pub(super) fn violations(view: &View<'_>, plan: &Plan, report: &Report) -> Vec<Violation> {
    let Some(devices) = &view.base.devices else {
        return Vec::new();
    };
    let judge = Judge {
        view,
        plan,
        devices,
        moved: moved(view.base, plan, report),
    };
    let mut violations = judge.unmet();
    let places = judge.places();
    let futures: Vec<(Place<'_>, Vec<Future<'_>>)> = places
        .into_iter()
        .filter_map(|(place, given)| match judge.futures(place, given) {
            Ok(futures) => Some((place, futures)),
            Err(violation) => {
                violations.push(violation);
                None
            }
        })
        .collect();
    let evaluator = Evaluator::default();
    for (place, futures) in &futures {
        for future in futures {
            violations.extend(judge.unsuitable(*place, future, &evaluator));
        }
    }
    violations.extend(judge.overdrawn(&futures));
    violations
}

/// Pods that have a node and look for another.
fn moved(snapshot: &Snapshot, plan: &Plan, report: &Report) -> BTreeSet<Arc<str>> {
    let bound = plan.bindings.iter().map(|(pod, _)| pod);
    let unplaced = report.unplaced.iter().map(|(pod, _)| pod);
    let all = bound
        .chain(plan.claims.iter().flat_map(|claim| &claim.pods))
        .chain(unplaced);
    all.map(|&pod| &snapshot.pods[pod])
        .filter(|pod| pod.node.is_some())
        .map(|pod| pod.uid.clone())
        .collect()
}

struct Judge<'p> {
    view: &'p View<'p>,
    plan: &'p Plan,
    devices: &'p Devices,
    moved: BTreeSet<Arc<str>>,
}

impl<'p> Judge<'p> {
    fn places(&self) -> Vec<(Place<'p>, Vec<&'p DeviceAllocation>)> {
        let mut nodes: BTreeMap<NodeId, Vec<&DeviceAllocation>> = BTreeMap::new();
        for (node, allocation) in &self.plan.devices {
            nodes.entry(*node).or_default().push(allocation);
        }
        let nodes = nodes
            .into_iter()
            .map(|(node, given)| (Place::Node(node), given));
        let claims = self.plan.claims.iter().enumerate();
        let claims =
            claims.map(|(at, claim)| (Place::Claim(at, claim), claim.devices.iter().collect()));
        nodes.chain(claims).collect()
    }

    fn given(&self, claim: &Claim) -> Vec<(Place<'p>, &'p DeviceAllocation)> {
        let key = (claim.namespace.clone(), claim.name.clone());
        let all = self.places().into_iter().flat_map(|(place, given)| {
            let pairs = given.into_iter().map(move |allocation| (place, allocation));
            pairs.collect::<Vec<_>>()
        });
        all.filter(|(_, own)| own.claim == key).collect()
    }

    /// Pods whose claims are satisfied neither by the cluster nor by the plan.
    fn unmet(&self) -> Vec<Violation> {
        let bindings = self.plan.bindings.iter();
        let nodes = bindings.map(|(pod, node)| (*pod, Place::Node(*node)));
        let claims = self.plan.claims.iter().enumerate().flat_map(|(at, claim)| {
            let pods = claim.pods.iter();
            pods.map(move |pod| (*pod, Place::Claim(at, claim)))
        });
        nodes
            .chain(claims)
            .filter(|(pod, place)| !self.is_met(*pod, *place))
            .map(|(pod, _)| Violation::DevicesUnmet(pod))
            .collect()
    }

    fn is_met(&self, pod: PodId, place: Place<'p>) -> bool {
        let Ok(claims) = self.devices.claims_of(&self.view.base.pods[pod]) else {
            return false;
        };
        claims.into_iter().all(|claim| {
            let is_settled = claim.allocation.as_ref().is_some_and(|allocation| {
                let is_here = allocation.nodes.as_ref().is_none_or(|nodes| match place {
                    Place::Node(node) => nodes.contains(&self.view.base.nodes[node].name),
                    Place::Claim(..) => false,
                });
                is_here && !claim.moves(|uid| self.moved.contains(uid))
            });
            match *self.given(claim) {
                [] => is_settled,
                [(own, allocation)] => {
                    let mut picks = allocation.devices.iter().flat_map(|(_, picks)| picks);
                    own.is(place) || picks.all(|pick| self.reaches(pick, place))
                }
                _ => false,
            }
        })
    }

    /// What the machine may turn out to be; each instance type of a claim must be spoken of once.
    fn futures(
        &self,
        place: Place<'p>,
        given: Vec<&'p DeviceAllocation>,
    ) -> Result<Vec<Future<'p>>, Violation> {
        let wrong = |own: &DeviceAllocation| Violation::DevicesWrong(own.claim.1.clone());
        let snapshot = self.view.base;
        match place {
            Place::Node(node) => {
                let mut picks = Vec::new();
                for own in given {
                    let [(_, found)] = &*own.devices else {
                        return Err(wrong(own));
                    };
                    picks.extend(found.iter().map(|pick| (own, pick)));
                }
                let promised = self.promised(node);
                Ok([Future { promised, picks }].into())
            }
            Place::Claim(_, claim) => {
                let Ok(catalog) = &snapshot.catalogs[claim.pool] else {
                    return Ok(Vec::new());
                };
                let mut futures = Vec::new();
                for id in &claim.instance_types {
                    let mut picks = Vec::new();
                    for &own in &given {
                        let mut of_type = own.devices.iter().filter(|(ids, _)| ids.contains(id));
                        let (Some((_, found)), None) = (of_type.next(), of_type.next()) else {
                            return Err(wrong(own));
                        };
                        picks.extend(found.iter().map(|pick| (own, pick)));
                    }
                    let promised = Some(&*catalog.types[*id].devices);
                    futures.push(Future { promised, picks });
                }
                Ok(futures)
            }
        }
    }

    fn promised(&self, node: NodeId) -> Option<&'p TypeDevices> {
        let snapshot = self.view.base;
        let lowered = &snapshot.nodes[node];
        let pool = snapshot.places[node]
            .pool
            .filter(|_| !lowered.initialized)?;
        let catalog = snapshot.catalogs[pool].as_ref().ok()?;
        let key = snapshot.vocabulary.key_name(KeyId::INSTANCE_TYPE);
        let id = catalog.type_named(lowered.labels.get(key)?)?;
        Some(&catalog.types[id].devices)
    }

    /// Slices of the newest generation of their pool, but for those of nodes that are not there yet or no
    /// longer.
    fn slices(&self) -> impl Iterator<Item = &'p Arc<Slice>> {
        let counts = |slice: &&Arc<Slice>| {
            let Some(owner) = &slice.owner else {
                return true;
            };
            let mut nodes = self.view.base.nodes.iter();
            nodes.any(|(id, node)| {
                let is_it = node.node.as_ref().is_some_and(|facts| facts.name == *owner);
                is_it && node.initialized && !node.marked && !self.view.gone.contains(id)
            })
        };
        let live: Vec<&Arc<Slice>> = self.devices.slices.iter().filter(counts).collect();
        let is_newest = |slice: &&Arc<Slice>| {
            let same =
                |other: &&&Arc<Slice>| (&other.driver, &other.pool) == (&slice.driver, &slice.pool);
            let mut rivals = live.iter().filter(same);
            rivals.all(|other| other.generation <= slice.generation)
        };
        let newest: Vec<&Arc<Slice>> = live.iter().copied().filter(is_newest).collect();
        newest.into_iter()
    }

    fn published(&self, name: &DeviceName) -> Option<(&'p Arc<Slice>, &'p Arc<Device>)> {
        self.slices().find_map(|slice| {
            let found = slice.devices.iter().find(|device| device.name == *name)?;
            Some((slice, found))
        })
    }

    /// A machine there can use the device.
    fn reaches(&self, pick: &PickedDevice, place: Place<'_>) -> bool {
        let snapshot = self.view.base;
        if pick.is_promised {
            return false;
        }
        let Some((slice, _)) = self.published(&pick.device) else {
            return false;
        };
        match (&slice.reach, place) {
            (Reach::All, _) => true,
            (Reach::Node(name), Place::Node(node)) => snapshot.nodes[node].name == *name,
            (Reach::Selected(terms), Place::Node(node)) => {
                let node = &snapshot.nodes[node];
                terms.iter().any(|term| {
                    Terms::of(term, &snapshot.vocabulary).are_met_by(&node.labels, host_name(node))
                })
            }
            (Reach::Selected(terms), Place::Claim(_, claim)) => {
                let own = Terms::of(&claim.requirements, &snapshot.vocabulary);
                terms.iter().any(|term| {
                    let wanted = Terms::of(term, &snapshot.vocabulary);
                    own.first_beyond(&wanted).is_none()
                })
            }
            (Reach::Node(_), Place::Claim(..)) | (Reach::Unknown, _) => false,
        }
    }

    fn device(&self, future: &Future<'p>, pick: &PickedDevice) -> Option<&'p Arc<Device>> {
        if pick.is_promised {
            let mut all = future.promised?.devices.iter();
            all.find(|device| device.name == pick.device)
        } else {
            self.published(&pick.device).map(|(_, device)| device)
        }
    }

    /// Claims whose devices are not what was asked for.
    fn unsuitable(
        &self,
        place: Place<'p>,
        future: &Future<'p>,
        evaluator: &Evaluator,
    ) -> Vec<Violation> {
        let mut claims: BTreeMap<&(Arc<str>, Arc<str>), Vec<&PickedDevice>> = BTreeMap::new();
        for (allocation, pick) in &future.picks {
            claims.entry(&allocation.claim).or_default().push(pick);
        }
        let is_suited = |(namespace, name): &(Arc<str>, Arc<str>), picks: &[&PickedDevice]| {
            let claim = self.devices.claim(namespace, name)?;
            let all_reach = picks
                .iter()
                .all(|pick| pick.is_promised || self.reaches(pick, place));
            let holds = all_reach && self.suits(claim, future, picks, evaluator)?;
            holds.then_some(())
        };
        claims
            .into_iter()
            .filter(|(key, picks)| is_suited(key, picks).is_none())
            .map(|(key, _)| Violation::DevicesWrong(key.1.clone()))
            .collect()
    }

    fn suits(
        &self,
        claim: &Claim,
        future: &Future<'p>,
        picks: &[&PickedDevice],
        evaluator: &Evaluator,
    ) -> Option<bool> {
        let mut met = 0;
        for request in &claim.requests {
            let mut chosen = request.alternatives.iter().filter_map(|alternative| {
                let own = picks.iter().filter(|pick| pick.request == alternative.name);
                let own: Vec<_> = own.collect();
                (!own.is_empty()).then_some((alternative, own))
            });
            let (Some((alternative, own)), None) = (chosen.next(), chosen.next()) else {
                return Some(false);
            };
            met += own.len();
            if alternative.count.is_some_and(|count| count != own.len()) {
                return Some(false);
            }
            let class = self.devices.class(&alternative.class)?;
            for pick in own {
                let device = self.device(future, pick)?;
                let mut selectors = class.selectors.iter().chain(&alternative.selectors);
                let holds = selectors.all(|selector| {
                    let verdict = selector.as_ref().map(|own| evaluator.verdict(own, device));
                    verdict == Ok(Verdict::Holds)
                });
                let is_enough =
                    device.consumption(&alternative.amounts) == Some(pick.amounts.clone());
                if !holds || !is_enough {
                    return Some(false);
                }
            }
        }
        let agree = claim.constraints.iter().all(|constraint| match constraint {
            Constraint::Match {
                attribute,
                requests,
            } => {
                let meant = picks
                    .iter()
                    .filter(|pick| Constraint::covers(requests, &pick.request));
                let values: BTreeSet<_> = meant
                    .filter_map(|pick| self.device(future, pick))
                    .map(|device| device.attributes.get(attribute))
                    .collect();
                values.len() <= 1
            }
            Constraint::Unsupported(_) => false,
        });
        Some(agree && met == picks.len())
    }

    /// Devices and counters of which more is used than there is.
    fn overdrawn(&self, futures: &[(Place<'p>, Vec<Future<'p>>)]) -> Vec<Violation> {
        let mut violations = Vec::new();
        let mut total = Ledger::default();
        for claim in &self.devices.claims {
            let allocation = claim.allocation.as_ref();
            for own in allocation.into_iter().flat_map(|own| &own.devices) {
                if !claim.moves(|uid| self.moved.contains(uid))
                    && let Some((_, device)) = self.published(&own.device)
                {
                    let part = own.consumed.clone().unwrap_or_default();
                    total.enter(device, &part);
                }
            }
        }
        for (_, futures) in futures {
            let mut most = Ledger::default();
            for future in futures {
                let (mut own, mut shared) = (Ledger::default(), Ledger::default());
                for (_, pick) in &future.picks {
                    let Some(device) = self.device(future, pick) else {
                        continue;
                    };
                    let ledger = if pick.is_promised {
                        &mut own
                    } else {
                        &mut shared
                    };
                    ledger.enter(device, &pick.amounts);
                }
                let promised = |driver: &Arc<str>, pool: &Arc<str>| {
                    let sets = future
                        .promised?
                        .counters
                        .get(&(driver.clone(), pool.clone()))?;
                    Some(sets.iter().collect())
                };
                violations.extend(own.excess(promised));
                most.maximum(shared);
            }
            total.add(most);
        }
        let slices: Vec<_> = self.slices().collect();
        let published = |driver: &Arc<str>, pool: &Arc<str>| {
            let own = slices
                .iter()
                .filter(|slice| (&slice.driver, &slice.pool) == (driver, pool));
            Some(own.flat_map(|slice| &slice.counters).collect())
        };
        violations.extend(total.excess(published));
        violations
    }
}

/// What is used of each device and counter.
#[derive(Default)]
struct Ledger<'p> {
    /// How often each device is used, and how much of it.
    devices: BTreeMap<&'p DeviceName, (&'p Device, usize, Amounts)>,
}

impl<'p> Ledger<'p> {
    fn enter(&mut self, device: &'p Device, amounts: &Amounts) {
        let blank = (device, 0, Amounts::new());
        let (_, count, used) = self.devices.entry(&device.name).or_insert(blank);
        *count += 1;
        for (name, amount) in amounts {
            *used.entry(name.clone()).or_insert(Quantity::ZERO) += *amount;
        }
    }

    fn maximum(&mut self, other: Self) {
        self.merge(other, usize::max, Quantity::max);
    }

    fn add(&mut self, other: Self) {
        self.merge(other, |a, b| a + b, |a, b| a + b);
    }

    fn merge(
        &mut self,
        other: Self,
        count: fn(usize, usize) -> usize,
        amount: fn(Quantity, Quantity) -> Quantity,
    ) {
        for (name, (device, uses, amounts)) in other.devices {
            let blank = (device, 0, Amounts::new());
            let (_, own, used) = self.devices.entry(name).or_insert(blank);
            *own = count(*own, uses);
            for (name, value) in amounts {
                let used = used.entry(name).or_insert(Quantity::ZERO);
                *used = amount(*used, value);
            }
        }
    }

    /// Devices of which more is used than there is, or whose counters do not suffice.
    fn excess(
        &self,
        counters: impl Fn(&Arc<str>, &Arc<str>) -> Option<Vec<&'p crate::device::CounterSet>>,
    ) -> Vec<Violation> {
        let mut violations = Vec::new();
        let mut drawn: BTreeMap<[&Arc<str>; 4], Quantity> = BTreeMap::new();
        for (name, (device, uses, amounts)) in &self.devices {
            let is_over = |(dimension, used): (&Arc<str>, &Quantity)| {
                let capacity = device.capacity.get(dimension);
                capacity.is_none_or(|capacity| *used > capacity.value)
            };
            if (*uses > 1 && !device.is_shared) || amounts.iter().any(is_over) {
                violations.push(Violation::DeviceTwice((*name).clone()));
            }
            for draw in &device.draws {
                let key = [&name.driver, &name.pool, &draw.set, &draw.counter];
                let sum = drawn.entry(key).or_insert(Quantity::ZERO);
                *sum += draw.amount;
            }
        }
        for ([driver, pool, set, counter], sum) in drawn {
            let sets = counters(driver, pool).unwrap_or_default();
            let found = sets.into_iter().find(|own| own.name == *set);
            let total = found.and_then(|own| own.counters.get(counter));
            if total.is_none_or(|total| sum > *total) {
                violations.push(Violation::CounterOverdrawn(counter.clone()));
            }
        }
        violations
    }
}
