#!/usr/bin/env bash
# Instructions of fixed inputs, for docs/performance.md: `bench/counts.sh [CASE...]`, where a case is a word of the
# first column. They are the same on every machine with the same compiler, however busy it is. Fails where rules
# about hosts cost more than in proportion to hosts: twice as many may cost less than three times as much, where
# each host that looks at each other one would make it four. Needs valgrind.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v valgrind >/dev/null || { echo "valgrind is not installed; nothing was counted" >&2; exit 2; }
wanted="${*:-}"

# The file of a benchmark, built.
built() {
    cargo bench --workspace --locked --bench "$1" --no-run --message-format=json 2>/dev/null |
        sed -n "s/.*\"name\":\"$1\".*\"executable\":\"\([^\"]*\)\".*/\1/p" | tail -1
}

# Instructions within a function of a program: function, then the command.
count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null ${1:+--collect-atstart=no --toggle-collect="$1"} \
        "${@:2}" 2>&1 >/dev/null | sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

is_wanted() { [ -z "$wanted" ] || [[ " $wanted " == *" $1 "* ]]; }

# A row of the table: the word it is asked for by, what it says, and what `count` takes.
row() {
    is_wanted "$1" || return 0
    instructions="$(count "${@:3}")"
    printf '| %s | %s | %s |\n' "$1" "$2" "$instructions"
}

neighbors="$(built neighbors)"
catalogue="$(built catalogue)"
echo "| Case | What | Instructions |"
echo "| --- | --- | --- |"
for pods in 1 100 1000 5000 20000; do
    row "diverse-$pods" "upstream's benchmark, solve" neighbors::solve "$neighbors" once diverse "$pods"
done
row respected "4,000 pods that would rather be alone, solve" neighbors::solve "$neighbors" once respected 4000
row ignored "the same, preferences ignored, solve" neighbors::solve "$neighbors" once ignored 4000
for change in nothing node binding pod new everything; do
    row "freeze-$change" "5,000 nodes, 50,000 pods, freeze" catalogue::freeze "$catalogue" once "$change"
done
if is_wanted plan; then
    cargo build --release --locked --quiet --workspace --bin karpenter
    folder="$(mktemp -d)"
    trap 'rm -rf "$folder"' EXIT
    bash bench/pods.sh 2000 >"$folder/plan.yaml"
    row plan "\`plan -f\` of 2,000 pods, the whole process" "" \
        "${CARGO_TARGET_DIR:-target}/release/karpenter" plan -f "$folder/plan.yaml" -o json
fi

failed=0
for rule in spread apart existing-spread existing-apart; do
    is_wanted "$rule" || is_wanted hosts || continue
    few="$(count neighbors::solve "$neighbors" once "$rule" 2000)"
    many="$(count neighbors::solve "$neighbors" once "$rule" 4000)"
    printf "| %s | 2,000 and 4,000 pods and as many hosts, solve | %s and %s |\n" "$rule" "$few" "$many"
    if [ "$many" -ge $((few * 3)) ]; then
        echo "$rule is not in proportion to hosts" >&2
        failed=1
    fi
done
exit $failed
