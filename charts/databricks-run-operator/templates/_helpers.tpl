{{/* Names. Each ends where a label's value must: at 63 characters. */}}
{{- define "dbrun.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "dbrun.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "dbrun.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "dbrun.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "dbrun.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- define "dbrun.serviceAccountName" -}}
{{- default (ternary (include "dbrun.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{/* What selects the Pods of this release, now and after every upgrade. */}}
{{- define "dbrun.selectorLabels" -}}
app.kubernetes.io/name: {{ include "dbrun.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "dbrun.labels" -}}
{{- $own := dict
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/version" (.Chart.AppVersion | toString)
  "app.kubernetes.io/managed-by" .Release.Service
  "app.kubernetes.io/part-of" .Chart.Name
}}
{{- toYaml (mergeOverwrite $own (deepCopy .Values.commonLabels) (include "dbrun.selectorLabels" . | fromYaml)) }}
{{- end }}

{{/*
The metadata of an object: (dict "root" $ "name" … "namespace" … "labels" … "annotations" …). Without a name it is the release's, with
the namespace "-" it is in none.
*/}}
{{- define "dbrun.metadata" -}}
{{- $root := .root -}}
{{- $labels := mergeOverwrite (include "dbrun.labels" $root | fromYaml) (deepCopy (default dict .labels)) -}}
{{- $annotations := mergeOverwrite (deepCopy $root.Values.commonAnnotations) (deepCopy (default dict .annotations)) -}}
name: {{ default (include "dbrun.fullname" $root) .name }}
{{- if ne (default "" .namespace) "-" }}
namespace: {{ default (include "dbrun.namespace" $root) .namespace }}
{{- end }}
labels:
  {{- toYaml $labels | nindent 2 }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "dbrun.image" -}}
{{- $registry := default .Values.image.registry .Values.global.imageRegistry -}}
{{- $name := ternary (printf "%s/%s" $registry .Values.image.repository) .Values.image.repository (ne $registry "") -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $name .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $name (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* The namespaces it serves, as JSON; none means all. */}}
{{- define "dbrun.servedNamespaces" -}}
{{- if eq .Values.watch.scope "Namespaces" }}
{{- .Values.watch.namespaces | uniq | sortAlpha | toJson }}
{{- else if eq .Values.watch.scope "OwnNamespace" }}
{{- list (include "dbrun.namespace" .) | toJson }}
{{- else }}
{{- list | toJson }}
{{- end }}
{{- end }}

{{/* Where the credentials of workspaces of the whole cluster are. */}}
{{- define "dbrun.credentialsNamespace" -}}
{{- default (include "dbrun.namespace" .) .Values.clusterWorkspaces.namespace }}
{{- end }}

{{- define "dbrun.leaseName" -}}
{{- default (include "dbrun.fullname" .) .Values.leaderElection.leaseName }}
{{- end }}

{{/* An address to listen on: IPv6 goes into brackets, and may come in some. */}}
{{- define "dbrun.address" -}}
{{- $host := trimSuffix "]" (trimPrefix "[" .host) -}}
{{- printf "%s:%v" (ternary (printf "[%s]" $host) $host (contains ":" $host)) .port }}
{{- end }}

{{/*
"yes" if an object of a kind that not every cluster knows is to be rendered: (dict "root" $ "values" .Values.serviceMonitor "api"
"monitoring.coreos.com/v1/ServiceMonitor").
*/}}
{{- define "dbrun.renders" -}}
{{- if .values.enabled }}
{{- if or (eq .values.renderMode "alwaysRender") (.root.Capabilities.APIVersions.Has .api) -}}
yes
{{- else if eq .values.renderMode "failIfMissing" }}
{{- fail (printf "this cluster does not know %s; install its definition first, or set renderMode to skipIfMissing" .api) }}
{{- end }}
{{- end }}
{{- end }}
