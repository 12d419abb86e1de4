{{/*
Rules by their name in files/rbac.yaml, which is made from config/rbac: (dict "root" $ "rules" (list "ownKinds" …)). The Lease they allow is
the one of this release.
*/}}
{{- define "dbrun.rules" -}}
{{- $lease := printf "resourceNames: [%s]" (include "dbrun.leaseName" .root) }}
{{- $all := .root.Files.Get "files/rbac.yaml" | replace "resourceNames: [databricks-run-operator]" $lease | fromYaml }}
{{- $rules := list }}
{{- range .rules }}
{{- $rules = concat $rules (index $all .) }}
{{- end }}
{{- toYaml $rules }}
{{- end }}

{{- define "dbrun.subjects" -}}
- kind: ServiceAccount
  name: {{ include "dbrun.serviceAccountName" . }}
  namespace: {{ include "dbrun.namespace" . }}
{{- end }}

{{/* A ClusterRole: (dict "root" $ "name" … "rules" … "labels" …). */}}
{{- define "dbrun.clusterRole" -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  {{- include "dbrun.metadata" (dict "root" .root "name" .name "namespace" "-" "labels" .labels) | nindent 2 }}
rules:
  {{- include "dbrun.rules" . | nindent 2 }}
{{ end }}

{{/* A Role: (dict "root" $ "name" … "namespace" … "rules" …). */}}
{{- define "dbrun.role" -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  {{- include "dbrun.metadata" (dict "root" .root "name" .name "namespace" .namespace) | nindent 2 }}
rules:
  {{- include "dbrun.rules" . | nindent 2 }}
{{ end }}

{{/* Binds a ClusterRole to the operator for the whole cluster: (dict "root" $ "name" …). */}}
{{- define "dbrun.clusterRoleBinding" -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  {{- include "dbrun.metadata" (dict "root" .root "name" .name "namespace" "-") | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ .name }}
subjects:
  {{- include "dbrun.subjects" .root | nindent 2 }}
{{ end }}

{{/* Binds a role to the operator in one namespace: (dict "root" $ "name" … "namespace" … "kind" … "role" …). */}}
{{- define "dbrun.roleBinding" -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  {{- include "dbrun.metadata" (dict "root" .root "name" .name "namespace" .namespace) | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ .role }}
subjects:
  {{- include "dbrun.subjects" .root | nindent 2 }}
{{ end }}
