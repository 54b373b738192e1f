//! The lowered pods in the order that numbers them, brought up to date pod by pod.

use std::{collections::BTreeSet, sync::Arc};

use karpenter_plan::{self as plan, PodId, Roster};

use crate::mirror::{Key, PodEntry, objects::Objects};

/// With more changes than this it is cheaper to list all pods than to remember which have changed; and
/// nothing grows without bound where nobody asks for snapshots.
const MOST_TOUCHED: usize = 4096;

/// All pods as of the last snapshot, and which have changed since.
#[derive(Default)]
pub(crate) struct PodList {
    roster: Roster<PodId, plan::Pod>,
    /// Keys of pods that came, changed or went; none when all pods must be listed.
    touched: Option<BTreeSet<Key>>,
}

impl PodList {
    /// A pod came, changed or went.
    pub(in crate::mirror) fn touch(&mut self, key: &Key) {
        let Some(touched) = &mut self.touched else {
            return;
        };
        touched.insert(key.clone());
        // Without a namespace a key is not what orders the lowered pod.
        if touched.len() > MOST_TOUCHED || key.namespace.is_empty() {
            self.touched = None;
        }
    }

    pub(super) fn update(&mut self, pods: &Objects<Arc<PodEntry>>) -> &Roster<PodId, plan::Pod> {
        match self.touched.replace(BTreeSet::new()) {
            None => {
                self.roster = pods.values().map(|pod| Arc::clone(&pod.lowered)).collect();
            }
            Some(touched) if touched.is_empty() => {}
            Some(touched) => {
                let changes = touched.into_iter().map(|key| {
                    let lowered = pods.get(&key).map(|pod| Arc::clone(&pod.lowered));
                    (key, lowered)
                });
                self.roster = self.roster.changed(changes, |pod, key| {
                    (&*pod.namespace, &*pod.name).cmp(&(&key.namespace, &key.name))
                });
            }
        }
        &self.roster
    }
}
