{{- define "scopeshim.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "scopeshim.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "scopeshim.labels" -}}
{{ include "scopeshim.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "scopeshim.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* What needs a restart: a change of it replaces the pods, and one of the policy does not. */}}
{{- define "scopeshim.static" -}}
[[listen]]
address = "0.0.0.0:18780"

[gateway]
url = {{ eq .Values.mode "sidecar" | ternary "http://127.0.0.1:18789" .Values.gateway.url | quote }}
{{- if eq .Values.gateway.auth "none" }}
auth = { kind = "none" }
{{- else }}
auth = { kind = {{ .Values.gateway.auth | quote }}, file = {{ printf "/etc/scopeshim/secrets/%s" .Values.secret.key | quote }} }
{{- end }}
retry_for = {{ .Values.gateway.retryFor | quote }}

[server]
state_dir = "/var/lib/scopeshim"
drain = "{{ .Values.drainSeconds }}s"

[admin]
socket = "/run/scopeshim/admin.sock"
# For the kubelet and Prometheus; the NetworkPolicy says who else.
metrics_address = "0.0.0.0:18781"
{{- end -}}

{{- define "scopeshim.config" -}}
{{- if .Values.config -}}
{{ .Values.config }}
{{- else -}}
{{ include "scopeshim.static" . }}

{{ .Values.policy }}
{{- end -}}
{{- end -}}

{{- define "scopeshim.podAnnotations" -}}
kubectl.kubernetes.io/default-container: {{ eq .Values.mode "sidecar" | ternary "openclaw" "scopeshim" }}
{{- if not .Values.config }}
checksum/static: {{ include "scopeshim.static" . | sha256sum }}
{{- end }}
{{- with .Values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The container, of its own pod or of the gateway's. */}}
{{- define "scopeshim.container" -}}
name: scopeshim
image: {{ include "scopeshim.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [run, --config, /etc/scopeshim/config/config.toml]
env:
  - name: SCOPESHIM_CONFIG
    value: /etc/scopeshim/config/config.toml
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
ports:
  - name: api
    containerPort: 18780
  - name: watch
    containerPort: 18781
# By itself: it must not be restarted because the gateway is away.
startupProbe:
  httpGet:
    path: /livez
    port: watch
  periodSeconds: 1
  failureThreshold: 30
livenessProbe:
  httpGet:
    path: /livez
    port: watch
  periodSeconds: 10
  timeoutSeconds: 3
  failureThreshold: 3
# The whole way: the gateway's own word, through scopeshim.
readinessProbe:
  httpGet:
    path: /readyz
    port: api
  periodSeconds: 5
  timeoutSeconds: 12
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  runAsUser: 65532
  runAsGroup: 65532
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
volumeMounts:
  # The directory and not the file: a subPath mount never sees a change.
  - name: policy
    mountPath: /etc/scopeshim/config
    readOnly: true
  - name: secrets
    mountPath: /etc/scopeshim/secrets
    readOnly: true
  - name: run
    mountPath: /run/scopeshim
  - name: {{ eq .Values.mode "sidecar" | ternary "data" "state" }}
    mountPath: /var/lib/scopeshim
    {{- if eq .Values.mode "sidecar" }}
    subPath: scopeshim
    {{- end }}
{{- end -}}

{{- define "scopeshim.volumes" -}}
- name: policy
  configMap:
    name: {{ include "scopeshim.fullname" . }}
- name: secrets
  secret:
    secretName: {{ .Values.secret.name }}
    # scopeshim refuses a secret that everyone can read.
    defaultMode: 0440
- name: run
  emptyDir:
    medium: Memory
    sizeLimit: 1Mi
{{- end -}}

{{- define "scopeshim.placement" -}}
{{- range $key := list "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" "imagePullSecrets" }}
{{- with index $.Values $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}
