# For scripts that start processes, to be sourced from the project's root: `binary` is what is measured (KARPENTER, or the
# release build), `folder` is temporary, and whatever is in `processes` ends with the script.
binary="${KARPENTER:-${CARGO_TARGET_DIR:-target}/release/karpenter}"
[ -n "${KARPENTER:-}" ] || cargo build --release --quiet --bin karpenter
folder="$(mktemp -d)"
processes=()
tidy() {
    for process in "${processes[@]}"; do kill -INT "$process" 2>/dev/null || true; done
    wait
    rm -rf "$folder"
}
trap tidy EXIT
echo "load: $(cut -d' ' -f1-3 /proc/loadavg), cores: $(nproc)"
