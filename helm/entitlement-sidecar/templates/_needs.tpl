{{/*
What may a pod not leave out? The helpers without which these values make no gate, or a broken one.

Every helper writes its name into the dict it was given, and the last one of a pod compares.
*/}}

{{/* The helpers that a metered pod cannot do without, each with the reason, as JSON. */}}
{{- define "entitlement-sidecar.needsOfPod" -}}
{{- $values := .Values -}}
{{- $needs := dict
  "podAnnotations" "cluster autoscaler, mesh and IRSA read annotations"
  "terminationGracePeriodSeconds" "the last usage is sent after the product has ended"
-}}
{{- $container := eq $values.containerMode "native" | ternary "initContainer" "classicContainer" -}}
{{- $_ := set $needs $container (printf "containerMode is %s" $values.containerMode) -}}
{{- if include "entitlement-sidecar.productWaits" . -}}
{{- $_ := set $needs "waitCommand" "containerMode is classic and gateMode is startup" -}}
{{- if and (include "entitlement-sidecar.probeBind" .) (not (or (include "entitlement-sidecar.shares" .) (include "entitlement-sidecar.suffix" .))) -}}
{{- $_ := set $needs "waitEnv" (printf "containerMode is classic and probePort is %d" (int $values.probePort)) -}}
{{- end -}}
{{- end -}}
{{- if include "entitlement-sidecar.shares" . -}}
{{- $why := $values.freePorts | ternary "freePorts is true" "apiSocket.enabled is true" -}}
{{- $_ := set $needs "productEnv" $why -}}
{{- $_ := set $needs "productMounts" $why -}}
{{- else if include "entitlement-sidecar.apiBind" . -}}
{{- $_ := set $needs "productEnv" (printf "the product's port is %s and not 8485" (include "entitlement-sidecar.apiPort" .)) -}}
{{- end -}}
{{- if eq $values.gateMode "readinessGate" -}}
{{- $_ := set $needs "readinessGates" "gateMode is readinessGate" -}}
{{- end -}}
{{- if or $values.podMonitor.enabled $values.podLabels -}}
{{- $_ := set $needs "podLabels" (empty $values.podLabels | ternary "podMonitor.enabled is true" "podLabels is set") -}}
{{- end -}}
{{- if include "entitlement-sidecar.pullSecrets" . | fromJsonArray -}}
{{- $_ := set $needs "imagePullSecrets" "imagePullSecrets is set, or global.imagePullSecrets" -}}
{{- end -}}
{{- toJson $needs -}}
{{- end -}}

{{- define "entitlement-sidecar.needsOfGateOnly" -}}
{{- $needs := dict -}}
{{- if ne .Values.mesh "none" -}}
{{- $_ := set $needs "gateOnlyPodAnnotations" (printf "mesh is %s" .Values.mesh) -}}
{{- end -}}
{{- if include "entitlement-sidecar.pullSecrets" . | fromJsonArray -}}
{{- $_ := set $needs "imagePullSecrets" "imagePullSecrets is set, or global.imagePullSecrets" -}}
{{- end -}}
{{- toJson $needs -}}
{{- end -}}

{{/* complete fails where a pod left out what it needs. It takes (list <a helper's dict> "<the last helper>" "<needs>"),
and forgets what was included, for the next pod of the same dict. */}}
{{- define "entitlement-sidecar.complete" -}}
{{- $gate := index . 0 -}}
{{- $last := index . 1 -}}
{{- range $helper, $why := fromJson (index . 2) -}}
{{- if not (has $helper $gate.included) -}}
{{- fail (printf "entitlement-sidecar: %s, but the pod of workload %q does not include the helper %s, which stands above %s and takes the same dict. Add {{- include \"entitlement-sidecar.%s\" $gate | nindent 8 }} as the chart's README shows" $why $gate.workload $helper $last $helper) -}}
{{- end -}}
{{- end -}}
{{- $_ := unset $gate "included" -}}
{{- end -}}
