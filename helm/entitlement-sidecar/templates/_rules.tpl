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

{{/* The seconds of the last flush, as the sidecar reads them: the environment, the settings file, its own default. */}}
{{- define "entitlement-sidecar.flushSeconds" -}}
{{- $default := 10 -}}
{{- $file := kindIs "invalid" .Values.config.flush_seconds | ternary $default .Values.config.flush_seconds -}}
{{- int (kindIs "invalid" .Values.flushSeconds | ternary $file .Values.flushSeconds) -}}
{{- end -}}

{{- define "entitlement-sidecar.validate" -}}
{{- if .Values.enabled -}}
{{- include "entitlement-sidecar.validateAccount" . -}}
{{- include "entitlement-sidecar.validateDimensions" . -}}
{{- include "entitlement-sidecar.validateEnv" . -}}
{{- $values := .Values -}}
{{- if and (eq $values.containerMode "classic") (eq $values.gateMode "startup") (not $values.waitCommand) -}}
{{- fail "entitlement-sidecar: containerMode is classic and gateMode is startup, but waitCommand is empty, so that nothing waits. Set waitCommand, or gateMode to readiness" -}}
{{- end -}}
{{- if and $values.state.existingVolume (or $values.state.medium $values.state.sizeLimit) -}}
{{- fail (printf "entitlement-sidecar: state.existingVolume is %q, but state.medium or state.sizeLimit is set. They describe the emptyDir that it replaces: set one or the other" $values.state.existingVolume) -}}
{{- end -}}
{{- if eq (int $values.probePort) (int $values.apiPort) -}}
{{- fail (printf "entitlement-sidecar: probePort and apiPort are both %d. Give each a port of its own" (int $values.apiPort)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "entitlement-sidecar.validateAccount" -}}
{{- $account := .Values.serviceAccount -}}
{{- if and $account.roleArn (not $account.create) -}}
{{- fail (printf "entitlement-sidecar: serviceAccount.roleArn is %q, but serviceAccount.create is false. Annotate the parent's service account with eks.amazonaws.com/role-arn instead, or set serviceAccount.create to true" $account.roleArn) -}}
{{- end -}}
{{- if and $account.name (not $account.create) -}}
{{- fail (printf "entitlement-sidecar: serviceAccount.name is %q, but serviceAccount.create is false. The pod's service account is the parent's: name it in the parent's pod, and in rbac.subjects" $account.name) -}}
{{- end -}}
{{- if and $account.roleArn (hasKey $account.annotations "eks.amazonaws.com/role-arn") -}}
{{- fail (printf "entitlement-sidecar: serviceAccount.roleArn is %q, and serviceAccount.annotations has eks.amazonaws.com/role-arn too. Keep roleArn and remove the annotation" $account.roleArn) -}}
{{- end -}}
{{- end -}}

{{/* What a schema cannot say: each name once, and the decimal places of a number. */}}
{{- define "entitlement-sidecar.validateDimensions" -}}
{{- $names := list -}}
{{- range .Values.dimensions -}}
{{- $name := kindIs "map" . | ternary (get (kindIs "map" . | ternary . dict) "name") . -}}
{{- if has $name $names -}}
{{- fail (printf "entitlement-sidecar: dimensions has %q twice. Keep one of them" $name) -}}
{{- end -}}
{{- $names = append $names $name -}}
{{- if and (kindIs "map" .) (hasKey . "scale") -}}
{{- $scale := toJson .scale | trimAll "\"" -}}
{{- if not (regexMatch "^[0-9]+(\\.[0-9]{1,6})?$" $scale) -}}
{{- fail (printf "entitlement-sidecar: the scale of dimension %q is %s. Write it with at most six decimal places" $name $scale) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "entitlement-sidecar.validateEnv" -}}
{{- $taken := list -}}
{{- range include "entitlement-sidecar.ownEnv" . | fromYamlArray -}}
{{- $taken = append $taken .name -}}
{{- end -}}
{{- $values := dict "SIDECAR_FLUSH_SECONDS" "flushSeconds" "SIDECAR_PROBE_BIND" "probePort" "SIDECAR_API_BIND" "apiPort" "SIDECAR_STATE_DIR" "state" -}}
{{- $names := list -}}
{{- range .Values.extraEnv -}}
{{- if has .name $taken -}}
{{- fail (printf "entitlement-sidecar: extraEnv has %s, which the chart sets itself, from another value or from what Kubernetes knows of the pod. Remove it" .name) -}}
{{- end -}}
{{- if hasKey $values .name -}}
{{- fail (printf "entitlement-sidecar: extraEnv has %s, but the pod around the container follows the value %s. Set that instead" .name (get $values .name)) -}}
{{- end -}}
{{- if has .name $names -}}
{{- fail (printf "entitlement-sidecar: extraEnv has %s twice. Keep one of them" .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- $identity := list "AWS_ROLE_ARN" "AWS_WEB_IDENTITY_TOKEN_FILE" -}}
{{- $whole := and (has (first $identity) $names) (has (last $identity) $names) -}}
{{- range concat $identity (list "AWS_REGION" "AWS_DEFAULT_REGION") -}}
{{- if and (has . $names) (not $whole) -}}
{{- fail (printf "entitlement-sidecar: extraEnv has %s, and IRSA's webhook then leaves its own variables out. Remove it; where no webhook runs, set AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE both" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
