#!/usr/bin/env bash
# Installs Debian packages that are missing, and says which.
#
#   packages.sh PACKAGE...
set -euo pipefail

present=" $(dpkg-query -W -f '${db:Status-Status}=${Package} ' "$@" 2>/dev/null || true)"
missing=()
for package in "$@"; do
  [[ $present == *" installed=$package "* ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0
if ((UID != 0)); then
  echo "packages.sh: missing here, and only root can install it: apt-get install ${missing[*]}" >&2
  exit 1
fi
{
  echo "installing ${missing[*]}"
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${missing[@]}"
} >&2
