#!/usr/bin/env bash
# A NodePool and so many pods of thirty sizes that wait, as manifests: `bench/pods.sh COUNT`.
set -euo pipefail
echo '{apiVersion: karpenter.kwok.sh/v1alpha1, kind: KWOKNodeClass, metadata: {name: default}}'
echo '---'
echo '{apiVersion: karpenter.sh/v1, kind: NodePool, metadata: {name: pool-1}, spec: {template: {metadata: {labels: {team: team-1}}, spec: {nodeClassRef: {group: karpenter.kwok.sh, kind: KWOKNodeClass, name: default}, requirements: [{key: kubernetes.io/os, operator: In, values: [linux]}]}}}}'
awk -v count="$1" 'BEGIN {
    for (at = 1; at <= count; at++) {
        size = at % 30
        print "---"
        printf "{apiVersion: v1, kind: Pod, metadata: {name: p-%d, namespace: default, labels: {app: app-%d}}, ", at, at % 200
        printf "spec: {nodeSelector: {team: team-1}, "
        printf "containers: [{name: main, image: x, resources: {requests: {cpu: %dm, memory: %dMi}}}]}}\n", 100 + size * 130, 128 + (size * 7 % 30) * 250
    }
}'
