#!/usr/bin/env bash
# What the controller takes on a cluster that never rests, for docs/performance.md: 500 nodes of 16 cpu, full with
# 7,500 pods of twenty deployments, one of which is rolled every minute: `bench/rolling.sh [MINUTES]`, five if not said.
# The cluster is another process, `karpenter local --no-controller`. KARPENTER names a binary to measure; without it
# the release build is made and measured.
set -euo pipefail
cd "$(dirname "$0")/.."
minutes="${1:-5}"
source bench/processes.sh

{
    echo '{apiVersion: karpenter.kwok.sh/v1alpha1, kind: KWOKNodeClass, metadata: {name: default}}'
    echo '---'
    echo '{apiVersion: karpenter.sh/v1, kind: NodePool, metadata: {name: default}, spec: {disruption: {consolidateAfter: 0s}, template: {spec: {nodeClassRef: {group: karpenter.kwok.sh, kind: KWOKNodeClass, name: default}, requirements: [{key: kubernetes.io/os, operator: In, values: [linux]}, {key: karpenter.kwok.sh/instance-cpu, operator: In, values: ["16"]}]}}}}'
    for app in $(seq 20); do
        echo '---'
        echo "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web-$app, namespace: default}, spec: {replicas: 375, selector: {matchLabels: {app: web-$app}}, template: {metadata: {labels: {app: web-$app}}, spec: {containers: [{name: main, image: x, resources: {requests: {cpu: 1050m, memory: 1Gi}}}]}}}}"
    done
} >"$folder/cluster.yaml"
"$binary" local --no-controller -f "$folder/cluster.yaml" --kubeconfig "$folder/kubeconfig" >"$folder/local" 2>&1 &
processes+=($!)
until [ -s "$folder/kubeconfig" ]; do sleep 0.5; done
url="$(sed -n 's/ *server: //p' "$folder/kubeconfig")"
DISABLE_LEADER_ELECTION=true "$binary" controller --provider kwok --kubeconfig "$folder/kubeconfig" \
    --metrics-port 0 --health-probe-port 0 >"$folder/controller" 2>&1 &
controller=$!
processes+=("$controller")

nodes() { curl --silent "$url/api/v1/nodes" | grep -o '"providerID"' | wc -l; }
ready() {
    curl --silent "$url/apis/apps/v1/namespaces/default/deployments" | grep -o '"readyReplicas": *[0-9]*' |
        awk -F: '{ sum += $2 } END { print sum + 0 }'
}
# Pods of templates that this script has written.
rolled() { curl --silent "$url/api/v1/namespaces/default/pods" | grep -o '"rolled"' | wc -l; }
counted() { grep -c "$1" "$folder/controller" || true; }
# Hundredths of a second that the controller has computed.
ticks() { sed 's/.*) //' "/proc/$controller/stat" | awk '{ print $12 + $13 }'; }
until [ "$(ready)" -eq 7500 ]; do sleep 2; done
sleep 60
created="$(counted 'created nodeclaim')"
disrupted="$(counted 'disrupting node(s)')"
echo "at the beginning: $(nodes) nodes, $(ready) pods ready"
before="$(ticks)"
start="$(date +%s%N)"
for minute in $(seq "$minutes"); do
    curl --silent --fail --output /dev/null --request PATCH --header 'Content-Type: application/merge-patch+json' \
        --data "{\"spec\":{\"template\":{\"metadata\":{\"annotations\":{\"rolled\":\"$minute\"}}}}}" \
        "$url/apis/apps/v1/namespaces/default/deployments/web-$(((minute - 1) % 20 + 1))"
    sleep $((60 - ($(date +%s%N) - start) / 1000000000 + 60 * (minute - 1)))
    echo "minute $minute: $(($(ticks) - before)) hundredths of a second of CPU so far, $(nodes) nodes," \
        "$(ready) pods ready, $(rolled) of them rolled"
done
after="$(ticks)"
spent=$((($(date +%s%N) - start) / 10000000))
echo "$(awk -v used=$((after - before)) -v spent="$spent" 'BEGIN { printf "%.3f", used / spent }') of a core," \
    "$(sed -n 's/VmHWM: *//p' "/proc/$controller/status") at the peak," \
    "$(($(counted 'created nodeclaim') - created)) NodeClaims created, $(($(counted 'disrupting node(s)') - disrupted)) commands"
