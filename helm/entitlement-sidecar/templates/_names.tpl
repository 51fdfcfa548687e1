{{/*
What is everything called? Names and labels.

Rules kept here:
- Only .Release.Name and .Release.Namespace of the release, and never the chart's own name: under an alias it is the
  alias, and the framework for EKS add-ons knows no more of a release.
- A name of ours is <release>-<name>, with the same <name> in this chart's own templates and in the parent's.
*/}}

{{/* What a helper was given, checked, and its name written down in it. Everything else starts here, and takes
(list . "<name of the helper>"). */}}
{{- define "entitlement-sidecar.checked" -}}
{{- $gate := first . -}}
{{- if not (kindIs "map" $gate) -}}
{{- fail "entitlement-sidecar: a helper takes (dict \"context\" .Subcharts.<name or alias> \"workload\" \"<name>\")" -}}
{{- end -}}
{{- if not $gate.context -}}
{{- fail "entitlement-sidecar: context is missing. Pass .Subcharts.<name or alias of the dependency>. A dependency switched off by a condition is not there: set its value enabled to false instead" -}}
{{- end -}}
{{- if not (hasKey $gate.context.Values "gateMode") -}}
{{- fail "entitlement-sidecar: context is not this subchart's. Pass .Subcharts.<name or alias of the dependency>, not the parent's own context" -}}
{{- end -}}
{{- if not $gate.workload -}}
{{- fail "entitlement-sidecar: workload is missing. Name the Deployment, StatefulSet or Job that the pod belongs to" -}}
{{- end -}}
{{- include "entitlement-sidecar.validate" $gate.context -}}
{{- $_ := set $gate "included" (append (default list $gate.included) (last .)) -}}
{{- end -}}

{{/* name: of what this chart renders, without the release. */}}
{{- define "entitlement-sidecar.name" -}}
{{- default "entitlement-sidecar" .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "entitlement-sidecar.fullname" -}}
{{- $name := include "entitlement-sidecar.name" . -}}
{{- $room := int (sub 62 (len $name)) -}}
{{- printf "%s-%s" (.Release.Name | trunc $room | trimSuffix "-") $name -}}
{{- end -}}

{{/* The labels of what this chart renders. It takes (list <context> <more labels>); a label given twice is ours first, then
that of the one object, then of extraLabels. */}}
{{- define "entitlement-sidecar.labels" -}}
{{- $context := first . -}}
{{- $ours := dict
  "app.kubernetes.io/name" (include "entitlement-sidecar.name" $context)
  "app.kubernetes.io/instance" $context.Release.Name
  "app.kubernetes.io/component" "entitlement"
  "app.kubernetes.io/version" $context.Chart.AppVersion
-}}
{{- toYaml (merge $ours (last .) $context.Values.extraLabels) -}}
{{- end -}}

{{- define "entitlement-sidecar.serviceAccountName" -}}
{{- $context := default . .context -}}
{{- if and $context.Values.enabled $context.Values.serviceAccount.create -}}
{{- default (include "entitlement-sidecar.fullname" $context) $context.Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "entitlement-sidecar.image" -}}
{{- $image := .Values.image -}}
{{- $name := $image.repository -}}
{{- if $image.registry -}}
{{- $name = printf "%s/%s" (trimSuffix "/" $image.registry) $image.repository -}}
{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}
