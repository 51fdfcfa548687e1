{{/*
Which of the sidecar's values cannot work for pods of other namespaces? They are refused, with the remedy.

Injected pods are never in the injector's own namespace, and each is as its own chart renders it. So nothing works here
that the sidecar's chart renders beside a pod: a settings file, a service account, a Role, monitoring of one namespace.
*/}}

{{- define "entitlement-sidecar-injector.refusals" -}}
{{- $values := .Values -}}
{{- $refused := dict -}}
{{- if $values.config -}}
{{- $_ := set $refused "config" "is a ConfigMap in the injector's namespace, which no injected pod can mount. Set extraEnv: each setting is a variable, as SIDECAR_REASK_SECONDS" -}}
{{- end -}}
{{- if $values.serviceAccount.create -}}
{{- $_ := set $refused "serviceAccount.create" "is true, but an injected pod keeps its own service account. Set it to false, and annotate that account with eks.amazonaws.com/role-arn" -}}
{{- end -}}
{{- if $values.rbac.create -}}
{{- $_ := set $refused "rbac.create" "is true, but its Role would be in the injector's namespace, where no injected pod is. Set it to false; with gateMode readinessGate or kubernetesApi.enabled this chart renders a ClusterRole to bind in each namespace" -}}
{{- end -}}
{{- range $name, $value := $values.counts -}}
{{- if $value -}}
{{- $_ := set $refused (printf "counts.%s" $name) "is set, but its rights would be bound in the injector's namespace, and an injected pod has no settings file with sources. Use the sidecar's chart in the product's" -}}
{{- end -}}
{{- end -}}
{{- if ne (int $values.appGraceSeconds) 30 -}}
{{- $_ := set $refused "appGraceSeconds" (printf "is %d, but Kubernetes gives every pod a grace before the injector sees it, and that is the product's. Set terminationGracePeriodSeconds in the pod" (int $values.appGraceSeconds)) -}}
{{- end -}}
{{- if $values.gateOnly.timeoutSeconds -}}
{{- $_ := set $refused "gateOnly.timeoutSeconds" "is set, but every injected pod is metered. Pods that wait for another workload need the sidecar's chart: its include, or the container of its README" -}}
{{- end -}}
{{- range $name := list "podMonitor" "prometheusRule" -}}
{{- if (get $values $name).enabled -}}
{{- $_ := set $refused (printf "%s.enabled" $name) "is true, but it looks at the injector's namespace alone, where no injected pod is. Set it to false, and render it in the pods' namespaces: the injector's README shows it" -}}
{{- end -}}
{{- end -}}
{{- toJson $refused -}}
{{- end -}}

{{- define "entitlement-sidecar-injector.validate" -}}
{{- $sidecar := .Subcharts.entitlement -}}
{{- include "entitlement-sidecar.validate" $sidecar -}}
{{- range $path, $why := include "entitlement-sidecar-injector.refusals" $sidecar | fromJson -}}
{{- fail (printf "entitlement-sidecar-injector: entitlement.%s %s" $path $why) -}}
{{- end -}}
{{- if lt (int .Values.certificate.rotateSeconds) (int .Values.certificate.settleSeconds) -}}
{{- fail (printf "entitlement-sidecar-injector: certificate.settleSeconds is %d, more than certificate.rotateSeconds, %d: authorities would be made faster than they are replaced. Set it to less" (int .Values.certificate.settleSeconds) (int .Values.certificate.rotateSeconds)) -}}
{{- end -}}
{{- if and .Values.serviceAccount.annotations (not .Values.serviceAccount.create) -}}
{{- fail (printf "entitlement-sidecar-injector: serviceAccount.annotations is set, but serviceAccount.create is false. Annotate %q yourself, or set serviceAccount.create to true" (include "entitlement-sidecar-injector.serviceAccountName" .)) -}}
{{- end -}}
{{- end -}}
