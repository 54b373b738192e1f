//! The objects of one kind, their recent history and the watches on them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    sync::Arc,
};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::{kinds::Kind, object, select::Filter};

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
    pub(crate) fn read(kind: &Kind, value: &Value, revision: u64) -> Meta {
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
    pub(crate) before: Option<Arc<Meta>>,
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
    pub(crate) fn new(kind: Arc<Kind>, revision: u64) -> Collection {
        Collection {
            kind,
            served: true,
            items: BTreeMap::new(),
            by_first_field: BTreeMap::new(),
            ring: VecDeque::new(),
            forgotten: revision,
            watchers: Vec::new(),
        }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Stored> {
        self.items.get(key)
    }

    /// Put an object in; what was there before.
    pub(crate) fn insert(&mut self, stored: &Stored) -> Option<Stored> {
        let before = self.items.insert(stored.meta.key.clone(), stored.clone());
        if let Some(before) = &before {
            self.index(&before.meta, false);
        }
        self.index(&stored.meta, true);
        before
    }

    /// Take an object out.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Stored> {
        let before = self.items.remove(key)?;
        self.index(&before.meta, false);
        Some(before)
    }

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

    /// Remember an event and tell the watches that see it.
    pub(crate) fn publish(&mut self, event: Event, history: usize) {
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
