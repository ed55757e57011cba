# Loopback addresses for servers that cannot pick a port and say which. Sourced.
# shellcheck shell=bash

# reserve_loopback: sets `loopback` to the first three numbers of a /24 that no other caller on this machine has until
# this process and everything it starts have ended: they share the lock. 127.0, where everybody is, is left to others.
reserve_loopback() {
  local folder=/tmp/sideflame-loopback number lock
  # Of any user: a file of another one can be locked, too.
  [[ -d $folder ]] || mkdir -m 1777 "$folder" 2>/dev/null || [[ -d $folder ]]
  for ((number = 256; number < 65536; number++)); do
    loopback=127.$((number / 256)).$((number % 256))
    [[ -e $folder/$loopback ]] || (umask 022 && : >>"$folder/$loopback")
    exec {lock}<"$folder/$loopback"
    ! flock --nonblock "$lock" || return 0
    exec {lock}<&-
  done
  echo "no loopback network is free; see $folder" >&2
  return 1
}
