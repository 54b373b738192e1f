//! NodePools with what they may launch.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use karpenter_api::NodePool;
use karpenter_plan::{Catalog, CatalogFeed, Lowering, Pool, PoolPart, Problem, overlay};

use super::shelf::Shelf;
use crate::mirror::{
    overlays::Overlaid,
    state::{State, is_aside},
};

/// Pools, what overlays make of their feeds, and catalogues by the generation of the feed.
#[derive(Default)]
pub(super) struct StockedPools {
    pools: Shelf<Arc<NodePool>, Pool>,
    overlaid: Overlaid,
    catalogs: BTreeMap<u64, Arc<Catalog>>,
}

impl StockedPools {
    pub(super) fn update(
        &mut self,
        state: &mut State,
        problems: &mut Vec<Problem>,
    ) -> Vec<PoolPart> {
        let overlays = state.readable_overlays();
        let aside = &state.aside;
        let lowering = &mut state.lowering;
        let all = state.pools.iter();
        let readable = all
            .filter(|(key, _)| !is_aside(aside, "NodePool", key))
            .map(|(key, pool)| (key, Arc::clone(pool)));
        self.pools
            .update(readable, Arc::ptr_eq, |pool| lowering.pool(pool));
        problems.extend(self.pools.problems().cloned());
        let pools = self.pools.values();
        let feeds = &state.feeds;
        let feed = |pool: &str| feeds.get(pool).and_then(|answer| answer.as_ref().ok());
        self.overlaid.update(lowering, overlays, &pools, feed);
        let parts = pools
            .iter()
            .map(|pool| PoolPart {
                catalog: self.catalog_of(lowering, pool, feeds.get(&*pool.name)),
                pool: Arc::clone(pool),
            })
            .collect();
        let generations: BTreeSet<u64> = feeds
            .values()
            .flatten()
            .map(|feed| feed.generation)
            .chain(self.overlaid.generations())
            .collect();
        self.catalogs
            .retain(|generation, _| generations.contains(generation));
        parts
    }

    fn catalog_of(
        &mut self,
        lowering: &mut Lowering,
        pool: &Pool,
        feed: Option<&Result<CatalogFeed, Arc<str>>>,
    ) -> Result<Arc<Catalog>, Arc<str>> {
        let catalogs = &mut self.catalogs;
        let catalog = match (self.overlaid.of(&pool.name), feed) {
            (Some(corrected), _) => catalogs
                .entry(corrected.feed.generation)
                .or_insert_with(|| lowering.corrected_catalog(corrected)),
            (None, None) => {
                return Err("the provider has not been asked for instance types yet".into());
            }
            (None, Some(Err(why))) => return Err(Arc::clone(why)),
            (None, Some(Ok(feed))) => catalogs
                .entry(feed.generation)
                .or_insert_with(|| lowering.catalog(feed)),
        };
        Ok(Arc::clone(catalog))
    }

    /// What became of the overlays.
    pub(super) fn verdicts(&self) -> Arc<[overlay::Verdict]> {
        Arc::clone(&self.overlaid.verdicts)
    }
}
