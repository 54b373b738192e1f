#!/usr/bin/env bash
# The figures of docs/performance.md on a real control plane: `bench/real.sh [mixed|small-nodes|deployments|idle|scaled|halved-deployments|halved-small-nodes …]`.
# Three runs each, every run on a fresh control plane; the middle one counts. KARPENTER names a binary
# to measure; without it the release build is made and measured. Build nothing else meanwhile.
set -euo pipefail
cd "$(dirname "$0")/.."
export KARPENTER="${KARPENTER:-${CARGO_TARGET_DIR:-target}/release/karpenter}"
[ -x "$KARPENTER" ] || cargo build --release --quiet --bin karpenter
figures=("$@")
[ $# -gt 0 ] || figures=(mixed small-nodes deployments idle scaled halved-deployments halved-small-nodes)
for figure in "${figures[@]}"; do
    for run in 1 2 3; do
        cargo xtask figures -- "$figure" | grep -v '^=='
    done
done
