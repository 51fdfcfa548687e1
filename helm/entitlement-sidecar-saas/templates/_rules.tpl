{{/*
Which values cannot work together? They are refused, with the remedy.
*/}}

{{- define "entitlement-sidecar-saas.validate" -}}
{{- $values := .Values -}}
{{- if hasKey $values.config "database_url" -}}
{{- fail "entitlement-sidecar-saas: config.database_url would put the database's password into a ConfigMap, which more people read than a Secret. Put the URL into a Secret under `url`, and name that Secret in database.existingSecret" -}}
{{- end -}}
{{- if and (gt (int $values.replicas) 1) (not $values.database.existingSecret) -}}
{{- fail (printf "entitlement-sidecar-saas: replicas is %d, but without database.existingSecret each replica has a SQLite file of its own: AWS counts one record for a customer, dimension and hour, and the others would be refused. Name a Secret with the URL of a PostgreSQL database, or set replicas to 1" (int $values.replicas)) -}}
{{- end -}}
{{- if and $values.apiToken.required (not $values.apiToken.existingSecret) -}}
{{- fail "entitlement-sidecar-saas: apiToken.existingSecret is empty: whatever reaches the service could bill your customers. Make a Secret with a token, `kubectl create secret generic saas-token --from-literal=token=$(openssl rand -hex 32)`, and name it; or set apiToken.required to false where something else decides who reaches the service" -}}
{{- end -}}
{{- if eq (int $values.port) (int $values.probePort) -}}
{{- fail (printf "entitlement-sidecar-saas: port and probePort are both %d. Give each its own" (int $values.port)) -}}
{{- end -}}
{{- if and $values.serviceAccount.annotations (not $values.serviceAccount.create) -}}
{{- fail (printf "entitlement-sidecar-saas: serviceAccount.annotations is set, but serviceAccount.create is false. Annotate %q yourself, or set serviceAccount.create to true" (include "entitlement-sidecar-saas.serviceAccountName" .)) -}}
{{- end -}}
{{- end -}}
