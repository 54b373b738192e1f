#!/usr/bin/env bash
# Large clusters, for docs/performance.md: `bench/large.sh [INSTANCE-TYPES]`. How long `plan -f` takes for 20,000 pods
# in a file, and how much memory the controller needs beside 60 NodePools, 5,000 nodes, 50,000 running and
# 50,000 pending pods that another process holds. KARPENTER names a binary to measure; without it the release
# build is made and measured. INSTANCE-TYPES is a file as `cargo xtask catalogue` writes it.
set -euo pipefail
cd "$(dirname "$0")/.."
source bench/processes.sh
types=()
[ $# -eq 0 ] || types=(--instance-types "$1")

pools() {
    echo '{apiVersion: karpenter.kwok.sh/v1alpha1, kind: KWOKNodeClass, metadata: {name: default}}'
    for pool in $(seq "$1"); do
        echo '---'
        echo "{apiVersion: karpenter.sh/v1, kind: NodePool, metadata: {name: pool-$pool}, spec: {template: {metadata: {labels: {team: team-$pool}}, spec: {nodeClassRef: {group: karpenter.kwok.sh, kind: KWOKNodeClass, name: default}, requirements: [{key: kubernetes.io/os, operator: In, values: [linux]}]}}}}"
    done
}

# Pods of thirty sizes that wait: first number, last number, teams.
pending() {
    awk -v first="$1" -v last="$2" -v teams="$3" 'BEGIN {
        for (at = first; at <= last; at++) {
            size = at % 30
            print "---"
            printf "{apiVersion: v1, kind: Pod, metadata: {name: p-%d, namespace: default, labels: {app: app-%d}}, ", at, at % 200
            printf "spec: {nodeSelector: {team: team-%d}, ", at % teams + 1
            printf "containers: [{name: main, image: x, resources: {requests: {cpu: %dm, memory: %dMi}}}]}}\n", 100 + size * 130, 128 + (size * 7 % 30) * 250
        }
    }'
}

{ pools 1; pending 1 20000 1; } >"$folder/plan.yaml"
for _ in 1 2 3; do
    command time -f '%e %M' -o "$folder/time" \
        "$binary" plan -f "$folder/plan.yaml" "${types[@]}" -o json >"$folder/out" 2>/dev/null || true
    cat "$folder/time" >>"$folder/plan"
done
echo "plan -f of 20,000 pods, three runs (seconds, KB at the peak):"
sort -n "$folder/plan"

{
    pools 60
    awk 'BEGIN {
        for (at = 1; at <= 5000; at++) {
            print "---"
            printf "{apiVersion: v1, kind: Node, metadata: {name: n-%d, labels: {kubernetes.io/hostname: n-%d, kubernetes.io/arch: amd64, kubernetes.io/os: linux, topology.kubernetes.io/zone: zone-%d, karpenter.sh/nodepool: pool-%d, karpenter.sh/registered: \"true\", karpenter.sh/initialized: \"true\", karpenter.sh/capacity-type: on-demand, team: team-%d}}, ", at, at, at % 3, at % 60 + 1, at % 60 + 1
            printf "spec: {providerID: \"x://n-%d\"}, status: {capacity: {cpu: 8, memory: 32Gi, pods: 58}, allocatable: {cpu: 8, memory: 32Gi, pods: 58}, conditions: [{type: Ready, status: \"True\"}]}}\n", at
        }
        for (at = 1; at <= 50000; at++) {
            print "---"
            printf "{apiVersion: v1, kind: Pod, metadata: {name: r-%d, namespace: default, labels: {app: app-%d}}, ", at, at % 200
            printf "spec: {nodeName: n-%d, containers: [{name: main, image: x, resources: {requests: {cpu: 790m, memory: 3Gi}}}]}, status: {phase: Running}}\n", at % 5000 + 1
        }
    }'
    pending 1 50000 60
} >"$folder/cluster.yaml"
"$binary" local --no-controller -f "$folder/cluster.yaml" --kubeconfig "$folder/kubeconfig" >"$folder/local" 2>&1 &
processes+=($!)
until [ -s "$folder/kubeconfig" ]; do sleep 0.5; done
url="$(sed -n 's/ *server: //p' "$folder/kubeconfig")"
marked() { curl --silent "$url/api/v1/namespaces/default/pods/p-50000" | grep -c Unschedulable || true; }
until [ "$(marked)" -gt 0 ]; do sleep 1; done
DISABLE_LEADER_ELECTION=true "$binary" controller --provider kwok --kubeconfig "$folder/kubeconfig" "${types[@]}" \
    --metrics-port 0 --health-probe-port 0 >"$folder/controller" 2>&1 &
controller=$!
processes+=("$controller")
for second in 10 20 30 60; do
    sleep $((second - ${before:-0}))
    before="$second"
    peak="$(sed -n 's/VmHWM: *//p' "/proc/$controller/status")"
    claims="$(grep -c "created nodeclaim" "$folder/controller" || true)"
    echo "controller after $second s: peak $peak, $claims NodeClaims created"
done
