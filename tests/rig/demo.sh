#!/usr/bin/env bash
# `make demo`: starts a JVM, a .NET, a Go and a C app, profiles each by one curl, and says where to look.
#
# On a terminal the server and the apps stay until Ctrl-C; elsewhere they end with the script.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cache=${SIDEFLAME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sideflame}
out=target/demo
seconds=5
tests/rig/packages.sh curl
mkdir -p "$out"
rm -f "$out"/*

pids=()
finish() {
  # Only what we started, and by pid.
  ((${#pids[@]} == 0)) || kill "${pids[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
}
trap finish EXIT
trap 'exit 130' INT TERM

# app LOG COMMAND...: starts a sample app and waits for its "ready" line.
app() {
  local log=$out/$1.log
  shift
  "$@" >"$log" 2>&1 </dev/null &
  pids+=($!)
  local try
  for ((try = 0; try < 300; try++)); do
    grep -qs '^ready' "$log" && return
    sleep 0.1
  done
  echo "the app did not start; $log says:" >&2
  cat "$log" >&2
  return 1
}

export DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1 DOTNET_CLI_TELEMETRY_OPTOUT=1
java=${JAVA_HOME_17_X64:-/usr/lib/jvm/java-17-openjdk-amd64}/bin/java
echo "== starting a JVM, a .NET, a Go and a C app"
app java "$java" -jar "$cache/apps/java-17/shop.jar" cpu
java_pid=${pids[-1]}
app dotnet "$cache/dotnet-3.1/dotnet" "$cache/apps/dotnet/Split.dll" cpu
dotnet_pid=${pids[-1]}
app go "$cache/apps/go/split" -pprof 127.0.0.1:0 cpu
go_pid=${pids[-1]}
app c "$cache/apps/c/split" cpu
c_pid=${pids[-1]}

# serve PORT: starts a server and waits until it says where it listens; fails if it ends instead.
serve() {
  target/release/sideflame serve --listen "127.0.0.1:$1" 2>"$out/sideflame.log" &
  pids+=($!)
  local deadline=$((SECONDS + 10))
  until address=$(grep -soE 'address=[0-9.:]+' "$out/sideflame.log"); do
    kill -0 "${pids[-1]}" 2>/dev/null || {
      unset "pids[-1]"
      return 1
    }
    ((SECONDS < deadline)) || return 1
    sleep 0.05
  done
}

# The usual port if it is free: the URLs below are then those of the README.
serve 7117 || serve 0 || {
  cat "$out/sideflame.log" >&2
  exit 1
}
url=http://${address#*=}

echo "== what runs here (curl $url/processes)"
curl -fsS "$url/processes?format=text" | awk -v pids=" $java_pid $dotnet_pid $go_pid $c_pid " '$1 == "PID" || index(pids, " " $1 " ")'

# capture PID FILE QUERY
capture() {
  echo "== curl -o $out/$2 '$url/profile?pid=$1&seconds=$seconds$3'"
  curl -fsS -o "$out/$2" "$url/profile?pid=$1&seconds=$seconds$3"
}
capture "$java_pid" java.svg ""
capture "$go_pid" go.svg ""
capture "$dotnet_pid" dotnet.svg ""
# It needs a right that not every machine gives; the server says which.
drawn=(java.svg go.svg dotnet.svg)
if capture "$c_pid" c.svg ""; then
  drawn+=(c.svg)
else
  echo "   no picture of the C app: $url/doctor?pid=$c_pid says why"
fi

echo
echo "Look at:"
for file in "${drawn[@]}"; do
  printf '  %-28s %8d bytes\n' "$out/$file" "$(stat -c %s "$out/$file")"
done
echo "  $url/doctor"
echo "  $url/captures"
echo "  go tool pprof -top '$url/debug/pprof/profile?seconds=5&pid=$java_pid'   (a Java process)"
echo
if [[ -t 1 ]]; then
  echo "The server and the apps run until Ctrl-C."
  wait
else
  echo "No terminal: the server and the apps end now. On one, they stay until Ctrl-C."
fi
