//! Objects, revisions and the ring of events: all that the server remembers.
//!
//! An object is kept as the bytes that clients get, with the few facts that selectors and owners
//! need beside it; list answers, events and history share those bytes. The store knows nothing of
//! schemas or verbs. Invariant: every change goes through [`State::put`] or [`State::take`], which
//! number it, index it, log it and tell the watchers.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    sync::Arc,
};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{Options, kinds::Kind, object, select::Filter};

/// Which collection: an index that is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ResourceId(pub(crate) usize);

/// Namespace (empty when cluster-wide) and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) namespace: Box<str>,
    pub(crate) name: Box<str>,
}

impl Key {
    pub(crate) fn new(namespace: &str, name: &str) -> Key {
        Key {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// What can be asked of an object without parsing it.
#[derive(Debug)]
pub(crate) struct Meta {
    pub(crate) key: Key,
    pub(crate) uid: Box<str>,
    pub(crate) revision: u64,
    /// Sorted by key.
    pub(crate) labels: Box<[(Box<str>, Box<str>)]>,
    /// Values of `Kind::fields` that are not empty, by index.
    fields: Box<[(u8, Box<str>)]>,
    pub(crate) owners: Box<[Box<str>]>,
}

impl Meta {
    fn read(kind: &Kind, value: &Value, revision: u64) -> Meta {
        let labels = object::at(value, &["metadata", "labels"])
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(key, value)| {
                (
                    key.as_str().into(),
                    value.as_str().unwrap_or_default().into(),
                )
            })
            .collect();
        let fields = (0_u8..)
            .zip(&kind.fields)
            .filter_map(|(index, field)| {
                let text = object::scalar(object::at_owned(value, &field.path)?)?;
                (!text.is_empty()).then(|| (index, text.into()))
            })
            .collect();
        Meta {
            key: Key::new(
                object::meta(value, "namespace").unwrap_or_default(),
                object::meta(value, "name").unwrap_or_default(),
            ),
            uid: object::meta(value, "uid").unwrap_or_default().into(),
            revision,
            labels,
            fields,
            owners: object::owner_uids(value).into(),
        }
    }

    /// The value of a selectable field; empty when absent.
    pub(crate) fn field(&self, index: u8) -> &str {
        self.fields
            .iter()
            .find(|(at, _)| *at == index)
            .map_or("", |(_, text)| text)
    }
}

/// One object.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) meta: Arc<Meta>,
    pub(crate) bytes: Bytes,
}

impl Stored {
    /// The object parsed anew.
    pub(crate) fn value(&self) -> Value {
        serde_json::from_slice(&self.bytes).expect("valid JSON because the store serialised it")
    }
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Added,
    Modified,
    Deleted,
}

/// One entry of the ring.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) change: Change,
    pub(crate) object: Stored,
    /// The facts before the change, for selectors that an object enters or leaves.
    before: Option<Arc<Meta>>,
}

impl Event {
    /// The event as seen through a filter: entering it is an addition, leaving it a deletion.
    pub(crate) fn seen_by(&self, filter: &Filter) -> Option<Change> {
        let was = self
            .before
            .as_ref()
            .is_some_and(|meta| filter.matches(meta));
        let is = self.change != Change::Deleted && filter.matches(&self.object.meta);
        match (was, is) {
            (true, true) => Some(Change::Modified),
            (false, true) => Some(Change::Added),
            (true, false) => Some(Change::Deleted),
            (false, false) => None,
        }
    }
}

/// One open watch.
#[derive(Debug)]
struct Watcher {
    filter: Filter,
    sender: mpsc::UnboundedSender<(Change, Arc<Event>)>,
}

/// All objects of one kind and their recent history.
#[derive(Debug)]
pub(crate) struct Collection {
    pub(crate) kind: Arc<Kind>,
    /// False once the custom definition is gone.
    pub(crate) served: bool,
    items: BTreeMap<Key, Stored>,
    /// Pods by `spec.nodeName`: kubelets, drains and our mirror ask for them per node.
    by_first_field: BTreeMap<Box<str>, BTreeSet<Key>>,
    ring: VecDeque<Arc<Event>>,
    /// Watches from before this revision are too old.
    forgotten: u64,
    watchers: Vec<Watcher>,
}

impl Collection {
    /// Objects that match, in key order, after `after` if given.
    pub(crate) fn list<'a>(
        &'a self,
        filter: &'a Filter,
        after: Option<&Key>,
    ) -> Box<dyn Iterator<Item = &'a Stored> + 'a> {
        if let (Some(namespace), Some(name), None) =
            (&filter.namespace, filter.fields.wanted_name(), after)
        {
            let found = self.items.get(&Key::new(namespace, name));
            return Box::new(found.into_iter().filter(|item| filter.matches(&item.meta)));
        }
        if let (true, Some(node), None) = (self.kind.is_pod(), filter.fields.wanted(0), after)
            && !node.is_empty()
        {
            let keys = self.by_first_field.get(node).into_iter().flatten();
            return Box::new(
                keys.filter_map(|key| self.items.get(key))
                    .filter(|item| filter.matches(&item.meta)),
            );
        }
        let start = match (after, &filter.namespace) {
            (Some(key), _) => Bound::Excluded(key.clone()),
            (None, Some(namespace)) => Bound::Included(Key::new(namespace, "")),
            (None, None) => Bound::Unbounded,
        };
        let namespace = filter.namespace.as_deref();
        Box::new(
            self.items
                .range((start, Bound::Unbounded))
                .take_while(move |(key, _)| {
                    namespace.is_none_or(|wanted| wanted == &*key.namespace)
                })
                .map(|(_, item)| item)
                .filter(|item| filter.matches(&item.meta)),
        )
    }

    /// Keys of a whole namespace.
    pub(crate) fn keys_in(&self, namespace: &str) -> Vec<Key> {
        self.items
            .range(Key::new(namespace, "")..)
            .take_while(|(key, _)| &*key.namespace == namespace)
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// Every key.
    pub(crate) fn keys(&self) -> Vec<Key> {
        self.items.keys().cloned().collect()
    }

    /// Events after a revision, or `None` when that is too long ago.
    pub(crate) fn since(&self, revision: u64) -> Option<impl Iterator<Item = &Arc<Event>>> {
        (revision >= self.forgotten).then(|| {
            self.ring
                .iter()
                .filter(move |event| event.object.meta.revision > revision)
        })
    }

    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Open a watch on what happens from now on.
    pub(crate) fn watch(
        &mut self,
        filter: Filter,
    ) -> mpsc::UnboundedReceiver<(Change, Arc<Event>)> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.watchers.push(Watcher { filter, sender });
        receiver
    }

    /// End all watches, as when the kind is no longer served.
    pub(crate) fn close(&mut self) {
        self.served = false;
        self.watchers.clear();
    }

    fn index(&mut self, meta: &Meta, present: bool) {
        if !self.kind.is_pod() {
            return;
        }
        let node = meta.field(0);
        if node.is_empty() {
            return;
        }
        if present {
            self.by_first_field
                .entry(node.into())
                .or_default()
                .insert(meta.key.clone());
        } else if let Some(keys) = self.by_first_field.get_mut(node) {
            keys.remove(&meta.key);
            if keys.is_empty() {
                self.by_first_field.remove(node);
            }
        }
    }

    fn publish(&mut self, event: Event, history: usize) {
        let event = Arc::new(event);
        self.watchers
            .retain(|watcher| match event.seen_by(&watcher.filter) {
                Some(change) => watcher.sender.send((change, event.clone())).is_ok(),
                None => !watcher.sender.is_closed(),
            });
        self.ring.push_back(event);
        while self.ring.len() > history {
            if let Some(old) = self.ring.pop_front() {
                self.forgotten = old.object.meta.revision;
            }
        }
    }
}

/// How a path segment leads to a collection.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) id: ResourceId,
    /// Index into `Kind::versions`; 0 is the stored one.
    pub(crate) version: usize,
    /// The kind as this route shows it; differs from the stored one for `events.k8s.io`.
    pub(crate) shown: Arc<Kind>,
}

/// Everything under the one lock.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) options: Options,
    pub(crate) revision: u64,
    names: u64,
    pub(crate) collections: Vec<Collection>,
    /// By group, version and plural.
    pub(crate) routes: BTreeMap<(String, String, String), Route>,
    /// Dependents by the uid of their owner.
    dependents: BTreeMap<Box<str>, BTreeSet<(ResourceId, Key)>>,
    /// Owners that wait under the foreground finalizer, by uid.
    pub(crate) waiting: BTreeMap<Box<str>, (ResourceId, Key)>,
    /// Uids that recently went, so that a dependent made too late is collected all the same.
    departed: VecDeque<Box<str>>,
    pub(crate) log: Vec<String>,
    pub(crate) last_material_write: jiff::Timestamp,
}

/// Uids remembered after their object went.
const DEPARTED: usize = 1024;

impl State {
    pub(crate) fn new(options: Options) -> State {
        let now = (options.clock)();
        State {
            options,
            revision: 0,
            names: 0,
            collections: Vec::new(),
            routes: BTreeMap::new(),
            dependents: BTreeMap::new(),
            waiting: BTreeMap::new(),
            departed: VecDeque::new(),
            log: Vec::new(),
            last_material_write: now,
        }
    }

    pub(crate) fn now(&self) -> jiff::Timestamp {
        (self.options.clock)()
    }

    /// Make room for a kind.
    pub(crate) fn add_collection(&mut self, kind: Arc<Kind>) -> ResourceId {
        self.collections.push(Collection {
            kind,
            served: true,
            items: BTreeMap::new(),
            by_first_field: BTreeMap::new(),
            ring: VecDeque::new(),
            forgotten: self.revision,
            watchers: Vec::new(),
        });
        ResourceId(self.collections.len() - 1)
    }

    pub(crate) fn collection(&self, id: ResourceId) -> &Collection {
        &self.collections[id.0]
    }

    pub(crate) fn collection_mut(&mut self, id: ResourceId) -> &mut Collection {
        &mut self.collections[id.0]
    }

    pub(crate) fn get(&self, id: ResourceId, key: &Key) -> Option<&Stored> {
        self.collections[id.0].items.get(key)
    }

    /// The collection of a built-in kind.
    pub(crate) fn builtin(&self, group: &str, kind: &str) -> ResourceId {
        let found = self.collections.iter().position(|c| c.kind.is(group, kind));
        ResourceId(found.expect("a built-in kind because callers name only those of the table"))
    }

    /// Write an object: numbered, indexed, logged, told.
    pub(crate) fn put(&mut self, id: ResourceId, mut value: Value) -> Stored {
        self.revision += 1;
        let stored = self.seal(id, &mut value, self.revision);
        let collection = &mut self.collections[id.0];
        let before = collection
            .items
            .insert(stored.meta.key.clone(), stored.clone());
        let (change, verb) = match before {
            Some(_) => (Change::Modified, "update"),
            None => (Change::Added, "create"),
        };
        if let Some(before) = &before {
            collection.index(&before.meta, false);
        }
        collection.index(&stored.meta, true);
        if let Some(before) = &before {
            self.own(id, &before.meta, false);
        }
        self.own(id, &stored.meta, true);
        self.record(verb, id, &value, before.as_ref(), &stored);
        self.tell(
            id,
            Event {
                change,
                object: stored.clone(),
                before: before.map(|b| b.meta),
            },
        );
        stored
    }

    /// Take an object out, `value` being its last state.
    pub(crate) fn take(&mut self, id: ResourceId, mut value: Value) -> Stored {
        self.revision += 1;
        let stored = self.seal(id, &mut value, self.revision);
        let collection = &mut self.collections[id.0];
        let before = collection.items.remove(&stored.meta.key);
        if let Some(before) = &before {
            collection.index(&before.meta, false);
            self.own(id, &before.meta, false);
        }
        self.departed.push_back(stored.meta.uid.clone());
        if self.departed.len() > DEPARTED {
            self.departed.pop_front();
        }
        self.record("delete", id, &value, None, &stored);
        self.tell(
            id,
            Event {
                change: Change::Deleted,
                object: stored.clone(),
                before: before.map(|b| b.meta),
            },
        );
        stored
    }

    /// Number and serialise without storing, as a dry run answers.
    pub(crate) fn seal(&self, id: ResourceId, value: &mut Value, revision: u64) -> Stored {
        object::meta_mut(value).insert("resourceVersion".to_owned(), json!(revision.to_string()));
        let mut text = serde_json::to_vec(value).expect("JSON because it is a JSON value");
        text.shrink_to_fit();
        let meta = Meta::read(&self.collections[id.0].kind, value, revision);
        Stored {
            meta: Arc::new(meta),
            bytes: Bytes::from(text),
        }
    }

    fn tell(&mut self, id: ResourceId, event: Event) {
        let history = self.options.history;
        self.collections[id.0].publish(event, history);
    }

    fn own(&mut self, id: ResourceId, meta: &Meta, present: bool) {
        for owner in &meta.owners {
            if present {
                self.dependents
                    .entry(owner.clone())
                    .or_default()
                    .insert((id, meta.key.clone()));
            } else if let Some(set) = self.dependents.get_mut(owner) {
                set.remove(&(id, meta.key.clone()));
                if set.is_empty() {
                    self.dependents.remove(owner);
                }
            }
        }
    }

    /// Objects that name this uid as an owner.
    pub(crate) fn dependents(&self, uid: &str) -> Vec<(ResourceId, Key)> {
        self.dependents
            .get(uid)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// Whether an object with this uid went recently.
    pub(crate) fn has_departed(&self, uid: &str) -> bool {
        self.departed.iter().any(|gone| &**gone == uid)
    }

    fn record(
        &mut self,
        verb: &str,
        id: ResourceId,
        value: &Value,
        before: Option<&Stored>,
        stored: &Stored,
    ) {
        let kind = self.collections[id.0].kind.clone();
        if !is_heartbeat(&kind, value, before) {
            self.last_material_write = self.now();
        }
        if self.options.record_writes {
            let key = &stored.meta.key;
            self.log.push(format!(
                "{verb} {} {}/{} {}",
                kind.qualified(),
                key.namespace,
                key.name,
                stored.meta.revision
            ));
        }
    }

    /// A version 4 UUID from the seed.
    pub(crate) fn next_uid(&mut self) -> String {
        let (high, low) = (self.next_random(), self.next_random());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            0x8000 | (low >> 48 & 0x3fff),
            low & 0xffff_ffff_ffff
        )
    }

    /// Five characters for `generateName`, from the alphabet that spells no words.
    pub(crate) fn next_suffix(&mut self) -> String {
        const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        let mut bits = self.next_random();
        (0..5)
            .map(|_| {
                let index = usize::try_from(bits % 27).expect("small because it is a remainder");
                bits /= 27;
                char::from(ALPHABET[index])
            })
            .collect()
    }

    /// The last two bytes of a service's address.
    pub(crate) fn next_address(&mut self) -> u16 {
        u16::try_from(self.next_random() >> 48).expect("small because it was shifted")
    }

    /// SplitMix64 over a counter: one stream, the same for the same seed and order of writes.
    fn next_random(&mut self) -> u64 {
        self.names += 1;
        let mut mixed = self
            .options
            .seed
            .wrapping_add(self.names.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Whether a write says only that somebody is alive: leases, events, and node heartbeats.
fn is_heartbeat(kind: &Kind, value: &Value, before: Option<&Stored>) -> bool {
    if !kind.builtin {
        return false;
    }
    match kind.kind.as_str() {
        "Lease" | "Event" => true,
        "Node" => before.is_some_and(|before| {
            without_heartbeat(before.value()) == without_heartbeat(value.clone())
        }),
        _ => false,
    }
}

fn without_heartbeat(mut node: Value) -> Value {
    object::meta_mut(&mut node).remove("resourceVersion");
    if let Some(conditions) = node
        .pointer_mut("/status/conditions")
        .and_then(Value::as_array_mut)
    {
        for condition in conditions.iter_mut().filter_map(Value::as_object_mut) {
            condition.remove("lastHeartbeatTime");
        }
    }
    node
}
