//! Kubernetes objects into the values of the core, once, at the border.
//!
//! A [`Lowering`] owns what lowered values share: the vocabulary, label sets and constraint shapes. It
//! never fails for the whole; an object that cannot be lowered comes back as a [`Problem`] to be set
//! aside, and a pod always lowers, its trouble inside.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use karpenter_api::{NodeClaim, objects};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::{
    device::{SelectorResult, TypeDevices},
    labels::Labels,
    pod::{PodKey, Shape},
    taint::Taint,
    vocabulary::{KeyId, ShapeId, SubjectId, ValueId, Vocabulary},
};

mod catalog;
mod device;
mod node;
mod pod;
mod pool;
mod requirement;
mod resources;
mod topology;
mod volume;
mod workload;

pub use self::{node::is_premature, resources::to_resource_list};

/// What a provider adds to the core's knowledge of labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WellKnown {
    /// Label keys that nodes of the provider define, besides the core's.
    pub labels: Vec<String>,
    /// Domains that only the listed keys may use, besides `karpenter.sh`.
    pub restricted_domains: Vec<String>,
    /// Other spellings of keys, besides the core's: from, to.
    pub aliases: Vec<(String, String)>,
    /// Group and kind of the node classes that the provider serves.
    pub node_classes: Vec<(String, String)>,
    /// The label that names the reservation an offering is bought from.
    pub reservation_id: Option<String>,
    /// CSI drivers whose volumes nodes of the provider cannot attach.
    pub unsupported_provisioners: Vec<String>,
    /// Labels that restrict volumes and that nodes of the provider do not carry.
    pub unsupported_topology_keys: Vec<String>,
}

/// Something that could not be lowered and is set aside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The kind of the object: `NodePool`, `Node`, `NodeClaim`, `DaemonSet`, `PodDisruptionBudget`.
    pub kind: &'static str,
    /// Its namespace, if it has one.
    pub namespace: Option<Arc<str>>,
    /// Its name.
    pub name: Arc<str>,
    /// For nodes and claims the pool they belong to, whose budget they still count in.
    pub pool: Option<Arc<str>>,
    /// What is wrong.
    pub message: String,
}

/// What a [`Node`](crate::Node) is lowered from. At least one of the objects is there.
#[derive(Clone, Debug, Default)]
pub struct NodeInput<'a> {
    /// The Node.
    pub node: Option<&'a objects::Node>,
    /// The NodeClaim with the same provider id; or one that has none yet, alone.
    pub claim: Option<&'a NodeClaim>,
    /// Some controller has decided to remove it.
    pub marked: bool,
    /// Pods are expected here until this time.
    pub nominated_until: Option<Timestamp>,
    /// For an unlaunched claim: the pods that it was made for and that are not bound yet.
    pub prebound: Vec<PodKey>,
}

/// Other spellings of the core's keys.
const ALIASES: [(&str, &str); 5] = [
    (
        "failure-domain.beta.kubernetes.io/zone",
        "topology.kubernetes.io/zone",
    ),
    (
        "failure-domain.beta.kubernetes.io/region",
        "topology.kubernetes.io/region",
    ),
    ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "kubernetes.io/os"),
    (
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
    ),
];

/// The domain that only the core's keys may use.
const OWN_DOMAIN: &str = "karpenter.sh";

/// Lowers objects and owns what the results share.
#[derive(Clone, Debug, Default)]
pub struct Lowering {
    vocabulary: Arc<Vocabulary>,
    aliases: FxHashMap<String, String>,
    restricted_domains: Vec<String>,
    reservation_key: Option<KeyId>,
    node_classes: Vec<(String, String)>,
    unsupported_provisioners: Vec<String>,
    unsupported_topology_keys: Vec<String>,
    strings: Pool<Arc<str>>,
    labels: Pool<Labels>,
    shapes: FxHashMap<Arc<Shape>, ShapeId>,
    next_shape: u32,
    sweep_shapes_at: usize,
    subjects: FxHashMap<(Arc<str>, Labels), SubjectId>,
    next_subject: u32,
    selectors: FxHashMap<Arc<str>, SelectorResult>,
    sweep_selectors_at: usize,
    no_devices: Arc<TypeDevices>,
    sweep_subjects_at: usize,
}

/// Shared values, from which those that nobody else holds any more are dropped now and then.
#[derive(Clone, Debug)]
struct Pool<T> {
    values: FxHashSet<T>,
    sweep_at: usize,
}

/// Below this size nothing is swept.
const SMALL: usize = 1024;

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self {
            values: FxHashSet::default(),
            sweep_at: SMALL,
        }
    }
}

impl<T: Clone + Eq + core::hash::Hash> Pool<T> {
    fn share(&mut self, value: T, is_unshared: fn(&T) -> bool) -> T {
        if let Some(found) = self.values.get(&value) {
            return found.clone();
        }
        if self.values.len() >= self.sweep_at {
            self.values.retain(|held| !is_unshared(held));
            self.sweep_at = SMALL.max(2 * self.values.len());
        }
        self.values.insert(value.clone());
        value
    }
}

impl Lowering {
    /// A fresh lowering that knows the provider's labels.
    pub fn new(well_known: &WellKnown) -> Self {
        let mut vocabulary = Vocabulary::default();
        for key in &well_known.labels {
            vocabulary.intern_well_known(key);
        }
        let reservation_key = well_known
            .reservation_id
            .as_deref()
            .map(|key| vocabulary.intern_key(key));
        let aliases = ALIASES
            .iter()
            .map(|(from, to)| ((*from).to_string(), (*to).to_string()))
            .chain(well_known.aliases.iter().cloned())
            .collect();
        let mut restricted_domains = well_known.restricted_domains.clone();
        restricted_domains.push(OWN_DOMAIN.to_string());
        restricted_domains.sort();
        restricted_domains.dedup();
        Self {
            vocabulary: Arc::new(vocabulary),
            aliases,
            restricted_domains,
            reservation_key,
            node_classes: well_known.node_classes.clone(),
            unsupported_provisioners: well_known.unsupported_provisioners.clone(),
            unsupported_topology_keys: well_known.unsupported_topology_keys.clone(),
            sweep_shapes_at: SMALL,
            sweep_subjects_at: SMALL,
            sweep_selectors_at: SMALL,
            ..Self::default()
        }
    }

    /// The names met so far; freeze a snapshot with it.
    pub fn vocabulary(&self) -> &Arc<Vocabulary> {
        &self.vocabulary
    }

    // Interning copies the vocabulary only when a name is new while a snapshot holds the old version.
    fn key(&mut self, name: &str) -> KeyId {
        let name = self.aliases.get(name).map_or(name, String::as_str);
        match self.vocabulary.key(name) {
            Some(id) => id,
            None => Arc::make_mut(&mut self.vocabulary).intern_key(name),
        }
    }

    fn value(&mut self, text: &str) -> ValueId {
        match self.vocabulary.value(text) {
            Some(id) => id,
            None => Arc::make_mut(&mut self.vocabulary).intern_value(text),
        }
    }

    fn string(&mut self, text: &str) -> Arc<str> {
        if let Some(found) = self.strings.values.get(text) {
            return found.clone();
        }
        self.strings
            .share(Arc::from(text), |held| Arc::strong_count(held) == 1)
    }

    fn labels(&mut self, pairs: Option<&BTreeMap<String, String>>) -> Labels {
        let labels = pairs
            .into_iter()
            .flatten()
            .map(|(key, value)| (self.string(key), self.string(value)))
            .collect::<Vec<_>>()
            .into_iter()
            .collect();
        self.labels.share(labels, Labels::is_unshared)
    }

    fn shape(&mut self, shape: Shape) -> (ShapeId, Arc<Shape>) {
        if let Some((shape, id)) = self.shapes.get_key_value(&shape) {
            return (*id, shape.clone());
        }
        if self.shapes.len() >= self.sweep_shapes_at {
            self.shapes.retain(|shape, _| Arc::strong_count(shape) > 1);
            self.sweep_shapes_at = SMALL.max(2 * self.shapes.len());
        }
        let (id, shape) = (ShapeId(self.next_shape), Arc::new(shape));
        self.next_shape += 1;
        self.shapes.insert(shape.clone(), id);
        (id, shape)
    }

    fn subject(&mut self, namespace: &Arc<str>, labels: &Labels) -> SubjectId {
        let subject = (namespace.clone(), labels.clone());
        if let Some(id) = self.subjects.get(&subject) {
            return *id;
        }
        if self.subjects.len() >= self.sweep_subjects_at {
            // One holder is this map and another the pool of labels.
            self.subjects.retain(|(_, labels), _| labels.holders() > 2);
            self.sweep_subjects_at = SMALL.max(2 * self.subjects.len());
        }
        let id = SubjectId(self.next_subject);
        self.next_subject += 1;
        self.subjects.insert(subject, id);
        id
    }

    fn taint(&mut self, taint: &karpenter_api::Taint) -> Taint {
        Taint {
            key: self.string(&taint.key),
            value: self.string(taint.value.as_deref().unwrap_or_default()),
            effect: self.string(&taint.effect),
        }
    }

    fn taints(&mut self, taints: Option<&Vec<karpenter_api::Taint>>) -> Vec<Taint> {
        taints
            .into_iter()
            .flatten()
            .map(|taint| self.taint(taint))
            .collect()
    }
}

fn name_of(meta: &ObjectMeta) -> &str {
    meta.name.as_deref().unwrap_or_default()
}

fn created(meta: &ObjectMeta) -> Timestamp {
    meta.creation_timestamp
        .as_ref()
        .map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}

fn deletion(meta: &ObjectMeta) -> Option<Timestamp> {
    meta.deletion_timestamp.as_ref().map(|time| time.0)
}

fn span(duration: karpenter_api::GoDuration) -> SignedDuration {
    SignedDuration::from_nanos(duration.nanos())
}
