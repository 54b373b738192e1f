//! The text of a scrape: one block per family, in the order of their names.
//!
//! Series that are read from the mirror are written here directly: a node alone has dozens of
//! labels and series, and building each as a value of its own would take longer than a scrape may.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

/// Blocks of text by family.
#[derive(Default)]
pub(super) struct Page(BTreeMap<String, String>);

impl Page {
    /// The block of a family, to be written to.
    pub(super) fn family(&mut self, name: &str) -> &mut String {
        self.0.entry(name.to_owned()).or_default()
    }

    /// The block of a family after its head, which is written once.
    pub(super) fn begin(&mut self, name: &str, help: &str, kind: &str) -> &mut String {
        let text = self.family(name);
        if text.is_empty() {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        }
        text
    }

    /// One series of a gauge.
    pub(super) fn gauge(&mut self, name: &str, help: &str, labels: &Labels, value: f64) {
        self.sample(name, help, "gauge", labels, value);
    }

    /// One series of any kind that has a single value.
    pub(super) fn sample(
        &mut self,
        name: &str,
        help: &str,
        kind: &str,
        labels: &Labels,
        value: f64,
    ) {
        let text = self.begin(name, help, kind);
        line(text, name, &[labels.inner()], value);
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

/// One line of a family. Formatting is what a scrape of a large cluster consists of, so only numbers
/// are formatted; labels come in parts that are joined here.
pub(super) fn line(text: &mut String, name: &str, labels: &[&str], value: f64) {
    text.push_str(name);
    let mut separator = '{';
    for part in labels.iter().filter(|part| !part.is_empty()) {
        text.push(separator);
        text.push_str(part);
        separator = ',';
    }
    if separator == ',' {
        text.push('}');
    }
    text.push(' ');
    let _ = writeln!(text, "{value}");
}

/// Labels of one series, sorted by name and escaped, as they stand in the text.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels(String);

impl Labels {
    /// Labels in any order; names are constants and need no escaping.
    pub(super) fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut pairs: Vec<(&str, &str)> = pairs.into_iter().collect();
        pairs.sort_unstable();
        let mut text = String::new();
        for (name, value) in pairs {
            push(&mut text, name, value);
        }
        Self(text)
    }

    /// Adds a label at the end.
    pub(super) fn push(&mut self, name: &str, value: &str) {
        push(&mut self.0, name, value);
    }

    /// The labels without braces.
    pub(super) fn inner(&self) -> &str {
        &self.0
    }

    /// The same with one more label at the end.
    pub(super) fn with(&self, name: &str, value: &str) -> Self {
        let mut text = self.0.clone();
        push(&mut text, name, value);
        Self(text)
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(formatter, "{{{}}}", self.0)
    }
}

fn push(text: &mut String, name: &str, value: &str) {
    if !text.is_empty() {
        text.push(',');
    }
    text.push_str(name);
    text.push_str("=\"");
    if value.contains(['\\', '"', '\n']) {
        let escaped = value.replace('\\', "\\\\");
        text.push_str(&escaped.replace('"', "\\\"").replace('\n', "\\n"));
    } else {
        text.push_str(value);
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pairs: &[(&str, &str)], expected: &str) {
        assert_eq!(Labels::new(pairs.iter().copied()).to_string(), expected);
    }

    #[test]
    fn labels_are_sorted_and_escaped() {
        check(&[], "");
        check(&[("zone", "a"), ("arch", "")], "{arch=\"\",zone=\"a\"}");
        check(&[("a", "x\"y\\z\n")], "{a=\"x\\\"y\\\\z\\n\"}");
        assert_eq!(
            Labels::new([("a", "1")])
                .with("quantile", "0.5")
                .to_string(),
            "{a=\"1\",quantile=\"0.5\"}"
        );
    }

    #[test]
    fn families_come_in_order_with_one_head_each() {
        let mut page = Page::default();
        let labels = Labels::default();
        page.gauge("b", "B.", &labels, 0.5);
        page.gauge("a", "A.", &labels, 1.0);
        page.gauge("b", "B.", &Labels::new([("x", "1")]), 2.0);
        assert_eq!(
            page.finish(),
            "# HELP a A.\n# TYPE a gauge\na 1\n\
             # HELP b B.\n# TYPE b gauge\nb 0.5\nb{x=\"1\"} 2\n"
        );
    }
}
