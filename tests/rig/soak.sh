#!/usr/bin/env bash
# `make soak`: thousands of short captures of a JVM, a .NET and four Go apps, several at a time, some of them cancelled or
# refused. Fails unless the server's memory, and descriptors and threads of the server and of its targets, come back to
# where they were.
#
#   CAPTURES    how many (10000)
#   SIDEFLAME   another binary than the static one; libasyncProfiler.so stands beside it. One that is linked with glibc fails:
#               on a busy machine its memory grew by up to 7 MiB, and then no more; that of the static one came back.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tests/rig/packages.sh curl
cache=${SIDEFLAME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sideflame}
sideflame=${SIDEFLAME:-$PWD/target/x86_64-unknown-linux-musl/release/sideflame}
captures=${CAPTURES:-10000}
go_apps=4
# What may be left, against the row `start`.
most_memory=1024 most_descriptors=2 most_threads=4
work=$(mktemp -d)
apps=() workers=()
# Only what we started, and by pid.
finish() {
  ((${#workers[@]} == 0)) || kill "${workers[@]}" 2>/dev/null || true
  ((${#apps[@]} == 0)) || kill "${apps[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

# app NAME COMMAND...: starts it, and waits for the line that says that it is ready.
app() {
  local log=$work/$1.log deadline=$((SECONDS + 60))
  shift
  "$@" >"$log" 2>&1 </dev/null &
  apps+=($!)
  until grep -qsE '^ready|address=' "$log"; do
    ((SECONDS < deadline)) || { cat "$log" >&2; exit 1; }
    sleep 0.1
  done
}

export DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1 DOTNET_CLI_TELEMETRY_OPTOUT=1
java=${JAVA_HOME_17_X64:-/usr/lib/jvm/java-17-openjdk-amd64}/bin/java
app jvm "$java" -Xmx64m -jar "$cache/apps/java-17/shop.jar" idle
app dotnet "$cache/dotnet-3.1/dotnet" "$cache/apps/dotnet/Split.dll" idle
for ((number = 0; number < go_apps; number++)); do
  app "go$number" "$cache/apps/go/split" -pprof 127.0.0.1:0 idle
done
targets=("${apps[@]}")
jvm=${apps[0]} dotnet=${apps[1]}
app server "$sideflame" serve --listen 127.0.0.1:0 --max-captures 6 --store-dir "$work/store"
server=${apps[-1]}
url=http://$(grep -oE '127\.0\.0\.1:[0-9]+' "$work/server.log" | head -1)

# ask WORKER [CURL OPTION...] URL: its status goes into the worker's list.
ask() {
  local list=$work/statuses.$1
  shift
  curl -s -o /dev/null --max-time 60 -w '%{http_code}\n' "$@" >>"$list" || true
}

# profile WORKER PID QUERY [CURL OPTION...]
profile() { ask "$1" "${@:4}" "$url/profile?pid=$2&$3"; }

# resource WORKER PID QUERY FORMAT...: a capture that is started, fetched in each format, and deleted.
resource() {
  local worker=$1 pid=$2 query=$3 location try format
  shift 3
  location=$(curl -s -o /dev/null -D - -X POST "$url/captures?pid=$pid&$query" | tr -d '\r' | awk 'tolower($1) == "location:" {print $2}')
  # Refused, as when the target is taken.
  [[ -n $location ]] || return 0
  for ((try = 0; try < 100; try++)); do
    ! curl -s "$url$location" | grep -q '"status":"running"' || { sleep 0.05; continue; }
    break
  done
  for format in "$@"; do
    ask "$worker" "$url$location/artifact?format=$format"
  done
  ask "$worker" -X DELETE "$url$location"
}

# Mostly what takes no time, and now and then everything else a client can do.
go_worker() {
  local pid=$1 round=0 events=(goroutine heap threadcreate) totals=(allocs mutex block goroutine) formats=(svg collapsed pprof speedscope)
  while [[ ! -e $work/stop ]]; do
    profile "go$pid" "$pid" "event=${events[round % 3]}&format=${formats[round % 4]}"
    ask "go$pid" "$url/debug/pprof/${totals[round % 4]}?pid=$pid"
    case $((++round % 50)) in
      10) profile "go$pid" "$pid" "seconds=1&event=cpu" ;;
      20 | 45) profile "go$pid" "$pid" "seconds=5&event=cpu" --max-time 0.2 ;;
      30 | 40) resource "go$pid" "$pid" "event=heap" svg collapsed ;;
      35) resource "go$pid" "$pid" "seconds=30&event=trace" ;;
      5 | 15) profile "go$pid" "$pid" "event=exceptions" ;;
      25) profile "go$pid" 999999999 "seconds=1" ;;
      49) ask "go$pid" "$url/processes" ;;
    esac
  done
}

jvm_worker() {
  local round=0 queries=(event=cpu event=alloc "event=wall&format=jfr" "event=cpu&format=pprof" event=lock)
  while [[ ! -e $work/stop ]]; do
    profile jvm "$jvm" "seconds=1&${queries[round++ % 5]}"
    ((round % 7)) || profile jvm "$jvm" "seconds=20" --max-time 1
  done
}

dotnet_worker() {
  local round=0 queries=(event=cpu event=alloc event=exceptions)
  while [[ ! -e $work/stop ]]; do
    profile dotnet "$dotnet" "seconds=1&${queries[round++ % 3]}"
    ((round % 7)) || profile dotnet "$dotnet" "seconds=20" --max-time 1
  done
}

started() { curl -s "$url/metrics" | awk '$1 == "sideflame_captures_started_total" {print $2}'; }
memory() { awk '/^VmRSS/ {print $2}' "/proc/$1/status"; }
anonymous() { awk '/^RssAnon/ {print $2}' "/proc/$1/status"; }
descriptors() { find "/proc/$1/fd" -mindepth 1 | wc -l; }
threads() { awk '/^Threads/ {print $2}' "/proc/$1/status"; }

# row LABEL: RSS in KiB (of the server also its anonymous part), descriptors and threads.
row() {
  local pid
  printf '%-8s server %d KiB (%d anonymous) %d fds %d threads' "$1" "$(memory "$server")" "$(anonymous "$server")" \
    "$(descriptors "$server")" "$(threads "$server")"
  for pid in "${targets[@]}"; do
    printf ' | %s %d KiB %d %d' "$(cat "/proc/$pid/comm")" "$(memory "$pid")" "$(descriptors "$pid")" "$(threads "$pid")"
  done
  echo
}

# Every kind once: what a first capture leaves in a target (the library of async-profiler, threads of a runtime) stays by
# design, and the server's own pages come in as they are first used.
for pid in "${targets[@]:2}"; do
  for format in svg collapsed pprof speedscope; do
    profile warm "$pid" "event=heap&format=$format"
  done
  profile warm "$pid" "seconds=1&event=cpu"
  resource warm "$pid" "event=goroutine" svg
  ask warm "$url/debug/pprof/allocs?pid=$pid"
done
for query in event=cpu event=alloc event=lock "event=wall&format=jfr"; do profile warm "$jvm" "seconds=1&$query"; done
for query in event=cpu event=alloc event=exceptions; do profile warm "$dotnet" "seconds=1&$query"; done
profile warm "$jvm" "seconds=20" --max-time 1
profile warm "$dotnet" "seconds=20" --max-time 1
ask warm "$url/processes"

# settle: without captures, and until idle threads have ended, for which tokio gives them 10 s.
settle() {
  local deadline=$((SECONDS + 60)) location
  for location in $(curl -s "$url/captures" | grep -oE '"id":"[^"]+"' | cut -d'"' -f4); do
    ask warm -X DELETE "$url/captures/$location"
  done
  until (($(threads "$server") == 1)); do
    ((SECONDS < deadline)) || break
    sleep 0.5
  done
}

settle
declare -A before
for pid in "$server" "${targets[@]}"; do
  before[memory.$pid]=$(memory "$pid") before[descriptors.$pid]=$(descriptors "$pid") before[threads.$pid]=$(threads "$pid")
done
first=$(started)
row start
rm -f "$work"/statuses.*

jvm_worker &
workers+=($!)
dotnet_worker &
workers+=($!)
for pid in "${targets[@]:2}"; do
  go_worker "$pid" &
  workers+=($!)
done
mark=1000
until done=$(($(started) - first)) && ((done >= captures)); do
  kill -0 "$server" || { cat "$work/server.log" >&2; exit 1; }
  ((done < mark)) || { row "$mark"; mark=$((mark + 1000)); }
  sleep 0.5
done
touch "$work/stop"
wait "${workers[@]}"
workers=()
row "$done"
settle
row end
printf '%s\n' "$done captures; answers by status (000 is a client that hung up):"
cat "$work"/statuses.* | sort | uniq -c

failed=0
# bound WHAT NOW BEFORE MOST
bound() {
  (($2 - $3 <= $4)) || { echo "soak: $1: $3 before, $2 after; at most $4 more are allowed" >&2; failed=1; }
}
bound "memory of the server, KiB" "$(memory "$server")" "${before[memory.$server]}" "$most_memory"
for pid in "$server" "${targets[@]}"; do
  name=$(cat "/proc/$pid/comm")
  bound "descriptors of $name" "$(descriptors "$pid")" "${before[descriptors.$pid]}" "$most_descriptors"
  bound "threads of $name" "$(threads "$pid")" "${before[threads.$pid]}" "$most_threads"
done
exit "$failed"
