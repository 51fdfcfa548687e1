{{/*
What annotations do the chart's own objects have?

A key given twice has the value of the one object first, then that of commonAnnotations.
*/}}

{{/* annotations: the field, or nothing. It takes (list <context> <more annotations>). */}}
{{- define "entitlement-sidecar.annotations" -}}
{{- with merge dict (last .) (first .).Values.commonAnnotations -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}
