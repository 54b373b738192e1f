//! Devices that drivers have published, in pools (section 9.4 of scheduling.md), and which of them a machine
//! can use.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    rc::Rc,
    string::String,
    sync::Arc,
    vec::Vec,
};

use rustc_hash::{FxHashMap, FxHashSet};

use super::usage::{Choice, DeviceKey, Totals, Usage, add_totals};
use crate::{
    device::{Device, DeviceName, Reach, Slice},
    requirement::{Requirements, Undefined},
    snapshot::{Snapshot, View},
    vocabulary::Vocabulary,
};

/// A slice of the generation that counts, with the number of its first device.
#[derive(Debug)]
struct Part {
    slice: Arc<Slice>,
    first: u32,
    /// What nodes must be, all terms merged, as upstream does.
    topology: Option<Rc<Requirements>>,
}

/// A pool.
#[derive(Debug)]
struct Pool {
    parts: Vec<Part>,
    is_complete: bool,
}

/// What a machine sees of the published devices.
#[derive(Debug, Default)]
pub(super) struct Visible {
    /// Devices of pools that are complete and valid.
    pub(super) choices: Vec<Rc<Choice>>,
    /// A pool that is not, for requests that need to know all devices.
    pub(super) flaw: Option<Arc<str>>,
}

/// All published devices.
#[derive(Debug, Default)]
pub(super) struct Published {
    pools: Vec<Pool>,
    devices: FxHashMap<DeviceName, (u32, Arc<Device>)>,
    pub(super) totals: Totals,
    /// Pools with a slice that is not of one node.
    wide: Vec<usize>,
    of_nodes: FxHashMap<Arc<str>, BTreeSet<usize>>,
}

impl Published {
    pub(super) fn new(view: &View<'_>, slices: &[Arc<Slice>]) -> Self {
        let snapshot = view.base;
        let vocabulary = &*snapshot.vocabulary;
        let settled = settled_nodes(view);
        let mut by_pool: BTreeMap<_, Vec<&Arc<Slice>>> = BTreeMap::new();
        for slice in slices {
            if slice
                .owner
                .as_ref()
                .is_none_or(|owner| settled.contains(owner))
            {
                let parts = by_pool.entry((&slice.driver, &slice.pool)).or_default();
                parts.push(slice);
            }
        }
        let mut all = Self::default();
        let mut next = 0;
        for ((driver, name), slices) in by_pool {
            let newest = slices.iter().map(|slice| slice.generation).max();
            let current = slices
                .into_iter()
                .filter(|slice| Some(slice.generation) == newest);
            let mut parts = Vec::new();
            let mut is_wide = false;
            for slice in current {
                let first = next;
                for device in &slice.devices {
                    all.devices
                        .insert(device.name.clone(), (next, device.clone()));
                    next += 1;
                }
                add_totals(&mut all.totals, false, (driver, name), &slice.counters);
                match &slice.reach {
                    Reach::Node(node) => {
                        let pools = all.of_nodes.entry(node.clone()).or_default();
                        pools.insert(all.pools.len());
                    }
                    Reach::All | Reach::Selected(_) => is_wide = true,
                    Reach::Unknown => {}
                }
                let topology = match &slice.reach {
                    Reach::Selected(terms) => Some(Rc::new(merged(terms, vocabulary))),
                    Reach::All | Reach::Node(_) | Reach::Unknown => None,
                };
                parts.push(Part {
                    slice: slice.clone(),
                    first,
                    topology,
                });
            }
            if is_wide {
                all.wide.push(all.pools.len());
            }
            let declared = parts.first().map_or(0, |part| part.slice.slices_of_pool);
            all.pools.push(Pool {
                is_complete: usize::try_from(declared).is_ok_and(|count| count == parts.len()),
                parts,
            });
        }
        all
    }

    /// What the cluster has in use. Claims whose consumers all move are no longer in use (section 9.5).
    pub(super) fn in_use(&self, snapshot: &Snapshot, moved: &FxHashSet<Arc<str>>) -> Usage {
        let mut usage = Usage::default();
        let devices = snapshot.devices.iter();
        for claim in devices.flat_map(|devices| &devices.claims) {
            let Some(allocation) = &claim.allocation else {
                continue;
            };
            if claim.moves(|uid| moved.contains(uid)) {
                continue;
            }
            for allocated in &allocation.devices {
                if let Some((number, device)) = self.devices.get(&allocated.device) {
                    let key = DeviceKey::Published(*number);
                    usage.occupy(key, device, allocated.consumed.as_ref());
                }
            }
        }
        usage
    }

    /// What a machine can use: a node of that name if it has one, with these requirements.
    pub(super) fn visible(
        &self,
        node: Option<&str>,
        requirements: &Requirements,
        vocabulary: &Vocabulary,
    ) -> Visible {
        let mut pools: BTreeSet<usize> = self.wide.iter().copied().collect();
        let own = node.and_then(|name| self.of_nodes.get(name));
        pools.extend(own.into_iter().flatten());
        let mut visible = Visible::default();
        for pool in pools.into_iter().map(|at| &self.pools[at]) {
            let reaches = |part: &&Part| match &part.slice.reach {
                Reach::All => true,
                Reach::Node(name) => node == Some(&**name),
                Reach::Selected(terms) => terms.iter().any(|term| {
                    requirements.compatible(term, Undefined::AllowedIfWellKnown, vocabulary)
                }),
                Reach::Unknown => false,
            };
            let parts: Vec<&Part> = pool.parts.iter().filter(reaches).collect();
            let Some(first) = parts.first() else {
                continue;
            };
            if !pool.is_complete || !is_valid(pool, &parts) {
                let kind = if pool.is_complete {
                    "invalid"
                } else {
                    "incomplete"
                };
                let (driver, name) = (&first.slice.driver, &first.slice.pool);
                let text: String = format!("resource pool {driver}/{name} is {kind}");
                visible.flaw.get_or_insert_with(|| text.into());
                continue;
            }
            for part in parts {
                let devices = part.slice.devices.iter().zip(part.first..);
                visible.choices.extend(devices.map(|(device, number)| {
                    Rc::new(Choice {
                        key: DeviceKey::Published(number),
                        device: device.clone(),
                        topology: part.topology.clone(),
                        is_local: matches!(part.slice.reach, Reach::Node(_)),
                    })
                }));
            }
        }
        visible
    }
}

/// No name is there twice, and devices draw on counters that exist.
fn is_valid(pool: &Pool, parts: &[&Part]) -> bool {
    let mut sets = BTreeSet::new();
    let mut counters = BTreeSet::new();
    for set in pool.parts.iter().flat_map(|part| &part.slice.counters) {
        if !sets.insert(&set.name) {
            return false;
        }
        counters.extend(set.counters.keys().map(|counter| (&set.name, counter)));
    }
    let mut names = BTreeSet::new();
    let mut devices = parts.iter().flat_map(|part| &part.slice.devices);
    devices.all(|device| {
        let mut draws = device.draws.iter();
        names.insert(&device.name.device)
            && draws.all(|draw| counters.contains(&(&draw.set, &draw.counter)))
    })
}

fn merged(terms: &[Requirements], vocabulary: &Vocabulary) -> Requirements {
    let mut all = Requirements::new();
    for term in terms {
        all.add_all(term, vocabulary);
    }
    all
}

/// Nodes whose own devices count: initialised, and staying.
fn settled_nodes(view: &View<'_>) -> FxHashSet<Arc<str>> {
    let nodes = view.base.nodes.iter();
    nodes
        .filter(|(id, node)| node.initialized && !node.marked && !view.gone.contains(*id))
        .filter_map(|(_, node)| Some(node.node.as_ref()?.name.clone()))
        .collect()
}
