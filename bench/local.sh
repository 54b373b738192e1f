#!/usr/bin/env bash
# The figures of docs/performance.md for `karpenter local`: three runs each, the median printed.
# KARPENTER names a binary to measure; without it the release build is made and measured.
set -euo pipefail
cd "$(dirname "$0")/.."
binary="${KARPENTER:-${CARGO_TARGET_DIR:-target}/release/karpenter}"
[ -n "${KARPENTER:-}" ] || cargo build --release --quiet --bin karpenter
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT

median() { sort -n | sed -n 2p; }
milliseconds() { echo $(($(date +%s%N) / 1000000)); }

echo "load: $(cut -d' ' -f1-3 /proc/loadavg), cores: $(nproc)"

# Ready: from the start of the process until the API answers /readyz.
# First node: from the start until the first Node object exists, one pod and default batching.
for run in 1 2 3; do
    start="$(milliseconds)"
    "$binary" local -f examples/inflate.yaml --kubeconfig "$folder/kubeconfig" >"$folder/out" 2>&1 &
    process=$!
    url=""
    while [ -z "$url" ]; do
        [ -s "$folder/kubeconfig" ] && url="$(sed -n 's/ *server: //p' "$folder/kubeconfig")"
        sleep 0.01
    done
    until curl --silent --fail --output /dev/null "$url/readyz"; do sleep 0.005; done
    ready="$(milliseconds)"
    until curl --silent "$url/api/v1/nodes" | grep -q '"kind": *"Node"\|kwok://'; do sleep 0.01; done
    first="$(milliseconds)"
    kill -INT "$process"
    wait "$process" || true
    rm -f "$folder/kubeconfig"
    echo "$((ready - start))" >>"$folder/ready"
    echo "$((first - start))" >>"$folder/first"
done
echo "ready for kubectl: $(median <"$folder/ready") ms"
echo "first node for the first pod: $(median <"$folder/first") ms after the process started"

for run in 1 2 3; do
    command time -f '%e %U %S %M' -o "$folder/time" \
        "$binary" local -f bench/inflate-1000.yaml --until-settled -o json >"$folder/summary" 2>/dev/null
    read -r wall user system kilobytes <"$folder/time"
    echo "$wall" >>"$folder/wall"
    echo "$user $system" | awk '{print $1 + $2}' >>"$folder/processor"
    echo "$kilobytes" | awk '{print $1 / 1024}' >>"$folder/memory"
    sed -n 's/.*"p99": *\([0-9.]*\).*/\1/p' "$folder/summary" >>"$folder/bound"
done
echo "1,000 pods: settled after $(median <"$folder/wall") s (5 s of them quiet), p99 pending to bound $(median <"$folder/bound") s," \
    "$(median <"$folder/processor") s of CPU, $(median <"$folder/memory") MB"
cat "$folder/summary"
