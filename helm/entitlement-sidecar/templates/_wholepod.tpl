{{/*
How does a pod get all of it at once? One helper takes a whole pod template and returns it with the sidecar in it.

It takes (dict "context" .Subcharts.<name or alias> "pod" (include "<the parent's pod>" . | fromYaml)), and where the
defaults do not fit:
- "containers": the names of the containers that the gate is for (default: all of the pod's). "workload": the name of the
  workload (default: the first of them);
- "service": the metered workload's Service. The pod then waits for that workload and is not metered itself;
  "timeoutSeconds" limits the wait;
- "skipContainers": as podAnnotations takes it; "after": names of init containers that stay before ours.

Rules kept here:
- The same helpers render it that a parent can include one by one.
- What the pod has stays. Where the sidecar needs something else under the same name, this fails and names both.
- Annotations that are lists of ports, containers or volumes are joined.
- The pod's own grace counts as the product's: ours is added to it.
*/}}

{{- define "entitlement-sidecar.pod" -}}
{{- if not (kindIs "map" .) -}}
{{- fail "entitlement-sidecar: pod takes (dict \"context\" .Subcharts.<name or alias> \"pod\" (include \"<your pod>\" . | fromYaml))" -}}
{{- end -}}
{{- include "entitlement-sidecar.podArguments" . -}}
{{- $pod := deepCopy .pod -}}
{{- $names := list -}}
{{- $others := include "entitlement-sidecar.otherSidecars" $pod | fromJsonArray -}}
{{- range $pod.spec.containers -}}
{{- if not (has .name $others) -}}{{- $names = append $names .name -}}{{- end -}}
{{- end -}}
{{- $gated := default $names .containers -}}
{{- range $gated -}}
{{- if not (has . $names) -}}
{{- fail (printf "entitlement-sidecar: containers has %q, which the pod has not. It has %s" . (join ", " $names)) -}}
{{- end -}}
{{- end -}}
{{- $gate := merge (dict "workload" (default (first $gated) .workload)) (omit . "pod" "containers" "after") -}}
{{- include "entitlement-sidecar.checked" (list $gate "pod") -}}
{{- if .context.Values.enabled -}}
{{- if .service -}}
{{- include "entitlement-sidecar.podWaits" (list $gate $pod .after) -}}
{{- else -}}
{{- include "entitlement-sidecar.podMetered" (list $gate $pod .after $gated) -}}
{{- end -}}
{{- end -}}
{{- toYaml $pod -}}
{{- end -}}

{{- define "entitlement-sidecar.podArguments" -}}
{{- $known := list "context" "pod" "workload" "containers" "service" "timeoutSeconds" "skipContainers" "after" -}}
{{- range $key := keys . -}}
{{- if not (has $key $known) -}}
{{- fail (printf "entitlement-sidecar: pod does not take %q. It takes %s" $key (join ", " $known)) -}}
{{- end -}}
{{- end -}}
{{- if not (kindIs "map" .pod) -}}
{{- fail "entitlement-sidecar: pod is not what a pod template has: a map of metadata and spec. Pass (include \"<your pod>\" . | fromYaml)" -}}
{{- end -}}
{{- if and (hasKey .pod "Error") (not (hasKey .pod "spec")) -}}
{{- fail (printf "entitlement-sidecar: pod cannot be read as YAML: %s" .pod.Error) -}}
{{- end -}}
{{- if or (not (kindIs "map" .pod.spec)) (not (dig "spec" "containers" "" .pod)) -}}
{{- fail "entitlement-sidecar: pod has no spec with containers. Pass all that stands below `template:`, metadata and spec" -}}
{{- end -}}
{{- range $key, $kind := dict "containers" "slice" "skipContainers" "slice" "after" "slice" "workload" "string" "service" "string" -}}
{{- if and (hasKey $ $key) (not (kindIs $kind (get $ $key))) -}}
{{- fail (printf "entitlement-sidecar: %s is %v. It is %s" $key (get $ $key) (eq $kind "slice" | ternary "a list of names, as in (list \"api\")" "one name")) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The pod that is metered. It takes (list <gate> <pod> <after> <gated>) and changes the pod. */}}
{{- define "entitlement-sidecar.podMetered" -}}
{{- $gate := index . 0 -}}
{{- $pod := index . 1 -}}
{{- $gated := index . 3 -}}
{{- $spec := $pod.spec -}}
{{- include "entitlement-sidecar.portsFree" (list $gate $spec) -}}
{{- if hasKey $spec "terminationGracePeriodSeconds" -}}
{{- $_ := set $gate "appGraceSeconds" $spec.terminationGracePeriodSeconds -}}
{{- end -}}
{{- include "entitlement-sidecar.joinMap" (list $gate $pod "labels" (include "entitlement-sidecar.podLabels" $gate | fromYaml)) -}}
{{- include "entitlement-sidecar.joinMap" (list $gate $pod "annotations" (include "entitlement-sidecar.podAnnotations" $gate | fromYaml)) -}}
{{- $_ := set $spec "terminationGracePeriodSeconds" (include "entitlement-sidecar.terminationGracePeriodSeconds" $gate | int) -}}
{{- include "entitlement-sidecar.joinAccount" (list $gate $spec) -}}
{{- include "entitlement-sidecar.joinEqual" (list $spec "readinessGates" "conditionType" (include "entitlement-sidecar.readinessGates" $gate | fromYamlArray)) -}}
{{- include "entitlement-sidecar.joinEqual" (list $spec "imagePullSecrets" "name" (include "entitlement-sidecar.imagePullSecrets" $gate | fromYamlArray)) -}}
{{- include "entitlement-sidecar.joinInit" (list $gate $spec (index . 2) (include "entitlement-sidecar.initContainer" $gate | fromYamlArray)) -}}
{{- include "entitlement-sidecar.joinWait" (list $gate $spec (index . 3)) -}}
{{- include "entitlement-sidecar.joinProduct" (list $gate $spec (index . 3)) -}}
{{- include "entitlement-sidecar.joinNew" (list $gate $spec "containers" "name" (include "entitlement-sidecar.classicContainer" $gate | fromYamlArray)) -}}
{{- include "entitlement-sidecar.joinNew" (list $gate $spec "volumes" "name" (include "entitlement-sidecar.volumes" $gate | fromYamlArray)) -}}
{{- end -}}

{{/* The pod that waits for another workload's. It takes (list <gate> <pod> <after>) and changes the pod. */}}
{{- define "entitlement-sidecar.podWaits" -}}
{{- $gate := index . 0 -}}
{{- $pod := index . 1 -}}
{{- include "entitlement-sidecar.joinMap" (list $gate $pod "annotations" (include "entitlement-sidecar.gateOnlyPodAnnotations" $gate | fromYaml)) -}}
{{- include "entitlement-sidecar.joinEqual" (list $pod.spec "imagePullSecrets" "name" (include "entitlement-sidecar.imagePullSecrets" $gate | fromYamlArray)) -}}
{{- include "entitlement-sidecar.joinInit" (list $gate $pod.spec (index . 2) (include "entitlement-sidecar.gateOnlyInitContainer" $gate | fromYamlArray)) -}}
{{- end -}}

{{/* The product's command line, behind what waits; and where that asks. It takes (list <gate> <spec> <gated>). */}}
{{- define "entitlement-sidecar.joinWait" -}}
{{- $gate := index . 0 -}}
{{- $gated := index . 2 -}}
{{- if include "entitlement-sidecar.productWaits" $gate.context -}}
{{- range $one := (index . 1).containers -}}
{{- if has $one.name $gated -}}
{{- $_ := set $gate "command" (default list $one.command) -}}
{{- $_ := set $one "command" (include "entitlement-sidecar.waitCommand" $gate | fromJsonArray) -}}
{{- include "entitlement-sidecar.joinNew" (list $gate $one "env" "name" (include "entitlement-sidecar.waitEnv" $gate | fromYamlArray)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What the product's containers need to report usage. It takes (list <gate> <spec> <gated>). */}}
{{- define "entitlement-sidecar.joinProduct" -}}
{{- $gate := index . 0 -}}
{{- $gated := index . 2 -}}
{{- $env := include "entitlement-sidecar.productEnv" $gate | fromYamlArray -}}
{{- $mounts := include "entitlement-sidecar.productMounts" $gate | fromYamlArray -}}
{{- range $one := (index . 1).containers -}}
{{- if has $one.name $gated -}}
{{- include "entitlement-sidecar.joinNew" (list $gate $one "env" "name" $env) -}}
{{- include "entitlement-sidecar.joinNew" (list $gate $one "volumeMounts" "mountPath" $mounts) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* otherSidecars: the names of the sidecars that the pod has already, by their labels, as JSON. */}}
{{- define "entitlement-sidecar.otherSidecars" -}}
{{- $names := list -}}
{{- range $key, $_ := dig "labels" dict (default dict .metadata) | default dict -}}
{{- if regexMatch "^entitlement-sidecar[.]io/part-of(-|$)" $key -}}
{{- $names = append $names (replace ".io/part-of" "" $key) -}}
{{- end -}}
{{- end -}}
{{- toJson $names -}}
{{- end -}}

{{/* portsFree fails where another container of the pod has one of our ports: the second to listen would restart without
end. It takes (list <gate> <spec>). */}}
{{- define "entitlement-sidecar.portsFree" -}}
{{- $gate := index . 0 -}}
{{- $spec := index . 1 -}}
{{- $ours := list -}}
{{- range include "entitlement-sidecar.listenPorts" $gate.context | fromYamlArray -}}{{- $ours = append $ours (int .containerPort) -}}{{- end -}}
{{- range $one := concat (default list $spec.initContainers) $spec.containers -}}
{{- range $one.ports -}}
{{- if has (int .containerPort) $ours -}}
{{- fail (printf "entitlement-sidecar: container %q of the pod of workload %q has port %d, and so has %s. Set its value probePort to a port with a free one above it, as %d: apiPort follows" $one.name $gate.workload (int .containerPort) (include "entitlement-sidecar.containerName" $gate.context) (add (int $gate.context.Values.probePort) 2)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Ours goes before the pod's init containers, but after those that give the pod its network. It takes
(list <gate> <spec> <after> <ours>). */}}
{{- define "entitlement-sidecar.joinInit" -}}
{{- $gate := index . 0 -}}
{{- $spec := index . 1 -}}
{{- $network := concat (list "istio-init" "istio-validation" "istio-proxy" "linkerd-init" "linkerd-network-validator" "linkerd-proxy") (default list (index . 2)) -}}
{{- $given := default list $spec.initContainers -}}
{{- $before := list -}}
{{- $behind := list -}}
{{- range $given -}}
{{- if and (not $behind) (has .name $network) -}}{{- $before = append $before . -}}{{- else -}}{{- $behind = append $behind . -}}{{- end -}}
{{- end -}}
{{- range $behind -}}
{{- if has .name $network -}}
{{- fail (printf "entitlement-sidecar: init container %q of workload %q gives the pod its network, and stands below %q. Put it first: ours, which asks AWS, goes between them" .name $gate.workload (first $behind).name) -}}
{{- end -}}
{{- end -}}
{{- $both := dict "initContainers" $given -}}
{{- include "entitlement-sidecar.joinNew" (list $gate $both "initContainers" "name" (index . 3)) -}}
{{- if index . 3 -}}
{{- $_ := set $spec "initContainers" (concat $before (index . 3) $behind) -}}
{{- end -}}
{{- end -}}

{{/* A pod has one service account: ours, where the chart renders it. It takes (list <gate> <spec>). */}}
{{- define "entitlement-sidecar.joinAccount" -}}
{{- $gate := index . 0 -}}
{{- $spec := index . 1 -}}
{{- with include "entitlement-sidecar.serviceAccountName" $gate -}}
{{- if and $spec.serviceAccountName (ne $spec.serviceAccountName .) -}}
{{- fail (printf "entitlement-sidecar: the pod of workload %q runs as service account %q, and serviceAccount.create renders %q. Remove serviceAccountName from the pod; or set serviceAccount.create to false, and annotate %q with eks.amazonaws.com/role-arn" $gate.workload $spec.serviceAccountName . $spec.serviceAccountName) -}}
{{- end -}}
{{- $_ := set $spec "serviceAccountName" . -}}
{{- end -}}
{{- end -}}

{{/* Labels or annotations. It takes (list <gate> <pod> "<field of metadata>" <ours>). */}}
{{- define "entitlement-sidecar.joinMap" -}}
{{- $gate := index . 0 -}}
{{- $pod := index . 1 -}}
{{- $field := index . 2 -}}
{{- $lists := list "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes" "eks.amazonaws.com/skip-containers" "traffic.sidecar.istio.io/excludeInboundPorts" "traffic.sidecar.istio.io/excludeOutboundPorts" "config.linkerd.io/skip-inbound-ports" "config.linkerd.io/skip-outbound-ports" -}}
{{- $metadata := default dict $pod.metadata -}}
{{- $given := default dict (get $metadata $field) -}}
{{- range $key, $ours := index . 3 -}}
{{- $theirs := get $given $key | toString -}}
{{- if not $theirs -}}
{{- $_ := set $given $key $ours -}}
{{- else if has $key $lists -}}
{{- $words := list -}}
{{- range concat (splitList "," $theirs) (splitList "," $ours) -}}{{- $words = append $words (trim .) -}}{{- end -}}
{{- $_ := set $given $key ($words | uniq | join ",") -}}
{{- else if ne $theirs $ours -}}
{{- fail (printf "entitlement-sidecar: the pod of workload %q has %s %s: %q, and the sidecar needs %q. Remove it from the pod" $gate.workload $field $key $theirs $ours) -}}
{{- end -}}
{{- end -}}
{{- if $given -}}
{{- $_ := set $metadata $field $given -}}
{{- $_ := set $pod "metadata" $metadata -}}
{{- end -}}
{{- end -}}

{{/* Entries that are new by their name, behind those that are there. It takes
(list <gate> <owner> "<field>" "<key>" <ours>). */}}
{{- define "entitlement-sidecar.joinNew" -}}
{{- $gate := index . 0 -}}
{{- $owner := index . 1 -}}
{{- $field := index . 2 -}}
{{- $key := index . 3 -}}
{{- $entries := default list (get $owner $field) -}}
{{- $names := list -}}
{{- range $entries -}}{{- $names = append $names (get . $key) -}}{{- end -}}
{{- range index . 4 -}}
{{- if has (get . $key) $names -}}
{{- fail (printf "entitlement-sidecar: the pod of workload %q has %q among its %s, and so has the sidecar. Rename the pod's" $gate.workload (get . $key) $field) -}}
{{- end -}}
{{- $entries = append $entries . -}}
{{- end -}}
{{- if $entries -}}{{- $_ := set $owner $field $entries -}}{{- end -}}
{{- end -}}

{{/* Entries that say no more than their name; one that is there already is enough. It takes
(list <owner> "<field>" "<key>" <ours>). */}}
{{- define "entitlement-sidecar.joinEqual" -}}
{{- $owner := index . 0 -}}
{{- $entries := default list (get $owner (index . 1)) -}}
{{- range index . 3 -}}
{{- if not (has . $entries) -}}{{- $entries = append $entries . -}}{{- end -}}
{{- end -}}
{{- if $entries -}}{{- $_ := set $owner (index . 1) $entries -}}{{- end -}}
{{- end -}}
