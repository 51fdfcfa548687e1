{{/*
What does the pod around the container need? Volumes, annotations, labels, the readiness gate, the grace.

Each takes (dict "context" .Subcharts.<name or alias> "workload" "<name>"), and renders nothing where enabled is false.
*/}}

{{/* podSpec: the fields of the pod's spec that hold nothing else, for a parent that does not set them itself: its grace,
readiness gates and pull secrets. */}}
{{- define "entitlement-sidecar.podSpec" -}}
terminationGracePeriodSeconds: {{ include "entitlement-sidecar.terminationGracePeriodSeconds" . }}
{{- with include "entitlement-sidecar.readinessGates" . }}
readinessGates:
  {{- . | nindent 2 }}
{{- end }}
{{- with include "entitlement-sidecar.imagePullSecrets" . }}
imagePullSecrets:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* volumes stands last in the pod, and fails where the values need a helper that the pod left out: a gate that is not
rendered would let the product run. */}}
{{- define "entitlement-sidecar.volumes" -}}
{{- include "entitlement-sidecar.checked" (list . "volumes") -}}
{{- $context := .context -}}
{{- $values := $context.Values -}}
{{- if $values.enabled -}}
{{- $name := include "entitlement-sidecar.containerName" $context -}}
{{- include "entitlement-sidecar.complete" (list . "volumes" (include "entitlement-sidecar.needsOfPod" $context)) -}}
{{- if not $values.state.existingVolume -}}
- name: {{ $name }}-state
  {{- if or $values.state.medium $values.state.sizeLimit }}
  emptyDir:
    {{- with $values.state.medium }}
    medium: {{ . }}
    {{- end }}
    {{- with $values.state.sizeLimit }}
    sizeLimit: {{ . | quote }}
    {{- end }}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{ end -}}
- name: {{ $name }}-tmp
  emptyDir: {}
{{- if include "entitlement-sidecar.shares" $context }}
- name: {{ $name }}-run
  emptyDir: {}
{{- end }}
{{- if $values.config }}
- name: {{ $name }}-config
  configMap:
    name: {{ include "entitlement-sidecar.fullname" $context | quote }}
{{- end }}
{{- with $values.caBundle.configMap }}
- name: {{ $name }}-ca
  configMap:
    name: {{ . | quote }}
{{- end }}
{{- with $values.licenseSecret }}
- name: {{ $name }}-license
  secret:
    secretName: {{ . | quote }}
    items: [{key: license_token, path: license_token}]
{{- end }}
{{- if include "entitlement-sidecar.usesApi" $context }}
- name: {{ $name }}-api
  projected:
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: {{ int $values.kubernetesApi.tokenExpirationSeconds }}
      - configMap:
          name: kube-root-ca.crt
          items: [{key: ca.crt, path: ca.crt}]
      - downwardAPI:
          items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]
{{- end }}
{{- if include "entitlement-sidecar.counts" $context }}
- name: {{ $name }}-counts
  projected:
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: {{ int $values.kubernetesApi.tokenExpirationSeconds }}
      - configMap:
          name: kube-root-ca.crt
          items: [{key: ca.crt, path: ca.crt}]
{{- end }}
{{- with $values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* podAnnotations also takes "skipContainers", the pod's other containers: IRSA's webhook then leaves the metering
role out of them. */}}
{{- define "entitlement-sidecar.podAnnotations" -}}
{{- include "entitlement-sidecar.checked" (list . "podAnnotations") -}}
{{- $values := .context.Values -}}
{{- $name := include "entitlement-sidecar.containerName" .context -}}
{{- if $values.enabled -}}
{{- if $values.safeToEvictLocalVolumes }}
cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes: "{{ if not $values.state.existingVolume }}{{ $name }}-state,{{ end }}{{ $name }}-tmp{{ if include "entitlement-sidecar.shares" .context }},{{ $name }}-run{{ end }}"
{{- end }}
{{- with .skipContainers }}
eks.amazonaws.com/skip-containers: {{ join "," . | quote }}
{{- end }}
{{- if eq $values.mesh "istio" }}
{{- if not $values.freePorts }}
traffic.sidecar.istio.io/excludeInboundPorts: {{ int $values.probePort | quote }}
{{- end }}
{{- with $values.meshSkipOutboundPorts }}
traffic.sidecar.istio.io/excludeOutboundPorts: {{ include "entitlement-sidecar.ports" . | quote }}
{{- end }}
{{- end }}
{{- if eq $values.mesh "linkerd" }}
{{- if not $values.freePorts }}
config.linkerd.io/skip-inbound-ports: {{ int $values.probePort | quote }}
{{- end }}
{{- with $values.meshSkipOutboundPorts }}
config.linkerd.io/skip-outbound-ports: {{ include "entitlement-sidecar.ports" . | quote }}
{{- end }}
{{- end }}
{{- with $values.config }}
checksum/entitlement-sidecar-config{{ include "entitlement-sidecar.suffix" $.context }}: {{ toYaml . | sha256sum }}
{{- end }}
{{- with $values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "entitlement-sidecar.ports" -}}
{{- $words := list -}}
{{- range . -}}{{- $words = append $words (int . | toString) -}}{{- end -}}
{{- join "," $words -}}
{{- end -}}

{{/* podLabels are what the PodMonitor selects by. Do not put them into a selector: those cannot change. */}}
{{- define "entitlement-sidecar.podLabels" -}}
{{- include "entitlement-sidecar.checked" (list . "podLabels") -}}
{{- $suffix := include "entitlement-sidecar.suffix" .context -}}
{{- if .context.Values.enabled -}}
entitlement-sidecar.io/part-of{{ $suffix }}: {{ include "entitlement-sidecar.partOf" .context | quote }}
entitlement-sidecar.io/workload{{ $suffix }}: {{ .workload | trunc 63 | trimSuffix "-" | quote }}
{{- with .context.Values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "entitlement-sidecar.readinessGates" -}}
{{- include "entitlement-sidecar.checked" (list . "readinessGates") -}}
{{- if and .context.Values.enabled (eq .context.Values.gateMode "readinessGate") -}}
- conditionType: entitlement-sidecar.io/entitled{{ include "entitlement-sidecar.suffix" .context }}
{{- end -}}
{{- end -}}

{{- define "entitlement-sidecar.imagePullSecrets" -}}
{{- include "entitlement-sidecar.checked" (list . "imagePullSecrets") -}}
{{- if .context.Values.enabled -}}
{{- range $index, $name := include "entitlement-sidecar.pullSecrets" .context | fromJsonArray -}}
{{- if $index }}
{{ end -}}
- name: {{ $name | quote }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* terminationGracePeriodSeconds: the product's time (its own "appGraceSeconds", or the value), the final flush, and
five seconds to end in. Without the sidecar it is the product's time alone. */}}
{{- define "entitlement-sidecar.terminationGracePeriodSeconds" -}}
{{- include "entitlement-sidecar.checked" (list . "terminationGracePeriodSeconds") -}}
{{- if .context.Values.enabled -}}
{{- include "entitlement-sidecar.graceSeconds" . -}}
{{- else -}}
{{- include "entitlement-sidecar.appGraceSeconds" . -}}
{{- end -}}
{{- end -}}

{{- define "entitlement-sidecar.graceSeconds" -}}
{{- add (int (include "entitlement-sidecar.appGraceSeconds" .)) (int (include "entitlement-sidecar.flushSeconds" .context)) 5 -}}
{{- end -}}

{{- define "entitlement-sidecar.appGraceSeconds" -}}
{{- int (kindIs "invalid" .appGraceSeconds | ternary .context.Values.appGraceSeconds .appGraceSeconds) -}}
{{- end -}}
