//! Dynamic resources: devices that drivers publish, claims of them, and classes that select among them
//! (`resource.k8s.io/v1`; section 9 of scheduling.md).

use std::collections::BTreeMap;

use k8s_openapi::api::resource::v1 as resource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Serialize};

use super::selector::NodeSelector;
use crate::{Quantity, ResourceList};

/// Devices of one pool, or the counters that they share.
#[derive(Resource, Deserialize, Clone, Debug, Default, PartialEq)]
#[resource(inherit = resource::ResourceSlice)]
#[serde(default)]
pub struct ResourceSlice {
    /// The object's metadata; a node that owns the slice publishes devices of its own.
    pub metadata: ObjectMeta,
    /// What is published.
    #[serde(deserialize_with = "super::null_is_default")]
    pub spec: ResourceSliceSpec,
}

manifest!(ResourceSlice inherits resource::ResourceSlice { "spec": spec });

/// What a slice publishes.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceSliceSpec {
    /// The driver.
    pub driver: String,
    /// The pool that the slice is a part of.
    #[serde(deserialize_with = "super::null_is_default")]
    pub pool: ResourcePool,
    /// The one node that can use the devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// The nodes that can use the devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<NodeSelector>,
    /// Every node can use the devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all_nodes: Option<bool>,
    /// Each device says for itself which nodes can use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_device_node_selection: Option<bool>,
    /// The devices.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub devices: Vec<Device>,
    /// Counters that devices of the pool draw on.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub shared_counters: Vec<CounterSet>,
}

/// The pool of a slice.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourcePool {
    /// Its name, unique for the driver.
    pub name: String,
    /// Slices of older generations no longer count.
    pub generation: i64,
    /// How many slices of this generation make the pool.
    pub resource_slice_count: i64,
}

/// A device.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Device {
    /// Its name, unique in the pool.
    pub name: String,
    /// What sets it apart. A name without a domain is of the driver's domain.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub attributes: BTreeMap<String, DeviceAttribute>,
    /// What it has.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub capacity: BTreeMap<String, DeviceCapacity>,
    /// Several claims may share it, each with a part of its capacity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_multiple_allocations: Option<bool>,
    /// What it draws from counters while it is in use.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub consumes_counters: Vec<CounterConsumption>,
}

/// A value that sets a device apart; one of the fields is present.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct DeviceAttribute {
    /// A truth value.
    #[serde(rename = "bool", skip_serializing_if = "Option::is_none")]
    pub boolean: Option<bool>,
    /// A number.
    #[serde(rename = "int", skip_serializing_if = "Option::is_none")]
    pub integer: Option<i64>,
    /// A text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub string: Option<String>,
    /// A semantic version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// How much of something a device has.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceCapacity {
    /// The amount.
    pub value: Quantity,
    /// In which amounts it can be had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_policy: Option<CapacityRequestPolicy>,
}

/// In which amounts a capacity can be had.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct CapacityRequestPolicy {
    /// What a request gets that asks for no amount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Quantity>,
    /// The amounts, one by one.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub valid_values: Vec<Quantity>,
    /// The amounts, as a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_range: Option<CapacityRequestRange>,
}

/// A range of amounts.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct CapacityRequestRange {
    /// The least.
    pub min: Quantity,
    /// The most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Quantity>,
    /// Amounts are so far apart, from the least on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<Quantity>,
}

/// Counters that devices share.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct CounterSet {
    /// The name, unique in the pool.
    pub name: String,
    /// The counters.
    #[serde(deserialize_with = "super::null_is_default")]
    pub counters: BTreeMap<String, Counter>,
}

/// An amount that is drawn on.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct Counter {
    /// The amount.
    pub value: Quantity,
}

/// What a device draws from one set of counters.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct CounterConsumption {
    /// The set.
    pub counter_set: String,
    /// The amounts.
    #[serde(deserialize_with = "super::null_is_default")]
    pub counters: BTreeMap<String, Counter>,
}

/// A claim of devices.
#[derive(Resource, Deserialize, Clone, Debug, Default, PartialEq)]
#[resource(inherit = resource::ResourceClaim)]
#[serde(default)]
pub struct ResourceClaim {
    /// The object's metadata.
    pub metadata: ObjectMeta,
    /// What is claimed.
    #[serde(deserialize_with = "super::null_is_default")]
    pub spec: ResourceClaimSpec,
    /// What was allocated, and to whom.
    #[serde(deserialize_with = "super::null_is_default")]
    pub status: ResourceClaimStatus,
}

manifest!(ResourceClaim inherits resource::ResourceClaim { "spec": spec, "status": status });
always_written!(
    ResourceSliceSpec,
    ResourceClaimSpec,
    ResourceClaimStatus,
    DeviceClassSpec
);

/// What is claimed.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct ResourceClaimSpec {
    /// The devices.
    #[serde(deserialize_with = "super::null_is_default")]
    pub devices: DeviceClaim,
}

/// Devices that are claimed together.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct DeviceClaim {
    /// The requests.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub requests: Vec<DeviceRequest>,
    /// What must hold of the devices of several requests.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub constraints: Vec<DeviceConstraint>,
}

/// A request, either one or alternatives.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceRequest {
    /// The name, unique in the claim.
    pub name: String,
    /// The request, if there are no alternatives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exactly: Option<ExactDeviceRequest>,
    /// The alternatives, best first.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub first_available: Vec<ExactDeviceRequest>,
}

/// Devices of one class.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ExactDeviceRequest {
    /// The name of an alternative; otherwise empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The class.
    pub device_class_name: String,
    /// What must hold of each device besides what the class says.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub selectors: Vec<DeviceSelector>,
    /// ExactCount or All.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocation_mode: Option<String>,
    /// How many, for ExactCount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<i64>,
    /// How much of each device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<CapacityRequirements>,
}

/// How much of a device is claimed.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct CapacityRequirements {
    /// The amounts.
    #[serde(deserialize_with = "super::null_is_default")]
    pub requests: ResourceList,
}

/// A condition on devices.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct DeviceSelector {
    /// The condition in the Common Expression Language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cel: Option<CelDeviceSelector>,
}

/// A condition in the Common Expression Language.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct CelDeviceSelector {
    /// The expression.
    pub expression: String,
}

/// What must hold of the devices of several requests.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceConstraint {
    /// The requests; all of them when empty.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub requests: Vec<String>,
    /// All devices have one value of this attribute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub match_attribute: Option<String>,
    /// All devices differ in this attribute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distinct_attribute: Option<String>,
}

/// What became of a claim.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceClaimStatus {
    /// What was allocated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocation: Option<AllocationResult>,
    /// Who uses it.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub reserved_for: Vec<ConsumerReference>,
}

/// What was allocated.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct AllocationResult {
    /// The devices.
    #[serde(deserialize_with = "super::null_is_default")]
    pub devices: DeviceAllocationResult,
    /// The nodes that can use them; all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<NodeSelector>,
}

/// The devices that were allocated.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct DeviceAllocationResult {
    /// One for each device.
    #[serde(deserialize_with = "super::null_is_default")]
    pub results: Vec<AllocatedDevice>,
}

/// A device that was allocated.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct AllocatedDevice {
    /// The request, `parent/sub` for an alternative.
    pub request: String,
    /// The driver.
    pub driver: String,
    /// The pool.
    pub pool: String,
    /// The device.
    pub device: String,
    /// The part that was taken of a device that is shared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumed_capacity: Option<ResourceList>,
}

/// Somebody who uses a claim.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerReference {
    /// The API group; absent for pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_group: Option<String>,
    /// The kind in the plural: `pods`.
    pub resource: String,
    /// The name.
    pub name: String,
    /// The uid.
    pub uid: String,
}

/// What devices of a class have in common.
#[derive(Resource, Deserialize, Clone, Debug, Default, PartialEq)]
#[resource(inherit = resource::DeviceClass)]
#[serde(default)]
pub struct DeviceClass {
    /// The object's metadata.
    pub metadata: ObjectMeta,
    /// What must hold of a device.
    #[serde(deserialize_with = "super::null_is_default")]
    pub spec: DeviceClassSpec,
}

manifest!(DeviceClass inherits resource::DeviceClass { "spec": spec });

/// What must hold of a device of a class.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct DeviceClassSpec {
    /// All of these.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::null_is_default"
    )]
    pub selectors: Vec<DeviceSelector>,
}
