"""Make charts whose pods are handed over whole to the helper `pod`, in the ways that charts are written."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import yaml

from tests.chart.support import CHART, NAME, in_parent

PRODUCT: dict[str, Any] = {"name": "api", "image": "shop:1", "command": ["/shop"], "args": ["serve"]}
POD: dict[str, Any] = {"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": [PRODUCT]}}
CALL = '(dict "context" (index .Subcharts "entitlement-sidecar") "pod" (include "shop.pod" . | fromYaml){})'
WEB = (
    '(dict "context" (index .Subcharts .Values.under) "workload" "web" "skipContainers" (list "product")'
    ' "pod" (include "parent.pod" . | fromYaml))'
)
CHART_YAML = "apiVersion: v2\nname: shop\nversion: 1.0.0\n"
API = '(dict "containers" (list (dict "name" "api" "image" "shop:1" "command" (list "/shop"))))'
SHAPES = {
    "tpl": """
metadata: {labels: {app: {{ tpl "{{ .Release.Name }}-shop" . }}}}
spec: {containers: [{name: api, image: "shop:1", command: [/shop]}]}
""",
    "tpl of values": "{{- tpl (toYaml .Values.pod) . | nindent 4 }}",
    "toYaml": f"""
metadata: {{labels: {{app: shop}}}}
spec:
  {{{{- toYaml {API} | nindent 6 }}}}
""",
    "toYaml of values": """
metadata:
  {{- toYaml .Values.pod.metadata | nindent 6 }}
spec:
  {{- with omit .Values.pod.spec "containers" }}
  {{- toYaml . | nindent 6 }}
  {{- end }}
  containers: {{- toYaml .Values.pod.spec.containers | nindent 8 }}
""",
    "range": """
spec:
  containers:
  {{- range $index, $name := list "api" "b" }}
    - name: {{ $name }}
      image: "shop:{{ $index }}"
      command: ["/{{ $name }}"]
  {{- end }}
""",
    "range of a map": """
metadata:
  annotations:
    {{- range $key, $value := dict "example.com/one" "1" "example.com/two" "yes" }}
    {{ $key }}: {{ $value | quote }}
    {{- end }}
spec:
  containers: [{name: api, image: "shop:1", command: [/shop]}]
""",
    "with": """
spec:
  {{- with "shop:1" }}
  containers: [{name: api, image: "{{ . }}", command: [/shop]}]
  {{- end }}
  {{- with .Values.nothing }}
  nodeSelector: {{ toYaml . }}
  {{- end }}
""",
    "if": """
{{- if .Values.pod }}
metadata: {labels: {app: shop}}
{{- else }}
metadata: {labels: {app: other}}
{{- end }}
spec:
  {{- if not .Values.nothing }}
  hostname: shop
  {{- end }}
  containers: [{name: api, image: "shop:1", command: [/shop]}]
""",
    "comments": """
# a pod
spec:
  # its containers
  containers:
  - name: api  # the product
    image: shop:1
    {{- /* of the template */}}
    command: [/shop]
# the end
""",
    "anchors": """
spec:
  containers:
  - &one {name: api, image: 'shop:1', command: [/shop], env: &env [{name: A, value: "1"}]}
  - {<<: *one, name: web}
  - {name: worker, image: 'shop:1', command: [/worker], env: *env}
""",
    "included parts": """
metadata:
  labels: {{- include "shop.labels" . | nindent 8 }}
spec:
  containers:
    {{- include "shop.container" (dict "root" . "name" "api") | nindent 8 }}
""",
    "block text": """
metadata:
  annotations:
    example.com/config: |
      first: line
        # no comment
      {{`{{ not a template }}`}}
    example.com/folded: >-
      one
      line
spec:
  containers:
  - args:
    - |
      set -e
      exec /shop "$@"  # with: colons
    command: [sh, -c]
    name: api
    image: shop:1
""",
    "words and numbers": """
metadata: {annotations: {a: "0777", b: "yes", c: "1e3", d: "null", e: "1.10"}}
spec:
  activeDeadlineSeconds: 2147483648
  containers:
  - {name: api, image: "shop:1", command: [/shop], env: [{name: COUNT, value: "08"}], ports: [{containerPort: 65535}]}
  volumes: [{name: keys, secret: {secretName: keys, defaultMode: 0400}}]
""",
    "nulls": """
metadata: {annotations: , labels: null}
spec:
  initContainers:
  volumes: []
  imagePullSecrets: null
  containers: [{name: api, image: "shop:1", command: [/shop], env: , resources: {}}]
""",
    "no metadata": "spec: {containers: [{name: api, image: 'shop:1', command: [/shop]}]}",
    "other letters": 'spec: {containers: [{name: api, image: "shop:1", command: [/shop, "größer → 日本"]}]}',
}
"""Ways to write a pod, each as the text between `define` and `end`, which stands four spaces in."""
HELPERS = """
{{- define "shop.labels" }}
app: shop
tier: {{ .Values.tier | default "front" }}
{{- end }}
{{- define "shop.container" }}
- name: {{ .name }}
  image: "shop:{{ .root.Chart.Version }}"
  command: [/{{ .name }}]
{{- end }}
"""
VALUES = {
    "pod": {
        "metadata": {"labels": {"app": "{{ .Release.Name }}"}, "annotations": {"number": "12"}},
        "spec": {
            "containers": [{**PRODUCT, "env": [{"name": "A", "value": "1"}]}],
            "securityContext": {"fsGroup": 1000000},
            "volumes": [{"name": "data", "emptyDir": {}}],
        },
    }
}


def indented(text: str, width: int) -> str:
    return "\n".join(" " * width + line if line else "" for line in text.strip("\n").splitlines())


def empty(directory: Path) -> Path:
    """Return a chart with the subchart and these helpers and values, and no template of its own."""
    chart = directory / "shop"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text(CHART_YAML)
    (chart / "values.yaml").write_text(yaml.safe_dump(VALUES))
    (chart / "templates" / "_helpers.tpl").write_text(HELPERS)
    shutil.copytree(CHART, chart / "charts" / NAME, ignore=shutil.ignore_patterns("ci", "tests"))
    return chart


def shop(directory: Path, pod: dict[str, Any] | str = POD, more: str = "") -> Path:
    """Return a chart of one Deployment whose pod is wrapped. `pod`: a value, or a template."""
    chart = empty(directory)
    text = pod if isinstance(pod, str) else yaml.safe_dump(pod)
    (chart / "templates" / "shop.yaml").write_text(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop, namespace: ns}\nspec:\n"
        "  selector: {matchLabels: {app: shop}}\n  template:\n"
        f'    {{{{- define "shop.pod" }}}}\n{indented(text, 4)}\n    {{{{- end }}}}\n'
        f'    {{{{- include "entitlement-sidecar.pod" {CALL.format(more)} | nindent 4 }}}}\n'
    )
    return chart


def bare(directory: Path) -> Path:
    """Return the parent of the other tests. Its pods include no helper, and the whole is handed over."""
    parent = in_parent(directory)
    template = parent / "templates" / "_pod.tpl"
    text = re.sub(r"\n *\{\{- include \"entitlement-sidecar\.[^\n]*", "", template.read_text())
    text = re.sub(r"terminationGracePeriodSeconds: [^\n]*", "", text)
    text = re.sub(r"with default \(include .*? \$gate\) (.*) -?\}\}", r"with \1 }}", text)
    text = re.sub(r"\n  serviceAccountName: [^\n]*", "\n  serviceAccountName: {{ .Values.serviceAccountName }}", text)
    template.write_text(text)
    assert "entitlement-sidecar." not in text.replace('"entitlement-sidecar.pod"', "")
    workload = parent / "templates" / "workload.yaml"
    workload.write_text(
        workload.read_text().replace('include "parent.pod" .', f'include "entitlement-sidecar.pod" {WEB}')
    )
    return parent
