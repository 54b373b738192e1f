//! Dynamic resources: what drivers publish or will publish, claims, and classes.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    sync::Arc,
    vec::Vec,
};

use karpenter_api::objects::{
    ResourceClaim, ResourceSlice, device as api, device::DeviceClass, selector::NodeSelector,
};

use super::{Lowering, SMALL, name_of};
use crate::{
    catalog::{InstanceType, ResourceSliceTemplate},
    device::{
        Allocated, Alternative, Amounts, Attribute, Binding, Capacity, CapacityRange, Claim, Class,
        ClusterAllocation, Constraint, Consumer, CounterSet, Device, DeviceName, Draw, Reach,
        Request, Selector, SelectorResult, Slice, TypeDevices, full_name,
    },
    requirement::Requirements,
};

/// The only field that node selectors may name.
const NODE_NAME_FIELD: &str = "metadata.name";

impl Lowering {
    /// A ResourceSlice (section 9.4 of scheduling.md).
    pub fn resource_slice(&mut self, slice: &ResourceSlice) -> Slice {
        let spec = &slice.spec;
        let owners = slice.metadata.owner_references.iter().flatten();
        let node_name = spec.node_name.as_deref().filter(|name| !name.is_empty());
        let reach = if spec.all_nodes == Some(true) {
            Reach::All
        } else if let Some(name) = node_name {
            Reach::Node(self.string(name))
        } else if let Some(selector) = &spec.node_selector {
            Reach::Selected(self.node_terms(selector))
        } else {
            Reach::Unknown
        };
        let (driver, pool) = (self.string(&spec.driver), self.string(&spec.pool.name));
        Slice {
            name: name_of(&slice.metadata).into(),
            generation: spec.pool.generation,
            slices_of_pool: spec.pool.resource_slice_count,
            owner: owners
                .filter(|owner| owner.kind == "Node")
                .map(|owner| self.string(&owner.name))
                .next(),
            reach,
            devices: devices(&driver, &pool, &spec.devices),
            counters: counter_sets(&spec.shared_counters),
            driver,
            pool,
        }
    }

    /// Terms whose entries all have a meaning; another term selects nothing.
    fn node_terms(&mut self, selector: &NodeSelector) -> Vec<Requirements> {
        let terms = selector.node_selector_terms.iter();
        let understood =
            terms.filter(|term| term.match_fields.is_empty() && !term.match_expressions.is_empty());
        understood
            .filter_map(|term| {
                let mut requirements = Requirements::new();
                for entry in &term.match_expressions {
                    let requirement = self.requirement(entry.into()).ok()?;
                    requirements.add(requirement, &self.vocabulary);
                }
                Some(requirements)
            })
            .collect()
    }

    /// What drivers on machines of the type will publish. Fails for templates that contradict themselves.
    pub(super) fn type_devices(&mut self, of: &InstanceType) -> Result<Arc<TypeDevices>, String> {
        if of.resource_slices.is_empty() {
            return Ok(self.no_devices.clone());
        }
        let mut lowered = TypeDevices::default();
        for template in &of.resource_slices {
            let ResourceSliceTemplate {
                driver,
                pool,
                devices,
                shared_counters,
            } = template;
            if !devices.is_empty() && !shared_counters.is_empty() {
                return Err(format!(
                    "instance type {} has a slice template of driver {driver} with both devices and shared counters, write two templates",
                    of.name
                ));
            }
            let (driver, pool) = (self.string(driver), self.string(pool));
            lowered
                .devices
                .extend(self::devices(&driver, &pool, devices));
            let sets = lowered.counters.entry((driver, pool)).or_default();
            sets.extend(counter_sets(shared_counters));
        }
        lowered.bindings = self.bindings(of);
        Ok(Arc::new(lowered))
    }

    /// Bindings of one attribute that have a device in common are one.
    fn bindings(&mut self, of: &InstanceType) -> Vec<Binding> {
        let mut groups: Vec<(Arc<str>, BTreeSet<DeviceName>)> = Vec::new();
        for binding in &of.attribute_bindings {
            let attribute = self.string(&binding.attribute);
            let mut devices: BTreeSet<DeviceName> = binding
                .devices
                .iter()
                .map(|(driver, pool, device)| DeviceName {
                    driver: self.string(driver),
                    pool: self.string(pool),
                    device: device.as_str().into(),
                })
                .collect();
            groups.retain(|(own, others)| {
                let is_joined = *own == attribute && !others.is_disjoint(&devices);
                if is_joined {
                    devices.extend(others.iter().cloned());
                }
                !is_joined
            });
            groups.push((attribute, devices));
        }
        let binding = |(attribute, devices): (Arc<str>, BTreeSet<DeviceName>)| Binding {
            attribute,
            devices: devices.into_iter().collect(),
        };
        groups.into_iter().map(binding).collect()
    }

    /// A ResourceClaim.
    pub fn resource_claim(&mut self, claim: &ResourceClaim) -> Claim {
        let meta = &claim.metadata;
        let devices = &claim.spec.devices;
        let consumers = claim.status.reserved_for.iter();
        Claim {
            namespace: self.string(meta.namespace.as_deref().unwrap_or("default")),
            name: name_of(meta).into(),
            requests: devices
                .requests
                .iter()
                .map(|request| self.device_request(request))
                .collect(),
            constraints: devices.constraints.iter().map(constraint).collect(),
            allocation: claim
                .status
                .allocation
                .as_ref()
                .map(|allocation| self.cluster_allocation(allocation)),
            consumers: consumers
                .map(|consumer| {
                    let is_core = consumer.api_group.as_deref().is_none_or(str::is_empty);
                    if is_core && consumer.resource == "pods" {
                        Consumer::Pod(consumer.uid.as_str().into())
                    } else {
                        Consumer::Other
                    }
                })
                .collect(),
        }
    }

    fn device_request(&mut self, request: &api::DeviceRequest) -> Request {
        let mut alternatives = Vec::new();
        if let Some(exact) = &request.exactly {
            alternatives.push(self.alternative(&request.name, exact));
        }
        for alternative in &request.first_available {
            let name = format!("{}/{}", request.name, alternative.name);
            alternatives.push(self.alternative(&name, alternative));
        }
        Request {
            name: request.name.as_str().into(),
            alternatives,
        }
    }

    fn alternative(&mut self, name: &str, request: &api::ExactDeviceRequest) -> Alternative {
        let is_all = request.allocation_mode.as_deref() == Some("All");
        let count = usize::try_from(request.count.unwrap_or(1)).unwrap_or(1);
        let amounts = request.capacity.iter().flat_map(|own| &own.requests);
        Alternative {
            name: name.into(),
            class: self.string(&request.device_class_name),
            selectors: self.selectors(&request.selectors),
            count: (!is_all).then_some(count),
            amounts: amounts
                .map(|(name, amount)| (Arc::from(name.as_str()), *amount))
                .collect(),
        }
    }

    fn selectors(&mut self, selectors: &[api::DeviceSelector]) -> Vec<SelectorResult> {
        selectors
            .iter()
            .map(|selector| match &selector.cel {
                Some(cel) => self.device_selector(&cel.expression),
                None => Err("selectors other than cel are not supported".into()),
            })
            .collect()
    }

    /// Compiled once for all classes and claims that have the same text.
    fn device_selector(&mut self, text: &str) -> SelectorResult {
        if let Some(known) = self.selectors.get(text) {
            return known.clone();
        }
        if self.selectors.len() >= self.sweep_selectors_at {
            self.selectors.retain(|_, held| match held {
                Ok(selector) => Arc::strong_count(selector) > 1,
                Err(_) => false,
            });
            self.sweep_selectors_at = SMALL.max(2 * self.selectors.len());
        }
        let compiled = Selector::compile(text).map(Arc::new);
        self.selectors.insert(text.into(), compiled.clone());
        compiled
    }

    /// All terms are merged, as upstream does.
    fn cluster_allocation(&mut self, allocation: &api::AllocationResult) -> ClusterAllocation {
        let results = allocation.devices.results.iter();
        let devices = results
            .map(|result| Allocated {
                device: DeviceName {
                    driver: self.string(&result.driver),
                    pool: self.string(&result.pool),
                    device: result.device.as_str().into(),
                },
                consumed: result.consumed_capacity.as_ref().map(|amounts| {
                    amounts
                        .iter()
                        .map(|(name, amount)| (full_name(name, &result.driver), *amount))
                        .collect::<Amounts>()
                }),
            })
            .collect();
        let mut lowered = ClusterAllocation {
            devices,
            ..ClusterAllocation::default()
        };
        let terms = allocation.node_selector.iter();
        for term in terms.flat_map(|selector| &selector.node_selector_terms) {
            for entry in &term.match_expressions {
                // The API server admits nothing else.
                if let Ok(requirement) = self.requirement(entry.into()) {
                    lowered.requirements.add(requirement, &self.vocabulary);
                }
            }
            for field in &term.match_fields {
                if field.key == NODE_NAME_FIELD && field.operator == "In" {
                    let names = field.values.iter().map(|name| self.string(name));
                    lowered.nodes.get_or_insert_default().extend(names);
                }
            }
        }
        lowered
    }

    /// A DeviceClass.
    pub fn device_class(&mut self, class: &DeviceClass) -> Class {
        Class {
            name: name_of(&class.metadata).into(),
            selectors: self.selectors(&class.spec.selectors),
        }
    }
}

fn devices(driver: &Arc<str>, pool: &Arc<str>, devices: &[api::Device]) -> Vec<Arc<Device>> {
    let lower = |device: &api::Device| {
        let attributes = device.attributes.iter();
        let capacity = device.capacity.iter();
        Arc::new(Device {
            name: DeviceName {
                driver: driver.clone(),
                pool: pool.clone(),
                device: device.name.as_str().into(),
            },
            attributes: attributes
                .filter_map(|(name, value)| Some((full_name(name, driver), attribute(value)?)))
                .collect(),
            capacity: capacity
                .map(|(name, value)| (full_name(name, driver), self::capacity(value)))
                .collect(),
            is_shared: device.allow_multiple_allocations == Some(true),
            draws: draws(device),
        })
    };
    devices.iter().map(lower).collect()
}

fn attribute(attribute: &api::DeviceAttribute) -> Option<Attribute> {
    let api::DeviceAttribute {
        boolean,
        integer,
        string,
        version,
    } = attribute;
    boolean
        .map(Attribute::Boolean)
        .or_else(|| integer.map(Attribute::Integer))
        .or_else(|| string.as_deref().map(|text| Attribute::Text(text.into())))
        .or_else(|| {
            version
                .as_deref()
                .map(|text| Attribute::Version(text.into()))
        })
}

fn capacity(capacity: &api::DeviceCapacity) -> Capacity {
    let policy = capacity.request_policy.as_ref();
    let mut values = policy.map_or(Vec::new(), |policy| policy.valid_values.clone());
    values.sort_unstable();
    Capacity {
        value: capacity.value,
        default: policy.and_then(|policy| policy.default),
        values,
        range: policy
            .and_then(|policy| policy.valid_range.as_ref())
            .map(|range| CapacityRange {
                least: range.min,
                most: range.max,
                step: range.step,
            }),
    }
}

fn draws(device: &api::Device) -> Vec<Draw> {
    let mut draws = Vec::new();
    for consumption in &device.consumes_counters {
        for (counter, amount) in &consumption.counters {
            draws.push(Draw {
                set: consumption.counter_set.as_str().into(),
                counter: counter.as_str().into(),
                amount: amount.value,
            });
        }
    }
    draws
}

fn counter_sets(sets: &[api::CounterSet]) -> Vec<CounterSet> {
    let counters = |set: &api::CounterSet| -> BTreeMap<_, _> {
        let counters = set.counters.iter();
        counters
            .map(|(name, counter)| (Arc::from(name.as_str()), counter.value))
            .collect()
    };
    sets.iter()
        .map(|set| CounterSet {
            name: set.name.as_str().into(),
            counters: counters(set),
        })
        .collect()
}

/// `distinctAttribute` makes the pod unschedulable rather than being ignored, as upstream does.
fn constraint(constraint: &api::DeviceConstraint) -> Constraint {
    let requests = constraint.requests.iter();
    match (&constraint.match_attribute, &constraint.distinct_attribute) {
        (Some(attribute), _) => Constraint::Match {
            attribute: attribute.as_str().into(),
            requests: requests.map(|name| name.as_str().into()).collect(),
        },
        (None, Some(_)) => Constraint::Unsupported("distinctAttribute"),
        (None, None) => Constraint::Unsupported("of an unknown kind"),
    }
}
