{{/*
What does a person do next? The text for a parent's NOTES.txt.

Helm shows the notes of the chart that is installed, and of no dependency. So the parent's has
{{ include "entitlement-sidecar.notes" (dict "context" .Subcharts.<name or alias> "parent" .) }}. It installs and tests
nothing by itself: AWS refuses hooks, and with them `helm test`. With "parent" it fails where no pod has the sidecar.
*/}}

{{- define "entitlement-sidecar.notes" -}}
{{- $gate := merge (dict "workload" "notes") . -}}
{{- include "entitlement-sidecar.checked" (list $gate "notes") -}}
{{- with .parent -}}{{- include "entitlement-sidecar.used" . -}}{{- end -}}
{{- $values := .context.Values -}}
{{- if not $values.enabled -}}
AWS Marketplace entitlement: switched off by the value enabled, so that nothing is gated and nothing is metered.
{{- else -}}
{{- $found := printf "pods --namespace %s --selector entitlement-sidecar.io/part-of%s=%s" .context.Release.Namespace (include "entitlement-sidecar.suffix" .context) (include "entitlement-sidecar.fullname" .context) -}}
AWS Marketplace entitlement: {{ eq $values.gateMode "startup" | ternary "the product starts" "pods are Ready" }} once AWS confirms the subscription.

  Which pods wait:
    kubectl get {{ $found }}
  For what they wait:
    kubectl describe {{ $found }}
  What fails, and how to mend it (registers and bills nothing):
    kubectl exec --namespace {{ .context.Release.Namespace }} "$(kubectl get {{ $found }} --field-selector status.phase!=Succeeded,status.phase!=Failed --output name | head -n 1)" --container {{ include "entitlement-sidecar.containerName" .context }} -- entitlement-sidecar doctor
{{- end -}}
{{- end -}}
