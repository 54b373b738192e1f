//! NodeOverlays over what providers state, worked out anew when any of either has changed.

use std::{collections::BTreeMap, sync::Arc};

use karpenter_api::NodeOverlay;
use karpenter_plan::{
    CatalogFeed, Lowering, Pool,
    overlay::{self, Corrected, PoolFeed, Verdict},
};

use super::state::{State, is_aside};

/// What overlays come to, beside what it was made from.
#[derive(Default)]
pub(super) struct Overlaid {
    overlays: Vec<Arc<NodeOverlay>>,
    pools: Vec<(Arc<Pool>, Option<u64>)>,
    corrected: BTreeMap<Arc<str>, Corrected>,
    pub(super) verdicts: Arc<[Verdict]>,
}

impl Overlaid {
    /// Brings everything up to date.
    pub(super) fn update<'a>(
        &mut self,
        lowering: &mut Lowering,
        overlays: Vec<Arc<NodeOverlay>>,
        pools: &[Arc<Pool>],
        feed: impl Fn(&str) -> Option<&'a CatalogFeed>,
    ) {
        let stated: Vec<(Arc<Pool>, Option<u64>)> = pools
            .iter()
            .map(|pool| {
                let generation = feed(&pool.name).map(|feed| feed.generation);
                (Arc::clone(pool), generation)
            })
            .collect();
        let is_known = self.overlays.len() == overlays.len()
            && self
                .overlays
                .iter()
                .zip(&overlays)
                .all(|(a, b)| a.spec == b.spec)
            && self
                .overlays
                .iter()
                .zip(&overlays)
                .all(|(a, b)| a.metadata.name == b.metadata.name)
            && self.pools.len() == stated.len()
            && self
                .pools
                .iter()
                .zip(&stated)
                .all(|(a, b)| Arc::ptr_eq(&a.0, &b.0) && a.1 == b.1);
        if is_known {
            return;
        }
        let inputs: Vec<PoolFeed<'_>> = pools
            .iter()
            .map(|pool| (&**pool, feed(&pool.name)))
            .collect();
        let (corrected, verdicts) = overlay::apply(lowering, &overlays, &inputs);
        let named = pools
            .iter()
            .map(|pool| Arc::clone(&pool.name))
            .zip(corrected);
        self.corrected = named
            .filter_map(|(name, feed)| Some((name, feed?)))
            .collect();
        self.verdicts = verdicts.into();
        self.overlays = overlays;
        self.pools = stated;
    }

    /// What a pool's types have become, if overlays change any.
    pub(super) fn of(&self, pool: &str) -> Option<&Corrected> {
        self.corrected.get(pool)
    }

    /// Generations of all corrected feeds.
    pub(super) fn generations(&self) -> impl Iterator<Item = u64> + '_ {
        self.corrected
            .values()
            .map(|corrected| corrected.feed.generation)
    }
}

impl State {
    /// The overlays that can be read, in name order; none while their gate is closed.
    pub(super) fn readable_overlays(&self) -> Vec<Arc<NodeOverlay>> {
        if !self.gates.node_overlay {
            return Vec::new();
        }
        self.overlays
            .iter()
            .filter(|(key, overlay)| {
                overlay.metadata.deletion_timestamp.is_none()
                    && !is_aside(&self.aside, "NodeOverlay", key)
            })
            .map(|(_, overlay)| Arc::clone(overlay))
            .collect()
    }
}
