#!/usr/bin/env bash
# How long `plan --disrupt` takes from a file, for docs/performance.md: `bench/disrupt.sh [NODES]`, 1,000 without a
# number. The cluster is that of the bench `settled`: twenty pools, 15 pods a node, 98 % of the processors asked for,
# every node a candidate and nothing to be gained. KARPENTER names a binary to measure; without it the release build
# is made and measured.
set -euo pipefail
cd "$(dirname "$0")/.."
binary="${KARPENTER:-${CARGO_TARGET_DIR:-target}/release/karpenter}"
[ -n "${KARPENTER:-}" ] || cargo build --release --quiet --bin karpenter
nodes="${1:-1000}"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
echo "load: $(cut -d' ' -f1-3 /proc/loadavg), cores: $(nproc)"

awk -v nodes="$nodes" 'BEGIN {
    true = "status: \"True\", message: \"\", lastTransitionTime: \"2026-01-01T00:00:00Z\""
    class = "{group: karpenter.kwok.sh, kind: KWOKNodeClass, name: default}"
    print "{apiVersion: karpenter.kwok.sh/v1alpha1, kind: KWOKNodeClass, metadata: {name: default}}"
    for (at = 0; at < 20; at++) {
        print "---"
        printf "{apiVersion: karpenter.sh/v1, kind: NodePool, metadata: {name: pool-%d}, spec: {disruption: {consolidateAfter: 0s, budgets: [{nodes: 100%%}]}, template: {spec: {nodeClassRef: %s, requirements: [", at, class
        printf "{key: karpenter.kwok.sh/instance-cpu, operator: In, values: [\"32\"]}, {key: karpenter.sh/capacity-type, operator: In, values: [on-demand]}, "
        print "{key: kubernetes.io/arch, operator: In, values: [amd64]}, {key: kubernetes.io/os, operator: In, values: [linux]}]}}}}"
    }
    for (at = 0; at < nodes; at++) {
        print "---"
        printf "{apiVersion: karpenter.sh/v1, kind: NodeClaim, metadata: {name: c-%d, labels: {karpenter.sh/nodepool: pool-%d}}, spec: {nodeClassRef: %s, requirements: []}, ", at, at % 20, class
        printf "status: {providerID: \"kwok://n-%d\", conditions: [{type: Launched, reason: Launched, %s}, {type: Registered, reason: Registered, %s}, {type: Initialized, reason: Initialized, %s}, {type: Consolidatable, reason: Consolidatable, %s}]}}\n", at, true, true, true, true
        print "---"
        printf "{apiVersion: v1, kind: Node, metadata: {name: n-%d, labels: {kubernetes.io/hostname: n-%d, kubernetes.io/arch: amd64, kubernetes.io/os: linux, topology.kubernetes.io/zone: test-zone-%s, ", at, at, substr("abc", at % 3 + 1, 1)
        printf "node.kubernetes.io/instance-type: c-32x-amd64-linux, karpenter.kwok.sh/instance-cpu: \"32\", karpenter.sh/capacity-type: on-demand, karpenter.sh/nodepool: pool-%d, karpenter.sh/registered: \"true\", karpenter.sh/initialized: \"true\"}}, ", at % 20
        printf "spec: {providerID: \"kwok://n-%d\"}, status: {capacity: {cpu: 32, memory: 64Gi, pods: 110}, allocatable: {cpu: 31900m, memory: 64000Mi, pods: 110}, conditions: [{type: Ready, status: \"True\"}]}}\n", at
        for (own = 0; own < 15; own++) {
            print "---"
            printf "{apiVersion: v1, kind: Pod, metadata: {name: p-%d-%d, namespace: default, labels: {app: app-%d}}, spec: {nodeName: n-%d, nodeSelector: {karpenter.sh/nodepool: pool-%d}, containers: [{name: main, image: x, resources: {requests: {cpu: 2090m, memory: 1Gi}}}]}, status: {phase: Running}}\n", at, own, own, at, at % 20
        }
    }
}' >"$folder/cluster.yaml"
echo "plan --disrupt of $nodes nodes and $((nodes * 15)) pods, three runs (seconds, KB at the peak):"
for _ in 1 2 3; do
    command time -f '%e %M' -o "$folder/time" "$binary" plan -f "$folder/cluster.yaml" --disrupt >"$folder/out" 2>"$folder/errors" || true
    cat "$folder/time"
done | sort -n
echo "nodes that stay, by reason:"
grep -oE ' stays: .*' "$folder/out" | sed 's/[0-9][0-9.]*/N/g' | sort | uniq -c | sort -rn | head -5
