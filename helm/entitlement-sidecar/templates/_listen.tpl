{{/*
Where does our container listen, and how do the others of the pod find it?

Rules kept here:
- The two ports move together: apiPort is the one above probePort, where it is not set.
- Ports that are known are declared, so that the scheduler keeps two pods with hostNetwork from sharing a node. Free
  ports are not known beforehand: none is declared, every probe is a command, and no other machine reaches one.
- What the containers share, a socket or the file that names the free ports, is in one volume, which the product mounts
  read-only.
- Under an alias the product's variables begin with that alias: two products share one container.
*/}}

{{- define "entitlement-sidecar.apiPort" -}}
{{- kindIs "invalid" .Values.apiPort | ternary (add (int .Values.probePort) 1) .Values.apiPort | int -}}
{{- end -}}

{{/* listenPorts: the entries of our container's ports. The port of the product's listener has no name: a Service
cannot lead to it. */}}
{{- define "entitlement-sidecar.listenPorts" -}}
{{- if not .Values.freePorts -}}
- name: {{ include "entitlement-sidecar.portName" . }}
  containerPort: {{ int .Values.probePort }}
  protocol: TCP
{{- if not .Values.apiSocket.enabled }}
- containerPort: {{ include "entitlement-sidecar.apiPort" . }}
  protocol: TCP
{{- end }}
{{- end -}}
{{- end -}}

{{/* Whether the containers share a volume: "true" or "". */}}
{{- define "entitlement-sidecar.shares" -}}
{{- if and .Values.enabled (or .Values.freePorts .Values.apiSocket.enabled) -}}true{{- end -}}
{{- end -}}

{{- define "entitlement-sidecar.runDirectory" -}}
/var/run/{{ include "entitlement-sidecar.containerName" . }}
{{- end -}}

{{- define "entitlement-sidecar.probeBind" -}}
{{- if .Values.freePorts -}}
127.0.0.1:0
{{- else if ne (int .Values.probePort) 8484 -}}
:{{ int .Values.probePort }}
{{- end -}}
{{- end -}}

{{- define "entitlement-sidecar.apiBind" -}}
{{- if .Values.apiSocket.enabled -}}
unix:{{ include "entitlement-sidecar.runDirectory" . }}/api.sock
{{- else if .Values.freePorts -}}
127.0.0.1:0
{{- else if ne (include "entitlement-sidecar.apiPort" .) "8485" -}}
127.0.0.1:{{ include "entitlement-sidecar.apiPort" . }}
{{- end -}}
{{- end -}}

{{- define "entitlement-sidecar.addressFile" -}}
{{- if and .Values.freePorts (not .Values.apiSocket.enabled) -}}
{{ include "entitlement-sidecar.runDirectory" . }}/addresses.json
{{- end -}}
{{- end -}}

{{/* listenEnv: the variables of our own container, as a map of names to values. */}}
{{- define "entitlement-sidecar.listenEnv" -}}
{{- $env := dict
  "SIDECAR_PROBE_BIND" (include "entitlement-sidecar.probeBind" .)
  "SIDECAR_API_BIND" (include "entitlement-sidecar.apiBind" .)
  "SIDECAR_ADDRESS_FILE" (include "entitlement-sidecar.addressFile" .)
-}}
{{- if .Values.apiSocket.enabled -}}
{{- $_ := set $env "SIDECAR_API_SOCKET_MODE" .Values.apiSocket.mode -}}
{{- $_ := set $env "SIDECAR_API_SOCKET_GROUP" .Values.apiSocket.group -}}
{{- end -}}
{{- include "entitlement-sidecar.envEntries" $env -}}
{{- end -}}

{{- define "entitlement-sidecar.envEntries" -}}
{{- $entries := list -}}
{{- range $name, $value := . -}}
{{- if $value -}}{{- $entries = append $entries (dict "name" $name "value" (toString $value)) -}}{{- end -}}
{{- end -}}
{{- with $entries -}}{{- toYaml . -}}{{- end -}}
{{- end -}}

{{/* productPrefix: what the names of the product's variables begin with: nothing, or the alias. A variable that begins
with a digit is none to a shell, nor to Kubernetes before 1.32. */}}
{{- define "entitlement-sidecar.productPrefix" -}}
{{- with include "entitlement-sidecar.suffix" . -}}
{{ regexMatch "^-[0-9]" . | ternary "_" "" }}{{ trimPrefix "-" . | upper | replace "-" "_" }}_
{{- end -}}
{{- end -}}

{{/* productEnv: entries of the env of a container that reports usage or waits: where the product's listener is. None while
its port is the usual one. */}}
{{- define "entitlement-sidecar.productEnv" -}}
{{- include "entitlement-sidecar.checked" (list . "productEnv") -}}
{{- if .context.Values.enabled -}}
{{- $prefix := include "entitlement-sidecar.productPrefix" .context -}}
{{- $file := include "entitlement-sidecar.addressFile" .context -}}
{{- $bind := $file | empty | ternary (include "entitlement-sidecar.apiBind" .context) "" -}}
{{- include "entitlement-sidecar.envEntries" (dict (print $prefix "SIDECAR_ADDRESS_FILE") $file (print $prefix "SIDECAR_API_BIND") $bind) -}}
{{- end -}}
{{- end -}}

{{/* productMounts: entries of that container's volumeMounts. None while ports are known and there is no socket. */}}
{{- define "entitlement-sidecar.productMounts" -}}
{{- include "entitlement-sidecar.checked" (list . "productMounts") -}}
{{- if include "entitlement-sidecar.shares" .context -}}
- name: {{ include "entitlement-sidecar.containerName" .context }}-run
  mountPath: {{ include "entitlement-sidecar.runDirectory" .context }}
  readOnly: true
{{- end -}}
{{- end -}}

{{/* gateUrl: where a waiting command asks, under an alias. */}}
{{- define "entitlement-sidecar.gateUrl" -}}
{{- if .Values.apiSocket.enabled -}}
{{- include "entitlement-sidecar.apiBind" . -}}
{{- else -}}
http://localhost:{{ int .Values.probePort }}
{{- end -}}
{{- end -}}

{{/* servicePort: one more port for the metered workload's Service, where gate-only workloads ask. By number: whether a
name is looked up among init containers depends on the cluster's version. */}}
{{- define "entitlement-sidecar.servicePort" -}}
{{- include "entitlement-sidecar.checked" (list . "servicePort") -}}
{{- if and .context.Values.enabled (not .context.Values.freePorts) -}}
- name: {{ include "entitlement-sidecar.portName" .context }}
  port: {{ int .context.Values.probePort }}
  targetPort: {{ int .context.Values.probePort }}
  protocol: TCP
{{- end -}}
{{- end -}}

{{- define "entitlement-sidecar.validateListeners" -}}
{{- $values := .Values -}}
{{- $api := int (include "entitlement-sidecar.apiPort" .) -}}
{{- if eq (int $values.probePort) $api -}}
{{- fail (printf "entitlement-sidecar: probePort and apiPort are both %d. Give each a port of its own" $api) -}}
{{- end -}}
{{- if gt $api 65535 -}}
{{- fail (printf "entitlement-sidecar: probePort is %d, and apiPort, the one above it, is no port. Set probePort to 65534 or less, or apiPort too" (int $values.probePort)) -}}
{{- end -}}
{{- if and $values.freePorts (ne (int $values.probePort) 8484) -}}
{{- fail (printf "entitlement-sidecar: probePort is %d, but freePorts is true, which takes whatever port is free. Remove one of the two" (int $values.probePort)) -}}
{{- end -}}
{{- if and (or $values.freePorts $values.apiSocket.enabled) (not (kindIs "invalid" $values.apiPort)) -}}
{{- fail (printf "entitlement-sidecar: apiPort is %d, but with %s there is no such port. Remove one of the two" $api ($values.apiSocket.enabled | ternary "apiSocket.enabled" "freePorts")) -}}
{{- end -}}
{{- if and $values.freePorts $values.podMonitor.enabled -}}
{{- fail "entitlement-sidecar: podMonitor.enabled and freePorts are both true, but Prometheus cannot know a free port. Set freePorts to false and probePort to a port that is free on every node, or podMonitor.enabled to false" -}}
{{- end -}}
{{- if include "entitlement-sidecar.suffix" . -}}
{{- if include "entitlement-sidecar.productWaits" . -}}
{{- include "entitlement-sidecar.validateAliasWaits" . -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A command that waits for this sidecar and not for another one of the pod says where it asks. */}}
{{- define "entitlement-sidecar.validateAliasWaits" -}}
{{- if include "entitlement-sidecar.addressFile" . -}}
{{- fail (printf "entitlement-sidecar: containerMode is classic, and the dependency has the alias %s, with freePorts and no socket: a waiting command could not tell this sidecar from another one in the pod. Set apiSocket.enabled to true" .Chart.Name) -}}
{{- end -}}
{{- $default := list "entitlement-sidecar" "exec" "--" -}}
{{- $needle := .Values.apiSocket.enabled | ternary (include "entitlement-sidecar.runDirectory" .) (int .Values.probePort | toString) -}}
{{- if and (ne (toJson .Values.waitCommand) (toJson $default)) (not (contains $needle (toJson .Values.waitCommand))) -}}
{{- fail (printf "entitlement-sidecar: waitCommand of the dependency with the alias %s does not name %s, where this sidecar is asked: it might wait for another one of the pod. Write %s into it" .Chart.Name $needle (include "entitlement-sidecar.gateUrl" .)) -}}
{{- end -}}
{{- end -}}
