//! Objects, revisions and the ring of events: all that the server remembers.
//!
//! An object is kept as the bytes that clients get, with the few facts that selectors and owners
//! need beside it; list answers, events and history share those bytes. The store knows nothing of
//! schemas or verbs. Invariant: every change goes through [`State::put`] or [`State::take`], which
//! number it, index it, log it and tell the watchers.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use serde_json::{Value, json};

pub(crate) use crate::collection::{Change, Collection, Event, Key, Meta, ResourceId, Stored};
use crate::{Options, kinds::Kind, object};

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
        self.collections.push(Collection::new(kind, self.revision));
        ResourceId(self.collections.len() - 1)
    }

    pub(crate) fn collection(&self, id: ResourceId) -> &Collection {
        &self.collections[id.0]
    }

    pub(crate) fn collection_mut(&mut self, id: ResourceId) -> &mut Collection {
        &mut self.collections[id.0]
    }

    pub(crate) fn get(&self, id: ResourceId, key: &Key) -> Option<&Stored> {
        self.collections[id.0].get(key)
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
        let before = self.collections[id.0].insert(&stored);
        let (change, verb) = match before {
            Some(_) => (Change::Modified, "update"),
            None => (Change::Added, "create"),
        };
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
        let before = self.collections[id.0].remove(&stored.meta.key);
        if let Some(before) = &before {
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
