{{/*
What holds back the product's other workloads? An init container that waits for the metered workload's sidecar.

AWS bills every pod that asks RegisterUsage, so workloads that are not to be billed ask the one that did. It takes
(dict "context" .Subcharts.<name or alias> "workload" "<name>" "service" "<metered workload's Service>") and, where
the workload is not to wait for ever, "timeoutSeconds": it then ends with 69. Until a metered pod is Ready its Service
leads nowhere, which is waited out. It stands below the pod's annotations and pull secrets, and fails where the values
need a helper that they left out.

Without a limit it is a native sidecar that does nothing, and its startup probe asks: `kubectl describe` shows an event with
what a failed probe says, and nothing of a container that runs. With a limit, or below Kubernetes 1.29, it is an
ordinary init container that asks by itself, and describe shows its last line when it ends.
*/}}
{{- define "entitlement-sidecar.gateOnlyInitContainer" -}}
{{- include "entitlement-sidecar.checked" (list . "gateOnlyInitContainer") -}}
{{- $context := .context -}}
{{- $values := $context.Values -}}
{{- if $values.enabled -}}
{{- if not .service -}}
{{- fail (printf "entitlement-sidecar: service is missing for the gate-only workload %q. Name the metered workload's Service, which needs the port that servicePort renders" .workload) -}}
{{- end -}}
{{- if $values.freePorts -}}
{{- fail (printf "entitlement-sidecar: the gate-only workload %q asks the metered one at its probe port, but freePorts is true: that port is not known beforehand. Set freePorts to false, and probePort to a port that is free on every node" .workload) -}}
{{- end -}}
{{- include "entitlement-sidecar.complete" (list . "gateOnlyInitContainer" (include "entitlement-sidecar.needsOfGateOnly" $context)) -}}
{{- $timeout := int (kindIs "invalid" .timeoutSeconds | ternary $values.gateOnly.timeoutSeconds .timeoutSeconds) -}}
- name: entitlement-gate{{ include "entitlement-sidecar.suffix" $context }}
  image: {{ include "entitlement-sidecar.image" $context | quote }}
  imagePullPolicy: {{ $values.image.pullPolicy }}
  {{- $url := printf "http://%s:%d" .service (int $values.probePort) }}
  {{- if or $timeout (eq $values.containerMode "classic") }}
  args:
    - wait
    - --url
    - {{ $url | quote }}
    {{- if $timeout }}
    - --timeout
    - {{ $timeout | quote }}
    {{- end }}
  {{- else }}
  restartPolicy: Always
  command: [sh, -c, "trap 'exit 0' TERM; sleep infinity & wait"]
  startupProbe:
    exec:
      command: [entitlement-sidecar, wait, --timeout, "0", --url, {{ $url | quote }}]
    periodSeconds: 5
    timeoutSeconds: 10
    failureThreshold: 2147483647
  {{- end }}
  resources:
    {{- toYaml $values.resources | nindent 4 }}
  {{- include "entitlement-sidecar.securityContext" $context | nindent 2 }}
  terminationMessagePolicy: FallbackToLogsOnError
{{- end -}}
{{- end -}}

{{/* gateOnlyPodAnnotations: the way past a mesh's proxy for that container, which runs before a proxy that is no native
sidecar. Empty without a mesh. */}}
{{- define "entitlement-sidecar.gateOnlyPodAnnotations" -}}
{{- include "entitlement-sidecar.checked" (list . "gateOnlyPodAnnotations") -}}
{{- $values := .context.Values -}}
{{- if $values.enabled -}}
{{- if eq $values.mesh "istio" -}}
traffic.sidecar.istio.io/excludeOutboundPorts: {{ int $values.probePort | quote }}
{{- else if eq $values.mesh "linkerd" -}}
config.linkerd.io/skip-outbound-ports: {{ int $values.probePort | quote }}
{{- end -}}
{{- end -}}
{{- end -}}
