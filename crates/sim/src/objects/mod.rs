//! The built-in kinds as the mini control plane reads them: the wire form of each kind holds only fields that
//! some controller here reads, and is lowered at once into the value that the [`Cluster`](crate::cluster::Cluster)
//! keeps. These models are deliberately not those of `karpenter-api`: the binder judges the placements of our own
//! scheduler, so it may not inherit its mistakes in reading.

mod amount;
mod budget;
mod meta;
mod node;
mod pod;
mod selector;
mod workload;

pub(crate) use amount::{Amount, Amounts};
pub(crate) use budget::{Budget, BudgetStatus, BudgetWire};
pub(crate) use meta::{Condition, IntOrPercent, Key, Meta, condition, stamp};
pub(crate) use node::{Namespace, NamespaceWire, Node, NodeWire, Taint, TaintEffect};
pub(crate) use pod::{
    Container, Expression, NodeSelectorTerm, Phase, Pod, PodSpec, PodTerm, PodWire,
    SpreadConstraint, Toleration,
};
pub(crate) use selector::Selector;
pub(crate) use workload::{
    DaemonSet, DaemonSetWire, Deployment, DeploymentSpec, DeploymentWire, Job, JobWire, ReplicaSet,
    ReplicaSetWire,
};

/// Names a wire type as a Kubernetes kind, so that kube's watcher can ask for it.
macro_rules! kind {
    ($type:ident, $group:literal, $version:literal, $kind:expr, $plural:literal, $scope:ident) => {
        impl kube::Resource for $type {
            type DynamicType = ();
            type Scope = k8s_openapi::$scope;

            fn kind((): &()) -> std::borrow::Cow<'_, str> {
                $kind.into()
            }
            fn group((): &()) -> std::borrow::Cow<'_, str> {
                $group.into()
            }
            fn version((): &()) -> std::borrow::Cow<'_, str> {
                $version.into()
            }
            fn plural((): &()) -> std::borrow::Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &self.metadata
            }
            fn meta_mut(
                &mut self,
            ) -> &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &mut self.metadata
            }
        }
    };
}
pub(crate) use kind;
