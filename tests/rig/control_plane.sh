#!/usr/bin/env bash
# Runs a real etcd, kube-apiserver and kube-controller-manager on loopback until standard input closes or a
# signal comes, then removes every trace. No kubelet: pods are made, admitted and stay Pending.
#
#   control_plane.sh [DIRECTORY]      (logs, certificates and data; must not exist; no argument: a new one)
#
# Prints `ready KUBECONFIG PROXY` when it is up: PROXY is the API over plain HTTP as the administrator. By hand:
# start it in one terminal, `export KUBECONFIG=…` in another, Ctrl-D ends it.
#
# Tied to its parent by the pipe and to its children by the death signal, it leaves no process behind however any
# of them is killed, so there are no pid files and nothing to stop. Parallel runs do not meet: daemons and cluster IPs
# have loopback addresses of this run alone (loopback.sh), so that a test can listen on a cluster IP as a service.
set -euo pipefail
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY all_proxy # the API server would call webhooks by it

rig=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${SIDEFLAME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sideflame}
directory=${1:-$(mktemp -u "${TMPDIR:-/tmp}/sideflame-control-plane-XXXXXX")}
pids=()

die() {
  echo "control_plane.sh: $*" >&2
  exit 1
}

# start NAME FLAGS...
start() {
  setpriv --pdeathsig KILL "$cache/kube/$1" "${@:2}" >>"$directory/logs/$1.log" 2>&1 </dev/null &
  pids+=($!)
}

# await SECONDS WHAT COMMAND...
await() {
  local deadline=$((SECONDS + $1)) what=$2 pid
  shift 2
  until "$@" >/dev/null 2>&1; do
    for pid in "${pids[@]}"; do
      kill -0 "$pid" 2>/dev/null || die "a daemon ended before $what: $(tail -qn 5 "$directory"/logs/*.log)"
    done
    ((SECONDS < deadline)) || die "no $what: $(tail -qn 5 "$directory"/logs/*.log)"
    sleep 0.1
  done
}

stop() {
  trap - EXIT
  ((${#pids[@]} == 0)) || kill "${pids[@]}" 2>/dev/null || true
  wait
  rm -rf "$directory"
}

. "$rig/pki.sh"
. "$rig/loopback.sh"

for program in kube-apiserver kubectl; do
  [[ -x $cache/kube/$program ]] || die "$cache/kube is missing; run \`make components\`"
done
# What runs left whose shell was killed outright; one that lives holds its lock.
find "${TMPDIR:-/tmp}" -maxdepth 1 -name 'sideflame-control-plane-*' -mmin +1 2>/dev/null | while read -r old; do
  flock --nonblock "$old/lock" rm -rf "$old" || true
done
"$rig/packages.sh" openssl
mkdir "$directory" || die "$directory must not exist"
exec 9>"$directory/lock"
flock 9
trap stop EXIT
trap 'exit 143' INT TERM HUP
mkdir "$directory"/{logs,pki}
cd "$directory/pki"

reserve_loopback
# Fixed, as etcd and the API server could not say which they took; unusual, as a daemon may listen on every address.
address=$loopback.1 services=$loopback.128/25
etcd=http://$address:21379 peer=http://$address:21380 port=21443
api="https://$address:$port" logs=$directory/logs

authority 2
certificate api-server /CN=kube-apiserver "IP:$address,DNS:localhost,DNS:kubernetes.default.svc"
certificate admin /O=system:masters/CN=admin
certificate controller-manager /CN=system:kube-controller-manager
kubeconfig admin
kubeconfig controller-manager

# What the webhook said about a pod (its audit annotations) is to be seen nowhere else.
cat >"$directory/audit.yaml" <<'YAML'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  verbs: [create]
  resources: [{group: "", resources: [pods]}]
- level: None
YAML

start etcd --name test --data-dir "$directory/etcd" --log-level warn --unsafe-no-fsync \
  --listen-client-urls "$etcd" --advertise-client-urls "$etcd" \
  --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "test=$peer"
start kube-apiserver --etcd-servers "$etcd" --bind-address "$address" --advertise-address "$address" \
  --secure-port "$port" --service-cluster-ip-range "$services" --endpoint-reconciler-type none \
  --tls-cert-file api-server.crt --tls-private-key-file api-server.key --client-ca-file ca.crt \
  --service-account-issuer https://kubernetes.default.svc --service-account-key-file tokens.pub \
  --service-account-signing-key-file tokens.key --authorization-mode Node,RBAC --allow-privileged \
  --enable-admission-plugins NodeRestriction,PodSecurity,MutatingAdmissionWebhook,ValidatingAdmissionWebhook \
  --audit-policy-file "$directory/audit.yaml" --audit-log-path "$directory/logs/audit.log"
export KUBECONFIG=$directory/pki/admin.kubeconfig
await 120 "API server" "$cache/kube/kubectl" get --raw /readyz
start kube-controller-manager --kubeconfig controller-manager.kubeconfig --leader-elect=false --secure-port 0 \
  --use-service-account-credentials --service-account-private-key-file tokens.key --root-ca-file ca.crt
start kubectl proxy --port 0
await 60 "proxy" grep -q '^Starting to serve' "$directory/logs/kubectl.log"
await 60 "default service account" "$cache/kube/kubectl" get serviceaccount default

proxy=$(sed -n 's/^Starting to serve on //p' "$directory/logs/kubectl.log")
echo "ready $KUBECONFIG http://$proxy"
# `read` and not `cat`: a signal's trap runs at once only while a builtin waits.
while read -r _; do :; done
