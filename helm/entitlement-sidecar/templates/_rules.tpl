{{/*
What follows from the values? Derived facts, and combinations that cannot work.
*/}}

{{/* Whether the Kubernetes API is used: "true" or "". */}}
{{- define "entitlement-sidecar.usesApi" -}}
{{- if or .Values.kubernetesApi.enabled (eq .Values.gateMode "readinessGate") -}}true{{- end -}}
{{- end -}}

{{/* Whether the product's own command waits for the gate: "true" or "". */}}
{{- define "entitlement-sidecar.productWaits" -}}
{{- if and .Values.enabled (eq .Values.containerMode "classic") (eq .Values.gateMode "startup") -}}true{{- end -}}
{{- end -}}

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
{{- if include "entitlement-sidecar.probeBind" . -}}
{{- $_ := set $needs "waitEnv" (printf "containerMode is classic and probePort is %d" (int $values.probePort)) -}}
{{- end -}}
{{- end -}}
{{- if eq $values.gateMode "readinessGate" -}}
{{- $_ := set $needs "readinessGates" "gateMode is readinessGate" -}}
{{- end -}}
{{- if $values.podMonitor.enabled -}}
{{- $_ := set $needs "podLabels" "podMonitor.enabled is true" -}}
{{- end -}}
{{- if $values.imagePullSecrets -}}
{{- $_ := set $needs "imagePullSecrets" "imagePullSecrets is set" -}}
{{- end -}}
{{- toJson $needs -}}
{{- end -}}

{{- define "entitlement-sidecar.needsOfGateOnly" -}}
{{- $needs := dict -}}
{{- if ne .Values.mesh "none" -}}
{{- $_ := set $needs "gateOnlyPodAnnotations" (printf "mesh is %s" .Values.mesh) -}}
{{- end -}}
{{- if .Values.imagePullSecrets -}}
{{- $_ := set $needs "imagePullSecrets" "imagePullSecrets is set" -}}
{{- end -}}
{{- toJson $needs -}}
{{- end -}}

{{/* complete fails where a pod left out what it needs. It takes (list <a helper's dict> "<the last helper>" "<needs>"),
and forgets what was included, for the next pod of the same dict. */}}
{{- define "entitlement-sidecar.complete" -}}
{{- $gate := index . 0 -}}
{{- $last := index . 1 -}}
{{- range $helper, $why := fromJson (index . 2) -}}
{{- if and $why (not (has $helper $gate.included)) -}}
{{- fail (printf "entitlement-sidecar: %s, but the pod of workload %q does not include the helper %s, which stands above %s and takes the same dict. Add {{- include \"entitlement-sidecar.%s\" $gate | nindent 8 }} as the chart's README shows" $why $gate.workload $helper $last $helper) -}}
{{- end -}}
{{- end -}}
{{- $_ := unset $gate "included" -}}
{{- end -}}

{{/* The seconds of the last flush; 10 is the sidecar's own default. */}}
{{- define "entitlement-sidecar.flushSeconds" -}}
{{- if kindIs "invalid" .Values.flushSeconds -}}10{{- else -}}{{- int .Values.flushSeconds -}}{{- end -}}
{{- end -}}

{{- define "entitlement-sidecar.validate" -}}
{{- $values := .Values -}}
{{- $account := $values.serviceAccount -}}
{{- if and $account.roleArn (not $account.create) -}}
{{- fail (printf "entitlement-sidecar: serviceAccount.roleArn is %q, but serviceAccount.create is false. Annotate the parent's service account with eks.amazonaws.com/role-arn instead, or set serviceAccount.create to true" $account.roleArn) -}}
{{- end -}}
{{- if and $account.name (not $account.create) -}}
{{- fail (printf "entitlement-sidecar: serviceAccount.name is %q, but serviceAccount.create is false. The pod's service account is the parent's: name it in the parent's pod, and in rbac.subjects" $account.name) -}}
{{- end -}}
{{- if and (eq $values.containerMode "classic") (eq $values.gateMode "startup") (not $values.waitCommand) -}}
{{- fail "entitlement-sidecar: containerMode is classic and gateMode is startup, but waitCommand is empty, so that nothing waits. Set waitCommand, or gateMode to readiness" -}}
{{- end -}}
{{- if and $values.state.existingVolume (or $values.state.medium $values.state.sizeLimit) -}}
{{- fail (printf "entitlement-sidecar: state.existingVolume is %q, but state.medium or state.sizeLimit is set. They describe the emptyDir that it replaces: set one or the other" $values.state.existingVolume) -}}
{{- end -}}
{{- if eq (int $values.probePort) (int $values.apiPort) -}}
{{- fail (printf "entitlement-sidecar: probePort and apiPort are both %d. Give each a port of its own" (int $values.apiPort)) -}}
{{- end -}}
{{- range $values.extraEnv -}}
{{- if has .name (list "POD_UID" "POD_NAME" "POD_NAMESPACE" "SERVICE_ACCOUNT" "NODE_NAME") -}}
{{- fail (printf "entitlement-sidecar: extraEnv has %s, which the downward API sets here. Remove it" .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
