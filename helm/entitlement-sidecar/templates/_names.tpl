{{/*
What is everything called? Names and labels.

Rules kept here:
- Only .Release.Name and .Release.Namespace of the release: the framework for EKS add-ons knows no more of it.
- A name of ours is <release>-<name>, with the same <name> in this chart's own templates and in the parent's. It follows
  .Chart.Name, which under an alias is the alias: two products have two names.
- Two copies of this chart never render an object of the same kind and name, nor give their pods the same label.
- Under its usual names, entitlement-sidecar and the alias entitlement, what stands in a pod is called as the
  documentation calls it. Under another alias each of these names ends with that alias: two products share one pod.
*/}}

{{/* What a helper was given, checked, and its name written down in it. Everything else starts here, and takes
(list . "<name of the helper>"). */}}
{{- define "entitlement-sidecar.checked" -}}
{{- $gate := first . -}}
{{- if not (kindIs "map" $gate) -}}
{{- fail "entitlement-sidecar: a helper takes (dict \"context\" .Subcharts.<name or alias> \"workload\" \"<name>\")" -}}
{{- end -}}
{{- if not $gate.context -}}
{{- fail "entitlement-sidecar: context is missing. Pass .Subcharts.<name or alias of the dependency>, spelt as in Chart.yaml. Helm leaves it out in two more cases. An umbrella uses the parent twice, and the parent's Chart.yaml gives the dependency an alias, which Helm then finds for the first use alone: remove the alias there. Or a condition switches the dependency off: set its value enabled to false instead" -}}
{{- end -}}
{{- if not (hasKey $gate.context.Values "gateMode") -}}
{{- fail "entitlement-sidecar: context is not this subchart's. Pass .Subcharts.<name or alias of the dependency>, not the parent's own context" -}}
{{- end -}}
{{- if not $gate.workload -}}
{{- fail "entitlement-sidecar: workload is missing. Name the Deployment, StatefulSet or Job that the pod belongs to" -}}
{{- end -}}
{{- include "entitlement-sidecar.validate" $gate.context -}}
{{- $_ := set $gate "included" (append (default list $gate.included) (last .)) -}}
{{- if has (last .) (list "initContainer" "classicContainer" "gateOnlyInitContainer") -}}
{{- include "entitlement-sidecar.note" (list $gate.context "in a pod") -}}
{{- end -}}
{{- end -}}

{{/* copy: the path of this copy of the chart in what is installed; empty where none of its templates was rendered. */}}
{{- define "entitlement-sidecar.copy" -}}
{{- with .Template -}}{{- trimSuffix "/templates" .BasePath -}}{{- end -}}
{{- end -}}

{{/* name: of what this chart renders, without the release. Where Kubernetes would not take it, a hash keeps it apart from
others that look alike. */}}
{{- define "entitlement-sidecar.name" -}}
{{- if .Values.nameOverride -}}
{{- .Values.nameOverride -}}
{{- else -}}
{{- $whole := printf "%s-%s" .Values.namePrefix .Chart.Name | trimPrefix "-" -}}
{{- include "entitlement-sidecar.slug" (list $whole 40) -}}
{{- end -}}
{{- end -}}

{{/* slug: a name as Kubernetes takes it. It takes (list "<name>" <characters at most>). */}}
{{- define "entitlement-sidecar.slug" -}}
{{- $whole := first . -}}
{{- $most := int (last .) -}}
{{- $name := regexReplaceAll "[^a-z0-9]+" (lower $whole) "-" | trimAll "-" -}}
{{- if or (ne $name $whole) (gt (len $name) $most) -}}
{{- $name = printf "%s-%s" (trunc (int (sub $most 7)) $name | trimSuffix "-") (sha256sum $whole | trunc 6) | trimPrefix "-" -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/* suffix: what the names in a pod end with, -<alias>, or nothing. */}}
{{- define "entitlement-sidecar.suffix" -}}
{{- if not (has .Chart.Name (list "entitlement" "entitlement-sidecar")) -}}
-{{ include "entitlement-sidecar.slug" (list .Chart.Name 36) }}
{{- end -}}
{{- end -}}

{{/* containerName: of our container, and what the names of its volumes begin with. */}}
{{- define "entitlement-sidecar.containerName" -}}
entitlement-sidecar{{ include "entitlement-sidecar.suffix" . }}
{{- end -}}

{{/* portName: of the probe port; Kubernetes takes 15 characters. */}}
{{- define "entitlement-sidecar.portName" -}}
{{- if include "entitlement-sidecar.suffix" . -}}
ent-{{ include "entitlement-sidecar.slug" (list .Chart.Name 11) }}
{{- else -}}
entitlement
{{- end -}}
{{- end -}}

{{/* claim fails where two copies of this chart in one release take the same name. Every template that renders an object
includes it with (list <context> "<kind>" "<the object's own name>" "<value that names it>"): two names that differ may
end as one, with a suffix. What Helm says of the release is the one map that all its charts share, and keeps who took
what; AWS's check of add-ons refuses to read its name here. A copy none of whose templates was rendered has no path, and
nothing is compared: helm-unittest can leave them out. */}}
{{- define "entitlement-sidecar.claim" -}}
{{- $context := index . 0 -}}
{{- if $context.Template -}}
{{- $copy := include "entitlement-sidecar.copy" $context -}}
{{- $shared := get $context (printf "Rel%s" "ease") -}}
{{- $taken := default dict (get $shared "entitlementSidecarNames") -}}
{{- $key := printf "%s %s" (index . 1) (index . 2) -}}
{{- if ne $copy (get $taken $key | default $copy) -}}
{{- $values := $copy | splitList "/charts/" | rest | join "." -}}
{{- fail (printf "entitlement-sidecar: %s and %s are two copies of this chart in one release, and both name their %s %q. Set %s.%s to another name" (get $taken $key) $copy (index . 1) (index . 2) $values (index . 3)) -}}
{{- end -}}
{{- $_ := set $taken $key $copy -}}
{{- $_ := set $shared "entitlementSidecarNames" $taken -}}
{{- end -}}
{{- end -}}

{{- define "entitlement-sidecar.fullname" -}}
{{- $name := include "entitlement-sidecar.name" . -}}
{{- $room := int (sub 62 (len $name)) -}}
{{- printf "%s-%s" (.Release.Name | trunc $room | trimSuffix "-") $name -}}
{{- end -}}

{{/* partOf: the label by which the pods of this copy are found, and a PodMonitor selects them. */}}
{{- define "entitlement-sidecar.partOf" -}}
{{- $fullname := include "entitlement-sidecar.fullname" . -}}
{{- include "entitlement-sidecar.claim" (list . "pods' part-of label" $fullname "nameOverride") -}}
{{- $fullname -}}
{{- end -}}

{{/* dashboardUid: at most 40 characters, as Grafana wants it. One Grafana reads the dashboards of all namespaces, so the hash
is of both. */}}
{{- define "entitlement-sidecar.dashboardUid" -}}
{{- $fullname := include "entitlement-sidecar.fullname" . -}}
{{- $hash := printf "%s/%s" .Release.Namespace $fullname | sha256sum | trunc 6 -}}
{{- printf "%s-%s" (trunc 33 $fullname | trimSuffix "-") $hash -}}
{{- end -}}

{{/* The labels of what this chart renders. It takes (list <context> <more labels>); a label given twice is ours first, then
that of the one object, then of commonLabels, then of extraLabels. */}}
{{- define "entitlement-sidecar.labels" -}}
{{- $context := first . -}}
{{- $ours := dict
  "app.kubernetes.io/name" (include "entitlement-sidecar.name" $context)
  "app.kubernetes.io/instance" $context.Release.Name
  "app.kubernetes.io/component" "entitlement"
  "app.kubernetes.io/version" $context.Chart.AppVersion
-}}
{{- toYaml (merge $ours (last .) $context.Values.commonLabels $context.Values.extraLabels) -}}
{{- end -}}

{{- define "entitlement-sidecar.serviceAccountName" -}}
{{- $context := default . .context -}}
{{- if and $context.Values.enabled $context.Values.serviceAccount.create -}}
{{- default (include "entitlement-sidecar.fullname" $context) $context.Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* global.imageRegistry takes precedence, as in the field's charts: it is how a customer names a mirror for all of them. */}}
{{- define "entitlement-sidecar.image" -}}
{{- $image := .Values.image -}}
{{- $name := $image.repository -}}
{{- $registry := default $image.registry (default dict .Values.global).imageRegistry -}}
{{- if $registry -}}
{{- $name = printf "%s/%s" (trimSuffix "/" $registry) $image.repository -}}
{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The names of pull secrets, ours and those of global.imagePullSecrets (names, or objects with a name), as JSON. */}}
{{- define "entitlement-sidecar.pullSecrets" -}}
{{- $names := list -}}
{{- range concat (default list (default dict .Values.global).imagePullSecrets) .Values.imagePullSecrets -}}
{{- if kindIs "map" . -}}{{- $names = append $names .name -}}{{- else -}}{{- $names = append $names . -}}{{- end -}}
{{- end -}}
{{- toJson (uniq $names) -}}
{{- end -}}

{{/* Of objects of the cluster: with the namespace, so that two releases of one name share none. */}}
{{- define "entitlement-sidecar.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "entitlement-sidecar.fullname" .) -}}
{{- end -}}
