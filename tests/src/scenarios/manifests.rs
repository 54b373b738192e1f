//! The dullest valid objects; a scenario says what is particular.

/// A NodeClass whose nodes appear after a while.
pub(super) fn class(delay: &str) -> String {
    format!(
        "
apiVersion: karpenter.kwok.sh/v1alpha1
kind: KWOKNodeClass
metadata: {{name: default}}
spec: {{nodeRegistrationDelay: {delay}}}
---
"
    )
}

/// A NodePool of small machines whose empty nodes go soon; its nodes carry `team`.
pub(super) fn pool(team: &str) -> String {
    format!(
        "
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {{name: default}}
spec:
  template:
    metadata: {{labels: {{example.com/team: {team}}}}}
    spec:
      nodeClassRef: {{group: karpenter.kwok.sh, kind: KWOKNodeClass, name: default}}
      requirements:
      - {{key: kubernetes.io/os, operator: In, values: [linux]}}
      - {{key: karpenter.sh/capacity-type, operator: In, values: [on-demand]}}
      - {{key: karpenter.kwok.sh/instance-cpu, operator: Lt, values: ['9']}}
  disruption:
    consolidationPolicy: WhenEmpty
    consolidateAfter: 2s
    budgets: [{{nodes: 100%}}]
---
"
    )
}

/// A deployment; `pod` are further fields of its pods' specification in flow style.
pub(super) fn deployment(name: &str, replicas: u32, requests: &str, pod: &str) -> String {
    format!(
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
      terminationGracePeriodSeconds: 5
      containers: [{{name: main, image: example.org/{name}, resources: {{requests: {requests}}}}}]
      {pod}
---
"
    )
}

/// A budget over a deployment's pods.
pub(super) fn budget(app: &str, unavailable: u32) -> String {
    format!(
        "
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{name: {app}}}
spec: {{maxUnavailable: {unavailable}, selector: {{matchLabels: {{app: {app}}}}}}}
---
"
    )
}
