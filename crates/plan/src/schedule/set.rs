//! Interned requirement sets and what follows from them.
//!
//! A claim's requirements are one of a few dozen sets, however many claims there are. Narrowing a set by
//! a wish, and finding the types that a set leaves, are computed once.

use alloc::{rc::Rc, vec::Vec};

use rustc_hash::FxHashMap;

use super::ladder::Step;
use crate::{
    catalog::{Catalog, Slots},
    pod::Shape,
    requirement::{Requirement, Requirements, Undefined},
    snapshot::Snapshot,
    taint::{Taint, Toleration, TolerationOperator},
    vocabulary::{PoolId, ShapeId, Vocabulary},
};

/// An interned requirement set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SetId(u32);

/// An interned wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct WishId(u32);

/// What a pod asks for in one step.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Wish {
    pub(super) requirements: Requirements,
    pub(super) tolerations: Vec<Toleration>,
}

/// Which slots of a catalogue a set leaves.
#[derive(Debug)]
pub(super) struct Left {
    /// The type does not contradict the set.
    pub(super) meeting: Slots,
    /// There is an available, compatible offering.
    pub(super) offered: Slots,
    /// Both.
    pub(super) both: Slots,
}

/// All sets and wishes of a round.
#[derive(Debug)]
pub(super) struct Sets<'a> {
    snapshot: &'a Snapshot,
    all: Vec<Rc<Requirements>>,
    ids: FxHashMap<Rc<Requirements>, SetId>,
    narrowed: FxHashMap<(SetId, WishId), Option<SetId>>,
    restricted: FxHashMap<(SetId, Requirement), Option<SetId>>,
    left: FxHashMap<(PoolId, SetId), Rc<Left>>,
    wishes: Vec<Rc<Wish>>,
    wish_ids: FxHashMap<Rc<Wish>, WishId>,
    wishes_of_shapes: FxHashMap<(ShapeId, u16, bool), WishId>,
}

impl<'a> Sets<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        Self {
            snapshot,
            all: Vec::new(),
            ids: FxHashMap::default(),
            narrowed: FxHashMap::default(),
            restricted: FxHashMap::default(),
            left: FxHashMap::default(),
            wishes: Vec::new(),
            wish_ids: FxHashMap::default(),
            wishes_of_shapes: FxHashMap::default(),
        }
    }

    pub(super) fn snapshot(&self) -> &'a Snapshot {
        self.snapshot
    }

    pub(super) fn vocabulary(&self) -> &'a Vocabulary {
        &self.snapshot.vocabulary
    }

    pub(super) fn intern(&mut self, requirements: Requirements) -> SetId {
        if let Some(&id) = self.ids.get(&requirements) {
            return id;
        }
        let id = SetId(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        let shared = Rc::new(requirements);
        self.all.push(shared.clone());
        self.ids.insert(shared, id);
        id
    }

    pub(super) fn get(&self, id: SetId) -> &Rc<Requirements> {
        &self.all[id.0 as usize]
    }

    pub(super) fn wish(&mut self, shape: &Shape, shape_id: ShapeId, step: Step) -> WishId {
        let key = (shape_id, step.rank, step.tolerate_preferred);
        if let Some(&id) = self.wishes_of_shapes.get(&key) {
            return id;
        }
        let mut tolerations = shape.tolerations.clone();
        if step.tolerate_preferred {
            tolerations.push(tolerate_preferred());
        }
        let id = self.intern_wish(Wish {
            requirements: step.requirements(shape).clone(),
            tolerations,
        });
        self.wishes_of_shapes.insert(key, id);
        id
    }

    /// A wish for nothing but labels.
    pub(super) fn bare_wish(&mut self, requirements: Requirements) -> WishId {
        self.intern_wish(Wish {
            requirements,
            tolerations: Vec::new(),
        })
    }

    fn intern_wish(&mut self, wish: Wish) -> WishId {
        if let Some(&id) = self.wish_ids.get(&wish) {
            return id;
        }
        let id = WishId(u32::try_from(self.wishes.len()).unwrap_or(u32::MAX));
        let wish = Rc::new(wish);
        self.wishes.push(wish.clone());
        self.wish_ids.insert(wish, id);
        id
    }

    pub(super) fn wish_of(&self, id: WishId) -> &Rc<Wish> {
        &self.wishes[id.0 as usize]
    }

    /// The set narrowed by the wish, or nothing if they are incompatible for a node that will be.
    pub(super) fn narrow(&mut self, set: SetId, wish: WishId) -> Option<SetId> {
        if let Some(&known) = self.narrowed.get(&(set, wish)) {
            return known;
        }
        let vocabulary = self.vocabulary();
        let (own, wanted) = (self.get(set).clone(), self.wish_of(wish).clone());
        let compatible = own.compatible(
            &wanted.requirements,
            Undefined::AllowedIfWellKnown,
            vocabulary,
        );
        let narrowed = compatible.then(|| {
            let mut both = (*own).clone();
            both.add_all(&wanted.requirements, vocabulary);
            self.intern(both)
        });
        self.narrowed.insert((set, wish), narrowed);
        narrowed
    }

    /// The set narrowed by one more requirement, or nothing if they are incompatible for a node that
    /// will be.
    pub(super) fn restrict(&mut self, set: SetId, requirement: Requirement) -> Option<SetId> {
        let key = (set, requirement);
        if let Some(&known) = self.restricted.get(&key) {
            return known;
        }
        let vocabulary = self.vocabulary();
        let own = self.get(set).clone();
        let mut wanted = Requirements::new();
        wanted.add(key.1.clone(), vocabulary);
        let restricted = own
            .compatible(&wanted, Undefined::AllowedIfWellKnown, vocabulary)
            .then(|| {
                let mut both = (*own).clone();
                both.add_all(&wanted, vocabulary);
                self.intern(both)
            });
        self.restricted.insert(key, restricted);
        restricted
    }

    /// What the set leaves of the pool's catalogue.
    pub(super) fn left(&mut self, pool: PoolId, catalog: &Catalog, set: SetId) -> Rc<Left> {
        if let Some(known) = self.left.get(&(pool, set)) {
            return known.clone();
        }
        let requirements = self.get(set).clone();
        let meeting = catalog.slots_meeting(&requirements, self.vocabulary());
        let offered = catalog.slots_offered(&requirements, self.vocabulary());
        let mut both = meeting.clone();
        both.intersect_with(&offered);
        let left = Rc::new(Left {
            meeting,
            offered,
            both,
        });
        self.left.insert((pool, set), left.clone());
        left
    }
}

/// Tolerates every taint that merely asks not to be used.
pub(super) fn tolerate_preferred() -> Toleration {
    Toleration {
        key: "".into(),
        operator: TolerationOperator::Exists,
        value: "".into(),
        effect: PREFER_NO_SCHEDULE.into(),
    }
}

const PREFER_NO_SCHEDULE: &str = "PreferNoSchedule";

/// True for a taint that merely asks not to be used.
pub(super) fn merely_asks(taint: &Taint) -> bool {
    *taint.effect == *PREFER_NO_SCHEDULE
}
