//! Section 10.1: capacity that is kept free.

use karpenter_api::{CapacityBuffer, objects::pod::PodTemplate};
use karpenter_plan::{
    Lowering,
    buffer::{Buffer, Fault, Unit},
    schedule,
};
use serde_json::{Value, json};

use crate::fixtures::{Manifest, pod, row, well_known, world};

fn buffer(spec: Value) -> Manifest {
    let mut manifest = json!({
        "apiVersion": "autoscaling.x-k8s.io/v1beta1", "kind": "CapacityBuffer",
        "metadata": {"name": "b", "namespace": "default", "uid": "buffer"},
    });
    manifest["spec"] = spec;
    Manifest(manifest)
}

/// A unit of one core.
fn template() -> Manifest {
    let spec = pod("unit").cpu("1").0["spec"].take();
    Manifest(json!({"metadata": {"labels": {"app": "unit"}}, "spec": spec}))
}

/// Resolves a buffer of a workload with so many pods, or of a PodTemplate.
fn resolve(spec: Value, unit: &Manifest, workload: Option<i32>) -> Buffer {
    let template: PodTemplate = unit.read();
    let unit = Unit {
        template: &template,
        replicas: workload,
        generation: workload.is_none().then_some(7),
    };
    let buffer: CapacityBuffer = buffer(spec).read();
    Lowering::new(&well_known()).buffer(&buffer, Some(unit))
}

fn scalable() -> Value {
    json!({"kind": "Deployment", "name": "web"})
}

#[test]
fn size() {
    let row = "scheduling/B1";
    let all =
        json!({"scalableRef": scalable(), "replicas": 5, "percentage": 80, "limits": {"cpu": "4"}});
    let mut unlimited = all.clone();
    unlimited.as_object_mut().unwrap().remove("limits");
    let by_template = |limits: Value| json!({"podTemplateRef": {"name": "unit"}, "limits": limits});
    for (spec, workload, expected) in [
        (all, Some(10), 4),
        (unlimited, Some(10), 8),
        (by_template(json!({"cpu": "5"})), None, 5),
        // Nothing that units request is limited.
        (by_template(json!({"example.com/fuse": "5"})), None, 0),
        (by_template(json!({"pods": "3"})), None, 3),
        (
            json!({"scalableRef": scalable(), "percentage": 30}),
            Some(5),
            2,
        ),
        (
            json!({"scalableRef": scalable(), "percentage": 1}),
            Some(5),
            1,
        ),
        (
            json!({"scalableRef": scalable(), "percentage": 50}),
            Some(0),
            0,
        ),
        (
            json!({"podTemplateRef": {"name": "unit"}, "replicas": 2_000_000_000}),
            None,
            50_000,
        ),
    ] {
        let text = spec.to_string();
        let resolved = resolve(spec, &template(), workload);
        let replicas = resolved.outcome.unwrap().replicas;
        assert_eq!(replicas, expected, "{row}: {text}");
        assert_eq!(resolved.pods.len(), usize::try_from(expected).unwrap());
    }
}

#[test]
fn virtual_pods_are_scheduled() {
    let id = "scheduling/B2";
    let world = world().pod(pod("real").cpu("2")).buffer(
        buffer(json!({"podTemplateRef": {"name": "unit"}, "replicas": 2})),
        template(),
    );
    let outcome = row(
        id,
        world.clone(),
        &[
            "claims 1",
            "real: new 0",
            "capacity-buffer-b-1: new 0",
            "capacity-buffer-b-2: new 0",
        ],
    );
    let virtual_pods: Vec<_> = outcome
        .snapshot
        .pods
        .values()
        .filter(|pod| pod.buffer.as_deref() == Some("b"))
        .collect();
    assert_eq!(virtual_pods.len(), 2);
    for (pod, uid) in virtual_pods.into_iter().zip(["buffer-1", "buffer-2"]) {
        assert_eq!(&*pod.uid, uid);
        assert_eq!(pod.priority, i32::MIN);
        assert!(pod.labels.is("app", "unit"));
    }
    // Once there is a node they fit there, and nothing more is made.
    let (plan, report) = {
        let later = world.then(crate::fixtures::Stage::Initialized);
        schedule(&later.snapshot(), &later.options)
    };
    assert_eq!(plan.claims.len(), 0, "{id}");
    assert_eq!(plan.bindings.len(), 2, "{id}");
    assert_eq!(report.unplaced, [], "{id}");
}

#[test]
fn volumes_are_left_out() {
    let with_volumes = template().set(
        "spec.volumes",
        json!([
            {"name": "data", "persistentVolumeClaim": {"claimName": "absent"}},
            {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
        ]),
    );
    let resolved = resolve(
        json!({"podTemplateRef": {"name": "unit"}, "replicas": 1}),
        &with_volumes,
        None,
    );
    assert_eq!(resolved.pods[0].volumes.len(), 0, "scheduling/B3");
    let resolution = resolved.outcome.unwrap();
    assert_eq!(resolution.template, Some(("unit".into(), 7)));
}

#[test]
fn what_does_not_resolve() {
    for (spec, reason, part) in [
        (
            json!({"podTemplateRef": {"name": "gone"}, "replicas": 1}),
            "PodTemplateNotFound",
            "PodTemplate \"gone\" not found",
        ),
        (
            json!({"scalableRef": scalable(), "replicas": 1}),
            "ScalableRefNotFound",
            "Deployment \"web\" not found",
        ),
        (
            json!({"scalableRef": {"kind": "Job", "name": "x"}}),
            "ResolutionFailed",
            "kind \"Job\" of group \"\" is not supported",
        ),
        (
            json!({"scalableRef": {"apiGroup": "batch", "kind": "Deployment", "name": "x"}}),
            "ResolutionFailed",
            "of group \"batch\"",
        ),
        (
            json!({}),
            "ResolutionFailed",
            "Neither podTemplateRef nor scalableRef is set",
        ),
    ] {
        let buffer: CapacityBuffer = buffer(spec).read();
        let resolved = Lowering::new(&well_known()).buffer(&buffer, None);
        let fault: Fault = resolved.outcome.unwrap_err();
        assert_eq!(fault.reason(), reason, "scheduling/B4");
        assert!(fault.message().contains(part), "{fault:?}");
        assert_eq!(resolved.pods.len(), 0, "scheduling/B4");
    }
}
