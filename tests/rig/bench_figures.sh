# What the benchmarks of the sidecar share; sourced by them, after `sideflame` is set.

work=$(mktemp -d)
pids=()
finish() {
  ((${#pids[@]} == 0)) || kill "${pids[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

row() { printf '%-58s %s\n' "$1" "$2"; }
now_us() { echo $((${EPOCHREALTIME/./})); }
median() { sort -n | awk '{v[NR] = $1} END {print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN {printf "%.2f", a / b}'; }
milliseconds() { awk -v us="$1" 'BEGIN {printf "%.1f ms", us / 1000}'; }

# rate SECONDS: what the app that writes to $said does per 100 ms, the median of the lines that come meanwhile.
rate() {
  local before
  before=$(wc -l <"$said")
  sleep "$1"
  tail -n "+$((before + 1))" "$said" | awk '/^did / {print $2}' | median
}

# newest KEY...: what the newest capture has there, 0 if nothing.
newest() {
  curl -fsS "$url/captures" | node -e '
    const captures = JSON.parse(require("fs").readFileSync(0));
    const newest = captures.reduce((one, other) => (one.createdAtMs > other.createdAtMs ? one : other));
    console.log(process.argv.slice(1).reduce((value, key) => value?.[key], newest) ?? 0);' "$@"
}

# stamp KEY: a number of the newest capture's quality, 0 if it has none.
stamp() { newest quality "$1"; }

# end_of_sampling: when the newest capture had sampled, by its stamp, in microseconds.
end_of_sampling() { echo $((1000 * ($(stamp startedAtMs) + $(stamp durationMs)))); }

# serve LOG: starts a server on a free port and leaves its pid in $server and its URL in $url.
serve() {
  "$sideflame" serve --listen 127.0.0.1:0 --store-dir "$work/store" 2>"$1" &
  server=$!
  pids+=("$server")
  # The line is logged when the socket is open. No sleep: this is part of what is measured.
  local deadline=$((SECONDS + 10))
  until url=http://$(grep -oE '127\.0\.0\.1:[0-9]+' "$1" | head -1) && [[ $url != http:// ]]; do
    ((SECONDS < deadline)) || { cat "$1" >&2; exit 1; }
  done
}
