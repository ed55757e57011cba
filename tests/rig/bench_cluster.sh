#!/usr/bin/env bash
# The cluster's part of `make bench`: what the images weigh, how much later an app starts for having the sidecar, and
# what the sidecar's cgroup holds while nobody asks for anything. Needs the cluster of `make cluster-up`. A missed
# target is printed, not an exit status: a noisy machine is no bug.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tests/rig/packages.sh curl
pods=${BENCH_PODS:-20}
idle_seconds=${BENCH_IDLE_SECONDS:-60}
cache=${SIDEFLAME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sideflame}
export KUBECONFIG=${SIDEFLAME_CLUSTER:-/var/lib/sideflame-cluster}/pki/admin.kubeconfig
api=http://127.0.0.1:18001
namespace=bench-$$
work=$(mktemp -d)

request() { curl -fsS --max-time 60 -H 'Content-Type: application/json' -X "$@"; }
finish() {
  request DELETE "$api/api/v1/namespaces/$namespace" >/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

row() { printf '%-64s %s\n' "$1" "$2"; }
# json EXPRESSION: of the document `it` on standard input
json() { node -e 'const it = JSON.parse(require("fs").readFileSync(0)); console.log('"$1"')'; }
# Of numbers on standard input: lower quartile, median, upper quartile.
quartiles() { sort -n | awk '{v[NR] = $1} function at(p) {return v[int(p * (NR - 1) + 1.5)]} END {print at(.25), at(.5), at(.75)}'; }
mebibytes() { awk -v bytes="$1" 'BEGIN {printf "%.1f MiB", bytes / 1048576}'; }

# Layers are compressed in the archive; the rest of it is a few kilobytes.
for archive in target/images/*.tar; do
  row "image ${archive##*/}, compressed (target <= 12 MB)" "$(awk -v bytes="$(stat -c %s "$archive")" 'BEGIN {printf "%.1f MB", bytes / 1e6}')"
done

# The app's only line is the uptime at which it runs: the clock of the node, which is this machine. It requests CPU: a
# pod that requests nothing would start later than the same pod with a sidecar, which makes it one of class Burstable.
# pod NAME ANNOTATIONS
pod() {
  cat <<EOF
{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "$1", "annotations": $2},
 "spec": {"terminationGracePeriodSeconds": 0, "containers": [{
   "name": "app", "image": "localhost/sideflame-test-apps:user", "imagePullPolicy": "Never",
   "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}},
   "command": ["/bin/sh", "-c", "cat /proc/uptime; exec sleep 3600"]}]}}
EOF
}

# await SECONDS COMMAND...: prints the output of its first success
await() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" 2>/dev/null; do
    ((SECONDS < deadline)) || { echo "bench_cluster.sh: no success of: $*" >&2; exit 1; }
    sleep 0.1
  done
}

line() {
  local text
  text=$(request GET "$1/log?container=app") && [[ -n $text ]] && echo "$text"
}

# start_delay NAME ANNOTATIONS: milliseconds from creation to the app
start_delay() {
  local path=$api/api/v1/namespaces/$namespace/pods created said
  pod "$1" "$2" >"$work/pod.json"
  read -r created _ </proc/uptime
  request POST "$path" --data-binary "@$work/pod.json" >/dev/null
  said=$(await 60 line "$path/$1")
  awk -v from="$created" -v to="${said%% *}" 'BEGIN {printf "%.0f\n", (to - from) * 1000}'
}

request POST "$api/api/v1/namespaces" -d "{\"metadata\": {\"name\": \"$namespace\"}}" >/dev/null
await 30 request GET "$api/api/v1/namespaces/$namespace/serviceaccounts/default" >/dev/null

declare -A kinds=(
  [bare]='{}'
  [native]='{"sideflame.io/inject": "true"}'
  [container]='{"sideflame.io/inject": "true", "sideflame.io/sidecar": "container"}'
)
# In turns and in every order: noise of the machine, and what the pod before leaves behind, hits all of them. Nothing is
# deleted meanwhile: taking a pod down costs the node more than starting one.
orders=("bare native container" "container native bare" "native container bare" "bare container native"
  "container bare native" "native bare container")
for ((number = 1; number <= pods; number++)); do
  for kind in ${orders[number % 6]}; do
    start_delay "$kind-$number" "${kinds[$kind]}" >>"$work/$kind"
  done
done
for kind in native container; do
  paste "$work/bare" "$work/$kind" | awk '{print $2 - $1}' >"$work/$kind.added"
done
# spread FILE
spread() {
  local low median high
  read -r low median high < <(quartiles <"$1")
  echo "$median ms ($low to $high)"
}
row "creation to app, nobody annotated, median of $pods (quartiles)" "$(spread "$work/bare")"
row "  with the native sidecar" "$(spread "$work/native")"
row "  with sideflame.io/sidecar: container" "$(spread "$work/container")"
row "added by the native sidecar, median of the pairs" "$(spread "$work/native.added")"
row "added by the plain container" "$(spread "$work/container.added")"

# cgroup ID: folder of the container's memory cgroup, version 1 or 2
cgroup() {
  local root=/sys/fs/cgroup
  [[ -f $root/cgroup.controllers ]] || root+=/memory
  find "$root" -type d -name "*$1*" -print -quit
}

# memory CGROUP WHEN: of the sidecar of pod `idle`
memory() {
  local group=$1 anonymous usage server resident working
  anonymous=$(awk '$1 == "rss" || $1 == "anon" {print $2}' "$group/memory.stat")
  usage=$(cat "$group"/memory.usage_in_bytes 2>/dev/null || cat "$group/memory.current")
  server=$(head -1 "$group/cgroup.procs")
  resident=$(awk '/^VmRSS/ {print $2 * 1024}' "/proc/$server/status")
  working=$(request GET "$api/api/v1/nodes/test/proxy/stats/summary" | json "it.pods
    .find((pod) => pod.podRef.namespace === '$namespace' && pod.podRef.name === 'idle')
    .containers.find((container) => container.name === 'sideflame').memory.workingSetBytes")
  row "idle sidecar, $2 (target <= 8 MiB)" "$(mebibytes "$usage") in its cgroup, of it $(mebibytes "$anonymous") anonymous"
  row "  working set as the kubelet reports it" "$(mebibytes "$working")"
  row "  RSS of the server, with shared pages of its executable" "$(mebibytes "$resident")"
}

path=$api/api/v1/namespaces/$namespace/pods
pod idle "${kinds[native]}" | sed 's#"cat /proc/uptime; exec sleep 3600"#"echo up; exec /java/bin/java -Xmx64m -cp /apps/java demo.shop.Split idle"#' >"$work/pod.json"
request POST "$path" --data-binary "@$work/pod.json" >/dev/null
await 60 line "$path/idle" >/dev/null
id=$(request GET "$path/idle" | json 'it.status.initContainerStatuses[0].containerID')
group=$(cgroup "${id##*/}")
[[ -n $group ]] || { echo "bench_cluster.sh: no memory cgroup of $id" >&2; exit 1; }
sleep "$idle_seconds"
memory "$group" "$idle_seconds s after its start"
"$cache/kube/kubectl" --namespace "$namespace" exec idle --container app -- \
  wget -qO /dev/null 'http://127.0.0.1:7117/profile?event=wall&seconds=2'
sleep 15 # the kubelet's figures are up to 10 s old
memory "$group" "after a capture"
