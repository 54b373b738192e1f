//! Thirty deployments of a thousand pods, of every sort that people have: plain ones, spread ones, such
//! that keep apart or together, with volumes in a zone, beside two DaemonSets.

use std::fmt::Write as _;

/// Pods of the deployments together, with one of so many of their replicas.
pub(crate) fn pods(share: u32) -> i32 {
    let pods = SORTS.map(|(_, count, replicas, _)| count * (replicas / share));
    pods.iter().sum::<u32>().try_into().unwrap_or(i32::MAX)
}

/// Deployments of each sort, replicas of each of them, and what their pods say besides.
const SORTS: [(&str, u32, u32, &str); 6] = [
    ("plain", 12, 40, ""),
    (
        "spread",
        8,
        30,
        "topologySpreadConstraints: [{maxSkew: 1, topologyKey: topology.kubernetes.io/zone, \
         whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: NAME}}}]",
    ),
    (
        "hosts",
        3,
        40,
        "topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, \
         whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: NAME}}}]",
    ),
    (
        "apart",
        2,
        20,
        "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [\
         {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: NAME}}}]}}",
    ),
    (
        "together",
        3,
        30,
        "affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [\
         {topologyKey: topology.kubernetes.io/zone, labelSelector: {matchLabels: {app: NAME}}}]}}",
    ),
    (
        "volume",
        2,
        15,
        "volumes: [{name: data, persistentVolumeClaim: {claimName: NAME}}]",
    ),
];

/// Requests of pods, in turn.
const SIZES: [(&str, &str); 4] = [
    ("100m", "256Mi"),
    ("250m", "512Mi"),
    ("500m", "1Gi"),
    ("900m", "3100Mi"),
];

/// The zones of volumes, in turn.
const ZONES: [&str; 2] = ["test-zone-b", "test-zone-c"];

/// All manifests, the volumes first; deployments with one of so many of their replicas.
pub(crate) fn manifests(share: u32) -> String {
    let mut text = String::new();
    for (name, cpu) in [("logs", "50m"), ("metrics", "100m")] {
        text.push_str(&daemon_set(name, cpu));
    }
    let mut number = 0;
    for (sort, count, replicas, rule) in SORTS {
        for index in 0..count {
            let name = format!("{sort}-{index}");
            if sort == "volume" {
                text.push_str(&volume(&name, ZONES[number % ZONES.len()]));
            }
            let (cpu, memory) = SIZES[number % SIZES.len()];
            let replicas = replicas / share;
            let rule = rule.replace("NAME", &name);
            number += 1;
            let _ = write!(
                text,
                "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
      - name: main
        image: example.org/main
        resources: {{requests: {{cpu: {cpu}, memory: {memory}}}}}
      {rule}
---
"
            );
        }
    }
    text
}

fn daemon_set(name: &str, cpu: &str) -> String {
    format!(
        "
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      tolerations: [{{operator: Exists}}]
      containers:
      - name: main
        image: example.org/{name}
        resources: {{requests: {{cpu: {cpu}, memory: 64Mi}}}}
---
"
    )
}

/// A volume in a zone, and the claim that it is kept for.
fn volume(name: &str, zone: &str) -> String {
    format!(
        "
apiVersion: v1
kind: PersistentVolume
metadata: {{name: {name}}}
spec:
  capacity: {{storage: 1Gi}}
  accessModes: [ReadWriteMany]
  claimRef: {{namespace: default, name: {name}}}
  csi: {{driver: disks.example, volumeHandle: {name}}}
  nodeAffinity:
    required:
      nodeSelectorTerms:
      - matchExpressions: [{{key: topology.kubernetes.io/zone, operator: In, values: [{zone}]}}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: {name}}}
spec:
  accessModes: [ReadWriteMany]
  storageClassName: ''
  volumeName: {name}
  resources: {{requests: {{storage: 1Gi}}}}
---
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_thirty_of_a_thousand_pods() {
        let deployments: u32 = SORTS.iter().map(|(_, count, ..)| count).sum();
        assert_eq!((deployments, pods(1), pods(2)), (30, 1000, 499));
        let read = karpenter_sim::documents(&manifests(1)).unwrap();
        assert_eq!(read.len(), 2 + 4 + 30);
    }
}
