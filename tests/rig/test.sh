#!/usr/bin/env bash
# `make test`: starts the cluster, runs the tests that need components, a control plane or it, and takes it down again
# (unless KEEP_CLUSTER is set). Ends with a table of what took the time. The other tests are `make unit`.
#
# Five programs mostly wait, cluster_long for ten minutes, the others for two at most; they run beside the rest. Of two CPUs
# live_dotnet_minute takes a seventh and hostile_dotnet a twentieth.
set -euo pipefail

rig=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$rig/../.."
waiting=(cluster_long cluster_playbook webhook_authority live_dotnet_minute hostile_dotnet)
others=()
for file in tests/tests/*.rs; do
  name=$(basename "$file" .rs)
  [[ " ${waiting[*]} ${UNIT-} " == *" $name "* ]] || others+=(--test "$name")
done
logs=target/tests
declare -A pids=()
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
  ((${#pids[@]} == 0)) || kill "${pids[@]}" 2>/dev/null || true
  [[ -n ${KEEP_CLUSTER-} ]] || "$rig/cluster.sh" down
}
trap finish EXIT
trap 'exit 130' INT TERM

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
  durations "$logs/all.log"
  for log in "${waiting[@]}"; do
    durations "$logs/$log.log" | sed 's/$/, beside the others/'
  done
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
make --no-print-directory cluster-up 8>&-
for program in "${waiting[@]}"; do
  # The whole workspace, as with the others: another selection is another set of features, and compiled anew.
  cargo test --locked --workspace --test "$program" >"$logs/$program.log" 2>&1 8>&- &
  pids[$program]=$!
  echo "== $program: runs beside the others, see $logs/$program.log"
done
status=0
# Unit tests that need root and this machine's kernel.
cargo test --locked --workspace --lib -- --ignored ::on_this_machine:: 2>&1 8>&- | tee "$logs/all.log" || status=$?
cargo test --locked --workspace --no-fail-fast "${others[@]}" 2>&1 8>&- | tee -a "$logs/all.log" || status=$?
for program in "${waiting[@]}"; do
  wait "${pids[$program]}" || status=$?
  unset "pids[$program]"
  cat "$logs/$program.log"
done
table
((status == 0)) || failures
exit "$status"
