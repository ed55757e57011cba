#!/usr/bin/env bash
# `make bench`, its .NET part: what a capture costs a busy app, how long its flame graph takes, and how fast nettraces are read. Each figure
# stands beside one of the same app in the same run.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tests/rig/packages.sh curl
cache=${SIDEFLAME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sideflame}
sideflame=${SIDEFLAME:-$PWD/target/release/sideflame}
source tests/rig/bench_figures.sh
export DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1

# app VERSION SCENARIO [THREADS]: starts the sample app and leaves its pid in $app and its output in $said.
app() {
  said=$work/app.$1.$2.log
  case $1 in
    3.1) "$cache/dotnet-3.1/dotnet" "$cache/apps/dotnet/Split.dll" "$2" "${3:-1}" >"$said" & ;;
    8)
      DOTNET_STARTUP_HOOKS=$cache/apps/dotnet/StartupHook.dll SPLIT_SCENARIO=$2 SPLIT_THREADS=${3:-1} \
        "$cache/dotnet-8/Sarif.Multitool" >"$said" &
      ;;
  esac
  app=$!
  pids+=("$app")
  timeout 60 bash -c 'until grep -q ready "$1"; do sleep 0.1; done' - "$said"
}

serve "$work/serve.log"

for version in 3.1 8; do
  app $version rate
  sleep 2
  alone=$(rate 8)
  curl -fsS -o "$work/during.svg" "$url/profile?pid=$app&seconds=10" &
  capture=$!
  sleep 1
  during=$(rate 8)
  wait "$capture"
  again=$(rate 8)
  row ".NET $version, busy thread, work during a capture of cpu" "$(ratio "$during" "$alone") of before, after it $(ratio "$again" "$alone")"
  for run in 1 2 3; do
    for format in nettrace svg; do
      curl -fsS -o "$work/artifact" "$url/profile?pid=$app&seconds=5&format=$format"
      end=$(now_us)
      echo $((end - $(end_of_sampling))) >>"$work/$version.$format"
    done
  done
  # The nettrace has nothing behind the rundown but its copy and its SHA-256.
  rundown=$(median <"$work/$version.nettrace") svg=$(median <"$work/$version.svg")
  row "  end of sampling to the SVG's last byte" "$(milliseconds "$svg"), of which the rundown $(milliseconds "$rundown")"
  kill "$app"
done

# A recording of .NET as it is, and its blocks again and again: as long as one of an hour. All samples are read.
app 3.1 cpu 8
curl -fsS -o "$work/once.nettrace" "$url/profile?pid=$app&seconds=5&event=wall&format=nettrace"
# It would take the CPU of what is measured.
kill "$app"
samples() { grep -oE '[0-9]+ samples' "$1" | head -1 | cut -d' ' -f1; }
for megabytes in 10 100 1000; do
  MEGABYTES=$megabytes node -e '
    const fs = require("fs");
    const once = fs.readFileSync(process.argv[1]);
    // Behind the name, the type and the content of Trace.
    const head = once.subarray(0, 32 + 21 + 48 + 1);
    const blocks = once.subarray(head.length, once.length - 1);
    // Content starts at a multiple of 4, counted from the first byte. A block of one byte ends where the first began.
    const end = head.length + blocks.length + 3 + 12 + 1 + 1 + 4;
    const filler = Buffer.concat([Buffer.from([5, 5, 1, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 120, 6, 1, 0, 0, 0]),
      Buffer.alloc((4 - (end % 4)) % 4), Buffer.from([0, 6])]);
    const again = Buffer.concat([blocks, filler]);
    const out = fs.openSync(process.argv[2], "w");
    fs.writeSync(out, head);
    for (let bytes = 0; bytes < process.env.MEGABYTES * 1e6; bytes += again.length) fs.writeSync(out, again);
    fs.writeSync(out, Buffer.from([1]));' "$work/once.nettrace" "$work/long.nettrace"
  start=$(now_us)
  "$sideflame" render "$work/long.nettrace" --sample-type wall -o svg -f "$work/long.svg" >/dev/null &
  render=$! peak=0
  while now=$(awk '/VmHWM/ {print $2}' "/proc/$render/status" 2>/dev/null) && [[ -n $now ]]; do peak=$now; sleep 0.02; done
  wait "$render"
  took=$(($(now_us) - start))
  count=$(samples "$work/long.svg")
  row "nettrace to SVG, $megabytes MB of $count samples" \
    "$(milliseconds "$took"), $(awk -v n="$count" -v us="$took" 'BEGIN {printf "%.1f", n / us}') M samples/s, peak RSS $peak kB"
  rm "$work/long.nettrace"
done
