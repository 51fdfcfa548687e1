{{/*
What is everything called? Names and labels.

Rules kept here:
- Only .Release.Name and .Release.Namespace of the release, as in the sidecar's chart.
- Objects of the cluster carry the namespace in their names: two releases of one name share none.
*/}}

{{- define "entitlement-sidecar-injector.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- $full | replace "." "-" | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* API servers call webhooks in the order of their configurations' names. Ours starts with "e", so that the webhook of
IRSA, pod-identity-webhook, which is not always called again, finds our container in the pod. */}}
{{- define "entitlement-sidecar-injector.webhookName" -}}
{{- printf "entitlement-sidecar-injector.%s.%s" .Release.Namespace .Release.Name -}}
{{- end -}}

{{- define "entitlement-sidecar-injector.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "entitlement-sidecar-injector.fullname" .) -}}
{{- end -}}

{{- define "entitlement-sidecar-injector.serviceAccountName" -}}
{{- $own := .Values.serviceAccount.create | ternary (include "entitlement-sidecar-injector.fullname" .) "default" -}}
{{- default $own .Values.serviceAccount.name -}}
{{- end -}}

{{- define "entitlement-sidecar-injector.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "entitlement-sidecar-injector.labels" -}}
{{- $ours := include "entitlement-sidecar-injector.selectorLabels" . | fromYaml -}}
{{- $more := dict "app.kubernetes.io/component" "injector" "app.kubernetes.io/version" .Chart.AppVersion -}}
{{- toYaml (merge $ours $more .Values.commonLabels) -}}
{{- end -}}
