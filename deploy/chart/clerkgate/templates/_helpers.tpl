{{- define "clerkgate.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "clerkgate.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "clerkgate.labels" -}}
{{ include "clerkgate.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end }}

{{- define "clerkgate.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "clerkgate.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{/* Replicas without Redis would each spend the whole quota. */}}
{{- define "clerkgate.replicas" -}}
{{- if .Values.redis.secretName }}{{ .Values.replicas }}{{ else }}1{{ end }}
{{- end }}

{{/* The memory limit, in MiB. */}}
{{- define "clerkgate.memoryMiB" -}}
{{- $limit := .Values.resources.limits.memory -}}
{{- if hasSuffix "Gi" $limit }}{{ mul (trimSuffix "Gi" $limit | int) 1024 }}{{ else }}{{ trimSuffix "Mi" $limit | int }}{{ end }}
{{- end }}

{{- define "clerkgate.scheme" -}}
{{- if .Values.tls.secretName }}HTTPS{{ else }}HTTP{{ end }}
{{- end }}

{{/* How a probe asks: by HTTP or, without it, by gRPC. Kubernetes' gRPC probes have no TLS; with
TLS a command asks, which needs more time to start than the default of 1 s may leave. */}}
{{- define "clerkgate.probe" -}}
{{- $grpc := int .root.Values.ports.grpc -}}
{{- if .root.Values.http.enabled -}}
httpGet: {path: {{ .path }}, port: http, scheme: {{ include "clerkgate.scheme" .root }}}
{{- else if .root.Values.tls.secretName -}}
exec: {command: [/clerkgate, health, --address, "127.0.0.1:{{ $grpc }}", --timeout, 5s, --skip-verify{{ with .service }}, --service, {{ . }}{{ end }}]}
{{- with .commandTimeout }}
timeoutSeconds: {{ . }}
{{- end }}
{{- else -}}
grpc: {port: {{ $grpc }}, service: {{ .service | quote }}}
{{- end }}
{{- end }}

{{/* The settings of the configuration file: the chart's own, then config. */}}
{{- define "clerkgate.config" -}}
{{- $c := dict
  "grpc-listen" (printf "0.0.0.0:%d" (int .Values.ports.grpc))
  "http-listen" (ternary (printf "0.0.0.0:%d" (int .Values.ports.http)) "off" .Values.http.enabled)
  "clerk-secret-key-file" (printf "/etc/clerkgate/clerk/%s" .Values.clerkSecretKey.key)
  "cache-max-bytes" (printf "%dMiB" (div (mul (include "clerkgate.memoryMiB" . | int) (int .Values.cacheMemoryPercent)) 100))
  "drain-delay" (printf "%ds" (int .Values.drain.delaySeconds))
  "drain-timeout" (printf "%ds" (int .Values.drain.timeoutSeconds))
  "log-format" "json" -}}
{{- if .Values.redis.secretName }}{{ $_ := set $c "redis-url-file" (printf "/etc/clerkgate/redis/%s" .Values.redis.key) }}{{ end -}}
{{- if .Values.webhooks.enabled }}
  {{- $_ := set $c "webhook-listen" (printf "0.0.0.0:%d" (int .Values.ports.webhooks)) }}
  {{- $_ := set $c "webhook-secret-file" (printf "/etc/clerkgate/webhooks/%s" .Values.webhooks.key) }}
{{- end -}}
{{- if .Values.tls.secretName }}
  {{- $_ := set $c "tls-cert-file" "/etc/clerkgate/tls/tls.crt" }}
  {{- $_ := set $c "tls-key-file" "/etc/clerkgate/tls/tls.key" }}
  {{- if .Values.tls.clientCAKey }}{{ $_ := set $c "client-ca-file" (printf "/etc/clerkgate/tls/%s" .Values.tls.clientCAKey) }}{{ end }}
{{- end -}}
{{- if .Values.callers }}{{ $_ := set $c "callers-file" "/etc/clerkgate/config/callers.yaml" }}{{ end -}}
{{- if .Values.allowUnauthenticated }}{{ $_ := set $c "allow-unauthenticated" true }}{{ end -}}
{{- if .Values.cacheEncryption.secretName }}{{ $_ := set $c "cache-encryption-key-file" (printf "/etc/clerkgate/cache-encryption/%s" .Values.cacheEncryption.key) }}{{ end -}}
{{- toYaml (merge (deepCopy .Values.config) $c) }}
{{- end }}
