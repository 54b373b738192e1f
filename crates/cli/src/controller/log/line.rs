//! What a line looks like.
//!
//! Code names its fields as Rust does; lines name them as upstream does. The two are joined here: an
//! object's name becomes the object (`nodeclaim = "x"` is `"NodeClaim":{"name":"x"}`), other words are
//! joined by hyphens, and the first field of a name wins, so that an event may repeat what its span
//! says already.

use std::fmt::{Debug, Write as _};

use jiff::Timestamp;
use tracing::{
    Level,
    field::{Field, Visit},
};

/// The fields of a span or an event, rendered.
#[derive(Default)]
pub(super) struct Fields {
    message: String,
    rendered: Vec<(&'static str, String)>,
}

impl Fields {
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    fn push(&mut self, field: &Field, rendered: String) {
        self.rendered.push((field.name(), rendered));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            let rendered = match object(field.name()) {
                Some(_) => reference(value),
                None => quoted(value),
            };
            self.push(field, rendered);
        }
    }

    /// Bytes are JSON already: lists have no other way here.
    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        self.push(field, String::from_utf8_lossy(value).into_owned());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value.to_string());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value.to_string());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value.to_string());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        let rendered = serde_json::to_string(&value).unwrap_or_default();
        self.push(field, rendered);
    }
}

/// The kind of object that a field names.
fn object(field: &str) -> Option<&'static str> {
    Some(match field {
        "nodeclaim" | "node_claim" => "NodeClaim",
        "nodepool" | "node_pool" => "NodePool",
        "node" => "Node",
        "pod" => "Pod",
        _ => return None,
    })
}

/// A name as an object; `namespace/name` if it has a namespace.
fn reference(name: &str) -> String {
    match name.split_once('/') {
        Some((namespace, name)) => format!(
            "{{\"namespace\":{},\"name\":{}}}",
            quoted(namespace),
            quoted(name)
        ),
        None => format!("{{\"name\":{}}}", quoted(name)),
    }
}

/// The key of a field.
fn key(field: &'static str) -> String {
    match field {
        "reconcile_id" => "reconcileID".to_owned(),
        _ => object(field).map_or_else(|| field.replace('_', "-"), str::to_owned),
    }
}

fn quoted(text: &str) -> String {
    // A text always has a form in JSON.
    serde_json::to_string(text).unwrap_or_default()
}

/// A line under way.
pub(super) struct Line {
    text: String,
    keys: Vec<String>,
}

impl Line {
    pub(super) fn new(level: Level, now: Timestamp, message: &str) -> Self {
        let mut line = Self {
            text: String::with_capacity(256),
            keys: Vec::new(),
        };
        line.text("level", level.as_str());
        line.text("time", &now.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string());
        line.text("logger", "controller");
        line.text("message", message);
        line
    }

    /// Adds a text unless its key is taken.
    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.raw(key.to_owned(), &quoted(value));
    }

    /// Adds the fields whose keys are not taken.
    pub(super) fn fields(&mut self, fields: &Fields) {
        for (field, rendered) in &fields.rendered {
            self.raw(key(field), rendered);
        }
    }

    fn raw(&mut self, key: String, rendered: &str) {
        if self.keys.contains(&key) {
            return;
        }
        let open = if self.keys.is_empty() { '{' } else { ',' };
        let _ = write!(self.text, "{open}{}:{rendered}", quoted(&key));
        self.keys.push(key);
    }

    /// The line with its end.
    pub(super) fn finish(mut self) -> String {
        self.text.push_str("}\n");
        self.text
    }
}
