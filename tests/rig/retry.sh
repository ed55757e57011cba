#!/usr/bin/env bash
# Runs a command up to three times, 5 s and 10 s apart: registries answer with a transient error now and then.
#
#   retry.sh COMMAND...
set -euo pipefail

for try in 1 2 3; do
  "$@" && exit
  ((try == 3)) || sleep $((try * 5))
done
echo "${0##*/}: failed three times: $*" >&2
exit 1
