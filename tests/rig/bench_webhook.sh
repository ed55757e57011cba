#!/usr/bin/env bash
# The webhook's part of `make bench`: sideflame-webhook beside the same server leaving the pod alone, a bare server on
# the same libraries (webhook/examples/allow.rs), and an injector on controller-runtime (bench_webhook/go-peer), under
# the load of bench_webhook/load. A missed target is printed, not an exit status: a noisy machine is no bug.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cache=${SIDEFLAME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sideflame}
sources=tests/rig/bench_webhook
. tests/rig/loopback.sh
tests/rig/toolchain.sh
tests/rig/packages.sh openssl

# Two of the CPUs this process may use: one for the server, one for the load.
mapfile -t cpus < <(awk '/^Cpus_allowed_list/ {
  n = split($2, ranges, ",")
  for (i = 1; i <= n; i++) { m = split(ranges[i], ends, "-"); for (cpu = ends[1] + 0; cpu <= ends[m] + 0; cpu++) print cpu }
}' /proc/self/status)
if ((${#cpus[@]} < 2)); then
  echo "bench_webhook.sh: needs two CPUs, one for the server and one for the load" >&2
  exit 1
fi

# build DIRECTORY: the Go programs, once per state of their sources and version of Go.
build() {
  local final=$1 work name
  mkdir -p "$cache"
  exec 9>"$cache/.bench-webhook-lock"
  flock 9
  if [[ ! -d $final ]]; then
    # Whoever holds the lock is the only builder, so a scratch directory here is from a killed run.
    rm -rf "$cache"/.bench-webhook-building-*
    work=$(mktemp -d "$cache/.bench-webhook-building-XXXXXX")
    echo "building the Go peer and the load generator (minutes, once)" >&2
    for name in go-peer load; do
      (cd "$sources/$name" && CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-mod=readonly \
        go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$work/$name" .) 9>&-
    done
    mv "$work" "$final"
  fi
  exec 9>&-
}

hash=$( (go version && cd "$sources" && find . -type f | sort | xargs sha256sum) | sha256sum | cut -c1-12)
programs=$cache/bench-webhook-$hash
build "$programs"
cargo build --quiet --release --locked -p sideflame-webhook --bins --example allow

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=bench \
  -addext subjectAltName=DNS:localhost -keyout "$work/tls.key" -out "$work/tls.crt" 2>"$work/openssl.log" || {
  cat "$work/openssl.log" >&2
  exit 1
}

reserve_loopback
echo
taskset -c "${cpus[1]}" "$programs/load" -server-cpu "${cpus[0]}" -ip "$loopback.1" -work "$work" \
  -cert "$work/tls.crt" -key "$work/tls.key" -webhook target/release/sideflame-webhook \
  -allow target/release/examples/allow -peer "$programs/go-peer" "$@"

echo
echo "beside attacks, and for the worst bodies of 3 MiB (targets: 200 ms, 64 MiB; 50 ms)"
cargo test --quiet --release --locked -p sideflame-webhook --test attacks --test shapes -- --nocapture 2>&1 |
  grep -E '; peak |for 3 MiB$|panicked' || true
