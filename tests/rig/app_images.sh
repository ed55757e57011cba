#!/usr/bin/env bash
# Makes the images of the sample apps for the cluster: one root file system with a Java runtime, .NET, the Go and C
# programs and busybox, under two names that differ in their user.
#
#   localhost/sideflame-test-apps:root     runs as root
#   localhost/sideflame-test-apps:user     runs as 1001:1001
#
# A third one, :dotnet, has .NET 8 in one file and runs as 1001:1001: .NET Core 3.1 of the others knows no diagnostic ports.
# A fourth one, :capable, has busybox alone: /bin/busybox with the file capability NET_BIND_SERVICE, /bin/sh without.
#
# Libraries are those of the Debian packages on this machine. The archives are kept in the cache by what is in them.
set -euo pipefail

rig=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${SIDEFLAME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sideflame}
jdk=${JAVA_HOME_25_X64:-/usr/lib/jvm/temurin-25-jdk-amd64}
name=localhost/sideflame-test-apps
applets=(sh cat cp dd env false id kill ls mkdir mount nc ps rm sleep stat test touch true wget)

# libraries FILE...: what they load, into the root file system
libraries() {
  ldd "$@" 2>/dev/null | sed -nE 's/^\t(.* => )?(\/[^ ]+) \(0x.*/\2/p' | sort -u | while read -r library; do
    [[ $library == "$root"* ]] || install -D -m 0755 "$(readlink -f "$library")" "$root$library"
  done
}

root_file_system() {
  local applet
  mkdir -p "$root"/{bin,etc,apps,home,proc,sys,dev} "$root/usr/share"
  mkdir -m 1777 "$root/tmp"
  install -m 0755 "$(command -v busybox)" "$root/bin/busybox"
  for applet in "${applets[@]}"; do ln -s busybox "$root/bin/$applet"; done
  printf 'root:x:0:0:root:/:/bin/sh\napp:x:1001:1001:app:/:/bin/sh\n' >"$root/etc/passwd"
  printf 'root:x:0:\napp:x:1001:\n' >"$root/etc/group"
  "$jdk/bin/jlink" --add-modules java.base,jdk.httpserver,jdk.jfr,java.management --strip-debug --no-man-pages --no-header-files \
    --output "$root/java"
  libraries "$root/java/bin/java" "$root"/java/lib/*.so "$root"/java/lib/server/*.so
  mkdir "$root/dotnet"
  cp -R "$cache"/dotnet-3.1/{dotnet,host,shared} "$root/dotnet"
  libraries "$root/dotnet/dotnet" "$root"/dotnet/host/fxr/*/*.so "$root"/dotnet/shared/*/*/*.so
  cp -R "$cache"/apps/{dotnet,go,c} "$root/apps"
  cp -R "$cache/apps/java-25" "$root/apps/java"
  libraries "$root/apps/c/split"
  chmod -R u=rwX,go=rX "$root"
  chmod 1777 "$root/tmp"
}

dotnet_file_system() {
  mkdir -p "$dotnet"/{apps,proc,sys,dev,etc} "$dotnet/usr/share"
  cp "$cache/dotnet-8/Sarif.Multitool" "$dotnet/Sarif.Multitool"
  cp -R "$cache/apps/dotnet" "$dotnet/apps"
  root=$dotnet libraries "$dotnet/Sarif.Multitool"
  chmod -R u=rwX,go=rX "$dotnet"
  chmod 0755 "$dotnet/Sarif.Multitool"
}

capable_file_system() {
  mkdir -p "$capable"/{bin,proc,sys,dev}
  install -m 0755 "$(command -v busybox)" "$capable/bin/sh"
  install -m 0755 "$(command -v busybox)" "$capable/bin/busybox"
  setcap cap_net_bind_service=ep "$capable/bin/busybox"
}

# archive FOLDER OUT: times differ from build to build, contents do not.
archive() {
  tar -C "$1" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --xattrs --xattrs-include=security.capability \
    -cf "$2" .
}

"$rig/packages.sh" busybox-static buildah libcap2-bin
mkdir -p "$cache/app-images"
exec 9>"$cache/app-images/.lock"
flock 9
input=$({
  cat "${BASH_SOURCE[0]}" "$rig/image.sh" "$jdk/release"
  readlink "$cache/dotnet-3.1" "$cache/dotnet-8"
  find "$cache"/apps/{dotnet,go,c,java-25} -type f -print0 | sort -z | xargs -0 sha256sum
} | sha256sum | cut -c1-16)
final=$cache/app-images/$input
if [[ ! -d $final ]]; then
  started=$SECONDS
  rm -rf "$cache"/app-images/[!.]* "$cache"/app-images/.building-*
  work=$(mktemp -d "$cache/app-images/.building-XXXXXX")
  root=$work/root dotnet=$work/dotnet capable=$work/capable
  root_file_system
  archive "$root" "$work/root.tar"
  dotnet_file_system
  archive "$dotnet" "$work/dotnet.tar"
  capable_file_system
  archive "$capable" "$work/capable.tar"
  mkdir "$work/images"
  environment=(--env DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1 --env DOTNET_CLI_TELEMETRY_OPTOUT=1 --env PATH=/bin)
  "$rig/image.sh" "$work/images/root.tar" "$name:root" "$work/root.tar" "${environment[@]}" --user 0:0
  "$rig/image.sh" "$work/images/user.tar" "$name:user" "$work/root.tar" "${environment[@]}" --user 1001:1001
  "$rig/image.sh" "$work/images/dotnet.tar" "$name:dotnet" "$work/dotnet.tar" "${environment[@]}" --user 1001:1001
  "$rig/image.sh" "$work/images/capable.tar" "$name:capable" "$work/capable.tar" --env PATH=/bin --user 1001:1001
  mv "$work/images" "$final"
  rm -rf "$work"
  echo "app images: $((SECONDS - started)) s" >&2
fi
ls "$final"/*.tar
