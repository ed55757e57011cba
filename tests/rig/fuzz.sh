#!/usr/bin/env bash
# `make fuzz`: feeds each target of tests/fuzz what libFuzzer makes of its corpus, one after the other. Ends with a table, and
# with 1 if something was found: an input that made it panic, overflow or hang lies in target/fuzz/findings.
#
#   fuzz.sh SECONDS [TARGET...]       (CPU time of each; no target: all of them)
#
# New inputs stay in target/fuzz/corpus, where the next run begins with them. With KEEP=1 those that reach new code are copied
# into tests/fuzz/corpus.
set -euo pipefail

seconds=$1
shift
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
triple=x86_64-unknown-linux-gnu
corpora=tests/fuzz/corpus
work=target/fuzz
# What no input needs: the largest takes a few milliseconds.
limits=(-max_len=16384 -timeout=25 -rss_limit_mb=1024)

tests/rig/packages.sh g++
# Stable Rust has LLVM's instrumentation, but no option of its own for it. --target: not for build scripts.
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
coverage+=" -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
RUSTFLAGS="--cfg fuzzing $coverage" cargo build --locked --quiet --package fuzz --features libfuzzer --profile fuzz --target $triple
program=${CARGO_TARGET_DIR:-target}/$triple/fuzz/sideflame-fuzz

# number FILE PATTERN: the first group of the last line that matches, else 0
number() {
  sed -nE "s/$2/\\1/p" "$1" | tail -1 | grep . || echo 0
}

(($#)) || mapfile -t all < <(ls $corpora)
mkdir -p $work/{corpus,findings,logs}
rows=() found=()
for target in "${@:-${all[@]}}"; do
  export SIDEFLAME_FUZZ_TARGET=$target
  log=$work/logs/$target
  mkdir -p "$work/corpus/$target"
  begun=$(find $work/findings -name "$target-*" | wc -l)
  status=0 executions=0 used=0
  : >"$log"
  # libFuzzer counts time by the clock, of which a busy machine gives less: until the CPU time is used. What is left of a
  # second is not worth another start.
  while ((status == 0 && used < seconds)); do
    round=$log.round
    TIMEFORMAT='%U %S'
    { time "$program" "${limits[@]}" -max_total_time=$((seconds - used)) -print_final_stats=1 -artifact_prefix="$work/findings/$target-" \
      "$work/corpus/$target" "$corpora/$target" >"$round" 2>&1; } 2>"$log.time" || status=$?
    executions=$((executions + $(number "$round" 'stat::number_of_executed_units: *([0-9]+)')))
    used=$(awk -v used=$used '{printf "%.0f", used + $1 + $2 + 0.5}' "$log.time")
    cat "$round" >>"$log"
    rm "$round"
  done
  minutes=$(awk -v used=$used 'BEGIN {printf "%.1f", used / 60}')
  before=$(sed -nE 's/.*INITED cov: ([0-9]+).*/\1/p' "$log" | head -1 | grep . || echo 0)
  after=$(number "$log" '.* cov: ([0-9]+).*')
  findings=$(($(find $work/findings -name "$target-*" | wc -l) - begun))
  rows+=("$(printf '%-17s %11d %8s %9d %9d %9d' "$target" "$executions" "$minutes" "$after" $((after - before)) "$findings")")
  echo "${rows[-1]}"
  ((status == 0)) || {
    found+=("$target")
    grep -A4 -E "panicked at|^==[0-9]+== *ERROR|ALARM" "$log" | head -8 || tail -5 "$log"
  }
  if [[ ${KEEP-} == 1 ]]; then
    "$program" "${limits[@]}" -merge=1 "$corpora/$target" "$work/corpus/$target" >"$log.merge" 2>&1
  fi
done
echo
printf '%-17s %11s %8s %9s %9s %9s\n' target executions CPU-min coverage new findings
printf '%s\n' "${rows[@]}"
((${#found[@]} == 0)) || {
  echo "found something: ${found[*]}; the inputs are in $work/findings" >&2
  exit 1
}
