#!/usr/bin/env bash
# Builds the images of the sidecar and the webhook: from scratch, one static binary each.
#
#   [REVISION=commit] build.sh [ARCHITECTURE...]      (amd64 and arm64; no argument: both)
#
# Leaves in target/images:
#   context/                          build context: a root file system per image and architecture, for any builder
#   <image>-<architecture>.tar        OCI archive, made by buildah
#   <image>-<architecture>.digest     digest of its manifest
#   <image>-<architecture>.cdx.json   bill of materials (CycloneDX), which is in the image, too
#
# The same input gives the same digests. Finished images are kept in the cache by the hash of their input, and so are
# compiled dependencies, so that a new checkout compiles only what is ours.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
cache=${SIDEFLAME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sideflame}
target=$cache/images/target
declare -A triples=([amd64]=x86_64-unknown-linux-musl [arm64]=aarch64-unknown-linux-musl)
declare -A machines=([amd64]=x86-64 [arm64]=aarch64)
# ring has C and assembly in it.
declare -A compilers=([amd64]=musl-gcc [arm64]=aarch64-linux-gnu-gcc)
declare -A packages=([amd64]="buildah musl-tools" [arm64]="buildah gcc-aarch64-linux-gnu libc6-dev-arm64-cross")
declare -A crates=([sidecar]=sideflame [webhook]=sideflame-webhook)
version=$(sed -n '/^\[workspace.package\]/,/^\[/ s/^version = "\(.*\)"/\1/p' Cargo.toml)
export SOURCE_DATE_EPOCH=0 BUILDAH_ISOLATION=chroot

die() {
  echo "build.sh: $*" >&2
  exit 1
}

# async_profiler ARCHITECTURE
async_profiler() {
  case $1 in
    amd64) echo "$cache/async-profiler/linux-x64/libasyncProfiler.so" ;;
    arm64) echo "$cache/async-profiler/linux-arm64/libasyncProfiler.so" ;;
  esac
}

# Everything that ends up in the images.
input_hash() {
  {
    find sidecar/src sidecar/Cargo.toml webhook/src webhook/Cargo.toml Cargo.toml Cargo.lock rust-toolchain.toml \
      images LICENSE NOTICE -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    sha256sum "$cache"/async-profiler/*/libasyncProfiler.so | cut -d' ' -f1
    echo "${REVISION-}"
  } | sha256sum | cut -c1-16
}

# compile ARCHITECTURE: both binaries, without the paths of this machine in their panic messages. The flags must not name
# the checkout, or every checkout would compile all dependencies anew; cargo names our own sources by relative paths.
compile() {
  local triple=${triples[$1]} variable=${triples[$1]//-/_}
  local home=${CARGO_HOME:-$HOME/.cargo}
  # What another checkout compiled may be newer than our sources and would count as fresh.
  cargo clean --quiet --release --target "$triple" --target-dir "$target" -p sideflame -p sideflame-webhook
  # Debian's musl-gcc would link musl dynamically; rustc brings its own and needs just any linker for the processor.
  local linker=cc
  [[ $1 == amd64 ]] || linker=${compilers[$1]}
  env "CC_$variable=${compilers[$1]}" "CARGO_TARGET_${variable^^}_LINKER=$linker" \
    RUSTFLAGS="--remap-path-prefix=$home=cargo --remap-path-prefix=$target=target" \
    cargo build --quiet --release --locked --target "$triple" --target-dir "$target"
}

# check_elf FILE ARCHITECTURE: for this processor, and with nothing to load at run time
check_elf() {
  local header
  header=$(readelf -hl "$1")
  grep -qi "Machine:.*${machines[$2]}" <<<"$header" || die "$1 is not for $2"
  ! grep -q INTERP <<<"$header" || die "$1 is not static"
}

# bill_of_materials IMAGE ARCHITECTURE
bill_of_materials() {
  local profiler=()
  local version
  # async-profiler-4.6-api: the version, and what of it is unpacked.
  version=$(readlink "$cache/async-profiler" | grep -oE -- '-[0-9.]+') || die "no version of async-profiler"
  [[ $1 == webhook ]] || profiler=("$(async_profiler "$2")" "${version#-}")
  images/bill-of-materials.mjs "$cache/cargo-cyclonedx/bin/cargo-cyclonedx" "$1" "${triples[$2]}" "${profiler[@]}"
}

# root_file_system IMAGE ARCHITECTURE: context/IMAGE-ARCHITECTURE.tar
root_file_system() {
  local crate=${crates[$1]} root=$work/root
  rm -rf "$root"
  mkdir -p "$root/usr/share/doc/sideflame"
  install -m 0755 "$target/${triples[$2]}/release/$crate" "$root/$crate"
  check_elf "$root/$crate" "$2"
  install -m 0644 LICENSE NOTICE "$root/usr/share/doc/sideflame"
  install -m 0644 "$work/$1-$2.cdx.json" "$root/usr/share/doc/sideflame/sbom.cdx.json"
  if [[ $1 == sidecar ]]; then
    install -D -m 0644 "$(async_profiler "$2")" "$root/opt/sideflame/libasyncProfiler.so"
    # Whoever it runs as must be able to keep captures.
    mkdir -p "$root/var/lib"
    mkdir -m 1777 "$root/var/lib/sideflame" "$root/tmp"
  fi
  find "$root" -type d ! -perm -1000 -exec chmod 0755 {} +
  tar -C "$root" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=gnu \
    -cf "$work/context/$1-$2.tar" .
}

# image IMAGE ARCHITECTURE: the OCI archive and its digest
image() {
  local name=${crates[$1]} storage=$work/storage
  buildah() {
    command buildah --root "$storage/root" --runroot "$storage/run" --storage-driver vfs "$@"
  }
  buildah build --quiet --timestamp 0 --identity-label=false --format oci --arch "$2" --build-arg "TARGETARCH=$2" \
    --build-arg "VERSION=$version" --build-arg "REVISION=${REVISION:-$input}" --file "images/$1/Containerfile" \
    --tag "localhost/$name:$version" "$work/context" >/dev/null
  buildah push --quiet --digestfile "$work/$name-$2.digest" "localhost/$name:$version" \
    "oci-archive:$work/$name-$2.tar:localhost/$name:$version"
  buildah rmi --all --force >/dev/null
  mv "$work/$1-$2.cdx.json" "$work/$name-$2.cdx.json"
}

build() {
  local architecture image started
  work=$(mktemp -d "$cache/images/.building-XXXXXX")
  mkdir "$work/context"
  for architecture in "$@"; do
    started=$SECONDS
    compile "$architecture"
    echo "$architecture compiled: $((SECONDS - started)) s"
    for image in sidecar webhook; do
      bill_of_materials "$image" "$architecture" >"$work/$image-$architecture.cdx.json"
      root_file_system "$image" "$architecture"
      image "$image" "$architecture"
    done
  done
  rm -rf "$work/root" "$work/storage"
}

(($# > 0)) || set -- amd64 arm64
for architecture in "$@"; do
  [[ -v triples[$architecture] ]] || die "no architecture '$architecture'; known: ${!triples[*]}"
done
mkdir -p "$cache/images" target
exec 9>"$cache/images/.lock"
flock 9
rm -rf "$cache"/images/.building-*
tests/rig/components.sh async-profiler cargo-cyclonedx
# shellcheck disable=SC2046 # several words each
tests/rig/packages.sh $(for architecture in "$@"; do echo "${packages[$architecture]}"; done)
input=$(input_hash)
final=$cache/images/$input-$(printf '%s\n' "$@" | sort -u | paste -sd-)
if [[ ! -d $final ]]; then
  build "$@"
  mv "$work" "$final"
  # Some 30 MB per state of the sources.
  find "$cache/images" -maxdepth 1 -name '*-a[mr]*' -printf '%T@ %p\n' | sort -rn | tail -n +9 | cut -d' ' -f2 |
    xargs -r rm -rf
fi
ln -sfn "$final" target/images
for digest in target/images/*.digest; do
  archive=${digest%.digest}.tar
  printf '%-28s %5.1f MB compressed  %s\n' "${archive##*/}" "$(stat -Lc %s "$archive" | awk '{print $1 / 1e6}')" "$(<"$digest")"
done
