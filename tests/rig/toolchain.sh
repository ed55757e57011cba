#!/usr/bin/env bash
# Makes sure that cargo can run here: the toolchain that rust-toolchain.toml names with its components and targets, and
# the C compiler that Rust links with. Everything that calls cargo calls this first; rustup may be told not to install
# anything by itself (RUSTUP_AUTO_INSTALL=0), and then a missing target shows only when an image is built.
#
# Says what it installs, and nothing if all is there.
set -euo pipefail

rig=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
file=$rig/../../rust-toolchain.toml

command -v cc >/dev/null || "$rig/packages.sh" gcc libc6-dev
command -v rustup >/dev/null || {
  echo "toolchain.sh: rustup is missing; see https://rustup.rs" >&2
  exit 1
}

# words KEY: the strings of one line of the file
words() {
  sed -n "s/^$1 *= *//p" "$file" | grep -oE '"[^"]+"' | tr -d '"'
}

# RUSTUP_TOOLCHAIN overrules the file for cargo, too.
toolchain=${RUSTUP_TOOLCHAIN:-$(words channel)}
mapfile -t components < <(words components)
mapfile -t targets < <(words targets)

# Fails if there is no such toolchain. Names end with the machine's own target, where they differ by target.
installed=$(RUSTUP_AUTO_INSTALL=0 rustup component list --installed --toolchain "$toolchain" 2>/dev/null) && known=yes || known=
missing=()
for name in ${known:+"${components[@]}" "${targets[@]/#/rust-std-}"}; do
  [[ $'\n'$installed =~ $'\n'"$name"($'\n'|-|$) ]] || missing+=("$name")
done
[[ -z $known || -n ${missing[*]} ]] || exit 0

# Parallel runs take turns; the second one finds everything there.
exec 9>"${TMPDIR:-/tmp}/sideflame-toolchain-$UID.lock"
flock 9
if [[ -z $known ]]; then
  echo "installing Rust $toolchain with ${components[*]} and the targets ${targets[*]}" >&2
  arguments=(toolchain install "$toolchain" --profile minimal --no-self-update)
  for name in "${components[@]}"; do arguments+=(--component "$name"); done
  for name in "${targets[@]}"; do arguments+=(--target "$name"); done
else
  echo "adding to Rust $toolchain: ${missing[*]}" >&2
  arguments=(component add --toolchain "$toolchain" "${missing[@]}")
fi
"$rig/retry.sh" rustup --quiet "${arguments[@]}" >/dev/null
