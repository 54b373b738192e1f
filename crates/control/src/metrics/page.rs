//! The text of a scrape: one block per family, in the order of their names.
//!
//! Series that are read from the mirror are written here directly: a node alone has dozens of
//! labels and series, and building each as a value of its own would take longer than a scrape may.

use std::collections::BTreeMap;

/// Blocks of text by family.
#[derive(Default)]
pub(super) struct Page(BTreeMap<String, String>);

impl Page {
    /// The block of a family, to be written to.
    pub(super) fn family(&mut self, name: &str) -> &mut String {
        self.0.entry(name.to_owned()).or_default()
    }

    /// All blocks together.
    pub(super) fn finish(self) -> String {
        let length = self.0.values().map(String::len).sum();
        let mut text = String::with_capacity(length);
        for block in self.0.values() {
            text.push_str(block);
        }
        text
    }
}
