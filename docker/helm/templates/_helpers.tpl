{{- define "blip-serve.fullname" -}}
{{- $name := .Release.Name -}}
{{- if not (contains .Chart.Name $name) -}}
{{- $name = printf "%s-%s" $name .Chart.Name -}}
{{- end -}}
{{- .Values.fullnameOverride | default $name | trunc 52 | trimSuffix "-" -}}
{{- end }}

{{- define "blip-serve.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "blip-serve.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "blip-serve.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "blip-serve.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "blip-serve.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "blip-serve.fullname" .) -}}
{{- end }}

{{- define "blip-serve.keysSecret" -}}
{{- .Values.auth.existingSecret | default (printf "%s-keys" (include "blip-serve.fullname" .)) -}}
{{- end }}

{{- define "blip-serve.claim" -}}
{{- .Values.weights.persistence.existingClaim | default (printf "%s-weights" (include "blip-serve.fullname" .)) -}}
{{- end }}

{{/* The service's settings: those of the values, and what the chart alone decides. */}}
{{- define "blip-serve.settings" -}}
{{- $auth := dict "keys_file" "/etc/blip-serve/keys/keys.yaml" -}}
{{- if .Values.auth.noAuth -}}
{{- $auth = dict "no_auth" true -}}
{{- end -}}
{{- $device := dict -}}
{{- if .Values.gpu.count -}}
{{- $device = dict "device" "cuda" -}}
{{- end -}}
{{- toYaml (mergeOverwrite $device (deepCopy .Values.settings) (dict "auth" $auth)) -}}
{{- end }}

{{- define "blip-serve.gracePeriod" -}}
{{- with .Values.settings.server -}}
{{- addf .shutdown_delay_s .drain_timeout_s $.Values.preStopSeconds 5 | ceil | int -}}
{{- end -}}
{{- end }}

{{/* Of both the service and the pull. */}}
{{- define "blip-serve.env" -}}
- name: HOME
  value: /tmp
- name: HF_HOME
  value: /var/lib/blip-serve
- name: HF_HUB_DISABLE_TELEMETRY
  value: "1"
{{- with .Values.weights.tokenSecret }}
{{- if .name }}
- name: HF_TOKEN
  valueFrom:
    secretKeyRef: {{ toJson . }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "blip-serve.mounts" -}}
- {name: settings, mountPath: /etc/blip-serve/settings, readOnly: true}
- {name: weights, mountPath: /var/lib/blip-serve}
- {name: tmp, mountPath: /tmp}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "blip-serve.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* What the schema cannot say: values that contradict each other. */}}
{{- define "blip-serve.check" -}}
{{- $ways := list -}}
{{- range list "existingSecret" "keysFile" "noAuth" -}}
{{- if get $.Values.auth . -}}
{{- $ways = append $ways (printf "auth.%s" .) -}}
{{- end -}}
{{- end -}}
{{- if not $ways -}}
{{- fail "anyone could call: set auth.existingSecret or auth.keysFile (`blip-serve keys create` makes keys), or say that anyone may with auth.noAuth" -}}
{{- else if gt (len $ways) 1 -}}
{{- fail (printf "%s: set one of them" (join ", " $ways)) -}}
{{- end -}}
{{- range list "keys_file" "keys" "no_auth" "redis_url" -}}
{{- if hasKey ($.Values.settings.auth | default dict) . -}}
{{- fail (printf "settings.auth.%s: set auth.existingSecret, auth.keysFile, auth.noAuth or auth.redisUrlSecret instead" .) -}}
{{- end -}}
{{- end -}}
{{- if .Values.serviceMonitor.enabled -}}
{{- $access := get .Values.settings.server "metrics" | toString | default "key" -}}
{{- if has $access (list "off" "false") -}}{{/* YAML 1.1 reads off as false, and so does the service */}}
{{- fail "serviceMonitor.enabled: settings.server.metrics is off" -}}
{{- else if and (eq $access "key") (not .Values.auth.noAuth) (not .Values.serviceMonitor.keySecret.name) -}}
{{- fail "serviceMonitor.keySecret.name: /metrics asks for a key; name a Secret that holds one, or set settings.server.metrics to open" -}}
{{- end -}}
{{- end -}}
{{- end }}
