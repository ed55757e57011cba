#!/usr/bin/env bash
# A real single-node Kubernetes on this machine: etcd, API server, controller manager, scheduler, kubelet, kube-proxy,
# containerd and runc. Needs root. One per machine.
#
#   cluster.sh up             starts what does not run; prints `ready KUBECONFIG PROXY`
#   cluster.sh down           stops it and removes every trace
#   cluster.sh load FILE...   imports image archives; there is no registry to pull from
#   cluster.sh ctr ARGS...    containerd's client, in the kubelet's namespace
#
# PROXY is the API over plain HTTP as the administrator. The daemons outlive the caller, each with its pid and start
# time in STATE/pids, so `up` after a killed run goes on with what still runs.
#
# Not to be had here: pods have no way out of the node and there is no service DNS; everything the tests need has an
# address in its environment.
set -euo pipefail
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY all_proxy # the API server would call webhooks by it

rig=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${SIDEFLAME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sideflame}
state=${SIDEFLAME_CLUSTER:-/var/lib/sideflame-cluster}
node=test bridge=sideflame0 node_ip=10.117.0.1 pods=10.117.0.0/24 services=10.117.1.0/24 first_service=10.117.1.1
etcd_port=23790 proxy=127.0.0.1:18001
# pki.sh reads both.
# shellcheck disable=SC2034
api=https://$node_ip:6443 logs=$state/logs
export KUBECONFIG=$state/pki/admin.kubeconfig
export CONTAINERD_ADDRESS=$state/containerd.sock CONTAINERD_NAMESPACE=k8s.io
packages=(containerd runc containernetworking-plugins iptables conntrack iproute2 openssl procps kmod gcc libc6-dev buildah)
# What the kubelet and this script change on the machine, and `down` puts back.
sysctls=(net.ipv4.ip_forward net.bridge.bridge-nf-call-iptables vm.overcommit_memory kernel.panic kernel.panic_on_oops)

die() {
  echo "cluster.sh: $*" >&2
  exit 1
}

. "$rig/pki.sh"

kubectl() {
  "$cache/kube/kubectl" "$@"
}

# Fields of /proc/PID/stat behind the name, which may hold anything: state, and (20th) the start time.
start_time() {
  local stat fields
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  read -ra fields <<<"${stat##*) }"
  # A zombie is gone: pid 1 of a container may never collect it.
  [[ ${fields[0]} != Z ]] && echo "${fields[19]}"
}

alive() {
  local pid started
  read -r pid started 2>/dev/null <"$state/pids/$1" && [[ $(start_time "$pid") == "$started" ]]
}

# start NAME PROGRAM FLAGS...
start() {
  local name=$1
  shift
  alive "$name" && return
  # Daemons must not hold the locks of whoever called.
  setsid nohup "$@" >>"$logs/$name.log" 2>&1 </dev/null 7>&- 8>&- 9>&- &
  echo "$! $(start_time $!)" >"$state/pids/$name"
}

stop() {
  local pid try
  if alive "$1"; then
    read -r pid _ <"$state/pids/$1"
    kill "$pid"
    for ((try = 0; try < 100; try++)); do
      alive "$1" || break
      sleep 0.1
    done
    ! alive "$1" || kill -KILL "$pid"
  fi
  rm -f "$state/pids/$1"
}

# await SECONDS WHAT COMMAND...
await() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || die "no $what: $(tail -qn 3 "$logs"/*.log)"
    sleep 0.2
  done
}

make_certificates() (
  [[ -f $state/pki/done ]] && return
  mkdir -p "$state/pki"
  cd "$state/pki"
  authority 30
  certificate api-server /CN=kube-apiserver \
    "IP:$node_ip,IP:$first_service,IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc"
  certificate api-server-kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client
  certificate kubelet "/O=system:nodes/CN=system:node:$node" "IP:$node_ip,DNS:$node"
  certificate admin /O=system:masters/CN=admin
  for name in kube-controller-manager kube-scheduler kube-proxy; do
    certificate "$name" "/CN=system:$name"
  done
  for name in kubelet admin kube-controller-manager kube-scheduler kube-proxy; do kubeconfig "$name"; done
  touch "done"
)

# Rewritten only when changed: kube-proxy exits when its file is touched.
write_configuration() {
  local file new
  for file in "$rig"/cluster/*.{yaml,toml,conflist}; do
    new=$(sed "s#@STATE@#$state#g; s#@NODE@#$node#g; s#@NODE_IP@#$node_ip#g; s#@BRIDGE@#$bridge#g
      s#@PODS@#$pods#g; s#@SERVICES@#$services#g" "$file")
    file=$state/conf/${file##*/}
    [[ -f $file && $(<"$file") == "$new" ]] || echo "$new" >"$file"
  done
  cp -u "$state/conf/cni.conflist" "$state/cni/10-sideflame.conflist"
}

# The bridge of the pods carries the node's address. They get no default route.
make_network() {
  local key
  # Built into some kernels, and loaded by nothing else here.
  [[ -d /proc/sys/net/bridge ]] || modprobe br_netfilter
  grep -qw overlay /proc/filesystems || modprobe overlay
  [[ -f $state/sysctls ]] || for key in "${sysctls[@]}"; do
    echo "$key=$(sysctl -n "$key")"
  done >"$state/sysctls"
  sysctl -q -w net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
  [[ -d /sys/class/net/$bridge ]] || ip link add "$bridge" type bridge
  ip addr replace "$node_ip/24" dev "$bridge"
  ip link set "$bridge" up
  # Cluster IPs need a route before iptables can rewrite them.
  ip route replace "$services" dev "$bridge"
}

start_control_plane() {
  local pki=$state/pki etcd=http://127.0.0.1:$etcd_port peer=http://127.0.0.1:$((etcd_port + 1))
  start etcd "$cache/kube/etcd" --name test --data-dir "$state/etcd" --log-level warn --unsafe-no-fsync \
    --listen-client-urls "$etcd" --advertise-client-urls "$etcd" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "test=$peer"
  start kube-apiserver "$cache/kube/kube-apiserver" --etcd-servers "$etcd" \
    --bind-address "$node_ip" --advertise-address "$node_ip" --secure-port 6443 --service-cluster-ip-range "$services" \
    --tls-cert-file "$pki/api-server.crt" --tls-private-key-file "$pki/api-server.key" --client-ca-file "$pki/ca.crt" \
    --kubelet-certificate-authority "$pki/ca.crt" --kubelet-preferred-address-types InternalIP \
    --kubelet-client-certificate "$pki/api-server-kubelet-client.crt" \
    --kubelet-client-key "$pki/api-server-kubelet-client.key" \
    --service-account-issuer https://kubernetes.default.svc --service-account-key-file "$pki/tokens.pub" \
    --service-account-signing-key-file "$pki/tokens.key" --authorization-mode Node,RBAC --allow-privileged \
    --enable-admission-plugins NodeRestriction,PodSecurity,MutatingAdmissionWebhook,ValidatingAdmissionWebhook
  await 120 "API server" kubectl get --raw /readyz
  start kube-controller-manager "$cache/kube/kube-controller-manager" --leader-elect=false --secure-port 0 \
    --kubeconfig "$pki/kube-controller-manager.kubeconfig" --use-service-account-credentials \
    --service-account-private-key-file "$pki/tokens.key" --root-ca-file "$pki/ca.crt"
  start kubectl-proxy "$cache/kube/kubectl" proxy --port "${proxy#*:}"
}

start_node() {
  start containerd containerd --config "$state/conf/containerd.toml"
  await 30 containerd ctr version
  load_pause
  start kube-scheduler "$cache/kube/kube-scheduler" --leader-elect=false --bind-address 127.0.0.1 \
    --kubeconfig "$state/pki/kube-scheduler.kubeconfig"
  start kubelet "$cache/kube/kubelet" --config "$state/conf/kubelet.yaml" --hostname-override "$node" \
    --kubeconfig "$state/pki/kubelet.kubeconfig" --node-ip "$node_ip" --root-dir "$state/kubelet" \
    --cert-dir "$state/kubelet/pki"
  start kube-proxy "$cache/kube/kube-proxy" --config "$state/conf/kube-proxy.yaml"
  await 60 "node" kubectl get node "$node"
  kubectl wait --for=condition=Ready "node/$node" --timeout=90s >/dev/null
  await 60 "default service account" kubectl get serviceaccount default
}

# The one image that no test brings.
load_pause() {
  [[ -z $(ctr images list -q name==localhost/sideflame-test-pause:1) ]] || return 0
  local work
  work=$(mktemp -d)
  gcc -Os -static -s -Wall -o "$work/pause" "$rig/cluster/pause.c"
  tar -C "$work" -cf "$work/pause.tar" pause
  "$rig/image.sh" "$work/pause.image" localhost/sideflame-test-pause:1 "$work/pause.tar" \
    --entrypoint '["/pause"]' --user 65535:65535
  ctr images import "$work/pause.image" >/dev/null
  rm -rf "$work"
}

up() {
  local started=$SECONDS
  ((UID == 0)) || die "needs root"
  [[ -x $cache/kube/kubelet ]] || die "$cache/kube is missing; run \`make components\`"
  "$rig/packages.sh" "${packages[@]}"
  # Certificates of another month, or a machine that was rebooted: begin anew.
  if [[ -f $state/pki/ca.crt ]] && { ! openssl x509 -noout -checkend 172800 -in "$state/pki/ca.crt" >/dev/null ||
    { ! alive kubelet && ! alive kube-apiserver; }; }; then
    down
  fi
  mkdir -p "$state"/{pids,logs,cni,conf,pki}
  make_certificates
  write_configuration
  make_network
  start_control_plane
  start_node
  echo "cluster.sh: up after $((SECONDS - started)) s" >&2
  echo "ready $KUBECONFIG http://$proxy"
}

# Nothing here may end it early: each step removes what is left of what it made.
down() {
  set +e
  local container mount table
  stop kubectl-proxy
  stop kube-controller-manager # nothing makes new pods from here on
  stop kube-scheduler
  if alive kubelet && alive kube-apiserver; then
    kubectl delete pods --all-namespaces --all --force --grace-period=0 --timeout=20s >/dev/null 2>&1
    for ((try = 0; try < 60; try++)); do
      [[ -n $(ctr tasks list -q 2>/dev/null) ]] || break
      sleep 0.25
    done
  fi
  stop kubelet
  stop kube-proxy
  if alive containerd; then # whatever the kubelet did not remove
    for container in $(ctr tasks list -q); do ctr tasks rm -f "$container"; done
    for container in $(ctr containers list -q); do ctr containers rm "$container"; done
  fi >/dev/null 2>&1
  stop containerd
  stop kube-apiserver
  stop etcd
  grep -o " $state/[^ ]*" /proc/mounts | sort -r | while read -r mount; do umount -l "$mount"; done
  find /var/log/containers -lname "$state/*" -delete 2>/dev/null
  find /sys/fs/cgroup /sys/fs/cgroup/* -maxdepth 1 -name kubepods 2>/dev/null | while read -r group; do
    find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
  done
  [[ ! -x $cache/kube/kube-proxy ]] || "$cache/kube/kube-proxy" --cleanup >/dev/null 2>&1
  for table in iptables ip6tables; do # the one chain that kube-proxy --cleanup leaves
    "$table" -D INPUT -j KUBE-FIREWALL
    "$table" -D OUTPUT -j KUBE-FIREWALL
    "$table" -F KUBE-FIREWALL
    "$table" -X KUBE-FIREWALL
  done 2>/dev/null
  [[ ! -f $state/sysctls ]] || sysctl -q -p "$state/sysctls"
  [[ ! -d /sys/class/net/$bridge ]] || ip link del "$bridge"
  rm -rf "$state"
  set -e
}

mkdir -p "${state%/*}"
exec 9>"$state.lock"
case ${1-} in
  up)
    flock 9
    up
    ;;
  down)
    flock 9
    down
    ;;
  load)
    for archive in "${@:2}"; do ctr images import "$archive"; done
    ;;
  ctr) exec ctr "${@:2}" ;;
  *) die "usage: cluster.sh up|down|load FILE...|ctr ARGS..." ;;
esac
