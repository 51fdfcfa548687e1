{{- define "bookshop.labels" -}}
app.kubernetes.io/name: bookshop
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "bookshop.serviceAccountName" -}}
{{- default (printf "%s-bookshop" .Release.Name) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "bookshop.image" -}}
{{ .registry }}/{{ .repository }}:{{ .tag }}
{{- end -}}

{{- define "bookshop.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "bookshop.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}
