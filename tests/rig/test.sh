#!/usr/bin/env bash
# `make test`: starts the cluster, runs the tests that need components, a control plane or it, and takes it down again
# (unless KEEP_CLUSTER is set). Ends with a table of what took the time. The other tests are `make unit`.
#
# Captures take their seconds whatever the machine does meanwhile, so two test programs run side by side. Those of the
# cluster change what the others of it see: one after the other, as soon as there is one. Three of them mostly wait,
# cluster_long for ten minutes, the others for two: they run beside all.
set -euo pipefail

rig=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$rig/../.."
export logs=target/tests waiting="cluster_long cluster_playbook webhook_authority" cluster=""
lone=()
for file in tests/tests/*.rs; do
  name=$(basename "$file" .rs)
  [[ " $waiting ${UNIT-} " != *" $name "* ]] || continue
  case $name in
    chart* | cluster* | images) cluster+=" $name" ;;
    # What takes longest begins first.
    live_* | page*) lone=("run $name" "${lone[@]}") ;;
    *) lone+=("run $name") ;;
  esac
done
rm -rf "$logs"
mkdir -p "$logs"

# There is one cluster per machine; another checkout may be at it.
exec 8>"${SIDEFLAME_CLUSTER:-/var/lib/sideflame-cluster}.tests"
flock --nonblock 8 || {
  echo "waiting for another run of these tests"
  flock 8
}

# shellcheck disable=SC2317 # by the trap
finish() {
  [[ -n ${KEEP_CLUSTER-} ]] || "$rig/cluster.sh" down
}
trap finish EXIT
trap 'exit 130' INT TERM

# run PROGRAM...: each into its log, printed when it ends
# shellcheck disable=SC2317 # by xargs
run() {
  local program status=0
  for program in "$@"; do
    # The whole workspace, as with all others: another selection is another set of features, and compiled anew.
    cargo test --locked --workspace --test "$program" >"$logs/$program.log" 2>&1 || status=1
    flock "$logs/printing" cat "$logs/$program.log"
  done
  return "$status"
}

# shellcheck disable=SC2086,SC2317 # words; by xargs
of_the_cluster() {
  local program status=0 pids=()
  trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
  make --no-print-directory cluster-up || return 1
  for program in $waiting; do
    run "$program" &
    pids+=($!)
  done
  run $cluster || status=1
  for program in "${pids[@]}"; do
    wait "$program" || status=1
  done
  return "$status"
}
export -f run of_the_cluster

# durations LOG: seconds and name of each test program, by cargo's and libtest's words
durations() {
  sed -nE 's#^ +Running .*/deps/(.+)-[0-9a-f]+\)$#name \1#p; s/^ +Doc-tests (.+)/name \1-doc/p; s/^test result:.* finished in ([0-9.]+)s$/took \1/p' "$1" |
    awk '$1 == "name" {name = $2} $1 == "took" && $2 >= 0.5 {printf "%6.0f s  %s\n", $2, name}'
}

table() {
  local log steps=target/steps
  echo "== what took the time"
  # Written by the Makefile, in seconds as well.
  if [[ -n ${RUN-} && -f $steps ]]; then
    awk -v run="$RUN" '$1 == run && $2 > 0 {printf "%6d s  ", $2; $1 = $2 = ""; print substr($0, 3)}' "$steps"
    rm -f "$steps"
  fi
  for log in "$logs"/*.log; do
    durations "$log"
  done | sort -rn
}

# The end of the output is what is seen of it where it is long: what failed is told there again, twenty lines of each test.
failures() {
  local log
  for log in "$logs"/*.log; do
    awk '/^---- .* ----$/ {left = 20} left-- > 0' "$log"
  done
}

# What the tests themselves call.
"$rig/packages.sh" chromium chromium-driver gdb iproute2 linux-perf openssl prometheus
"$rig/components.sh" helm kube
status=0
# Unit tests that need root and this machine's kernel.
cargo test --locked --workspace --lib -- --ignored ::on_this_machine:: 2>&1 8>&- | tee "$logs/on_this_machine.log" || status=$?
printf '%s\n' of_the_cluster "${lone[@]}" | xargs -P 2 -I{} bash -c {} 8>&- || status=$?
table
((status == 0)) || failures
exit "$status"
