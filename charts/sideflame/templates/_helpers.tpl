{{- define "sideflame.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "sideflame.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: webhook
{{- end -}}

{{- define "sideflame.labels" -}}
{{ include "sideflame.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* An image value as a reference; takes (dict "image" … "tag" …). */}}
{{- define "sideflame.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ default .tag .image.tag }}
{{- end -}}
{{- end -}}

{{/* For the webhook's own pods, as JSON: with those of the sidecar's image where they pull that, too. */}}
{{- define "sideflame.imagePullSecrets" -}}
{{- $secrets := .Values.imagePullSecrets -}}
{{- if .Values.sidecar.checkImage -}}
{{- range .Values.sidecar.image.pullSecrets -}}
{{- $secrets = append $secrets (dict "name" .) -}}
{{- end -}}
{{- end -}}
{{- $secrets | uniq | toJson -}}
{{- end -}}

{{- define "sideflame.serviceAccount" -}}
{{- default (include "sideflame.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "sideflame.authoritySecret" -}}
{{- default (printf "%s-authority" (include "sideflame.fullname" .)) .Values.certificates.authoritySecret -}}
{{- end -}}

{{/* The Secret with the serving certificate; empty where the webhook makes its own. */}}
{{- define "sideflame.tlsSecret" -}}
{{- if eq .Values.certificates.source "secret" -}}
{{- required "certificates.source is `secret`: name it in certificates.existingSecret" .Values.certificates.existingSecret -}}
{{- else if eq .Values.certificates.source "cert-manager" -}}
{{- include "sideflame.fullname" . }}-tls
{{- end -}}
{{- end -}}

{{/*
How the API server reaches path $.path of the webhook. Where the webhook is its own authority it patches caBundle
into the live object, so the chart must not name that field: an upgrade would reset it.
*/}}
{{- define "sideflame.clientConfig" -}}
clientConfig:
  service:
    name: {{ include "sideflame.fullname" .root }}
    namespace: {{ .root.Release.Namespace }}
    port: {{ .root.Values.service.port }}
    path: {{ .path }}
  {{- if eq .root.Values.certificates.source "secret" }}
  caBundle: {{ required "certificates.source is `secret`: give its authority in certificates.caBundle" .root.Values.certificates.caBundle | b64enc }}
  {{- end }}
{{- end -}}

{{/* Labels and annotations of both configurations; those of the values come last and have the last word. */}}
{{- define "sideflame.configurationMetadata" -}}
{{- $annotations := dict -}}
{{- if eq .Values.certificates.source "cert-manager" -}}
{{- $name := printf "%s/%s" .Release.Namespace (include "sideflame.fullname" .) -}}
{{- $annotations = dict "cert-manager.io/inject-ca-from" $name -}}
{{- end -}}
{{- with .Values.webhook.configurations -}}
labels:
  {{- mergeOverwrite (include "sideflame.labels" $ | fromYaml) .labels | toYaml | nindent 2 }}
{{- with mergeOverwrite $annotations .annotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
{{- end -}}

{{/*
The namespaceSelector of the entry $.name in the configuration of kind $.kind, with $.labels, as JSON. A selector belongs whole to
who wrote it last: where that is another manager, as the one of a cloud, what it wrote is repeated, as anything else would be a
conflict by which `helm upgrade` fails. What is wanted and missing there is added: that conflict must be seen.
*/}}
{{- define "sideflame.namespaceSelector" -}}
{{- $terms := .root.Values.webhook.configurations.namespaceSelector -}}
{{- $labels := .labels -}}
{{- $live := lookup "admissionregistration.k8s.io/v1" .kind "" (include "sideflame.fullname" .root) | default dict -}}
{{- $entry := printf "k:{\"name\":\"%s\"}" .name -}}
{{- $foreign := false -}}
{{- range dig "metadata" "managedFields" list $live -}}
{{- $fields := .fieldsV1 | default dict -}}
{{- if and (hasKey (dig "f:webhooks" $entry dict $fields) "f:namespaceSelector")
  (not (hasKey (dig "f:metadata" "f:labels" dict $fields) "f:helm.sh/chart")) -}}
{{- $foreign = true -}}
{{- end -}}
{{- end -}}
{{- if $foreign -}}
{{- $name := .name -}}
{{- range $live.webhooks -}}
{{- if eq .name $name -}}
{{- $labels = merge (dict) $labels (dig "namespaceSelector" "matchLabels" dict .) -}}
{{- $theirs := dig "namespaceSelector" "matchExpressions" list . -}}
{{- range $terms -}}
{{- if not (has . $theirs) -}}
{{- $theirs = append $theirs . -}}
{{- end -}}
{{- end -}}
{{- $terms = $theirs -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $selector := dict -}}
{{- with $labels -}}
{{- $_ := set $selector "matchLabels" . -}}
{{- end -}}
{{- with $terms -}}
{{- $_ := set $selector "matchExpressions" . -}}
{{- end -}}
{{- toJson $selector -}}
{{- end -}}

{{/*
The condition by which namespaces are left alone: ours too, as our own pods must start without us. No term of a selector,
which clouds rewrite.
*/}}
{{- define "sideflame.namespaceCondition" -}}
{{- $names := concat (list "kube-system" .Release.Namespace) .Values.webhook.excludedNamespaces | uniq -}}
- name: not-excluded
  expression: {{ printf "!(request.namespace in ['%s'])" (join "', '" $names) | quote }}
{{- end -}}

{{/* CEL: the metadata at this path has an annotation of ours, or what should be one as a label. */}}
{{- define "sideflame.annotated" -}}
(has({{ . }}.annotations) && {{ . }}.annotations.exists(key, key.startsWith('sideflame.io/'))
  || has({{ . }}.labels) && 'sideflame.io/inject' in {{ . }}.labels)
{{- end -}}

{{/* How pods are injected, as variables of the webhook: any of them can be overruled by webhook.env. */}}
{{- define "sideflame.sidecarVariables" -}}
{{- with .Values.sidecar -}}
SIDEFLAME_WEBHOOK_SIDECAR_IMAGE_PULL_POLICY: {{ .image.pullPolicy }}
{{- with .image.pullSecrets }}
SIDEFLAME_WEBHOOK_SIDECAR_IMAGE_PULL_SECRETS: {{ join "," . }}
{{- end }}
SIDEFLAME_WEBHOOK_ALLOW_IMAGE_ANNOTATION: {{ .allowImageAnnotation }}
SIDEFLAME_WEBHOOK_SIDECAR_FORM: {{ .form }}
SIDEFLAME_WEBHOOK_SIDECAR_RIGHTS: {{ .rights }}
SIDEFLAME_WEBHOOK_SIDECAR_PORT: {{ .port }}
SIDEFLAME_WEBHOOK_SIDECAR_CPU_REQUEST: {{ .resources.requests.cpu }}
SIDEFLAME_WEBHOOK_SIDECAR_MEMORY_REQUEST: {{ .resources.requests.memory }}
SIDEFLAME_WEBHOOK_SIDECAR_CPU_LIMIT: {{ .resources.limits.cpu }}
SIDEFLAME_WEBHOOK_SIDECAR_MEMORY_LIMIT: {{ .resources.limits.memory }}
SIDEFLAME_WEBHOOK_SIDECAR_SECCOMP_PROFILE: {{ .seccompProfile }}
SIDEFLAME_WEBHOOK_SIDECAR_CAPTURE_SIZE: {{ .captureSize }}
SIDEFLAME_WEBHOOK_DEFAULT_POD_SECURITY_LEVEL: {{ .defaultPodSecurityLevel }}
{{- end }}
{{- /* Not ours: the API server leaves that out, and the self-probe is there. */}}
SIDEFLAME_WEBHOOK_EXCLUDE_NAMESPACES: {{ prepend .Values.webhook.excludedNamespaces "kube-system" | uniq | join "," }}
{{- end -}}

{{/* What the entries for pods have in common; takes (dict "root" … "path" …). */}}
{{- define "sideflame.podWebhook" -}}
{{ include "sideflame.clientConfig" . }}
rules:
- {apiGroups: [""], apiVersions: [v1], resources: [pods], operations: [CREATE], scope: Namespaced}
admissionReviewVersions: [v1]
sideEffects: NoneOnDryRun
# Another webhook may add containers after us. Injecting twice changes nothing.
reinvocationPolicy: IfNeeded
matchPolicy: Equivalent
failurePolicy: {{ .root.Values.webhook.failurePolicy }}
timeoutSeconds: {{ .root.Values.webhook.timeoutSeconds }}
{{- end -}}

{{/*
Ports of the API server as pods reach it: those of the values, else of the Service `kubernetes` and of what is behind it, as
policies are held against either. A list, as JSON; empty where the cluster is not asked, as by `helm template`.
*/}}
{{- define "sideflame.apiServerPorts" -}}
{{- $ports := .Values.networkPolicy.apiServerPorts -}}
{{- if not $ports -}}
{{- $slice := lookup "discovery.k8s.io/v1" "EndpointSlice" "default" "kubernetes" -}}
{{- $service := lookup "v1" "Service" "default" "kubernetes" -}}
{{- if and $slice $service -}}
{{- range concat $slice.ports $service.spec.ports -}}
{{- $ports = append $ports (int .port) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end -}}

{{/* What holds for the ServiceAccount's token, beside RBAC. */}}
{{- define "sideflame.policy" -}}
{{ include "sideflame.fullname" . }}-token
{{- end -}}
