//! Lowered values beside the very objects they were made from, so that only what has changed is lowered.

use std::{mem, sync::Arc};

use karpenter_plan::Problem;

use crate::mirror::{Key, objects::Objects};

struct Entry<Source, Value> {
    key: Key,
    source: Source,
    value: Result<Arc<Value>, Problem>,
}

/// Everything of one kind that was lowered for the last snapshot, in key order.
pub(super) struct Shelf<Source, Value> {
    entries: Vec<Entry<Source, Value>>,
    /// What of it could be lowered: the same allocation until something changes.
    values: Arc<[Arc<Value>]>,
    /// The state of the objects that were looked at last.
    seen: Option<u64>,
}

impl<Source, Value> Default for Shelf<Source, Value> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            values: Arc::default(),
            seen: None,
        }
    }
}

impl<Source, Value> Shelf<Source, Value> {
    /// Lowers each source, which come in key order, taking over what was lowered from the same source
    /// before.
    pub(super) fn update<'k>(
        &mut self,
        sources: impl IntoIterator<Item = (&'k Key, Source)>,
        is_same: impl Fn(&Source, &Source) -> bool,
        mut lower: impl FnMut(&Source) -> Result<Value, Problem>,
    ) {
        let known = mem::take(&mut self.entries);
        let count = known.len();
        let mut known = known.into_iter().peekable();
        let mut is_changed = false;
        self.entries.reserve(count);
        for (key, source) in sources {
            while known.next_if(|entry| entry.key < *key).is_some() {}
            let entry = match known.next_if(|entry| entry.key == *key) {
                Some(entry) if is_same(&entry.source, &source) => entry,
                Some(_) | None => {
                    is_changed = true;
                    Entry {
                        key: key.clone(),
                        value: lower(&source).map(Arc::new),
                        source,
                    }
                }
            };
            self.entries.push(entry);
        }
        if is_changed || self.entries.len() != count {
            let values = self.entries.iter().flat_map(|entry| &entry.value);
            self.values = values.map(Arc::clone).collect();
        }
    }

    /// What could be lowered, in key order. The allocation is another one once anything has changed.
    pub(super) fn values(&self) -> Arc<[Arc<Value>]> {
        Arc::clone(&self.values)
    }

    /// What could not be lowered.
    pub(super) fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.entries
            .iter()
            .filter_map(|entry| entry.value.as_ref().err())
    }
}

impl<Object, Value> Shelf<Arc<Object>, Value> {
    /// Lowers the objects of a kind, each by itself.
    pub(super) fn lower(
        &mut self,
        objects: &Objects<Arc<Object>>,
        mut lower: impl FnMut(&Object) -> Result<Value, Problem>,
        problems: &mut Vec<Problem>,
    ) -> Arc<[Arc<Value>]> {
        if self.seen.replace(objects.changes()) != Some(objects.changes()) {
            let sources = objects.iter();
            let sources = sources.map(|(key, object)| (key, Arc::clone(object)));
            self.update(sources, Arc::ptr_eq, |object| lower(object));
        }
        problems.extend(self.problems().cloned());
        self.values()
    }

    /// The same for kinds of which each object can be lowered.
    pub(super) fn lower_all(
        &mut self,
        objects: &Objects<Arc<Object>>,
        mut lower: impl FnMut(&Object) -> Value,
    ) -> Arc<[Arc<Value>]> {
        self.lower(objects, |object| Ok(lower(object)), &mut Vec::new())
    }
}
