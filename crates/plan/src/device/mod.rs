//! Dynamic resources lowered: devices, the pools they are published in, claims and classes (section 9 of
//! scheduling.md).
//!
//! A device is known by driver, pool and name. It comes from a slice that a driver published, or from the
//! template of an instance type, which says what a machine of it will publish. Names of attributes and
//! capacities carry their domain; where a driver leaves it out, the domain is the driver's. What is
//! allocated to whom is worked out by [`schedule`](mod@crate::schedule), and never written anywhere.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use karpenter_api::Quantity;
use rustc_hash::FxHashMap;

use crate::{pod::Pod, requirement::Requirements};

pub mod selector;

pub use self::selector::{Evaluator, Selector, Verdict};

/// So many devices a claim may have (the API's bound on the results of an allocation).
pub const MAX_DEVICES: usize = 32;

/// What names a device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceName {
    /// The driver.
    pub driver: Arc<str>,
    /// The pool.
    pub pool: Arc<str>,
    /// The device.
    pub device: Arc<str>,
}

impl core::fmt::Display for DeviceName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}/{}/{}", self.driver, self.pool, self.device)
    }
}

/// A value that sets a device apart. Values of different types are never equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attribute {
    /// A truth value.
    Boolean(bool),
    /// A number.
    Integer(i64),
    /// A text.
    Text(Arc<str>),
    /// A semantic version.
    Version(Arc<str>),
}

/// How much of something a device has, and in which amounts it can be had.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Capacity {
    /// The amount.
    pub value: Quantity,
    /// What a request gets that asks for no amount; the whole when nothing is said.
    pub default: Option<Quantity>,
    /// The only amounts that can be had, ascending; empty when any can.
    pub values: Vec<Quantity>,
    /// The range of amounts that can be had.
    pub range: Option<CapacityRange>,
}

/// A range of amounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CapacityRange {
    /// The least.
    pub least: Quantity,
    /// The most.
    pub most: Option<Quantity>,
    /// Amounts are so far apart, from the least on.
    pub step: Option<Quantity>,
}

impl Capacity {
    /// What a request for so much takes: rounded up to what can be had. Nothing if it cannot be had.
    pub fn taken(&self, requested: Option<Quantity>) -> Option<Quantity> {
        let wanted = requested.or(self.default).unwrap_or(self.value);
        let mut taken = wanted;
        if !self.values.is_empty() {
            taken = *self.values.iter().find(|value| **value >= wanted)?;
        } else if let Some(range) = self.range {
            taken = wanted.max(range.least);
            if let Some(step) = range.step.filter(|step| step.nanos() > 0) {
                let above = taken.nanos() - range.least.nanos();
                let steps = above.div_euclid(step.nanos())
                    + i128::from(above.rem_euclid(step.nanos()) != 0);
                let nanos = steps
                    .checked_mul(step.nanos())?
                    .checked_add(range.least.nanos())?;
                taken = Quantity::from_nanos(nanos, taken.format());
            }
            if range.most.is_some_and(|most| taken > most) {
                return None;
            }
        }
        (taken <= self.value).then_some(taken)
    }
}

/// What is drawn from one counter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Draw {
    /// The set of counters.
    pub set: Arc<str>,
    /// The counter.
    pub counter: Arc<str>,
    /// How much.
    pub amount: Quantity,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// What names it.
    pub name: DeviceName,
    /// Attributes by full name.
    pub attributes: BTreeMap<Arc<str>, Attribute>,
    /// Capacities by full name.
    pub capacity: BTreeMap<Arc<str>, Capacity>,
    /// Several claims may share it, each with a part of its capacity.
    pub is_shared: bool,
    /// What it draws from the counters of its pool while it is in use.
    pub draws: Vec<Draw>,
}

/// Amounts by full name of the capacity.
pub type Amounts = BTreeMap<Arc<str>, Quantity>;

impl Device {
    /// What a request for these amounts takes of the device. Nothing when the device lacks one of them,
    /// or cannot give so much.
    pub fn consumption(&self, requested: &Amounts) -> Option<Amounts> {
        let mut wanted = Amounts::new();
        for (name, amount) in requested {
            let name = full_name(name, &self.name.driver);
            self.capacity.get(&name)?;
            wanted.insert(name, *amount);
        }
        let mut taken = Amounts::new();
        for (name, capacity) in &self.capacity {
            let asked = wanted.get(name).copied();
            if self.is_shared || asked.is_some() {
                taken.insert(name.clone(), capacity.taken(asked)?);
            }
        }
        if !self.is_shared {
            taken.clear();
        }
        Some(taken)
    }
}

/// A name with its domain; the domain is the driver's if none is given.
pub fn full_name(name: &str, driver: &str) -> Arc<str> {
    if name.contains('/') {
        name.into()
    } else {
        alloc::format!("{driver}/{name}").into()
    }
}

/// Counters that devices of a pool draw on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CounterSet {
    /// The name.
    pub name: Arc<str>,
    /// The amounts.
    pub counters: BTreeMap<Arc<str>, Quantity>,
}

/// Which nodes can use what a slice publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All.
    All,
    /// One.
    Node(Arc<str>),
    /// Those that meet one of the terms.
    Selected(Vec<Requirements>),
    /// Not said in a way that is understood, so none.
    Unknown,
}

/// A slice of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The object's name.
    pub name: Arc<str>,
    /// The driver.
    pub driver: Arc<str>,
    /// The pool.
    pub pool: Arc<str>,
    /// The generation of the pool that it is a part of.
    pub generation: i64,
    /// How many slices make the pool.
    pub slices_of_pool: i64,
    /// The node that owns the slice.
    pub owner: Option<Arc<str>>,
    /// Which nodes can use it.
    pub reach: Reach,
    /// Devices.
    pub devices: Vec<Arc<Device>>,
    /// Counters.
    pub counters: Vec<CounterSet>,
}

/// Devices that will share the value of an attribute, whatever it turns out to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Binding {
    /// The attribute's full name.
    pub attribute: Arc<str>,
    /// The devices, sorted.
    pub devices: Vec<DeviceName>,
}

/// What a machine of an instance type will publish of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeDevices {
    /// Devices in the order of the templates.
    pub devices: Vec<Arc<Device>>,
    /// Counters by driver and pool.
    pub counters: BTreeMap<(Arc<str>, Arc<str>), Vec<CounterSet>>,
    /// Attributes that devices will share. No device is in two bindings of one attribute.
    pub bindings: Vec<Binding>,
}

/// A condition on each device, or why it is none.
pub type SelectorResult = Result<Arc<Selector>, Arc<str>>;

/// A request, or one of the alternatives of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Alternative {
    /// The name of the request, `parent/sub` for an alternative.
    pub name: Arc<str>,
    /// The class.
    pub class: Arc<str>,
    /// Conditions besides those of the class.
    pub selectors: Vec<SelectorResult>,
    /// How many devices; all of them when nothing is said.
    pub count: Option<usize>,
    /// How much of each device.
    pub amounts: Amounts,
}

/// A request for devices.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The name.
    pub name: Arc<str>,
    /// Alternatives, best first; a single one as a rule.
    pub alternatives: Vec<Alternative>,
}

/// What must hold of devices together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Constraint {
    /// The devices have one value of an attribute.
    Match {
        /// The attribute's full name.
        attribute: Arc<str>,
        /// The requests it is about, by name or as `parent/sub`; all when empty.
        requests: Vec<Arc<str>>,
    },
    /// What is not supported.
    Unsupported(&'static str),
}

impl Constraint {
    /// The constraint is about devices of the alternative of that name.
    pub fn covers(requests: &[Arc<str>], alternative: &str) -> bool {
        let parent = alternative.split('/').next().unwrap_or(alternative);
        requests.is_empty()
            || requests
                .iter()
                .any(|name| **name == *alternative || **name == *parent)
    }
}

/// Who uses a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consumer {
    /// The pod with this uid.
    Pod(Arc<str>),
    /// Something else.
    Other,
}

/// A device that the cluster has allocated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocated {
    /// The device.
    pub device: DeviceName,
    /// The part that was taken, of a device that is shared.
    pub consumed: Option<Amounts>,
}

/// What the cluster has allocated to a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterAllocation {
    /// The devices.
    pub devices: Vec<Allocated>,
    /// What nodes must be to use them, all terms merged.
    pub requirements: Requirements,
    /// The only nodes that can use them, by name.
    pub nodes: Option<Vec<Arc<str>>>,
}

/// A claim.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
    /// Requests.
    pub requests: Vec<Request>,
    /// What must hold of their devices together.
    pub constraints: Vec<Constraint>,
    /// What is allocated already.
    pub allocation: Option<ClusterAllocation>,
    /// Who uses it.
    pub consumers: Vec<Consumer>,
}

impl Claim {
    /// `namespace/name` for people.
    pub fn display_name(&self) -> String {
        alloc::format!("{}/{}", self.namespace, self.name)
    }

    /// It is used by pods, and all of them move.
    pub fn moves(&self, moved: impl Fn(&str) -> bool) -> bool {
        let is_moved = |consumer: &Consumer| match consumer {
            Consumer::Pod(uid) => moved(uid),
            Consumer::Other => false,
        };
        !self.consumers.is_empty() && self.consumers.iter().all(is_moved)
    }
}

/// A class of devices.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// The name.
    pub name: Arc<str>,
    /// What must hold of each device.
    pub selectors: Vec<SelectorResult>,
}

/// What [`Devices`] are made from.
#[derive(Clone, Debug, Default)]
pub struct DeviceParts {
    /// All ResourceSlices.
    pub slices: Vec<Arc<Slice>>,
    /// All ResourceClaims.
    pub claims: Vec<Arc<Claim>>,
    /// All DeviceClasses.
    pub classes: Vec<Arc<Class>>,
}

/// All there is to know about dynamic resources.
#[derive(Clone, Debug, Default)]
pub struct Devices {
    /// Slices by driver, pool and name.
    pub slices: Vec<Arc<Slice>>,
    /// Claims by namespace and name.
    pub claims: Vec<Arc<Claim>>,
    classes: FxHashMap<Arc<str>, Arc<Class>>,
}

impl Devices {
    /// Sorts everything under its name.
    pub fn new(parts: DeviceParts) -> Self {
        let DeviceParts {
            mut slices,
            mut claims,
            classes,
        } = parts;
        slices.sort_by(|a, b| (&a.driver, &a.pool, &a.name).cmp(&(&b.driver, &b.pool, &b.name)));
        claims.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        Self {
            slices,
            claims,
            classes: classes
                .into_iter()
                .map(|class| (class.name.clone(), class))
                .collect(),
        }
    }

    /// The claim of that name.
    pub fn claim(&self, namespace: &str, name: &str) -> Option<&Arc<Claim>> {
        let found = self
            .claims
            .binary_search_by(|claim| (&*claim.namespace, &*claim.name).cmp(&(namespace, name)));
        found.ok().map(|at| &self.claims[at])
    }

    /// The class of that name.
    pub fn class(&self, name: &str) -> Option<&Arc<Class>> {
        self.classes.get(name)
    }

    /// The claims of a pod; the first name that is not there if one is missing.
    pub fn claims_of(&self, pod: &Pod) -> Result<Vec<&Arc<Claim>>, Arc<str>> {
        let claims = pod.device_claims.iter();
        claims
            .map(|name| self.claim(&pod.namespace, name).ok_or_else(|| name.clone()))
            .collect()
    }
}

/// The domain of a full name and what follows it.
pub(crate) fn split_name(name: &str) -> (String, String) {
    let (domain, rest) = name.split_once('/').unwrap_or(("", name));
    (domain.to_string(), rest.to_string())
}
