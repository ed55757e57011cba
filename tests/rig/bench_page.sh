#!/usr/bin/env bash
# The page's part of `make bench`: one profile of 249,000 nodes in our page and in speedscope, in the same headless Chromium by turns, as
# ratios.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cache=${SIDEFLAME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sideflame}
sideflame=${SIDEFLAME:-$PWD/target/release/sideflame}
tests/rig/packages.sh chromium
source tests/rig/bench_figures.sh

node tests/rig/bench_page/stacks.mjs >"$work/stacks.txt"
"$sideflame" render "$work/stacks.txt" -o pprof -f "$work/profile.pb.gz" >/dev/null
serve "$work/serve.log"
echo
node tests/rig/bench_page/rounds.mjs "$url" "$work/profile.pb.gz" "$cache/speedscope" "${BENCH_PAGE_ROUNDS:-5}"
