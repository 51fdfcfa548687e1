{{/*
What is everything called? Names, labels, the image.

Rules kept here:
- Only .Release.Name and .Release.Namespace of the release, as in the sidecar's chart.
*/}}

{{- define "entitlement-sidecar-saas.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- $full | replace "." "-" | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "entitlement-sidecar-saas.serviceAccountName" -}}
{{- $own := .Values.serviceAccount.create | ternary (include "entitlement-sidecar-saas.fullname" .) "default" -}}
{{- default $own .Values.serviceAccount.name -}}
{{- end -}}

{{- define "entitlement-sidecar-saas.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "entitlement-sidecar-saas.labels" -}}
{{- $ours := include "entitlement-sidecar-saas.selectorLabels" . | fromYaml -}}
{{- $more := dict "app.kubernetes.io/component" "saas" "app.kubernetes.io/version" .Chart.AppVersion -}}
{{- toYaml (merge $ours $more .Values.commonLabels) -}}
{{- end -}}

{{- define "entitlement-sidecar-saas.image" -}}
{{- $image := .Values.image -}}
{{- $name := $image.repository -}}
{{- with $image.registry -}}
{{- $name = printf "%s/%s" (trimSuffix "/" .) $name -}}
{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Names by which the product calls the service; another one is refused, so that no page in a browser can call it. */}}
{{- define "entitlement-sidecar-saas.hosts" -}}
{{- $name := include "entitlement-sidecar-saas.fullname" . -}}
{{- $in := printf "%s.%s" $name .Release.Namespace -}}
{{- join "," (list $name $in (printf "%s.svc" $in) (printf "%s.svc.cluster.local" $in)) -}}
{{- end -}}
