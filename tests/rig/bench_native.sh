#!/usr/bin/env bash
# `make bench`, its native part: what a capture costs a saturated thread, and how long names take, beside `perf record` and `perf script`
# with the same event on the same app in the same run.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tests/rig/packages.sh curl linux-perf
cache=${SIDEFLAME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sideflame}
sideflame=${SIDEFLAME:-$PWD/target/release/sideflame}
rounds=${BENCH_ROUNDS:-3}
source tests/rig/bench_figures.sh

# app PROGRAM SCENARIO: starts it and leaves its pid in $app and its output in $said.
app() {
  said=$work/app.$(basename "$1").$2.log
  "$1" "$2" >"$said" &
  app=$!
  pids+=("$app")
  timeout 60 bash -c 'until grep -q ready "$1"; do sleep 0.1; done' - "$said"
}

# cpu_ms: CPU time of the server and of its children so far.
cpu_ms() { awk '{print ($14 + $15 + $16 + $17) * 10}' "/proc/$server/stat"; }

# resident PID FILE: appends what all children of PID have in memory, in KiB, each 50 ms until it is ended.
resident() {
  local children
  while sleep 0.05; do
    children=$(cat "/proc/$1/task/"*/children 2>/dev/null)
    for child in $children; do cat "/proc/$child/status" 2>/dev/null || true; done |
      awk '/^VmRSS/ {sum += $2} END {print sum + 0}' >>"$2"
  done
}
most() { sort -n "$1" | tail -1; }

serve "$work/serve.log"
resident "$server" "$work/ours.rss" &
pids+=($!)

# beside FREQUENCY UNWIND: rows of both samplers at the app that runs.
beside() {
  local hz=$1 unwind=$2 round before name
  name=$work/$hz.$unwind
  for ((round = 0; round < rounds; round++)); do
    rate 4 >>"$name.alone"
    before=$(cpu_ms)
    curl -fsS -o "$work/ours.pb.gz" "$url/profile?pid=$app&seconds=6&frequency=$hz&unwind=$unwind&format=pprof" &
    capture=$!
    sleep 1
    rate 4 >>"$name.ours"
    wait "$capture"
    echo $(($(cpu_ms) - before)) >>"$name.ours_cpu"
    stamp lost >>"$name.lost"
    stamp samples >>"$name.samples"
    TIMEFORMAT='%U %S'
    { time perf record -q -e cpu-clock -F "$hz" --call-graph "$unwind" -p "$app" -o "$work/perf.data" -- sleep 6 2>"$work/perf.log"; } 2>"$work/perf.time" &
    capture=$!
    sleep 1
    rate 4 >>"$name.perf"
    wait "$capture"
    awk '{printf "%.0f\n", ($1 + $2) * 1000}' "$work/perf.time" >>"$name.perf_cpu"
    perf report -i "$work/perf.data" --stats 2>/dev/null | awk '/LOST events|LOST_SAMPLES events/ {sum += $3} END {print sum + 0}' >>"$name.perf_lost"
  done
  local alone ours theirs
  alone=$(median <"$name.alone") ours=$(median <"$name.ours") theirs=$(median <"$name.perf")
  row "busy thread, $hz Hz, $unwind: work per CPU time" "$(ratio "$ours" "$alone") of alone, with perf record $(ratio "$theirs" "$alone")"
  row "  CPU time of the sampler for 6 s, names included" "$(median <"$name.ours_cpu") ms, of perf record without names $(median <"$name.perf_cpu") ms"
  row "  samples, and lost" "$(median <"$name.samples"), $(median <"$name.lost"); lost by perf record $(median <"$name.perf_lost")"
}

app "$cache/apps/c/split" rate
for hz in 99 999; do beside $hz fp; done
kill "$app"
app "$cache/apps/c/split-nofp" rate
for hz in 99 999; do beside $hz dwarf; done
kill "$app"
row "most memory of the recorder" "$(most "$work/ours.rss") kB"

# A program with names in its debug information, and one with a large table of its own.
for program in cpp/split go/split-nopprof; do
  app "$cache/apps/$program" cpu
  for ((round = 0; round < rounds; round++)); do
    curl -fsS -o "$work/ours.txt" "$url/profile?pid=$app&seconds=10&frequency=999&unwind=fp&format=collapsed"
    end=$(now_us)
    echo $((end - $(end_of_sampling))) >>"$work/${program%/*}.names"
    perf record -q -e cpu-clock -F 999 --call-graph fp -p "$app" -o "$work/perf.data" -- sleep 10 2>"$work/perf.log"
    start=$(now_us)
    perf script -i "$work/perf.data" >"$work/script.txt" 2>"$work/perf.log"
    echo $(($(now_us) - start)) >>"$work/${program%/*}.script"
  done
  ours=$(median <"$work/${program%/*}.names") theirs=$(median <"$work/${program%/*}.script")
  row "$program, 10 s at 999 Hz: end of sampling to names" "$(milliseconds "$ours")"
  row "  perf script of the same" "$(milliseconds "$theirs"), ratio $(ratio "$theirs" "$ours")"
  kill "$app"
done
