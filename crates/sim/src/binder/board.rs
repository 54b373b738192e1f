//! The board that the binder plays on: every node with what is taken of it, and where the pods of each identity
//! are. It knows nothing of queues or of the API server; asking [`Board::place`] changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::filter::{Refusal, Verdict, WRONG_NODE, node_verdict};
use super::requests::{HostPort, add, in_units, subtract};
use super::shape::{Identity, NamespaceLabels, Shape, TopologyTerm};
use super::topology::Surroundings;
use crate::objects::{Amount, Amounts, Key, Node, Taint, TaintEffect};

/// A node and what is taken of it.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) node: Arc<Node>,
    /// The node's taints and those that its conditions imply.
    pub(crate) taints: Vec<Taint>,
    pub(crate) allocatable: Amounts,
    pub(crate) used: Amounts,
    pub(crate) pods: i128,
    pub(crate) ports: BTreeMap<HostPort, u32>,
}

/// How many pods there are of something: all, and those that are not being deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) all: i64,
    pub(crate) staying: i64,
}

impl Count {
    fn change(&mut self, by: i64, staying: bool) {
        self.all += by;
        if staying {
            self.staying += by;
        }
    }
}

/// Pods per node.
pub(crate) type Spots = BTreeMap<Arc<str>, Count>;

/// A pod that sits on a node.
#[derive(Clone, Debug)]
struct Placed {
    node: Arc<str>,
    shape: Arc<Shape>,
    staying: bool,
}

/// Nodes, the pods on them, and the namespaces those live in.
#[derive(Debug, Default)]
pub(crate) struct Board {
    seats: BTreeMap<Arc<str>, Seat>,
    placed: BTreeMap<Key, Placed>,
    spots: BTreeMap<Arc<Identity>, Spots>,
    /// Where the pods are that keep others away.
    repelling: BTreeMap<Arc<TopologyTerm>, Spots>,
    namespaces: NamespaceLabels,
}

/// A node that is not ready keeps pods away. On a full cluster the admission and node lifecycle controllers put
/// this taint on the node; implying it saves two writes a node.
const NOT_READY: &str = "node.kubernetes.io/not-ready";

impl Board {
    /// Puts a node on the board, or replaces what is known of it.
    pub(crate) fn set_node(&mut self, node: Arc<Node>) {
        let mut taints = node.taints.clone();
        if !node.ready()
            && !taints
                .iter()
                .any(|taint| taint.key == NOT_READY && taint.effect == "NoSchedule")
        {
            taints.push(Taint {
                key: NOT_READY.to_owned(),
                value: String::new(),
                effect: "NoSchedule".to_owned(),
            });
        }
        let allocatable = node
            .allocatable
            .iter()
            .map(|(resource, amount)| (resource.clone(), in_units(resource, *amount)))
            .collect();
        if let Some(seat) = self.seats.get_mut(node.name()) {
            seat.taints = taints;
            seat.allocatable = allocatable;
            seat.node = node;
            return;
        }
        let name: Arc<str> = node.name().into();
        let mut seat = Seat {
            node,
            taints,
            allocatable,
            used: Amounts::new(),
            pods: 0,
            ports: BTreeMap::new(),
        };
        for placed in self.placed.values().filter(|placed| placed.node == name) {
            seat.take(&placed.shape);
        }
        self.seats.insert(name, seat);
    }

    pub(crate) fn remove_node(&mut self, name: &str) {
        self.seats.remove(name);
    }

    pub(crate) fn set_namespace(&mut self, name: &str, labels: Option<&BTreeMap<String, String>>) {
        match labels {
            Some(labels) => self.namespaces.insert(name.to_owned(), labels.clone()),
            None => self.namespaces.remove(name),
        };
    }

    /// Seats a pod; `staying` says that it is not being deleted. Whether something changed is returned.
    pub(crate) fn seat(
        &mut self,
        key: &Key,
        shape: &Arc<Shape>,
        node: &str,
        staying: bool,
    ) -> bool {
        if let Some(placed) = self.placed.get(key) {
            let same = &*placed.node == node
                && placed.staying == staying
                && placed.shape.identity == shape.identity
                && placed.shape.spec == shape.spec;
            if same {
                return false;
            }
            self.unseat(key);
        }
        let name: Arc<str> = match self.seats.get_key_value(node) {
            Some((name, _)) => Arc::clone(name),
            None => node.into(),
        };
        let placed = Placed {
            node: name,
            shape: Arc::clone(shape),
            staying,
        };
        self.count(&placed, 1);
        self.placed.insert(key.clone(), placed);
        true
    }

    /// Takes a pod off the board. Whether it was there is returned.
    pub(crate) fn unseat(&mut self, key: &Key) -> bool {
        let Some(placed) = self.placed.remove(key) else {
            return false;
        };
        self.count(&placed, -1);
        true
    }

    fn count(&mut self, placed: &Placed, by: i64) {
        if let Some(seat) = self.seats.get_mut(&placed.node) {
            if by > 0 {
                seat.take(&placed.shape);
            } else {
                seat.give_back(&placed.shape);
            }
        }
        let shape = &placed.shape;
        change(&mut self.spots, &shape.identity, placed, by);
        for term in &shape.repelled {
            change(&mut self.repelling, term, placed, by);
        }
    }

    /// The best node for a pod of this shape, or why there is none.
    pub(crate) fn place(&self, shape: &Shape) -> Result<Arc<str>, Refusal> {
        let surroundings = Surroundings::of(shape, self);
        let mut refusal = Refusal::over(self.seats.len());
        let mut best: Option<(Preference, &Arc<str>)> = None;
        let candidates: Box<dyn Iterator<Item = (&Arc<str>, &Seat)>> = match &shape.pinned {
            Some(name) => {
                let pinned = self.seats.get_key_value(name.as_str());
                let others = self.seats.len() - usize::from(pinned.is_some());
                refusal.add(WRONG_NODE, others);
                Box::new(pinned.into_iter())
            }
            None => Box::new(self.seats.iter()),
        };
        for (name, seat) in candidates {
            let verdict = match node_verdict(shape, seat) {
                Verdict::Fits => surroundings.verdict(seat),
                refused @ Verdict::Refused(_) => refused,
            };
            match verdict {
                Verdict::Refused(reasons) => {
                    for reason in reasons {
                        refusal.add(&reason, 1);
                    }
                }
                Verdict::Fits => {
                    let preference = Preference::of(shape, seat);
                    if best.as_ref().is_none_or(|(known, _)| preference > *known) {
                        best = Some((preference, name));
                    }
                }
            }
        }
        best.map(|(_, name)| Arc::clone(name)).ok_or(refusal)
    }

    pub(crate) fn seats(&self) -> impl Iterator<Item = &Seat> {
        self.seats.values()
    }

    pub(crate) fn seat_of(&self, node: &str) -> Option<&Seat> {
        self.seats.get(node)
    }

    pub(crate) fn spots(&self) -> impl Iterator<Item = (&Arc<Identity>, &Spots)> {
        self.spots.iter()
    }

    pub(crate) fn repelling(&self) -> impl Iterator<Item = (&Arc<TopologyTerm>, &Spots)> {
        self.repelling.iter()
    }

    pub(crate) fn namespaces(&self) -> &NamespaceLabels {
        &self.namespaces
    }
}

fn change<K: Ord>(counts: &mut BTreeMap<Arc<K>, Spots>, key: &Arc<K>, placed: &Placed, by: i64) {
    let spots = counts.entry(Arc::clone(key)).or_default();
    let count = spots.entry(Arc::clone(&placed.node)).or_default();
    count.change(by, placed.staying);
    if count.all == 0 {
        spots.remove(&placed.node);
        if spots.is_empty() {
            counts.remove(key);
        }
    }
}

impl Seat {
    fn take(&mut self, shape: &Shape) {
        add(&mut self.used, &shape.requests);
        self.pods += 1;
        for port in &shape.ports {
            *self.ports.entry(port.clone()).or_default() += 1;
        }
    }

    fn give_back(&mut self, shape: &Shape) {
        subtract(&mut self.used, &shape.requests);
        self.pods -= 1;
        for port in &shape.ports {
            if let Some(count) = self.ports.get_mut(port) {
                *count -= 1;
                if *count == 0 {
                    self.ports.remove(port);
                }
            }
        }
    }

    pub(crate) fn free(&self, resource: &str) -> Amount {
        let of = |amounts: &Amounts| amounts.get(resource).copied().unwrap_or_default().0;
        Amount(of(&self.allocatable) - of(&self.used))
    }
}

/// How much a pod would like a node, most important first. Equal nodes are told apart by their names: the first in
/// the order of names is kept.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Preference {
    /// Taints that only prefer to keep the pod away, counted negatively.
    unwelcome: i64,
    /// The weights of preferred node affinity that the node satisfies.
    liked: i64,
    /// Thousandths of processor and memory that stay free: the least allocated node wins.
    free: i128,
}

impl Preference {
    fn of(shape: &Shape, seat: &Seat) -> Self {
        let spec = &shape.spec;
        let unwelcome = seat
            .taints
            .iter()
            .filter(|taint| {
                taint.effect() == Some(TaintEffect::PreferNoSchedule)
                    && !spec
                        .tolerations
                        .iter()
                        .any(|toleration| toleration.tolerates(taint))
            })
            .count();
        let liked = spec
            .affinity
            .iter()
            .flat_map(|affinity| &affinity.nodes.preferred)
            .filter(|preferred| {
                preferred
                    .preference
                    .matches(seat.node.name(), seat.node.labels())
            })
            .map(|preferred| preferred.weight)
            .sum();
        let free = ["cpu", "memory"]
            .into_iter()
            .map(|resource| {
                let allocatable = seat
                    .allocatable
                    .get(resource)
                    .copied()
                    .unwrap_or_default()
                    .0;
                let asked = shape.requests.get(resource).copied().unwrap_or_default().0;
                if allocatable > 0 {
                    (seat.free(resource).0 - asked) * 1000 / allocatable
                } else {
                    0
                }
            })
            .sum();
        Self {
            unwelcome: -i64::try_from(unwelcome).unwrap_or(i64::MAX),
            liked,
            free,
        }
    }
}
