//! Which domains there are before anybody looks at nodes: the values that pools and their instance
//! types offer for a key (section 5.2 of scheduling.md).

use alloc::vec::Vec;

use rustc_hash::FxHashMap;

use crate::{
    snapshot::Snapshot,
    taint::{Taint, Toleration, tolerates},
    vocabulary::{KeyId, ValueId},
};

/// A value and the taints of each pool that offers it.
#[derive(Debug)]
struct Offered<'a> {
    value: ValueId,
    taints: Vec<&'a [Taint]>,
}

/// The values of keys that somebody asked for.
#[derive(Debug)]
pub(super) struct Universe<'a> {
    snapshot: &'a Snapshot,
    keys: FxHashMap<KeyId, Vec<Offered<'a>>>,
}

impl<'a> Universe<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        Self {
            snapshot,
            keys: FxHashMap::default(),
        }
    }

    /// Values of the key on nodes whose pool the tolerations allow, or on all nodes.
    pub(super) fn values(
        &mut self,
        key: KeyId,
        tolerations: Option<&[Toleration]>,
    ) -> Vec<ValueId> {
        let snapshot = self.snapshot;
        let offered = self
            .keys
            .entry(key)
            .or_insert_with(|| offered(snapshot, key));
        offered
            .iter()
            .filter(|offered| {
                tolerations
                    .is_none_or(|own| offered.taints.iter().any(|taints| tolerates(own, taints)))
            })
            .map(|offered| offered.value)
            .collect()
    }
}

fn offered(snapshot: &Snapshot, key: KeyId) -> Vec<Offered<'_>> {
    let mut all: Vec<Offered<'_>> = Vec::new();
    let mut places: FxHashMap<ValueId, usize> = FxHashMap::default();
    for (id, pool) in snapshot.pools.iter() {
        let Ok(catalog) = &snapshot.catalogs[id] else {
            continue;
        };
        if !pool.is_dynamic() || catalog.types.is_empty() {
            continue;
        }
        let template = pool.requirements.get(key);
        let own = template
            .filter(|own| !own.is_complement())
            .into_iter()
            .flat_map(|own| own.values().iter().copied());
        let of_types = catalog
            .values(key)
            .filter(|&value| template.is_none_or(|own| own.has(value, &snapshot.vocabulary)));
        for value in own.chain(of_types) {
            let at = *places.entry(value).or_insert_with(|| {
                let taints = Vec::new();
                all.push(Offered { value, taints });
                all.len() - 1
            });
            let taints = &mut all[at].taints;
            if !taints.contains(&&*pool.taints) {
                taints.push(&pool.taints);
            }
        }
    }
    all
}
