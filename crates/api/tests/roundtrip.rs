//! Objects survive decoding and encoding: nothing that the schemas allow is lost, and what a newer release
//! might write still decodes.
#![allow(clippy::unwrap_used)]

use karpenter_api::objects::{
    CSINode, DaemonSet, Deployment, Job, Node, PersistentVolume, PersistentVolumeClaim, Pod,
    PodDisruptionBudget, PriorityClass, RuntimeClass, StorageClass, VolumeAttachment,
};
use karpenter_api::{CapacityBuffer, KWOKNodeClass, NodeClaim, NodeOverlay, NodePool};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn decode<K: DeserializeOwned>(object: &Value) -> K {
    serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}: {object}"))
}

/// Asserts that an object comes back as it was.
fn check<K: DeserializeOwned + Serialize>(object: &Value) {
    let decoded: K = decode(object);
    assert_eq!(&serde_json::to_value(decoded).unwrap(), object);
}

/// Asserts that an object decodes, and comes back as something else.
fn check_becomes<K: DeserializeOwned + Serialize>(object: &Value, expected: &Value) {
    let decoded: K = decode(object);
    assert_eq!(&serde_json::to_value(decoded).unwrap(), expected);
}

fn template_spec() -> Value {
    json!({
        "nodeClassRef": {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default"},
        "requirements": [
            {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"], "minValues": 1},
            {"key": "example.com/a", "operator": "Exists"},
            {"key": "example.com/b", "operator": "NotIn", "values": []},
        ],
        "taints": [{
            "key": "a", "value": "b", "effect": "NoSchedule", "timeAdded": "2024-01-01T01:01:01Z",
        }],
        "startupTaints": [],
        "expireAfter": "43200m",
        "terminationGracePeriod": "48h0m0s",
    })
}

fn conditions() -> Value {
    json!([{
        "type": "Ready", "status": "True", "reason": "Ready", "message": "",
        "lastTransitionTime": "2024-01-01T01:01:01Z", "observedGeneration": 3,
    }])
}

#[test]
fn every_field_of_overlays_and_buffers() {
    check::<NodeOverlay>(&json!({
        "apiVersion": "karpenter.sh/v1alpha1",
        "kind": "NodeOverlay",
        "metadata": {"name": "full"},
        "spec": {
            "weight": 500,
            "requirements": [
                {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["m6i.large"]},
                {"key": "karpenter.sh/capacity-type", "operator": "NotIn", "values": ["spot"]},
            ],
            "price": "0.0825",
            "priceAdjustment": "-20%",
            "capacity": {"smarter-devices/fuse": "4"},
        },
        "status": {"conditions": conditions()},
    }));
    check::<CapacityBuffer>(&json!({
        "apiVersion": "autoscaling.x-k8s.io/v1beta1",
        "kind": "CapacityBuffer",
        "metadata": {"name": "full", "namespace": "web"},
        "spec": {
            "provisioningStrategy": "buffer.x-k8s.io/active-capacity",
            "podTemplateRef": {"name": "unit"},
            "scalableRef": {"apiGroup": "apps", "kind": "StatefulSet", "name": "store"},
            "replicas": 3,
            "percentage": 25,
            "limits": {"cpu": "16", "memory": "64Gi"},
        },
        "status": {
            "podTemplateRef": {"name": "unit"},
            "podTemplateGeneration": 2,
            "replicas": 3,
            "provisioningStrategy": "buffer.x-k8s.io/active-capacity",
            "conditions": conditions(),
        },
    }));
}

#[test]
fn every_field_of_a_nodepool() {
    check::<NodePool>(&json!({
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": "default", "generation": 3},
        "spec": {
            "template": {
                "metadata": {"labels": {"team": "a"}, "annotations": {}},
                "spec": template_spec(),
            },
            "disruption": {
                "consolidateAfter": "Never",
                "consolidationPolicy": "Balanced",
                "budgets": [
                    {"nodes": "10%"},
                    {"nodes": "0", "reasons": ["Empty"], "schedule": "@daily", "duration": "8h0m0s"},
                    {"nodes": "1", "reasons": []},
                ],
            },
            "limits": {"cpu": "100", "memory": "1Ti", "nodes": "3"},
            "weight": 10,
            "replicas": 0,
        },
        "status": {
            "resources": {"cpu": "1500m", "nodes": "1"},
            "nodes": 1,
            "nodeClassObservedGeneration": 1,
            "conditions": conditions(),
        },
    }));
}

#[test]
fn every_field_of_a_nodeclaim() {
    let mut spec = template_spec();
    spec["resources"] = json!({"requests": {"cpu": "1", "pods": "3"}});
    check::<NodeClaim>(&json!({
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "metadata": {"name": "default-x7f2p"},
        "spec": spec,
        "status": {
            "nodeName": "n",
            "providerID": "kwok://n",
            "imageID": "ami-1",
            "capacity": {"cpu": "4"},
            "allocatable": {"cpu": "3920m"},
            "lastPodEventTime": "2024-01-01T01:01:01Z",
            "conditions": conditions(),
        },
    }));
}

#[test]
fn a_kwoknodeclass_may_lack_its_spec() {
    let base = json!({
        "apiVersion": "karpenter.kwok.sh/v1alpha1",
        "kind": "KWOKNodeClass",
        "metadata": {"name": "default"},
    });
    check::<KWOKNodeClass>(&base);
    let mut full = base;
    full["spec"] = json!({"nodeRegistrationDelay": "1m0s"});
    full["status"] = json!({"conditions": conditions()});
    check::<KWOKNodeClass>(&full);
}

#[test]
fn absent_and_empty_differ() {
    for lists in [json!({}), json!({"taints": [], "startupTaints": []})] {
        let mut spec = json!({
            "nodeClassRef": {"group": "g", "kind": "k", "name": "n"}, "requirements": [],
        });
        spec.as_object_mut()
            .unwrap()
            .extend(lists.as_object().unwrap().clone());
        check::<NodePool>(&json!({
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodePool",
            "metadata": {},
            "spec": {"template": {"spec": spec}},
        }));
    }
}

#[test]
fn what_a_newer_release_writes_decodes() {
    let pool = json!({
        "metadata": {"name": "default"},
        "spec": {
            "novelty": {"a": 1},
            "template": {"spec": {
                "nodeClassRef": {"group": "g", "kind": "k", "name": "n"},
                "requirements": [{"key": "a", "operator": "Near", "values": ["b"]}],
                "taints": [{"key": "a", "effect": "MaybeSchedule"}],
            }},
            "disruption": {
                "consolidationPolicy": "WhenRaining",
                "budgets": [{"nodes": "half", "reasons": ["Weather"]}],
            },
        },
        "status": {"conditions": [{
            "type": "Ready", "status": "Perhaps", "lastTransitionTime": "2024-01-01T01:01:01Z",
        }]},
    });
    let pool: NodePool = decode(&pool);
    let policy = pool.spec.disruption.unwrap().consolidation_policy.unwrap();
    assert_eq!(policy, "WhenRaining");
    assert!(
        policy
            .parse::<karpenter_api::ConsolidationPolicy>()
            .is_err()
    );
}

#[test]
fn read_models_keep_what_they_read() {
    let selector = json!({
        "matchLabels": {"app": "web"},
        "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a"]}],
    });
    let term = json!({"topologyKey": "topology.kubernetes.io/zone", "labelSelector": selector});
    let pod = json!({
        "containers": [{
            "name": "web",
            "resources": {"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}},
            "ports": [{"containerPort": 80, "hostPort": 8080, "hostIP": "127.0.0.1", "protocol": "TCP"}],
        }],
        "initContainers": [{"name": "side", "restartPolicy": "Always"}],
        "nodeName": "n",
        "nodeSelector": {"kubernetes.io/arch": "arm64"},
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{
                    "matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}],
                    "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}],
                }]},
                "preferredDuringSchedulingIgnoredDuringExecution": [{
                    "weight": 1,
                    "preference": {"matchExpressions": [{"key": "a", "operator": "Exists"}]},
                }],
            },
            "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]},
            "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 2, "podAffinityTerm": term},
            ]},
        },
        "tolerations": [{"key": "a", "operator": "Exists", "tolerationSeconds": 5}],
        "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
            "minDomains": 2, "nodeAffinityPolicy": "Honor", "nodeTaintsPolicy": "Ignore",
            "matchLabelKeys": ["pod-template-hash"], "labelSelector": selector,
        }],
        "overhead": {"cpu": "10m"},
        "resources": {"requests": {"cpu": "1"}},
        "priority": 5,
        "priorityClassName": "high",
        "terminationGracePeriodSeconds": 30,
        "schedulingGates": [{"name": "wait"}],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
            {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {
                "spec": {"storageClassName": "fast"},
            }}},
        ],
        "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "gpu"}],
        "schedulerName": "default-scheduler",
        "hostNetwork": true,
    });
    check::<Pod>(&json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": pod,
        "status": {
            "phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}],
            "nominatedNodeName": "n",
            "startTime": "2024-01-01T01:01:01Z",
            "containerStatuses": [{
                "name": "web",
                "allocatedResources": {"cpu": "1"},
                "resources": {"requests": {"cpu": "1"}},
            }],
        },
    }));
    check::<Node>(&json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "n"},
        "spec": {"providerID": "kwok://n", "taints": [{"key": "a", "effect": "NoSchedule"}], "unschedulable": true},
        "status": {
            "capacity": {"cpu": "4"},
            "allocatable": {"cpu": "4"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }));
    let workload = json!({
        "replicas": 3,
        "selector": selector,
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod},
    });
    let apps = |kind: &str| json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web"}, "spec": workload});
    check::<Deployment>(&apps("Deployment"));
    check::<DaemonSet>(&apps("DaemonSet"));
    check::<Job>(&json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "once"},
        "spec": {
            "parallelism": 2, "completions": 3,
            "template": {"metadata": {}, "spec": {"containers": [], "restartPolicy": "Never"}},
        },
    }));
    check::<PodDisruptionBudget>(&json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web"},
        "spec": {
            "selector": selector, "minAvailable": "50%", "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
        "status": {
            "disruptionsAllowed": 1, "currentHealthy": 3, "desiredHealthy": 2, "expectedPods": 3,
            "observedGeneration": 1,
        },
    }));
    check::<PersistentVolumeClaim>(&json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"volumeName": "pv", "storageClassName": ""},
        "status": {"phase": "Bound"},
    }));
    check::<PersistentVolume>(&json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "pv"},
        "spec": {
            "nodeAffinity": {"required": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]},
            ]}},
            "storageClassName": "fast",
            "csi": {"driver": "ebs.csi.aws.com", "volumeHandle": "vol-1"},
        },
    }));
    check::<StorageClass>(&json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "fast"},
        "provisioner": "ebs.csi.aws.com",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowedTopologies": [{"matchLabelExpressions": [{"key": "zone", "values": ["a"]}]}],
    }));
    check::<CSINode>(&json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSINode",
        "metadata": {"name": "n"},
        "spec": {"drivers": [{
            "name": "ebs.csi.aws.com", "allocatable": {"count": 25}, "topologyKeys": ["zone"],
        }]},
    }));
    check::<VolumeAttachment>(&json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "VolumeAttachment",
        "metadata": {"name": "va"},
        "spec": {
            "attacher": "ebs.csi.aws.com", "nodeName": "n",
            "source": {"persistentVolumeName": "pv"},
        },
    }));
    check::<PriorityClass>(&json!({
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": "high"},
        "value": 5,
        "globalDefault": true,
        "preemptionPolicy": "Never",
    }));
    check::<RuntimeClass>(&json!({
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": "kata"},
        "handler": "kata",
        "overhead": {"podFixed": {"memory": "100Mi"}},
        "scheduling": {"nodeSelector": {"kata": "yes"}, "tolerations": [{"key": "kata"}]},
    }));
}

#[test]
fn read_models_take_null_for_nothing() {
    let empty = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {"containers": []}, "status": {}});
    check_becomes::<Pod>(
        &json!({"metadata": {}, "spec": {
            "containers": null, "tolerations": null, "affinity": null, "volumes": null,
            "nodeSelector": null, "hostNetwork": null,
        }, "status": null}),
        &empty,
    );
    check_becomes::<CSINode>(
        &json!({"metadata": {}, "spec": {"drivers": null}}),
        &json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": {},
            "spec": {"drivers": []},
        }),
    );
}

#[test]
fn label_selectors() {
    use karpenter_api::objects::LabelSelector;
    let labels = [
        ("app".to_owned(), "web".to_owned()),
        ("tier".to_owned(), "a".to_owned()),
    ]
    .into();
    let expression = |operator: &str, key: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
    let rows = [
        (json!({}), true),
        (json!({"matchLabels": {"app": "web"}}), true),
        (json!({"matchLabels": {"app": "api"}}), false),
        (json!({"matchLabels": {"zone": "a"}}), false),
        (expression("In", "app", &["api", "web"]), true),
        (expression("In", "app", &["api"]), false),
        (expression("In", "zone", &["a"]), false),
        (expression("NotIn", "app", &["api"]), true),
        (expression("NotIn", "app", &["web"]), false),
        (expression("NotIn", "zone", &["a"]), true),
        (expression("Exists", "app", &[]), true),
        (expression("Exists", "zone", &[]), false),
        (expression("DoesNotExist", "app", &[]), false),
        (expression("DoesNotExist", "zone", &[]), true),
        (expression("Near", "app", &["web"]), false),
    ];
    for (selector, expected) in rows {
        let decoded: LabelSelector = decode(&selector);
        assert_eq!(decoded.matches(Some(&labels)), expected, "{selector}");
    }
    assert!(LabelSelector::default().matches(None));
}

#[test]
fn nulls_are_dropped_at_any_depth() {
    let object = json!({"a": null, "b": {"c": null, "d": [{"e": null, "f": 1}, null]}, "g": "h"});
    let expected = json!({"b": {"d": [{"f": 1}, null]}, "g": "h"});
    assert_eq!(karpenter_api::objects::without_nulls(object), expected);
}
