{{/* What the schema cannot say: values that contradict each other. Included by the Deployment. */}}
{{- define "dbrun.checks" -}}
{{- if and (eq .Values.watch.scope "Namespaces") (not .Values.watch.namespaces) }}
{{- fail "watch.scope is Namespaces: name them in watch.namespaces" }}
{{- end }}
{{- if and (ne .Values.watch.scope "Namespaces") .Values.watch.namespaces }}
{{- fail (printf "watch.namespaces says nothing with watch.scope %s: set watch.scope to Namespaces, or leave them out" .Values.watch.scope) }}
{{- end }}
{{- if not .Values.rbac.clusterRights }}
{{- if ne .Values.watch.scope "OwnNamespace" }}
{{- fail "rbac.clusterRights is false: without rights for the cluster, watch.scope must be OwnNamespace" }}
{{- end }}
{{- if .Values.clusterWorkspaces.enabled }}
{{- fail "rbac.clusterRights is false: workspaces of the cluster cannot be watched; set clusterWorkspaces.enabled to false" }}
{{- end }}
{{- if .Values.crds.enabled }}
{{- fail "rbac.clusterRights is false: definitions are of the cluster; have them installed (kubectl apply -f crds/) and set crds.enabled to false" }}
{{- end }}
{{- end }}
{{- if and (not .Values.leaderElection.enabled) (gt (int .Values.replicaCount) 1) }}
{{- fail "leaderElection.enabled is false: replicaCount must be 1 or 0" }}
{{- end }}
{{- if .Values.operatorToken.enabled }}
{{- if not .Values.operatorToken.audience }}
{{- fail "operatorToken.enabled: set operatorToken.audience to what Databricks or Entra expects" }}
{{- end }}
{{- end }}
{{- if eq (int .Values.health.port) (int .Values.metrics.port) }}
{{- fail "health.port and metrics.port must differ" }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled (not .Values.metrics.service.enabled) }}
{{- fail "serviceMonitor.enabled: it needs metrics.service.enabled; or use podMonitor" }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled }}
{{- fail "serviceMonitor and podMonitor would count everything twice: enable one of them" }}
{{- end }}
{{- end }}
