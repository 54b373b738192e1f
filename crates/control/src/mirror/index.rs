//! Which objects share a value, so that asking does not mean looking at all of them.

use std::collections::{BTreeMap, BTreeSet};

use super::Key;

/// Keys by a value of their objects, such as the provider id or the node of a pod. Objects without the
/// value are in no set.
#[derive(Debug, Default)]
pub(crate) struct Index(BTreeMap<String, BTreeSet<Key>>);

impl Index {
    /// The value of an object has changed, appeared or gone.
    pub(crate) fn moved(&mut self, key: &Key, old: Option<&str>, new: Option<&str>) {
        let is_value = |value: &&str| !value.is_empty();
        let (old, new) = (old.filter(is_value), new.filter(is_value));
        if old == new {
            return;
        }
        if let Some(old) = old
            && let Some(keys) = self.0.get_mut(old)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.0.remove(old);
            }
        }
        if let Some(new) = new {
            self.0
                .entry(new.to_owned())
                .or_default()
                .insert(key.clone());
        }
    }

    /// The objects with this value, in key order.
    pub(crate) fn keys(&self, value: &str) -> impl Iterator<Item = &Key> {
        self.0.get(value).into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moves of objects (name, old, new), then the names under a value.
    fn check(moves: &[(&str, &str, &str)], value: &str, expected: &[&str]) {
        let mut index = Index::default();
        for (name, old, new) in moves {
            index.moved(&Key::cluster(*name), Some(old), Some(new));
        }
        let found: Vec<&str> = index.keys(value).map(|key| &*key.name).collect();
        assert_eq!(found, expected, "{moves:?}");
    }

    #[test]
    fn objects_are_found_where_they_are() {
        check(
            &[("b", "", "x"), ("a", "", "x"), ("c", "", "y")],
            "x",
            &["a", "b"],
        );
        check(&[("a", "", "x"), ("a", "x", "y")], "x", &[]);
        check(&[("a", "", "x"), ("a", "x", "y")], "y", &["a"]);
        check(&[("a", "", "x"), ("a", "x", "")], "x", &[]);
        check(&[("a", "", ""), ("b", "", "")], "", &[]);
    }
}
