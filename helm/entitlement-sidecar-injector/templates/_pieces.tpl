{{/*
What does an injected pod get? All that the sidecar's chart would render into it, as one document.

Rules kept here:
- The sidecar's own helpers render it, in the order in which a pod includes them.
- The workload is a placeholder, and the grace Kubernetes' default: both are each pod's own, and the injector replaces
  them.
*/}}

{{- define "entitlement-sidecar-injector.pieces" -}}
{{- $gate := dict "context" .Subcharts.entitlement "workload" "WORKLOAD" -}}
workload: {{ $gate.workload }}
appGraceSeconds: {{ include "entitlement-sidecar.appGraceSeconds" $gate }}
flushSeconds: {{ include "entitlement-sidecar.flushSeconds" .Subcharts.entitlement }}
{{- $_ := include "entitlement-sidecar.terminationGracePeriodSeconds" $gate }}
{{- range $name := list "podLabels" "podAnnotations" "readinessGates" "imagePullSecrets" "initContainer" "classicContainer" "waitEnv" "waitCommand" "volumes" }}
{{- with include (printf "entitlement-sidecar.%s" $name) $gate }}
{{ $name }}:
  {{- . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}
