#!/usr/bin/env bash
# `make test`: starts the cluster, runs every test, and takes the cluster down again (unless KEEP_CLUSTER is set).
#
# Two programs mostly wait, cluster_long for ten minutes, webhook_authority for two; they run beside the others.
set -euo pipefail

rig=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$rig/../.."
waiting=(cluster_long webhook_authority)
declare -A pids=()

# There is one cluster per machine; another checkout may be at it.
exec 8>"${SIDEFLAME_CLUSTER:-/var/lib/sideflame-cluster}.tests"
flock --nonblock 8 || {
  echo "waiting for another run of these tests"
  flock 8
}

# shellcheck disable=SC2317 # by the trap
finish() {
  ((${#pids[@]} == 0)) || kill "${pids[@]}" 2>/dev/null || true
  [[ -n ${KEEP_CLUSTER-} ]] || "$rig/cluster.sh" down
}
trap finish EXIT
trap 'exit 130' INT TERM

make --no-print-directory cluster-up 8>&-
for program in "${waiting[@]}"; do
  # The whole workspace, as with the others: another selection is another set of features, and compiled anew.
  cargo test --locked --workspace --test "$program" >"target/$program.log" 2>&1 8>&- &
  pids[$program]=$!
  echo "== $program: runs beside the others, see target/$program.log"
done
status=0
cargo test --locked --workspace --no-fail-fast 8>&- || status=$?
for program in "${waiting[@]}"; do
  wait "${pids[$program]}" || status=$?
  unset "pids[$program]"
  cat "target/$program.log"
done
exit "$status"
