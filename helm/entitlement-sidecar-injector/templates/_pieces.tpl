{{/*
What does an injected pod get? All that the sidecar's chart would render into it, as one document.

Rules kept here:
- The sidecar's own helpers render it, in the order in which a pod includes them.
- What is each pod's own, its workload and its grace, is a placeholder that nothing else looks like. The injector
  replaces it, and adds the difference of the two graces to the pod's.
- As JSON, so that Helm's reader of YAML decides what a value means, as it does for a chart's own manifests.
*/}}

{{- define "entitlement-sidecar-injector.pieces" -}}
{{- $gate := dict "context" .Subcharts.entitlement "workload" "workload.of.the.pod" "appGraceSeconds" 1000000007 -}}
{{- $pieces := dict "workload" $gate.workload "appGraceSeconds" $gate.appGraceSeconds -}}
{{- $_ := set $pieces "terminationGracePeriodSeconds" (include "entitlement-sidecar.terminationGracePeriodSeconds" $gate | int) -}}
{{- range $name := list "podLabels" "podAnnotations" -}}
{{- $_ := set $pieces $name (include (printf "entitlement-sidecar.%s" $name) $gate | fromYaml) -}}
{{- end -}}
{{- range $name := list "readinessGates" "imagePullSecrets" "initContainer" "classicContainer" "waitEnv" "waitCommand" "productEnv" "productMounts" "volumes" -}}
{{- $_ := set $pieces $name (include (printf "entitlement-sidecar.%s" $name) $gate | fromYamlArray) -}}
{{- end -}}
{{- toPrettyJson $pieces -}}
{{- end -}}
