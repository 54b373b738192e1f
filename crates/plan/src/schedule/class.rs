//! Pods that cannot be told apart but for rules between pods: one wish, one size, the same host ports,
//! volumes in the same places, the same claims of devices, and whether they run elsewhere.
//! What refused one of them for another reason than those rules refuses all.
//!
//! Within a round nodes only fill up and open claims only narrow and fill up, so "does not fit" and
//! "contradicts" hold for good. The one refusal that may be lifted is "label has no known values": an open
//! claim comes to define a key when a pod that merely excludes values joins it. `OpenClaims` forgets the
//! refusals of a claim when that happens. Rules between pods may allow tomorrow what they forbid today,
//! so what they refuse is never remembered here; nor is the want of devices, which may become free.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::ops::{Index, IndexMut};

use fixedbitset::FixedBitSet;
use rustc_hash::FxHashMap;

use super::{Refusal, ask::Volumes, set::WishId, topology::ProfileId};
use crate::{
    pod::{HostPort, Pod},
    resources::Resources,
};

/// What is remembered of a class.
#[derive(Debug, Default)]
pub(super) struct Class {
    /// Places that exist and may still accept.
    pub(super) places: Option<FixedBitSet>,
    /// Open claims that refuse.
    pub(super) refused: FixedBitSet,
    /// No template will ever accept.
    pub(super) no_new_claim: Option<Refusal>,
    /// Everything refused, by profile, when the round was at this version and the profile at this stamp.
    pub(super) refused_at: FxHashMap<ProfileId, (u32, u64, Refusal)>,
}

/// Claims of devices: the namespace, and the names.
type DeviceClaims = (Arc<str>, Box<[Arc<str>]>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClassId(usize);

/// All classes of a round.
#[derive(Debug, Default)]
pub(super) struct Classes {
    all: Vec<Class>,
    sizes: FxHashMap<Resources, u32>,
    ports: FxHashMap<Vec<HostPort>, u32>,
    device_claims: FxHashMap<DeviceClaims, u32>,
    ids: FxHashMap<(WishId, Volumes, [u32; 3], bool), ClassId>,
}

impl Classes {
    pub(super) fn of(
        &mut self,
        pod: &Pod,
        wish: WishId,
        volumes: &Volumes,
        moved: bool,
    ) -> ClassId {
        let size = number(&mut self.sizes, &pod.requests);
        let ports = if pod.shape.ports.is_empty() {
            u32::MAX
        } else {
            number(&mut self.ports, &pod.shape.ports)
        };
        let device_claims = if pod.device_claims.is_empty() {
            u32::MAX
        } else {
            let key = (pod.namespace.clone(), pod.device_claims.clone());
            number(&mut self.device_claims, &key)
        };
        let all = &mut self.all;
        let key = (wish, volumes.clone(), [size, ports, device_claims], moved);
        *self.ids.entry(key).or_insert_with(|| {
            all.push(Class::default());
            ClassId(all.len() - 1)
        })
    }

    pub(super) fn iter_mut(&mut self) -> core::slice::IterMut<'_, Class> {
        self.all.iter_mut()
    }
}

/// The number of a value, a new one if it was not met before.
fn number<T: Clone + Eq + core::hash::Hash>(known: &mut FxHashMap<T, u32>, value: &T) -> u32 {
    if let Some(&number) = known.get(value) {
        return number;
    }
    let number = u32::try_from(known.len()).unwrap_or(u32::MAX);
    known.insert(value.clone(), number);
    number
}

impl Index<ClassId> for Classes {
    type Output = Class;
    fn index(&self, id: ClassId) -> &Class {
        &self.all[id.0]
    }
}

impl IndexMut<ClassId> for Classes {
    fn index_mut(&mut self, id: ClassId) -> &mut Class {
        &mut self.all[id.0]
    }
}
