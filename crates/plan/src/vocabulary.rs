//! Names as small integers: label keys, label values, resource names, and the dense ids of a snapshot.
//!
//! Ids follow the order in which names were met, so they are compared for equality only; whatever is
//! shown or ordered uses the names. This module refuses to know what a label means, except that some
//! keys are *well-known*: a provider may leave them undefined and still be compatible.

use alloc::{sync::Arc, vec::Vec};
use core::{
    marker::PhantomData,
    ops::{Index, IndexMut},
};

use rustc_hash::FxHashMap;

use crate::resources::ResourceId;

/// A dense index of one kind.
pub trait Id: Copy {
    /// The id of a position.
    fn from_index(index: usize) -> Self;
    /// The position of an id.
    fn index(self) -> usize;
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl Id for $name {
            fn from_index(index: usize) -> Self {
                Self(<$inner>::try_from(index).expect("ids fit because their kinds are counted in thousands"))
            }
            fn index(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

impl Id for ResourceId {
    fn from_index(index: usize) -> Self {
        Self(u16::try_from(index).expect("ids fit because resources are counted in dozens"))
    }
    fn index(self) -> usize {
        usize::from(self.0)
    }
}

ids! {
    /// An interned label key.
    KeyId(u16);
    /// An interned label value.
    ValueId(u32);
    /// A pod of one snapshot, in order of namespace and name.
    PodId(u32);
    /// A node of one snapshot, in name order.
    NodeId(u32);
    /// A pool of one snapshot, in name order.
    PoolId(u16);
    /// A DaemonSet of one snapshot, in order of namespace and name.
    DaemonId(u16);
    /// An instance type of one catalogue, in name order.
    TypeId(u32);
    /// An offering of one catalogue, contiguous per type.
    OfferingId(u32);
    /// A constraint shape: equal ids mean equal constraints, within one [`Lowering`](crate::Lowering).
    ShapeId(u32);
    /// What selectors see of a pod: equal ids mean equal namespace and labels, within one
    /// [`Lowering`](crate::Lowering).
    SubjectId(u32);
}

/// A vector indexed by one kind of id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdVec<I, T> {
    items: Vec<T>,
    kind: PhantomData<fn() -> I>,
}

impl<I, T> Default for IdVec<I, T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            kind: PhantomData,
        }
    }
}

impl<I: Id, T> IdVec<I, T> {
    /// Number of items.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// True when there is nothing.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Appends and names the place.
    pub fn push(&mut self, item: T) -> I {
        self.items.push(item);
        I::from_index(self.items.len() - 1)
    }

    /// The item, if the id belongs here.
    pub fn get(&self, id: I) -> Option<&T> {
        self.items.get(id.index())
    }

    /// All items in order.
    pub fn as_slice(&self) -> &[T] {
        &self.items
    }

    /// Ids and items in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (I, &T)> + ExactSizeIterator {
        self.items
            .iter()
            .enumerate()
            .map(|(index, item)| (I::from_index(index), item))
    }

    /// Ids in order.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = I> + ExactSizeIterator + use<I, T> {
        (0..self.items.len()).map(I::from_index)
    }

    /// Items in order.
    pub fn values(&self) -> core::slice::Iter<'_, T> {
        self.items.iter()
    }

    /// Items in order, to be changed in place.
    pub fn values_mut(&mut self) -> core::slice::IterMut<'_, T> {
        self.items.iter_mut()
    }
}

impl<I: Id, T> Index<I> for IdVec<I, T> {
    type Output = T;
    fn index(&self, id: I) -> &T {
        &self.items[id.index()]
    }
}

impl<I: Id, T> IndexMut<I> for IdVec<I, T> {
    fn index_mut(&mut self, id: I) -> &mut T {
        &mut self.items[id.index()]
    }
}

impl<I, T> FromIterator<T> for IdVec<I, T> {
    fn from_iter<It: IntoIterator<Item = T>>(items: It) -> Self {
        Self {
            items: items.into_iter().collect(),
            kind: PhantomData,
        }
    }
}

macro_rules! names {
    ($kind:ident($inner:ty), $list:ident: $($(#[$doc:meta])* $name:ident = $id:literal, $text:literal;)*) => {
        impl $kind {
            $($(#[$doc])* pub const $name: Self = Self($id as $inner);)*
        }
        const $list: &[&str] = &[$($text),*];
    };
}

names! { KeyId(u16), KEYS:
    /// `karpenter.sh/nodepool`
    NODEPOOL = 0, "karpenter.sh/nodepool";
    /// `topology.kubernetes.io/zone`
    ZONE = 1, "topology.kubernetes.io/zone";
    /// `topology.kubernetes.io/region`
    REGION = 2, "topology.kubernetes.io/region";
    /// `node.kubernetes.io/instance-type`
    INSTANCE_TYPE = 3, "node.kubernetes.io/instance-type";
    /// `kubernetes.io/arch`
    ARCH = 4, "kubernetes.io/arch";
    /// `kubernetes.io/os`
    OS = 5, "kubernetes.io/os";
    /// `karpenter.sh/capacity-type`
    CAPACITY_TYPE = 6, "karpenter.sh/capacity-type";
    /// `node.kubernetes.io/windows-build`
    WINDOWS_BUILD = 7, "node.kubernetes.io/windows-build";
    /// `kubernetes.io/hostname`
    HOSTNAME = 8, "kubernetes.io/hostname";
    /// `karpenter.sh/registered`
    REGISTERED = 9, "karpenter.sh/registered";
    /// `karpenter.sh/initialized`
    INITIALIZED = 10, "karpenter.sh/initialized";
}

/// The first so many keys are the core's well-known ones.
const CORE_WELL_KNOWN: usize = 8;

names! { ValueId(u32), VALUES:
    /// `true`
    TRUE = 0, "true";
    /// `on-demand`
    ON_DEMAND = 1, "on-demand";
    /// `spot`
    SPOT = 2, "spot";
    /// `reserved`
    RESERVED = 3, "reserved";
}

names! { ResourceId(u16), RESOURCES:
    /// `cpu`
    CPU = 0, "cpu";
    /// `memory`
    MEMORY = 1, "memory";
    /// `pods`
    PODS = 2, "pods";
    /// `ephemeral-storage`
    EPHEMERAL_STORAGE = 3, "ephemeral-storage";
    /// `nodes`, which limits count and machines do not have
    NODES = 4, "nodes";
}

#[derive(Clone, Debug)]
struct Key {
    name: Arc<str>,
    well_known: bool,
}

#[derive(Clone, Debug)]
struct Value {
    text: Arc<str>,
    number: Option<i64>,
}

/// All interned names of one lowering. Grows only; a snapshot carries the version it was frozen with.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    keys: Vec<Key>,
    key_ids: FxHashMap<Arc<str>, KeyId>,
    values: Vec<Value>,
    value_ids: FxHashMap<Arc<str>, ValueId>,
    resources: Vec<Arc<str>>,
    resource_ids: FxHashMap<Arc<str>, ResourceId>,
}

impl Default for Vocabulary {
    fn default() -> Self {
        let mut vocabulary = Self {
            keys: Vec::new(),
            key_ids: FxHashMap::default(),
            values: Vec::new(),
            value_ids: FxHashMap::default(),
            resources: Vec::new(),
            resource_ids: FxHashMap::default(),
        };
        for name in KEYS {
            vocabulary.intern_key(name);
        }
        for key in vocabulary.keys.iter_mut().take(CORE_WELL_KNOWN) {
            key.well_known = true;
        }
        for text in VALUES {
            vocabulary.intern_value(text);
        }
        for name in RESOURCES {
            vocabulary.intern_resource(name);
        }
        vocabulary
    }
}

impl Vocabulary {
    /// The id of a key that was met before.
    pub fn key(&self, name: &str) -> Option<KeyId> {
        self.key_ids.get(name).copied()
    }

    /// The id of a value that was met before.
    pub fn value(&self, text: &str) -> Option<ValueId> {
        self.value_ids.get(text).copied()
    }

    /// The id of a resource that was met before.
    pub fn resource(&self, name: &str) -> Option<ResourceId> {
        self.resource_ids.get(name).copied()
    }

    /// The key's name.
    pub fn key_name(&self, id: KeyId) -> &Arc<str> {
        &self.keys[id.index()].name
    }

    /// The value's text.
    pub fn value_text(&self, id: ValueId) -> &Arc<str> {
        &self.values[id.index()].text
    }

    /// The value as an integer, if it is one.
    pub fn value_number(&self, id: ValueId) -> Option<i64> {
        self.values[id.index()].number
    }

    /// The resource's name.
    pub fn resource_name(&self, id: ResourceId) -> &Arc<str> {
        &self.resources[id.index()]
    }

    /// True for keys that a provider may leave undefined.
    pub fn is_well_known(&self, id: KeyId) -> bool {
        self.keys[id.index()].well_known
    }

    /// Well-known keys in name order.
    pub fn well_known(&self) -> Vec<KeyId> {
        let mut found: Vec<KeyId> = (0..self.keys.len())
            .map(KeyId::from_index)
            .filter(|&id| self.is_well_known(id))
            .collect();
        found.sort_by(|&a, &b| self.key_name(a).cmp(self.key_name(b)));
        found
    }

    /// Interns a key.
    pub fn intern_key(&mut self, name: &str) -> KeyId {
        if let Some(id) = self.key(name) {
            return id;
        }
        let (id, name) = (KeyId::from_index(self.keys.len()), Arc::<str>::from(name));
        self.keys.push(Key {
            name: name.clone(),
            well_known: false,
        });
        self.key_ids.insert(name, id);
        id
    }

    /// Interns a key and makes it well-known.
    pub fn intern_well_known(&mut self, name: &str) -> KeyId {
        let id = self.intern_key(name);
        self.keys[id.index()].well_known = true;
        id
    }

    /// Interns a value.
    pub fn intern_value(&mut self, text: &str) -> ValueId {
        if let Some(id) = self.value(text) {
            return id;
        }
        let (id, text) = (
            ValueId::from_index(self.values.len()),
            Arc::<str>::from(text),
        );
        self.values.push(Value {
            number: text.parse().ok(),
            text: text.clone(),
        });
        self.value_ids.insert(text, id);
        id
    }

    /// Interns a resource name.
    pub fn intern_resource(&mut self, name: &str) -> ResourceId {
        if let Some(id) = self.resource(name) {
            return id;
        }
        let id = ResourceId::from_index(self.resources.len());
        let name = Arc::<str>::from(name);
        self.resources.push(name.clone());
        self.resource_ids.insert(name, id);
        id
    }
}
