//! The picture into a snapshot: join, lower what changed, freeze.
//!
//! Whatever is made for a snapshot is kept for the next one, room by room: a [`Shelf`](shelf::Shelf) for
//! each kind of object, the joined [nodes](nodes), the [pods](pods) in order, and the last snapshot
//! itself, from which the next one is made. So a snapshot costs what has changed since the last one.
//! Whatever does not lower is named in the snapshot and takes part in nothing.

mod nodes;
mod pods;
mod pools;
mod shelf;
mod spreads;
mod volumes;

use std::{mem, sync::Arc};

use jiff::Timestamp;
use karpenter_api::objects::{DaemonSet, Namespace, Pod, PodDisruptionBudget};
use karpenter_plan::{
    Daemon, DisruptionBudget, Parts, Problem, Snapshot, buffer::Buffer, overlay, topology,
};

use self::{
    nodes::JoinedNodes,
    pools::StockedPools,
    shelf::Shelf,
    spreads::SpreadSources,
    volumes::{DeviceSources, VolumeSources},
};
use super::{
    buffers::{self, BufferSource},
    state::State,
};

pub(super) use pods::PodList;

type DaemonSource = (Arc<DaemonSet>, Option<Arc<Pod>>);

/// Everything that was made for the last snapshot.
#[derive(Default)]
pub(crate) struct Cache {
    pools: StockedPools,
    nodes: JoinedNodes,
    daemons: Shelf<DaemonSource, Daemon>,
    budgets: Shelf<Arc<PodDisruptionBudget>, DisruptionBudget>,
    namespaces: Shelf<Arc<Namespace>, topology::Namespace>,
    volumes: VolumeSources,
    devices: DeviceSources,
    spreads: SpreadSources,
    buffers: Shelf<BufferSource, Buffer>,
    last: Option<(u64, Arc<Snapshot>)>,
}

/// Whether both are the same allocation, or both absent.
fn same<T>(left: Option<&Arc<T>>, right: Option<&Arc<T>>) -> bool {
    left.map(Arc::as_ptr) == right.map(Arc::as_ptr)
}

impl State {
    /// The snapshot of this instant; the last one again if nothing changed.
    pub(super) fn snapshot(&mut self, now: Timestamp) -> Arc<Snapshot> {
        let snapshot = match self.cache.last.take() {
            Some((generation, last)) if generation == self.generation => {
                if last.now == now {
                    last
                } else {
                    let last = Arc::unwrap_or_clone(last);
                    Arc::new(Snapshot { now, ..last })
                }
            }
            last => Arc::new(self.freeze(now, last.map(|(_, last)| last))),
        };
        self.cache.last = Some((self.generation, Arc::clone(&snapshot)));
        snapshot
    }

    fn freeze(&mut self, now: Timestamp, last: Option<Arc<Snapshot>>) -> Snapshot {
        let mut cache = mem::take(&mut self.cache);
        let parts = self.parts(&mut cache);
        self.cache = cache;
        let mut snapshot = match last {
            Some(last) => Arc::unwrap_or_clone(last).renewed(now, parts),
            None => Snapshot::freeze(now, parts),
        };
        for (host, count) in &self.buffer_hosts {
            snapshot.host_buffer_pods(host, *count);
        }
        snapshot
    }

    fn parts(&mut self, cache: &mut Cache) -> Parts {
        let mut problems = self.undecoded();
        let pools = cache.pools.update(self, &mut problems);
        let nodes = cache.nodes.update(self, &mut problems);
        let daemons = self.lower_daemons(&mut cache.daemons, &mut problems);
        let lowering = &mut self.lowering;
        let budgets = cache.budgets.lower(
            &self.budgets,
            |budget| lowering.budget(budget),
            &mut problems,
        );
        let namespaces = cache.namespaces.lower(
            &self.namespaces,
            |namespace| Ok(lowering.namespace(namespace)),
            &mut problems,
        );
        let volumes = cache.volumes.update(self);
        let devices = cache.devices.update(self);
        let default_spreads = cache.spreads.update(self);
        let buffers = self.lower_buffers(&mut cache.buffers);
        let mut pods = self.pod_list.update(&self.pods).clone();
        let mut virtual_pods = buffers.iter().flat_map(|buffer| &buffer.pods).peekable();
        if virtual_pods.peek().is_some() {
            pods = pods.values().chain(virtual_pods).map(Arc::clone).collect();
        }
        problems.sort();
        Parts {
            vocabulary: Arc::clone(self.lowering.vocabulary()),
            pools,
            nodes,
            pods,
            daemons: daemons.to_vec(),
            budgets: budgets.to_vec(),
            namespaces: namespaces.to_vec(),
            default_spreads,
            volumes,
            devices,
            set_aside: problems,
        }
    }

    fn lower_daemons(
        &mut self,
        shelf: &mut Shelf<DaemonSource, Daemon>,
        problems: &mut Vec<Problem>,
    ) -> Arc<[Arc<Daemon>]> {
        let lowering = &mut self.lowering;
        let sources = self.daemons.iter().map(|(key, daemon)| {
            let newest = self.daemon_pods.get(key).map(|(_, pod)| Arc::clone(pod));
            (key, (Arc::clone(daemon), newest))
        });
        let is_same = |left: &DaemonSource, right: &DaemonSource| {
            Arc::ptr_eq(&left.0, &right.0) && same(left.1.as_ref(), right.1.as_ref())
        };
        shelf.update(sources, is_same, |(daemon, newest)| {
            lowering.daemon(daemon, newest.as_deref())
        });
        problems.extend(shelf.problems().cloned());
        shelf.values()
    }

    fn lower_buffers(&mut self, shelf: &mut Shelf<BufferSource, Buffer>) -> Arc<[Arc<Buffer>]> {
        let sources = self.buffer_sources();
        let sources = sources.iter().map(|(key, source)| (key, source.clone()));
        let lowering = &mut self.lowering;
        shelf.update(sources, buffers::is_same, |source| {
            Ok(buffers::lower(lowering, source))
        });
        shelf.values()
    }

    /// What became of the overlays at the last freeze.
    pub(super) fn overlay_verdicts(&self) -> Arc<[overlay::Verdict]> {
        self.cache.pools.verdicts()
    }

    /// What the buffers had come to at the last freeze.
    pub(super) fn resolved_buffers(&self) -> Vec<Arc<Buffer>> {
        self.cache.buffers.values().to_vec()
    }

    /// What the watches could not even decode.
    fn undecoded(&self) -> Vec<Problem> {
        self.aside
            .iter()
            .map(|((kind, key), (pool, message))| Problem {
                kind,
                namespace: Some(key.namespace.clone())
                    .filter(|namespace: &Arc<str>| !namespace.is_empty()),
                name: key.name.clone(),
                pool: pool.as_deref().map(Arc::from),
                message: message.clone(),
            })
            .collect()
    }
}
