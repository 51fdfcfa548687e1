{{/*
What runs beside the product? One container, as a native sidecar or as an ordinary one.

Where: initContainer goes first into the pod's initContainers, after whatever gives the pod its network (a mesh's
native proxy) and before every init container that needs the entitlement. classicContainer goes last into containers:
tools take the first for the product. A parent includes both: one of them is always empty. Both also take the product's
own "appGraceSeconds", as terminationGracePeriodSeconds does: the native one sends the last usage before the pod's grace
is over, and a stop held back for longer would lose the final flush of the other.

Each takes (dict "context" .Subcharts.<name or alias> "workload" "<name>").
*/}}

{{- define "entitlement-sidecar.initContainer" -}}
{{- include "entitlement-sidecar.checked" (list . "initContainer") -}}
{{- $context := .context -}}
{{- if and $context.Values.enabled (eq $context.Values.containerMode "native") -}}
- name: {{ include "entitlement-sidecar.containerName" $context }}
  restartPolicy: Always
  {{- include "entitlement-sidecar.containerBody" . | nindent 2 }}
  # The hook of a native sidecar runs when the pod begins to end, its SIGTERM comes after the product has ended.
  lifecycle:
    preStop:
      exec:
        command: [entitlement-sidecar, pre-stop]
{{- end -}}
{{- end -}}

{{- define "entitlement-sidecar.classicContainer" -}}
{{- include "entitlement-sidecar.checked" (list . "classicContainer") -}}
{{- $context := .context -}}
{{- if and $context.Values.enabled (eq $context.Values.containerMode "classic") -}}
- name: {{ include "entitlement-sidecar.containerName" $context }}
  {{- include "entitlement-sidecar.containerBody" . | nindent 2 }}
  lifecycle:
    preStop:
      exec:
        {{- if $context.Values.preStopCommand }}
        command: {{ toJson $context.Values.preStopCommand }}
        {{- else }}
        command: [sleep, {{ include "entitlement-sidecar.appGraceSeconds" . | quote }}]
        {{- end }}
{{- end -}}
{{- end -}}

{{/* waitCommand: what stands before the product's own command line, with containerMode classic and gateMode startup. It
also takes that line as "command", a list, and is then the whole: a JSON list or empty, so `with` it. */}}
{{- define "entitlement-sidecar.waitCommand" -}}
{{- include "entitlement-sidecar.checked" (list . "waitCommand") -}}
{{- $command := default list .command -}}
{{- if include "entitlement-sidecar.productWaits" .context -}}
{{- if and (hasKey . "command") (not $command) -}}
{{- fail (printf "entitlement-sidecar: containerMode is classic and gateMode is startup, but the command of workload %q is empty. What waits replaces the image's own entrypoint: say the product's whole command line, or set gateMode to readiness" .workload) -}}
{{- end -}}
{{- $waits := .context.Values.waitCommand -}}
{{- if and (include "entitlement-sidecar.suffix" .context) (eq (toJson $waits) (toJson (list "entitlement-sidecar" "exec" "--"))) -}}
{{- $waits = list "entitlement-sidecar" "exec" "--url" (include "entitlement-sidecar.gateUrl" .context) "--" -}}
{{- end -}}
{{- $command = concat $waits $command -}}
{{- end -}}
{{- with $command -}}{{- toJson . -}}{{- end -}}
{{- end -}}

{{/* waitEnv: where that command asks, as entries of the product's env; none while the port is the usual one, and none
where productEnv says it, or under an alias the command itself. */}}
{{- define "entitlement-sidecar.waitEnv" -}}
{{- include "entitlement-sidecar.checked" (list . "waitEnv") -}}
{{- if and (include "entitlement-sidecar.productWaits" .context) (not (or (include "entitlement-sidecar.shares" .context) (include "entitlement-sidecar.suffix" .context))) -}}
{{- include "entitlement-sidecar.envEntries" (dict "SIDECAR_PROBE_BIND" (include "entitlement-sidecar.probeBind" .context)) -}}
{{- end -}}
{{- end -}}

{{- define "entitlement-sidecar.containerBody" -}}
{{- $context := .context -}}
{{- $values := $context.Values -}}
image: {{ include "entitlement-sidecar.image" $context | quote }}
imagePullPolicy: {{ $values.image.pullPolicy }}
args: [run]
{{- with include "entitlement-sidecar.listenPorts" $context }}
ports:
  {{- . | nindent 2 }}
{{- end }}
env:
  {{- include "entitlement-sidecar.ownEnv" $context | nindent 2 }}
  {{- if eq $values.containerMode "native" }}
  - name: SIDECAR_GRACE_SECONDS
    value: {{ include "entitlement-sidecar.graceSeconds" . | quote }}
  {{- end }}
  {{- with $values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- include "entitlement-sidecar.probes" $context }}
resources:
  {{- toYaml $values.resources | nindent 2 }}
{{ include "entitlement-sidecar.securityContext" $context }}
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  {{- include "entitlement-sidecar.mounts" . | nindent 2 }}
{{- end -}}

{{/* The restricted Pod Security profile, and a read-only root. Values choose profiles and SELinux labels, and weaken nothing. */}}
{{- define "entitlement-sidecar.securityContext" -}}
securityContext:
  allowPrivilegeEscalation: false
  capabilities:
    drop: [ALL]
  privileged: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  {{- with .Values.runAsUser }}
  runAsUser: {{ int64 . }}
  {{- end }}
  {{- with .Values.runAsGroup }}
  runAsGroup: {{ int64 . }}
  {{- end }}
  {{- toYaml (merge dict .Values.securityContext (dict "seccompProfile" (dict "type" "RuntimeDefault"))) | nindent 2 }}
{{- end -}}

{{/* No region and no role but those of a license's secret: IRSA's webhook leaves its own out where either is set. */}}
{{- define "entitlement-sidecar.ownEnv" -}}
{{- $values := .Values -}}
- name: POD_UID
  valueFrom: {fieldRef: {fieldPath: metadata.uid}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: SERVICE_ACCOUNT
  valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}
- name: NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
{{- if include "entitlement-sidecar.suffix" . }}
- name: CONTAINER_NAME
  value: {{ include "entitlement-sidecar.containerName" . }}
{{- end }}
{{- with $values.productCode }}
- name: SIDECAR_PRODUCT_CODE
  value: {{ . | quote }}
{{- end }}
{{- with $values.dimensions }}
- name: SIDECAR_DIMENSIONS
  value: {{ toJson . | quote }}
{{- end }}
{{- with $values.onDenied }}
- name: SIDECAR_ON_DENIED
  value: {{ . | quote }}
{{- end }}
{{- with $values.onMeteringOverdue }}
- name: SIDECAR_ON_METERING_OVERDUE
  value: {{ . | quote }}
{{- end }}
{{- if not (kindIs "invalid" $values.flushSeconds) }}
- name: SIDECAR_FLUSH_SECONDS
  value: {{ int $values.flushSeconds | quote }}
{{- end }}
{{- with $values.logLevel }}
- name: SIDECAR_LOG_LEVEL
  value: {{ . | quote }}
{{- end }}
{{- if $values.config }}
- name: SIDECAR_CONFIG
  value: /etc/entitlement-sidecar-config/config.yaml
{{- end }}
{{- with include "entitlement-sidecar.listenEnv" . }}
{{ . }}
{{- end }}
{{- with $values.proxy.httpsProxy }}
- name: HTTPS_PROXY
  value: {{ . | quote }}
{{- end }}
{{- with $values.proxy.noProxy }}
- name: NO_PROXY
  value: {{ . | quote }}
{{- end }}
{{- if $values.caBundle.configMap }}
- name: AWS_CA_BUNDLE
  value: {{ printf "/etc/entitlement-sidecar-ca/%s" $values.caBundle.key | quote }}
{{- end }}
{{- if $values.aws.useFipsEndpoint }}
- name: AWS_USE_FIPS_ENDPOINT
  value: "true"
{{- end }}
{{- if $values.aws.useDualstackEndpoint }}
- name: AWS_USE_DUALSTACK_ENDPOINT
  value: "true"
{{- end }}
{{- with $values.licenseSecret }}
- name: AWS_WEB_IDENTITY_REFRESH_TOKEN_FILE
  value: /var/run/secrets/product-license/license_token
- name: AWS_ROLE_ARN
  valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: iam_role}}
- name: AWS_REGION
  value: us-east-1
{{- end }}
{{- end -}}

{{/* The startup probe is the gate and never gives up; the others ask what a pod needs to know all day. A classic
container has none: the kubelet would hold back no other container for it. */}}
{{- define "entitlement-sidecar.probes" -}}
{{- $probes := .Values.probes -}}
{{- $http := and (eq $probes.type "http") (not .Values.freePorts) -}}
{{- if and (eq .Values.gateMode "startup") (eq .Values.containerMode "native") }}
startupProbe:
  exec:
    command: [entitlement-sidecar, healthcheck]
  periodSeconds: {{ int $probes.startup.periodSeconds }}
  timeoutSeconds: {{ int $probes.startup.timeoutSeconds }}
  failureThreshold: 2147483647
{{- end }}
{{- if $http }}
livenessProbe:
  httpGet:
    path: /healthz
    port: {{ include "entitlement-sidecar.portName" . }}
  periodSeconds: {{ int $probes.liveness.periodSeconds }}
  timeoutSeconds: {{ int $probes.liveness.timeoutSeconds }}
  failureThreshold: {{ int $probes.liveness.failureThreshold }}
{{- end }}
{{- if ne .Values.gateMode "readinessGate" }}
readinessProbe:
  {{- if $http }}
  httpGet:
    path: /entitled
    port: {{ include "entitlement-sidecar.portName" . }}
  {{- else }}
  exec:
    command: [entitlement-sidecar, healthcheck]
  {{- end }}
  periodSeconds: {{ int $probes.readiness.periodSeconds }}
  timeoutSeconds: {{ int $probes.readiness.timeoutSeconds }}
  failureThreshold: {{ int $probes.readiness.failureThreshold }}
{{- end }}
{{- end -}}

{{- define "entitlement-sidecar.mounts" -}}
{{- $values := .context.Values -}}
{{- $name := include "entitlement-sidecar.containerName" .context -}}
{{- if $values.state.existingVolume -}}
- name: {{ $values.state.existingVolume | quote }}
  mountPath: /var/lib/entitlement-sidecar
  subPath: {{ default (include "entitlement-sidecar.suffix" .context | replace "-" "." | printf "%s%s" .workload) $values.state.subPath | quote }}
{{- else -}}
- name: {{ $name }}-state
  mountPath: /var/lib/entitlement-sidecar
{{- end }}
- name: {{ $name }}-tmp
  mountPath: /tmp
{{- if include "entitlement-sidecar.shares" .context }}
- name: {{ $name }}-run
  mountPath: {{ include "entitlement-sidecar.runDirectory" .context }}
{{- end }}
{{- if $values.config }}
- name: {{ $name }}-config
  mountPath: /etc/entitlement-sidecar-config
  readOnly: true
{{- end }}
{{- if $values.caBundle.configMap }}
- name: {{ $name }}-ca
  mountPath: /etc/entitlement-sidecar-ca
  readOnly: true
{{- end }}
{{- if $values.licenseSecret }}
- name: {{ $name }}-license
  mountPath: /var/run/secrets/product-license
  readOnly: true
{{- end }}
{{- if include "entitlement-sidecar.usesApi" .context }}
- name: {{ $name }}-api
  mountPath: /var/run/secrets/entitlement-sidecar.io/kubernetes
  readOnly: true
{{- end }}
{{- if include "entitlement-sidecar.counts" .context }}
- name: {{ $name }}-counts
  mountPath: /var/run/secrets/entitlement-sidecar.io/counts
  readOnly: true
{{- end }}
{{- with $values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}
