//! Pods that cannot be told apart: one wish and one size. What refused one of them refuses all.
//!
//! Within a round nodes only fill up and open claims only narrow and fill up, so "does not fit" and
//! "contradicts" hold for good. The one refusal that may be lifted is "label has no known values": an open
//! claim comes to define a key when a pod that merely excludes values joins it. `OpenClaims` forgets the
//! refusals of a claim when that happens.

use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

use fixedbitset::FixedBitSet;
use rustc_hash::FxHashMap;

use super::Refusal;
use crate::{
    pod::{Pod, Shape},
    requirement::Requirements,
    resources::Resources,
    vocabulary::ShapeId,
};

/// One step of a pod's ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Attempt {
    /// Index into the preferred sets followed by the alternatives.
    pub(super) rank: u16,
    /// Taints that merely ask not to be used are tolerated.
    pub(super) tolerate_preferred: bool,
}

impl Attempt {
    /// The steps of a shape in order.
    pub(super) fn ladder(
        shape: &Shape,
        ignore_preferences: bool,
        prefer_no_schedule: bool,
    ) -> Vec<Self> {
        let preferred = shape.preferred.len();
        let total = preferred + shape.alternatives.len();
        let step = |rank: usize| Self {
            rank: u16::try_from(rank).unwrap_or(u16::MAX),
            tolerate_preferred: false,
        };
        let mut steps: Vec<Self> = if ignore_preferences || preferred == 0 {
            (preferred..total).map(step).collect()
        } else {
            (0..preferred).chain([total - 1]).map(step).collect()
        };
        if prefer_no_schedule && let Some(&last) = steps.last() {
            steps.push(Self {
                tolerate_preferred: true,
                ..last
            });
        }
        steps
    }

    /// What the step requires.
    pub(super) fn requirements(self, shape: &Shape) -> &Requirements {
        let rank = usize::from(self.rank);
        match shape.preferred.get(rank) {
            Some(requirements) => requirements,
            None => &shape.alternatives[rank - shape.preferred.len()],
        }
    }
}

/// What is remembered of a class.
#[derive(Debug, Default)]
pub(super) struct Class {
    /// Existing places before this one in the wish's list refuse.
    pub(super) cursor: usize,
    /// Open claims that refuse.
    pub(super) refused: FixedBitSet,
    /// No template will ever accept.
    pub(super) no_new_claim: Option<Refusal>,
    /// Everything refused when the round was at this version.
    pub(super) refused_at: Option<(u32, Refusal)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClassId(usize);

/// All classes of a round.
#[derive(Debug, Default)]
pub(super) struct Classes {
    all: Vec<Class>,
    sizes: FxHashMap<Resources, u32>,
    ids: FxHashMap<(ShapeId, Attempt, u32), ClassId>,
}

impl Classes {
    pub(super) fn of(&mut self, pod: &Pod, attempt: Attempt) -> ClassId {
        let size = if let Some(&size) = self.sizes.get(&pod.requests) {
            size
        } else {
            let size = u32::try_from(self.sizes.len()).unwrap_or(u32::MAX);
            self.sizes.insert(pod.requests.clone(), size);
            size
        };
        let all = &mut self.all;
        *self
            .ids
            .entry((pod.shape_id, attempt, size))
            .or_insert_with(|| {
                all.push(Class::default());
                ClassId(all.len() - 1)
            })
    }

    pub(super) fn iter_mut(&mut self) -> core::slice::IterMut<'_, Class> {
        self.all.iter_mut()
    }
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
