#!/usr/bin/env bash
# `make test`: starts the cluster, runs every test, and takes the cluster down again (unless KEEP_CLUSTER is set).
#
# The tests of cluster_long take ten minutes in which they mostly wait; they run beside the others.
set -euo pipefail

rig=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$rig/../.."
log=target/cluster_long.log

# There is one cluster per machine; another checkout may be at it.
exec 8>"${SIDEFLAME_CLUSTER:-/var/lib/sideflame-cluster}.tests"
flock --nonblock 8 || {
  echo "waiting for another run of these tests"
  flock 8
}

long=
# shellcheck disable=SC2317 # by the trap
finish() {
  [[ -z $long ]] || kill "$long" 2>/dev/null || true
  [[ -n ${KEEP_CLUSTER-} ]] || "$rig/cluster.sh" down
}
trap finish EXIT
trap 'exit 130' INT TERM

make --no-print-directory cluster-up 8>&-
# The whole workspace, as with the others: another selection is another set of features, and compiled anew.
cargo test --locked --workspace --test cluster_long >"$log" 2>&1 8>&- &
long=$!
echo "== cluster_long: runs beside the others, see $log"
status=0
cargo test --locked --workspace --no-fail-fast 8>&- || status=$?
wait "$long" || status=$?
long=
cat "$log"
exit "$status"
