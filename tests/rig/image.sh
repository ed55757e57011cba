#!/usr/bin/env bash
# Makes an image of one layer out of an archive of its root file system, for the tests only.
#
#   image.sh OUT NAME:TAG ROOT.tar [FLAGS of `buildah config`...]
set -euo pipefail

out=$1 name=$2 root=$3
shift 3
"$(dirname "${BASH_SOURCE[0]}")/packages.sh" buildah
storage=$(mktemp -d)
trap 'rm -rf "$storage"' EXIT
export BUILDAH_ISOLATION=chroot
buildah() {
  command buildah --root "$storage/root" --runroot "$storage/run" --storage-driver vfs "$@"
}

container=$(buildah from scratch)
buildah add --quiet "$container" "$root" / >/dev/null
buildah config "$@" "$container"
buildah commit --quiet --timestamp 0 "$container" "$name" >/dev/null
rm -f "$out"
buildah push --quiet "$name" "oci-archive:$out:$name" >/dev/null
