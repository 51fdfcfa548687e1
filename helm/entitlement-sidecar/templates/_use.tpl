{{/*
Is there a gate at all? A parent that asks for .Subcharts of another name inside `with` or `if` renders none, and values under
such a name change nothing; Helm says neither.

Helm renders a chart's templates before those of its parent, and NOTES.txt last among them. So each copy writes down that it was
rendered and that a pod has it, and the parent's notes compare.
*/}}

{{/* note writes down what became of a copy, in the one map that all charts of a release share. It takes
(list <context> "<what>"). */}}
{{- define "entitlement-sidecar.note" -}}
{{- with include "entitlement-sidecar.copy" (first .) -}}
{{- $shared := get (first $) (printf "Rel%s" "ease") -}}
{{- $seen := default dict (get $shared "entitlementSidecarSeen") -}}
{{- $_ := set $seen (printf "%s %s" . (last $)) true -}}
{{- $_ := set $shared "entitlementSidecarSeen" $seen -}}
{{- end -}}
{{- end -}}

{{/* used fails where a copy is in no pod, or values are under a name that no dependency has. It takes the parent's
context, in its NOTES.txt. */}}
{{- define "entitlement-sidecar.used" -}}
{{- $seen := default dict (get (get . (printf "Rel%s" "ease")) "entitlementSidecarSeen") -}}
{{- $names := list -}}
{{- range $name, $sub := .Subcharts -}}
{{- if and (hasKey $sub.Values "gateMode") (hasKey $sub.Values "waitCommand") -}}
{{- $names = append $names $name -}}
{{- $copy := include "entitlement-sidecar.copy" $sub -}}
{{- if and $sub.Values.enabled (hasKey $seen (printf "%s rendered" $copy)) (not (hasKey $seen (printf "%s in a pod" $copy))) -}}
{{- fail (printf "entitlement-sidecar: no pod has the sidecar of the dependency %s, so that nothing is gated. Hand a pod to entitlement-sidecar.pod with \"context\" (index .Subcharts %q); look for `with` or `if` around another name of .Subcharts. Where no workload is to be gated, set %s.enabled to false" $name $name $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $distinctive := list "containerMode" "gateMode" "gateOnly" "onDenied" "onMeteringOverdue" "productCode" "safeToEvictLocalVolumes" "probePort" -}}
{{- range $key, $value := .Values -}}
{{- if and (kindIs "map" $value) (not (hasKey $.Subcharts $key)) -}}
{{- range $one := keys $value | sortAlpha -}}
{{- if has $one $distinctive -}}
{{- fail (printf "entitlement-sidecar: the values have %s.%s, but no dependency of that name is loaded, so that they change nothing. The sidecar's names are: %s. Write one of these, or correct the alias in Chart.yaml" $key $one (join ", " $names | default "none")) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
