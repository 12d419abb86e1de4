{{/* The operator's command line, one flag a line. */}}
{{- define "dbrun.args" -}}
- run
{{- range include "dbrun.servedNamespaces" . | fromJsonArray }}
- {{ printf "--namespace=%s" . | quote }}
{{- end }}
{{- with .Values.watch.selector }}
- {{ printf "--watch-selector=%s" . | quote }}
{{- end }}
- {{ printf "--cluster-workspaces=%t" .Values.clusterWorkspaces.enabled | quote }}
{{- if .Values.operatorToken.enabled }}
- "--operator-token-file=/var/run/secrets/dbrun.dev/operator/token"
{{- end }}
{{- range .Values.databricks.allowedHosts }}
- {{ printf "--allowed-host=%s" . | quote }}
{{- end }}
{{- range .Values.databricks.allowedAddresses }}
- {{ printf "--allowed-address=%s" . | quote }}
{{- end }}
{{- range .Values.databricks.allowedProxies }}
- {{ printf "--allowed-proxy=%s" . | quote }}
{{- end }}
{{- with .Values.databricks.entraLoginHost }}
- {{ printf "--entra-login-host=%s" . | quote }}
{{- end }}
- {{ printf "--requests-per-second=%v" .Values.databricks.requestsPerSecond | quote }}
- {{ printf "--submit-timeout=%s" .Values.runs.submitTimeout | quote }}
- {{ printf "--deletion-deadline=%s" .Values.runs.deletionDeadline | quote }}
{{- range .Values.runs.ttlKeepKeys }}
- {{ printf "--ttl-keep-key=%s" . | quote }}
{{- end }}
- {{ printf "--leader-elect=%t" .Values.leaderElection.enabled | quote }}
{{- if .Values.leaderElection.enabled }}
- {{ printf "--leader-elect-lease-name=%s" (include "dbrun.leaseName" .) | quote }}
{{- end }}
- {{ printf "--health-address=%s" (include "dbrun.address" (dict "host" .Values.bindAddress "port" .Values.health.port)) | quote }}
- {{ printf "--metrics-address=%s" (include "dbrun.address" (dict "host" .Values.bindAddress "port" .Values.metrics.port)) | quote }}
- {{ printf "--log-format=%s" .Values.log.format | quote }}
- {{ printf "--log-level=%s" .Values.log.level | quote }}
{{- with .Values.traces.endpoint }}
- {{ printf "--otlp-endpoint=%s" . | quote }}
{{- end }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{/* Its environment. What names the Pod comes from the Pod. */}}
{{- define "dbrun.env" -}}
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: DBRUN_OPERATOR_NAMESPACE
  value: {{ .Values.clusterWorkspaces.namespace | default "$(POD_NAMESPACE)" | quote }}
{{- if .Values.leaderElection.enabled }}
- name: DBRUN_LEADER_ELECT_NAMESPACE
  value: "$(POD_NAMESPACE)"
{{- end }}
{{- with .Values.proxy.httpsProxy }}
- name: HTTPS_PROXY
  value: {{ . | quote }}
{{- end }}
{{- with .Values.proxy.noProxy }}
- name: NO_PROXY
  value: {{ . | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}
