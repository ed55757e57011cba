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

row "stripped binary" "$(stat -c %s "$sideflame") bytes"

for run in 1 2 3 4 5 6 7 8 9; do
  start=$(now_us)
  serve "$work/serve.$run.log"
  (exec 3<>"/dev/tcp/127.0.0.1/${url##*:}")
  echo $(($(now_us) - start)) >>"$work/ready"
  kill "$server"
  wait "$server" 2>/dev/null || true
done
row "exec to ready (median of 9, includes forks of this script)" "$(milliseconds "$(median <"$work/ready")")"

serve "$work/idle.log"
curl -fsS "$url/healthz" >/dev/null
sleep 2
ticks() { awk '{print $14 + $15}' "/proc/$server/stat"; }
switches() { awk '/ctxt_switches/ {sum += $2} END {print sum}' "/proc/$server/status"; }
before=$(ticks) woken=$(switches)
sleep "$idle_seconds"
row "idle RSS" "$(awk '/VmRSS/ {print $2, $3}' "/proc/$server/status")"
row "idle CPU over $idle_seconds s" "$((($(ticks) - before) * 10)) ms, $(($(switches) - woken)) wake-ups"

java=${JAVA_HOME_17_X64:-/usr/lib/jvm/java-17-openjdk-amd64}/bin/java
"$java" -cp "$cache/apps/java-17" demo.shop.Split cpu >"$work/java.log" &
java_pid=$!
pids+=("$java_pid")
timeout 30 bash -c 'until grep -q ready "$1"; do sleep 0.1; done' - "$work/java.log"

# The first load of the library into a JVM takes 250 to 600 ms; both sides are measured warm.
curl -fsS -o /dev/null "$url/profile?pid=$java_pid&seconds=1"
for run in 1 2 3; do
  curl -fsS -o "$work/ours.svg" "$url/profile?pid=$java_pid&seconds=10"
  end=$(now_us)
  echo $((end - $(end_of_sampling))) >>"$work/ours"

  # What the plain capture would take if it were a JFR, which knows times and threads.
  curl -fsS -o /dev/null "$url/profile?pid=$java_pid&seconds=10&format=jfr"
  end=$(now_us)
  recorded=$((end - $(end_of_sampling)))
  artifact=$url/captures/$(newest id)/artifact?format=svg
  start=$(now_us)
  curl -fsS -o "$work/jfr.svg" "$artifact"
  echo $((recorded + $(now_us) - start)) >>"$work/by_jfr"

  jattach=$cache/jattach/jattach
  "$jattach" "$java_pid" load "$library" true "start,event=cpu,log=/dev/null" >/dev/null
  sleep 10
  start=$(now_us)
  "$jattach" "$java_pid" load "$library" true "stop,collapsed,log=/dev/null,file=$work/theirs.txt" >/dev/null
  cat "$work/theirs.txt" >/dev/null
  echo $(($(now_us) - start)) >>"$work/theirs"
done
ours=$(median <"$work/ours") theirs=$(median <"$work/theirs")
row "10 s JVM cpu capture: end of sampling to the SVG's last byte" "$(milliseconds "$ours")"
row "  the same by way of a JFR" "$(milliseconds "$(median <"$work/by_jfr")")"
row "  jattach stop,collapsed of the same library (no SVG)" "$(milliseconds "$theirs")"
row "  ratio, and difference" "$(ratio "$ours" "$theirs"), $(milliseconds $((${ours%.*} - ${theirs%.*})))"

# 50,000 distinct stacks of 10 to 40 frames.
awk 'BEGIN {
  srand(7)
  for (i = 0; i < 50000; i++) {
    depth = 10 + int(31 * rand())
    stack = ""
    for (level = 0; level < depth; level++)
      stack = stack (level ? ";" : "") "com.example.Class" int((31 + level * 7) * rand()) ".method" level
    print stack, 1 + int(100 * rand())
  }
}' >"$work/stacks.txt"
for run in 1 2 3; do
  start=$(now_us)
  "$sideflame" render "$work/stacks.txt" -o svg -f "$work/stacks.svg" >/dev/null
  echo $(($(now_us) - start)) >>"$work/render"
done
row "collapsed to SVG, 50,000 stacks" "$(milliseconds "$(median <"$work/render")"), $(stat -c %s "$work/stacks.svg") bytes"
flamegraph=$cache/flamegraph/flamegraph.pl
if [[ -e $flamegraph ]]; then
  start=$(now_us)
  perl "$flamegraph" --minwidth 0.1 "$work/stacks.txt" >"$work/reference.svg"
  reference=$(($(now_us) - start))
  row "  flamegraph.pl on the same file" "$(milliseconds "$reference"), $(stat -c %s "$work/reference.svg") bytes"
  row "  ratio" "$(ratio "$reference" "$(median <"$work/render")")"
else
  row "  flamegraph.pl" "no registry has it"
fi

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
