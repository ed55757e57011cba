#!/usr/bin/env bash
# Builds the sample programs into $cache/apps/. An app is rebuilt only when a source, or this, is newer.
#
#   build.sh [app...]      (no argument: all of them)
set -euo pipefail

cache=${SIDEFLAME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sideflame}
sources=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
apps=(java-17 java-25 dotnet go c cpp rust)

# The build functions run in the app's source directory and fill the directory $1.

java_with() {
  local jdk=$1 out=$2
  "$jdk/bin/javac" -cp "$cache/async-profiler" -d "$out" ./*.java
  "$jdk/bin/jar" --create --file "$out/shop.jar" --main-class demo.shop.Split -C "$out" demo
}

build_java_17() {
  java_with "${JAVA_HOME_17_X64:-/usr/lib/jvm/java-17-openjdk-amd64}" "$1"
}

build_java_25() {
  java_with "${JAVA_HOME_25_X64:-/usr/lib/jvm/temurin-25-jdk-amd64}" "$1"
}

build_dotnet() {
  local sdk=$cache/dotnet-3.1 references dll
  references=("$sdk"/packs/Microsoft.NETCore.App.Ref/*/ref/*/*.dll)
  for dll in Split StartupHook; do
    # The hook gets a copy of Split: the runtime would not look for a second file beside it.
    DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1 LD_LIBRARY_PATH=$sdk/openssl \
      "$sdk/dotnet" exec "$sdk"/sdk/*/Roslyn/bincore/csc.dll -nologo -optimize -debug:portable \
      -deterministic "${references[@]/#/-r:}" -out:"$1/$dll.dll" \
      $([[ $dll == Split ]] && echo Split.cs Service.cs || echo -t:library Split.cs Service.cs StartupHook.cs)
  done
  echo '{"runtimeOptions":{"framework":{"name":"Microsoft.NETCore.App","version":"3.1.0"},"configProperties":{"System.Globalization.Invariant":true}}}' \
    >"$1/Split.runtimeconfig.json"
}

build_go() {
  export CGO_ENABLED=0 GOTOOLCHAIN=local
  go build -trimpath -o "$1/split" .
  go build -trimpath -ldflags '-s -w' -o "$1/split-stripped" .
  go build -trimpath -buildmode=pie -o "$1/split-pie" .
  go build -trimpath -tags nopprof -o "$1/split-nopprof" .
  go build -trimpath -tags nopprof -ldflags '-s -w' -buildmode=pie -o "$1/split-nopprof-stripped" .
}

# Native programs in the builds that tell unwinders apart: with frame pointers, without them, and without symbols.

build_c() {
  local gcc=(gcc -O2 -g -Wall -Wextra -pthread)
  "${gcc[@]}" -fno-omit-frame-pointer -o "$1/split" split.c
  "${gcc[@]}" -fomit-frame-pointer -o "$1/split-nofp" split.c
  strip -o "$1/split-stripped" "$1/split-nofp"
}

build_cpp() {
  "$sources/../rig/packages.sh" g++
  g++ -O2 -g -fomit-frame-pointer -Wall -Wextra -o "$1/split" split.cpp
}

build_rust() {
  rustc --edition 2024 -O -o "$1/split" split.rs
}

app() {
  local name=$1 source=$sources/${1%%-*} final=$cache/apps/$1 started=$EPOCHREALTIME work
  if [[ -d $final && -z $(find "$source" "$sources/build.sh" -type f -newer "$final" -print -quit) ]]; then
    echo "$name cached"
    return
  fi
  work=$(mktemp -d "$cache/apps/.building-XXXXXX")
  chmod 755 "$work" # mktemp makes it private; tests run the apps as other users too
  (cd "$source" && "build_${name//-/_}" "$work")
  rm -rf "$final"
  mv "$work" "$final"
  # The time of the start: a source that changed during the build is newer.
  touch -d "@$started" "$final"
  echo "$name $(awk "BEGIN { printf \"%.1f s\", $EPOCHREALTIME - $started }")"
}

mkdir -p "$cache/apps"
exec 9>"$cache/apps/.lock"
flock 9
rm -rf "$cache"/apps/.building-*
(($# > 0)) || set -- "${apps[@]}"
for name in "$@"; do
  if [[ " ${apps[*]} " != *" $name "* ]]; then
    echo "build.sh: no app '$name'; known: ${apps[*]}" >&2
    exit 2
  fi
done
for name in "$@"; do
  app "$name"
done
