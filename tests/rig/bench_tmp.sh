#!/usr/bin/env bash
# `make bench`, its first part: figures of the sidecar, beside named peers in the same run. Ratios hold on a noisy machine, absolutes
# do not.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tests/rig/packages.sh curl
cache=${SIDEFLAME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sideflame}
idle_seconds=${BENCH_IDLE_SECONDS:-60}
sideflame=$PWD/target/release/sideflame
library=$PWD/target/release/libasyncProfiler.so
source tests/rig/bench_figures.sh

java=/usr/lib/jvm/java-17-openjdk-amd64/bin/java
jattach=$cache/jattach/jattach
# timed FILE COMMAND...: appends how long it took, and leaves its peak RSS in kB in $peak.
timed() {
  local into=$1 took
  shift
  read -r took peak < <(python3 -c '
import resource, subprocess, sys, time
start = time.monotonic()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
took = time.monotonic() - start
print(int(took * 1e6), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)' "$@")
  echo "$took" >>"$into"
}

# A recording of several events, as large as ten busy minutes make one.
"$java" -cp "$cache/apps/java-17" demo.shop.Split cpu,alloc >"$work/several.log" &
several_pid=$!
pids+=("$several_pid")
timeout 30 bash -c 'until grep -q ready "$1"; do sleep 0.1; done' - "$work/several.log"
"$jattach" "$several_pid" load "$library" true "start,event=cpu,interval=100us,alloc=4k,jfr,log=/dev/null,file=$work/several.jfr" >/dev/null
sleep 20
"$jattach" "$several_pid" load "$library" true "stop,log=/dev/null" >/dev/null
kill "$several_pid"
for run in 1 2 3; do
  timed "$work/jfr" "$sideflame" render --event cpu "$work/several.jfr" -o svg -f "$work/several.svg"
  our_peak=$peak
  timed "$work/jfrconv" "$java" -jar "$cache/jfr-converter/jfr-converter.jar" --cpu "$work/several.jfr" "$work/several.html"
done
ours=$(median <"$work/jfr") theirs=$(median <"$work/jfrconv")
row "JFR to SVG, $(stat -c %s "$work/several.jfr") bytes" "$(milliseconds "$ours"), peak RSS $our_peak kB"
row "  jfr-converter 4.5 (jfrconv) on the same file" "$(milliseconds "$theirs"), peak RSS $peak kB"
row "  ratio" "$(ratio "$theirs" "$ours")"

# Two profiles of 100,000 distinct stacks, most of which both have.
for seed in 1 2; do
  awk -v seed="$seed" 'BEGIN {
    srand(7)
    for (i = 0; i < 100000; i++) {
      depth = 10 + int(31 * rand())
      stack = ""
      for (level = 0; level < depth; level++)
        stack = stack (level ? ";" : "") "com.example.Class" int((31 + level * 7) * rand()) ".method" level
      print stack (i % 10 ? "" : ";only" seed), 1 + int(100 * rand()) * seed
    }
  }' >"$work/$seed.txt"
  "$sideflame" render "$work/$seed.txt" -o pprof -f "$work/$seed.pb.gz" >/dev/null
done
for run in 1 2 3; do
  timed "$work/diff" "$sideflame" diff "$work/1.pb.gz" "$work/2.pb.gz" -o top -f -
  our_peak=$peak
  timed "$work/diff_base" go tool pprof -diff_base "$work/1.pb.gz" -top "$work/2.pb.gz"
done
ours=$(median <"$work/diff") theirs=$(median <"$work/diff_base")
row "difference of two pprof files, 100,000 stacks each" "$(milliseconds "$ours"), peak RSS $our_peak kB"
row "  go tool pprof -diff_base -top on the same files" "$(milliseconds "$theirs"), peak RSS $peak kB"
row "  ratio" "$(ratio "$theirs" "$ours")"
