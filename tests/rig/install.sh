#!/usr/bin/env bash
# Brings the images of this checkout and of the sample apps into the running cluster and installs the chart there, as
# release and namespace `sideflame`.
set -euo pipefail

rig=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${SIDEFLAME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sideflame}
export KUBECONFIG=${SIDEFLAME_CLUSTER:-/var/lib/sideflame-cluster}/pki/admin.kubeconfig
cd "$rig/../.."

apps=$("$rig/app_images.sh")
mapfile -t apps <<<"$apps"
"$rig/cluster.sh" load target/images/*-amd64.tar "${apps[@]}" >/dev/null
"$cache/kube/kubectl" get namespace sideflame >/dev/null 2>&1 || "$cache/kube/kubectl" create namespace sideflame >/dev/null
"$cache/kube/kubectl" label --overwrite namespace sideflame pod-security.kubernetes.io/enforce=restricted >/dev/null
# The tag stays the same when the image changes; the annotation makes new pods.
"$cache/helm/helm" upgrade --install sideflame charts/sideflame --namespace sideflame --wait --timeout 90s \
  --set image.repository=localhost/sideflame-webhook --set sidecar.image.repository=localhost/sideflame --set webhook.watchSidecars=true \
  --set-string "podAnnotations.image=$(<target/images/sideflame-webhook-amd64.digest)" >/dev/null

# Helm returns when the webhook is ready, up to a second before kube-proxy has told the node where it is. Until then the
# API server creates pods without asking it.
pod='{"apiVersion": "v1", "kind": "Pod",
  "metadata": {"name": "asked", "annotations": {"sideflame.io/inject": "true"}},
  "spec": {"containers": [{"name": "app", "image": "localhost/sideflame-test-apps:user"}]}}'
injected() {
  "$cache/kube/kubectl" --namespace default create --dry-run=server --output json --filename - <<<"$pod" | grep -q '"name": "sideflame"'
}
deadline=$((SECONDS + 30))
until injected; do
  ((SECONDS < deadline)) || {
    echo "install.sh: the API server does not reach the webhook: no sidecar in an annotated pod within 30 s" >&2
    exit 1
  }
done
echo "sideflame $(sed -n 's/^version: //p' charts/sideflame/Chart.yaml) is installed"
