{{/*
What follows from the values? Derived facts, and combinations that cannot work.
*/}}

{{/* Whether the Kubernetes API is used: "true" or "". */}}
{{- define "entitlement-sidecar.usesApi" -}}
{{- if or .Values.kubernetesApi.enabled (eq .Values.gateMode "readinessGate") -}}true{{- end -}}
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
