{{- define "parent.pod" -}}
{{- $gate := dict "context" (index .Subcharts .Values.under) "workload" "web" "skipContainers" (list "product") "appGraceSeconds" .Values.appGraceSeconds -}}
metadata:
  {{- if eq .Values.kind "Pod" }}
  name: {{ .Release.Name }}-web
  namespace: {{ .Release.Namespace | quote }}
  {{- end }}
  labels:
    app: {{ .Release.Name }}-web
    {{- include "entitlement-sidecar.podLabels" $gate | nindent 4 }}
  annotations:
    {{- include "entitlement-sidecar.podAnnotations" $gate | nindent 4 }}
spec:
  serviceAccountName: {{ default .Values.serviceAccountName (include "entitlement-sidecar.serviceAccountName" $gate) }}
  automountServiceAccountToken: false
  restartPolicy: {{ .Values.restartPolicy }}
  terminationGracePeriodSeconds: {{ include "entitlement-sidecar.terminationGracePeriodSeconds" $gate }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    fsGroup: 65532
    seccompProfile: {type: RuntimeDefault}
  imagePullSecrets:
    {{- include "entitlement-sidecar.imagePullSecrets" $gate | nindent 4 }}
  readinessGates:
    {{- include "entitlement-sidecar.readinessGates" $gate | nindent 4 }}
  initContainers:
    {{- include "entitlement-sidecar.initContainer" $gate | nindent 4 }}
  containers:
    - name: product
      image: {{ .Values.image }}
      imagePullPolicy: IfNotPresent
      {{- with default (include "entitlement-sidecar.waitCommand" $gate) (.Values.command | toJson | eq "[]" | ternary "" (toJson .Values.command)) }}
      command: {{ . }}
      {{- end }}
      args: {{ toJson .Values.args }}
      env:
        {{- include "entitlement-sidecar.waitEnv" $gate | nindent 8 }}
        {{- include "entitlement-sidecar.productEnv" $gate | nindent 8 }}
      ports:
        - name: http
          containerPort: 8080
      securityContext:
        allowPrivilegeEscalation: false
        capabilities: {drop: [ALL]}
      volumeMounts:
        - name: data
          mountPath: /data
        {{- include "entitlement-sidecar.productMounts" $gate | nindent 8 }}
    {{- include "entitlement-sidecar.classicContainer" $gate | nindent 4 }}
  volumes:
    - name: data
      emptyDir: {}
    {{- include "entitlement-sidecar.volumes" $gate | nindent 4 }}
{{- end -}}
