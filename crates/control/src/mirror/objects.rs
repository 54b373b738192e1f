//! The objects of one kind, by key, never older than what was seen before.
//!
//! Two sources feed the same shelf: the watch, and the answers to our own writes, which usually come
//! first. The resource version decides which of two states is the newer one; a deletion is
//! remembered for a while, so that a late answer cannot bring an object back.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::Arc,
};

use kube::api::ObjectMeta;

/// Namespace (empty for kinds without one) and name. The order is that of every listing.
///
/// A hundred thousand pods are in several maps each: a copy shares the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The namespace; empty for cluster-wide kinds.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl Default for Key {
    fn default() -> Self {
        Self::cluster("")
    }
}

impl Key {
    /// The key of an object in a namespace.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of a cluster-wide object.
    pub fn cluster(name: impl Into<Arc<str>>) -> Self {
        Self::new("", name)
    }

    /// The key of whatever carries this metadata.
    pub fn of(metadata: &ObjectMeta) -> Self {
        Self::new(
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default(),
        )
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.namespace.is_empty() {
            write!(formatter, "{}/", self.namespace)?;
        }
        formatter.write_str(&self.name)
    }
}

/// What changed: an object appeared (`old` is absent), changed, or went (`new` is absent).
#[derive(Clone, Debug)]
pub struct Change<T> {
    /// The object's key.
    pub key: Key,
    /// What was known before.
    pub old: Option<T>,
    /// What is known now.
    pub new: Option<T>,
}

impl<T> Change<T> {
    /// The newest state that is known, be it the last one of an object that went.
    pub fn last(&self) -> Option<&T> {
        self.new.as_ref().or(self.old.as_ref())
    }
}

/// How many deletions are remembered per kind. Only answers in flight can be late, and those are
/// bounded by the write cap.
const REMEMBERED_DELETIONS: usize = 1024;

/// What is kept of an object knows which object it is.
pub trait Held {
    /// The object's uid.
    fn uid(&self) -> &str;
}

#[derive(Clone, Debug)]
struct Entry<T> {
    value: T,
    version: u64,
    /// The last listing that held the object, or during which it was written.
    listing: u64,
}

/// The objects of one kind.
#[derive(Debug)]
pub struct Objects<T> {
    entries: BTreeMap<Key, Entry<T>>,
    /// Uids of objects that are gone: for asking, and in the order in which they are forgotten.
    deleted: BTreeSet<String>,
    forgotten_next: VecDeque<String>,
    /// Counts listings, the one under way included.
    listing: u64,
    listed: bool,
    /// Counts what was stored and removed.
    changes: u64,
}

impl<T> Default for Objects<T> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            deleted: BTreeSet::new(),
            forgotten_next: VecDeque::new(),
            listing: 0,
            listed: false,
            changes: 0,
        }
    }
}

impl<T> Objects<T> {
    pub(crate) fn get(&self, key: &Key) -> Option<&T> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    pub(crate) fn named(&self, name: &str) -> Option<&T> {
        self.get(&Key::cluster(name))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, &T)> {
        self.entries.iter().map(|(key, entry)| (key, &entry.value))
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.values().map(|entry| &entry.value)
    }

    /// A number that changes whenever any object does.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// True once the kind was listed.
    pub(crate) fn is_listed(&self) -> bool {
        self.listed
    }

    /// What is known may be behind: it counts as listed again after the next listing.
    pub(crate) fn expect_list(&mut self) {
        self.listed = false;
    }

    /// The listing under way holds the object of this key, be it in a state that is no news or cannot be read.
    pub(crate) fn see(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.listing = self.listing;
        }
    }

    /// A listing begins: what is written from here on is newer than the list, whatever it says.
    pub(crate) fn begin_list(&mut self) {
        self.listing += 1;
    }
}

impl<T: Clone + Held> Objects<T> {
    /// True if this state is newer than what is known, so that it is worth lowering.
    pub(crate) fn is_news(&self, key: &Key, metadata: &ObjectMeta) -> bool {
        let uid = metadata.uid.as_deref().unwrap_or_default();
        if self.deleted.contains(uid) {
            return false;
        }
        match self.entries.get(key) {
            Some(entry) if entry.value.uid() == uid => match version(metadata) {
                0 => true,
                newer => newer > entry.version,
            },
            // Another object under the same name: resource versions are comparable there, too.
            Some(entry) => version(metadata) == 0 || version(metadata) > entry.version,
            None => true,
        }
    }

    /// Stores a newer state. The caller has asked [`Objects::is_news`].
    pub(crate) fn apply(&mut self, key: Key, metadata: &ObjectMeta, value: T) -> Change<T> {
        let entry = Entry {
            value: value.clone(),
            version: version(metadata),
            listing: self.listing,
        };
        self.changes += 1;
        let old = self
            .entries
            .insert(key.clone(), entry)
            .map(|entry| entry.value);
        Change {
            key,
            old,
            new: Some(value),
        }
    }

    /// Removes an object, unless the name belongs to another one by now.
    pub(crate) fn delete(&mut self, key: &Key, uid: &str) -> Option<Change<T>> {
        if !uid.is_empty() && self.deleted.insert(uid.to_owned()) {
            self.forgotten_next.push_back(uid.to_owned());
            if self.forgotten_next.len() > REMEMBERED_DELETIONS
                && let Some(oldest) = self.forgotten_next.pop_front()
            {
                self.deleted.remove(&oldest);
            }
        }
        let entry = self.entries.get(key)?;
        if !uid.is_empty() && entry.value.uid() != uid {
            return None;
        }
        let old = self.entries.remove(key)?.value;
        self.changes += 1;
        Some(Change {
            key: key.clone(),
            old: Some(old),
            new: None,
        })
    }

    /// The listing is complete: whatever it did not hold is gone.
    pub(crate) fn end_list(&mut self) -> Vec<Change<T>> {
        self.listed = true;
        let gone: Vec<(Key, String)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.listing < self.listing)
            .map(|(key, entry)| (key.clone(), entry.value.uid().to_owned()))
            .collect();
        gone.iter()
            .filter_map(|(key, uid)| self.delete(key, uid))
            .collect()
    }
}

/// Resource versions are integers on every server we speak to (guaranteed from Kubernetes 1.35 on);
/// zero stands for "unknown", which counts as newer.
pub(crate) fn version(metadata: &ObjectMeta) -> u64 {
    metadata
        .resource_version
        .as_deref()
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(name: &str, uid: &str, version: u64) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.into()),
            uid: Some(uid.into()),
            resource_version: Some(version.to_string()),
            ..ObjectMeta::default()
        }
    }

    impl Held for Arc<str> {
        fn uid(&self) -> &str {
            self
        }
    }

    fn put(objects: &mut Objects<Arc<str>>, name: &str, uid: &str, version: u64) -> bool {
        let meta = meta(name, uid, version);
        let news = objects.is_news(&Key::of(&meta), &meta);
        if news {
            objects.apply(Key::of(&meta), &meta, uid.into());
        }
        news
    }

    #[test]
    fn an_older_state_never_replaces_a_newer_one() {
        let mut objects = Objects::default();
        assert!(put(&mut objects, "a", "1", 5));
        assert!(
            !put(&mut objects, "a", "1", 5),
            "the same state again is no news"
        );
        assert!(!put(&mut objects, "a", "1", 4));
        assert!(
            put(&mut objects, "a", "2", 7),
            "the name was given to another object"
        );
        assert!(
            !put(&mut objects, "a", "1", 6),
            "the former owner of the name is history"
        );
    }

    #[test]
    fn a_late_answer_does_not_bring_an_object_back() {
        let mut objects = Objects::default();
        put(&mut objects, "a", "1", 5);
        assert!(objects.delete(&Key::cluster("a"), "1").is_some());
        assert!(!put(&mut objects, "a", "1", 9));
        assert!(put(&mut objects, "a", "2", 10));
        assert!(
            objects.delete(&Key::cluster("a"), "1").is_none(),
            "not the owner of the name"
        );
    }

    #[test]
    fn a_listing_removes_what_it_lacks_but_not_what_was_written_meanwhile() {
        let mut objects = Objects::default();
        put(&mut objects, "old", "1", 1);
        put(&mut objects, "kept", "2", 2);
        objects.begin_list();
        put(&mut objects, "ours", "3", 9);
        objects.see(&Key::cluster("kept"));
        let gone = objects.end_list();
        assert_eq!(
            gone.iter()
                .map(|change| &*change.key.name)
                .collect::<Vec<_>>(),
            ["old"]
        );
        assert!(objects.named("ours").is_some() && objects.is_listed());
    }
}
