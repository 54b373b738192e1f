//! One pod in one step of its ladder, looking for a place.

use alloc::{rc::Rc, vec::Vec};
use core::cell::RefCell;

use rustc_hash::FxHashMap;

use super::{
    class::ClassId,
    devices::Allocator,
    set::{Sets, WishId},
    topology::ProfileId,
};
use crate::{
    pod::Pod,
    snapshot::Snapshot,
    vocabulary::{KeyId, PodId},
    volume::VolumeWish,
};

/// The pod and what it asks for, in the terms of the round.
#[derive(Clone, Debug)]
pub(super) struct Ask<'p> {
    pub(super) id: PodId,
    pub(super) pod: &'p Pod,
    pub(super) wish: WishId,
    /// Where its volumes can be.
    pub(super) volumes: Volumes,
    pub(super) class: ClassId,
    /// What it must mind of other pods.
    pub(super) profile: ProfileId,
    /// It runs elsewhere, so closed nodes do not take it.
    pub(super) moved: bool,
    /// Where devices come from, for a pod that claims some.
    pub(super) devices: Option<Rc<RefCell<Allocator<'p>>>>,
}

/// Where the volumes of a pod can be: alternatives, or nothing to mind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Volumes(Option<Rc<[WishId]>>);

impl Volumes {
    /// The alternatives in order; a single empty one when there is nothing to mind.
    pub(super) fn alternatives(&self) -> impl Iterator<Item = Option<WishId>> + '_ {
        let any = self.0.is_none().then_some(None);
        let some = self.0.as_deref().unwrap_or_default();
        any.into_iter().chain(some.iter().copied().map(Some))
    }

    pub(super) fn are_anywhere(&self) -> bool {
        self.0.is_none()
    }
}

/// What was found out about volumes.
#[derive(Debug, Default)]
pub(super) struct VolumeWishes {
    known: FxHashMap<VolumeWish, Volumes>,
}

impl VolumeWishes {
    /// Where the pod's volumes can be; a label on which they disagree if they can be nowhere.
    pub(super) fn of(
        &mut self,
        snapshot: &Snapshot,
        sets: &mut Sets<'_>,
        pod: &Pod,
    ) -> Result<Volumes, KeyId> {
        if pod.volumes.is_empty() {
            return Ok(Volumes::default());
        }
        let wish = snapshot.volumes.wish(pod, &snapshot.vocabulary);
        if let Some(key) = wish.conflict {
            return Err(key);
        }
        if wish.alternatives.is_empty() {
            return Ok(Volumes::default());
        }
        if let Some(known) = self.known.get(&wish) {
            return Ok(known.clone());
        }
        let all: Vec<WishId> = wish
            .alternatives
            .iter()
            .map(|alternative| sets.bare_wish(alternative.clone()))
            .collect();
        let volumes = Volumes(Some(all.into()));
        self.known.insert(wish, volumes.clone());
        Ok(volumes)
    }
}
