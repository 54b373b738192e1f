//! All objects of a kind in the order that numbers them, shared from snapshot to snapshot.
//!
//! A roster is always in order, so nobody sorts or checks it again; and two rosters tell cheaply where
//! they differ, because what has not changed is the same allocation in both ([`Carried`]).

use alloc::{sync::Arc, vec::Vec};
use core::{cmp::Ordering, ops::Deref, slice::IterMut};

use crate::{
    node::Node,
    pod::Pod,
    vocabulary::{Id, IdVec},
};

/// What stands in a roster.
pub trait Listed {
    /// Which comes first; equal only for namesakes.
    fn order(&self, other: &Self) -> Ordering;
}

impl Listed for Node {
    fn order(&self, other: &Self) -> Ordering {
        self.name.cmp(&other.name)
    }
}

impl Listed for Pod {
    fn order(&self, other: &Self) -> Ordering {
        (&self.namespace, &self.name).cmp(&(&other.namespace, &other.name))
    }
}

/// Objects in order, behind one pointer.
#[derive(Clone, Debug)]
pub struct Roster<I, T>(Arc<IdVec<I, Arc<T>>>);

impl<I, T> Default for Roster<I, T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<I, T> Deref for Roster<I, T> {
    type Target = IdVec<I, Arc<T>>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<I: Id, T: Listed> FromIterator<Arc<T>> for Roster<I, T> {
    fn from_iter<It: IntoIterator<Item = Arc<T>>>(items: It) -> Self {
        let mut items: Vec<Arc<T>> = items.into_iter().collect();
        items.sort_by(|a, b| a.order(b));
        Self(Arc::new(items.into_iter().collect()))
    }
}

impl<I: Id, T> Roster<I, T> {
    /// Puts a namesake in an item's place.
    pub fn replace(&mut self, id: I, item: Arc<T>) {
        Arc::make_mut(&mut self.0)[id] = item;
    }

    /// The items, to be replaced by namesakes.
    pub(crate) fn namesakes(&mut self) -> IterMut<'_, Arc<T>> {
        Arc::make_mut(&mut self.0).values_mut()
    }

    /// The roster after changes, which are in its order: a key, and what has it now, if anything has.
    pub fn changed<K>(
        &self,
        changes: impl IntoIterator<Item = (K, Option<Arc<T>>)>,
        order: impl Fn(&T, &K) -> Ordering,
    ) -> Self {
        let mut rest = self.as_slice();
        let mut items = Vec::with_capacity(rest.len() + 1);
        for (key, item) in changes {
            let (before, after) =
                rest.split_at(rest.partition_point(|own| order(own, &key).is_lt()));
            items.extend_from_slice(before);
            items.extend(item);
            rest = match after.split_first() {
                Some((own, others)) if order(own, &key).is_eq() => others,
                Some(_) | None => after,
            };
        }
        items.extend_from_slice(rest);
        Self(Arc::new(items.into_iter().collect()))
    }
}

/// Which items of a roster are in a later one, unchanged.
pub(super) enum Carried<I> {
    /// All, and there are no others.
    Everything,
    /// Some.
    Part(Part<I>),
}

/// Where what two rosters have in common is.
pub(super) struct Part<I> {
    /// By id in the earlier roster, the id in the later one.
    to: Vec<Option<I>>,
    /// By id in the later roster, the id in the earlier one.
    from: Vec<Option<I>>,
    /// Some item has another id than before.
    is_shifted: bool,
}

impl<I: Id> Carried<I> {
    pub(super) fn between<T: Listed>(earlier: &Roster<I, T>, later: &Roster<I, T>) -> Self {
        if Arc::ptr_eq(&earlier.0, &later.0) {
            return Self::Everything;
        }
        let (old, new) = (earlier.as_slice(), later.as_slice());
        let mut part = Part {
            to: Vec::with_capacity(old.len()),
            from: Vec::with_capacity(new.len()),
            is_shifted: false,
        };
        let (mut at, mut place) = (0, 0);
        while at < old.len() && place < new.len() {
            if Arc::ptr_eq(&old[at], &new[place]) {
                part.to.push(Some(I::from_index(place)));
                part.from.push(Some(I::from_index(at)));
                part.is_shifted |= at != place;
                (at, place) = (at + 1, place + 1);
                continue;
            }
            let order = old[at].order(&new[place]);
            if order.is_le() {
                part.to.push(None);
                at += 1;
            }
            if order.is_ge() {
                part.from.push(None);
                place += 1;
            }
        }
        part.to.resize_with(old.len(), || None);
        part.from.resize_with(new.len(), || None);
        Self::Part(part)
    }

    /// The id in the later roster of what had this one in the earlier.
    pub(super) fn to(&self, id: I) -> Option<I> {
        match self {
            Self::Everything => Some(id),
            Self::Part(part) => part.to[id.index()],
        }
    }

    /// The id in the earlier roster of what has this one in the later.
    pub(super) fn from(&self, id: I) -> Option<I> {
        match self {
            Self::Everything => Some(id),
            Self::Part(part) => part.from[id.index()],
        }
    }

    /// Some item has another id than before.
    pub(super) fn is_shifted(&self) -> bool {
        match self {
            Self::Everything => false,
            Self::Part(part) => part.is_shifted,
        }
    }

    /// Ids in the earlier roster of what is not in the later one.
    pub(super) fn gone(&self) -> impl Iterator<Item = I> + '_ {
        self.absent(|part| &part.to)
    }

    /// Ids in the later roster of what is not in the earlier one.
    pub(super) fn added(&self) -> impl Iterator<Item = I> + '_ {
        self.absent(|part| &part.from)
    }

    fn absent<'c>(
        &'c self,
        of: fn(&'c Part<I>) -> &'c Vec<Option<I>>,
    ) -> impl Iterator<Item = I> + 'c {
        let ids = match self {
            Self::Everything => &[][..],
            Self::Part(part) => of(part),
        };
        let ids = ids.iter().enumerate();
        ids.filter(|(_, id)| id.is_none())
            .map(|(at, _)| I::from_index(at))
    }
}
