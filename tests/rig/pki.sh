# Keys, certificates and kubeconfigs of a test cluster, in the working directory. Sourced by control_plane.sh and
# cluster.sh, which set `logs` (a folder), `api` (the API server's URL) and the function `die`.
# shellcheck shell=bash disable=SC2154 # logs and api are set by who sources this

new_key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)

openssl_quietly() {
  openssl "$@" 2>>"$logs/openssl.log" || die "openssl failed: $(cat "$logs/openssl.log")"
}

# authority DAYS: ca.crt for everything, and the key pair that signs tokens
authority() {
  days=$1
  openssl_quietly req -x509 "${new_key[@]}" -days "$days" -subj /CN=test-cluster -keyout ca.key -out ca.crt \
    -addext keyUsage=critical,keyCertSign,digitalSignature
  openssl_quietly genpkey -algorithm EC -pkeyopt ec_paramgen_curve:prime256v1 -out tokens.key
  openssl_quietly pkey -in tokens.key -pubout -out tokens.pub
}

# certificate NAME SUBJECT [NAMES]
certificate() {
  openssl_quietly req "${new_key[@]}" -subj "$2" -keyout "$1.key" -out "$1.csr"
  openssl_quietly x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days "$days" -out "$1.crt" -extfile <(
    echo "extendedKeyUsage=serverAuth,clientAuth"
    echo "subjectAltName=${3:-DNS:$1}"
  )
}

# kubeconfig NAME: with everything inside, so that a copy of it works anywhere
kubeconfig() {
  cat >"$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: $1}}]
clusters:
- name: test
  cluster: {server: "$api", certificate-authority-data: $(base64 -w0 ca.crt)}
users:
- name: $1
  user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}
YAML
}
