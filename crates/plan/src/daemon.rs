//! A DaemonSet lowered: the pod it will put on every node that it matches.

use alloc::sync::Arc;

use crate::{pod::Shape, resources::Resources, vocabulary::ShapeId};

/// A DaemonSet.
#[derive(Clone, Debug)]
pub struct Daemon {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
    /// What its newest pod requests; if it has none, what its template does, limits counting as
    /// requests. With `pods: 1`.
    pub requests: Resources,
    /// Equal ids mean equal constraints.
    pub shape_id: ShapeId,
    /// Constraints, with the template's required node affinity.
    pub shape: Arc<Shape>,
}
