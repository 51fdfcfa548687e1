{{/*
What follows from the values? Derived facts, and combinations that cannot work.
*/}}

{{/* Whether the Kubernetes API is used: "true" or "". */}}
{{- define "entitlement-sidecar.usesApi" -}}
{{- if or .Values.kubernetesApi.enabled (eq .Values.gateMode "readinessGate") -}}true{{- end -}}
{{- end -}}

{{/* Whether anything of the cluster is counted: "true" or "". */}}
{{- define "entitlement-sidecar.counts" -}}
{{- if or .Values.counts.nodes .Values.counts.pods -}}true{{- end -}}
{{- end -}}

{{/* Whether the counts need rights in the whole cluster: "true" or "". */}}
{{- define "entitlement-sidecar.countsCluster" -}}
{{- if or .Values.counts.nodes (eq .Values.counts.pods "cluster") -}}true{{- end -}}
{{- end -}}

{{/* Fails where rights are to be bound to no account. "rights" says for what, in a list with the context. */}}
{{- define "entitlement-sidecar.subjects" -}}
{{- $context := index . 0 -}}
{{- $own := include "entitlement-sidecar.serviceAccountName" (dict "context" $context) -}}
{{- if not (or $own $context.Values.rbac.subjects) -}}
{{- fail (printf "entitlement-sidecar: %s, but rbac.subjects is empty. List the service accounts the pods run as, or set rbac.create to false and grant it yourself" (index . 1)) -}}
{{- end -}}
{{- with $own }}
- kind: ServiceAccount
  name: {{ . | quote }}
  namespace: {{ $context.Release.Namespace | quote }}
{{- end }}
{{- range $context.Values.rbac.subjects }}
- kind: ServiceAccount
  name: {{ tpl . $context | quote }}
  namespace: {{ $context.Release.Namespace | quote }}
{{- end }}
{{- end -}}

{{/* Whether the product's own command waits for the gate: "true" or "". */}}
{{- define "entitlement-sidecar.productWaits" -}}
{{- if and .Values.enabled (eq .Values.containerMode "classic") (eq .Values.gateMode "startup") -}}true{{- end -}}
{{- end -}}

{{/* The seconds of the final flush, as the sidecar reads them: the environment, the settings file, its own default. */}}
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
{{- include "entitlement-sidecar.validateListeners" . -}}
{{- $values := .Values -}}
{{- if and (eq $values.containerMode "classic") (eq $values.gateMode "startup") (not $values.waitCommand) -}}
{{- fail "entitlement-sidecar: containerMode is classic and gateMode is startup, but waitCommand is empty, so that nothing waits. Set waitCommand, or gateMode to readiness" -}}
{{- end -}}
{{- if and $values.state.existingVolume (or $values.state.medium $values.state.sizeLimit) -}}
{{- fail (printf "entitlement-sidecar: state.existingVolume is %q, but state.medium or state.sizeLimit is set. They describe the emptyDir that it replaces: set one or the other" $values.state.existingVolume) -}}
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
{{- $one := kindIs "map" . | ternary . (dict "name" .) -}}
{{- if has $one.name $names -}}
{{- fail (printf "entitlement-sidecar: dimensions has %q twice. Keep one of them" $one.name) -}}
{{- end -}}
{{- $names = append $names $one.name -}}
{{- $scale := hasKey $one "scale" | ternary $one.scale 1 | toJson | trimAll "\"" -}}
{{- if not (regexMatch "^[0-9]+(\\.[0-9]{1,6})?$" $scale) -}}
{{- fail (printf "entitlement-sidecar: the scale of dimension %q is %s. Write it with at most six decimal places" $one.name $scale) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "entitlement-sidecar.validateEnv" -}}
{{- $taken := list -}}
{{- range include "entitlement-sidecar.ownEnv" . | fromYamlArray -}}
{{- $taken = append $taken .name -}}
{{- end -}}
{{- $values := dict "SIDECAR_FLUSH_SECONDS" "flushSeconds" "SIDECAR_GRACE_SECONDS" "appGraceSeconds" "SIDECAR_PROBE_BIND" "probePort" "SIDECAR_API_BIND" "apiPort" "SIDECAR_API_SOCKET_MODE" "apiSocket.mode" "SIDECAR_API_SOCKET_GROUP" "apiSocket.group" "SIDECAR_ADDRESS_FILE" "freePorts" "CONTAINER_NAME" "alias of the dependency" "SIDECAR_STATE_DIR" "state" -}}
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
