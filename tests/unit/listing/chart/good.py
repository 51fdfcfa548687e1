"""A small chart that breaks no rule, as files: tests change one thing in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

REGISTRY = "709825985650.dkr.ecr.us-east-1.amazonaws.com"

CHART = """\
apiVersion: v2
name: shop
description: Sells books.
type: application
version: 1.4.0
dependencies:
  - name: cache
    version: 0.1.0
    repository: file://charts/cache
    condition: cache.enabled
"""
VALUES = f"""\
# What the customer may set.
image:
  registry: {REGISTRY}
  repository: acme/shop
  tag: "1.4.0"
replicas: 2
logLevel: info
apiKeySecretName: ""
serviceAccount:
  create: true
  name: ""
cache:
  enabled: true
"""
SCHEMA = """\
{
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "k8version": {"type": ["string", "number"]},
    "global": {"type": "object"},
    "image": {"type": "object"},
    "replicas": {"type": "integer"},
    "logLevel": {"type": "string"},
    "apiKeySecretName": {"type": "string"},
    "serviceAccount": {"type": "object"},
    "cache": {"type": "object"}
  }
}
"""
CONFIGURATION = """\
{
  "$schema": "https://json-schema.org/draft-07/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "logLevel": {
      "type": "string",
      "description": "Least severe event that is logged.",
      "default": "info"
    },
    "apiKeySecretName": {
      "type": "string",
      "description": "Name of the Secret that holds the key."
    }
  }
}
"""
HELPERS = """\
{{/* .Release.Service and lookup are named here, and not used. */}}
{{- define "shop.labels" -}}
app.kubernetes.io/name: shop
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
{{- define "shop.account" -}}
{{- .Values.serviceAccount.name | default .Release.Name -}}
{{- end -}}
"""
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
  namespace: {{ .Release.Namespace | quote }}
  labels:
    {{- include "shop.labels" . | nindent 4 }}
spec:
  replicas: {{ .Values.replicas }}
  selector:
    matchLabels:
      {{- include "shop.labels" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "shop.labels" . | nindent 8 }}
    spec:
      serviceAccountName: {{ include "shop.account" . | quote }}
      containers:
        - name: shop
          image: "{{ .Values.image.registry }}/{{ .Values.image.repository }}:{{ .Values.image.tag }}"
          env:
            - name: LOG_LEVEL
              value: {{ .Values.logLevel | quote }}
          securityContext:
            runAsNonRoot: true
"""
ACCOUNT = """\
{{- if .Values.serviceAccount.create }}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "shop.account" . | quote }}
  namespace: {{ .Release.Namespace | quote }}
{{- end }}
"""
CACHE = """\
apiVersion: v2
name: cache
description: Keeps what was asked for.
version: 0.1.0
"""
CACHE_VALUES = f"""\
image:
  registry: {REGISTRY}
  repository: acme/cache
  tag: "7.2.4"
"""
CACHE_OBJECT = """\
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: {{ .Release.Name }}-cache
  namespace: {{ .Release.Namespace }}
spec:
  selector:
    matchLabels: {app: cache}
  template:
    metadata:
      labels: {app: cache}
    spec:
      containers:
        - name: cache
          image: {{ printf "%s/%s:%s" .Values.image.registry .Values.image.repository .Values.image.tag }}
"""
GOOD: Mapping[str, str] = {
    "Chart.yaml": CHART,
    "values.yaml": VALUES,
    "values.schema.json": SCHEMA,
    "aws_mp_configuration_schema.json": CONFIGURATION,
    "README.md": "# Shop\n\nInstall it with `helm install shop DIR --values FILE`.\n",
    "templates/NOTES.txt": "{{ .Release.Name }} is there. Next: kubectl get pods\n",
    "templates/_helpers.tpl": HELPERS,
    "templates/deployment.yaml": DEPLOYMENT,
    "templates/serviceaccount.yaml": ACCOUNT,
    "charts/cache/Chart.yaml": CACHE,
    "charts/cache/values.yaml": CACHE_VALUES,
    "charts/cache/templates/cache.yaml": CACHE_OBJECT,
}


def write(directory: Path, files: Mapping[str, str | bytes | None] | None = None) -> Path:
    """Write the good chart with other files in it, None for none, and return its directory."""
    chart = directory / "shop"
    for path, content in {**GOOD, **(files or {})}.items():
        if content is not None:
            (chart / path).parent.mkdir(parents=True, exist_ok=True)
            (chart / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    return chart


def changed(path: str, old: str, new: str) -> dict[str, str | bytes | None]:
    """Return one file of the good chart with one text in it replaced."""
    assert GOOD[path].count(old) == 1, f"{old!r} stands {GOOD[path].count(old)} times in {path}"
    return {path: GOOD[path].replace(old, new)}
