"""One change of the good chart for each rule and each way to break it, with where it is found."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from sidecar.quick_dataclasses import dataclass
from tests.unit.listing.chart.good import GOOD, REGISTRY, changed

Files = Mapping[str, str | bytes | None]

VALUES, CHART, SCHEMA = "values.yaml", "Chart.yaml", "values.schema.json"
CONFIGURATION, PARAMETERS = "aws_mp_configuration_schema.json", "aws_mp_addon_parameters.json"
HELPERS, DEPLOYMENT, ACCOUNT = "templates/_helpers.tpl", "templates/deployment.yaml", "templates/serviceaccount.yaml"
CACHE, NOTES, MORE = "charts/cache/templates/cache.yaml", "templates/NOTES.txt", "templates/more.yaml"


@dataclass(frozen=True, kw_only=True)
class Break:
    """A chart that breaks one rule in one place."""

    rule: str
    name: str
    files: Files
    path: str
    needle: str = ""
    """Text of the line that is named; empty: no line."""

    @property
    def line(self) -> int | None:
        """Return the number of that line."""
        text = self.files[self.path] if self.path in self.files else GOOD.get(self.path)
        if not self.needle:
            return None
        assert isinstance(text, str)
        return next(at for at, line in enumerate(text.split("\n"), 1) if self.needle in line)


def in_file(rule: str, name: str, path: str, old: str, new: str, needle: str = "") -> Break:
    """Return a change of one text in one file; `needle`: the first line of the new text, where none is given."""
    needle = needle or (new or old).strip("\n").split("\n")[0]
    return Break(rule=rule, name=name, files=changed(path, old, new), path=path, needle=needle)


def template(rule: str, name: str, text: str, needle: str = "", path: str = MORE) -> Break:
    """Return a chart with one more template."""
    return Break(rule=rule, name=name, files={path: text}, path=path, needle=needle or text.split("\n")[0])


def property_(rule: str, name: str, schema: str) -> Break:
    """Return a chart that offers one more parameter, written in one line."""
    text = GOOD[CONFIGURATION].replace('  "properties": {\n', f'  "properties": {{\n    {schema},\n')
    return Break(rule=rule, name=name, files={CONFIGURATION: text}, path=CONFIGURATION, needle=schema)


MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n  namespace: {{ .Release.Namespace }}\n"
"""An object that breaks no rule."""
PROPERTY = '"type": "string", "description": "What it is."'
RELEASE, SECRET = "chart-release-field", "chart-values-secret"

WITHOUT_HELM: list[Break] = [
    in_file("chart-metadata", "no version", CHART, "version: 1.4.0\n", "", "apiVersion"),
    in_file("chart-metadata", "version no SemVer", CHART, "version: 1.4.0", "version: 1.4"),
    in_file("chart-metadata", "apiVersion v1", CHART, "apiVersion: v2", "apiVersion: v1"),
    in_file("chart-metadata", "library", CHART, "type: application", "type: library"),
    in_file("chart-kube-version", "no suffix", CHART, "type:", "kubeVersion: '>=1.29.0'\ntype:"),
    in_file("chart-kube-version", "a range", CHART, "type:", "kubeVersion: '1.25 - 1.40'\ntype:"),
    in_file("chart-kube-version", "one of two", CHART, "type:", "kubeVersion: '>=1.25, <1.40-0'\ntype:"),
    in_file("chart-dependency-inside", "https", CHART, "file://charts/cache", "https://example.com/charts", "https:"),
    in_file("chart-dependency-inside", "oci", CHART, "file://charts/cache", "oci://example.com/charts", "oci:"),
    in_file("chart-dependency-inside", "outside", CHART, "file://charts/cache", "file://../cache", "file:"),
    in_file("chart-dependency-inside", "absolute", CHART, "file://charts/cache", "file:///srv/cache", "file:"),
    in_file("chart-dependency-inside", "none", CHART, "    repository: file://charts/cache\n", "", "- name"),
    Break(
        rule="chart-dependency-vendored",
        name="missing",
        files={path: None for path in GOOD if path.startswith("charts/")},
        path=CHART,
        needle="name: cache",
    ),
    Break(
        rule="chart-dependency-vendored",
        name="not named",
        files={"charts/other/Chart.yaml": "apiVersion: v2\nname: other\nversion: 1.0.0\n"},
        path=CHART,
        needle="dependencies:",
    ),
    in_file("chart-dependency-condition", "no value", CHART, "cache.enabled", "cache.on", "condition"),
    Break(
        rule="chart-size",
        name="noise",
        files={"files/noise": b"".join(sha256(at.to_bytes(2, "big")).digest() for at in range(30_000))},
        path=CHART,
    ),
    in_file("chart-set-in-text", "readme", "README.md", "--values FILE", "--set replicas=3", "--set"),
    in_file("chart-set-in-text", "notes", NOTES, "kubectl get pods", "helm upgrade --set-string a=b", "--set"),
    in_file(
        "chart-image-in-values", "literal", DEPLOYMENT, '"{{ .Values.image.registry }}/', f'"{REGISTRY}/', REGISTRY
    ),
    in_file(
        "chart-image-in-values", "fallback", DEPLOYMENT, ".Values.image.tag }}", '.Values.image.tag | default "1.0" }}'
    ),
    template("chart-image-in-values", "in a string", f'{MAP}data:\n  x: {{{{ printf "quay.io/%s" "x" }}}}', "quay.io"),
    template("chart-image-in-values", "in a variable", f"{MAP}data:\n  IMAGE: ghcr.io/acme/x:1", "ghcr.io"),
    in_file("chart-image-registry", "docker hub", VALUES, f"  registry: {REGISTRY}\n", "", "image:"),
    in_file("chart-image-registry", "other", VALUES, f"registry: {REGISTRY}", "registry: quay.io"),
    in_file("chart-image-registry", "other account", VALUES, "709825985650", "123456789012", "123456789012"),
    in_file("chart-image-registry", "other region", VALUES, "us-east-1", "eu-west-1", "eu-west-1"),
    in_file("chart-image-registry", "no seller", VALUES, "acme/shop", "shop", "registry"),
    in_file("chart-image-registry", "one text", VALUES, "replicas: 2", "toolsImage: busybox:1.36"),
    in_file(
        "chart-image-registry",
        "in a list",
        VALUES,
        "replicas: 2",
        "extra:\n  - repository: redis\n    tag: '7'",
        "redis",
    ),
    Break(
        rule="chart-image-one-level",
        name="registry elsewhere",
        files={VALUES: GOOD[VALUES].replace(f"  registry: {REGISTRY}\n", "") + f"imageRegistry: {REGISTRY}\n"},
        path=VALUES,
        needle="repository",
    ),
    in_file("chart-image-tag", "latest", VALUES, '"1.4.0"', "latest"),
    in_file("chart-image-tag", "empty", VALUES, 'tag: "1.4.0"', 'tag: ""'),
    in_file("chart-image-tag", "missing", VALUES, '  tag: "1.4.0"\n', "", "image:"),
    in_file(RELEASE, "service", HELPERS, "{{ .Release.Name }}", "{{ .Release.Service }}"),
    in_file(RELEASE, "of the root", DEPLOYMENT, "{{ .Values.replicas }}", "{{ $.Release.Revision }}"),
    in_file(RELEASE, "by index", DEPLOYMENT, "{{ .Values.replicas }}", '{{ (index .Release "Revision") }}'),
    in_file(RELEASE, "by get", DEPLOYMENT, "{{ .Values.replicas }}", '{{ get .Release "Revision" }}'),
    in_file(RELEASE, "in a with", NOTES, "{{ .Release.Name }}", "{{ with .Release }}{{ .Service }}{{ end }}"),
    in_file(RELEASE, "in a variable", NOTES, "{{ .Release.Name }}", "{{ $r := .Release }}{{ $r.IsInstall }}"),
    in_file(RELEASE, "in a parenthesis", NOTES, "{{ .Release.Name }}", "{{ (.Release).Service }}"),
    in_file(RELEASE, "in a condition", NOTES, "{{ .Release.Name }}", "{{ if .Release.IsUpgrade }}x{{ end }}"),
    in_file(RELEASE, "in a string", NOTES, "{{ .Release.Name }}", '{{ tpl "{{ .Release.Service }}" . }}'),
    in_file(RELEASE, "of a context", HELPERS, "{{ .Release.Name }}", "{{ .context.Release.Service }}"),
    in_file(
        RELEASE,
        "assigned",
        NOTES,
        "{{ .Release.Name }}",
        "{{ $r := 1 }}{{ if 1 }}{{ $r = .Release }}{{ end }}{{ $r.Service }}",
    ),
    Break(
        rule=RELEASE,
        name="in a value that tpl renders",
        files={
            **changed(NOTES, "Next", "{{ tpl .Values.title . }}"),
            **changed(VALUES, "replicas: 2", "title: '{{ .Release.Service }}'"),
        },
        path=VALUES,
        needle="title",
    ),
    Break(
        rule=RELEASE,
        name="in a file that tpl renders",
        files={**changed(NOTES, "Next", '{{ tpl (.Files.Get "a.txt") . }}'), "a.txt": "{{ .Release.Service }}"},
        path="a.txt",
    ),
    Break(
        rule=RELEASE,
        name="below what helmignore names",
        files={".helmignore": "templates/*.yml\n", "templates/a/b.yml": "a: {{ .Release.Service }}"},
        path="templates/a/b.yml",
        needle="a:",
    ),
    in_file(RELEASE, "in a chart inside", CACHE, "{{ .Release.Namespace }}", "{{ .Release.Service }}"),
    in_file("chart-release-whole", "printed", NOTES, "{{ .Release.Name }}", "{{ toYaml .Release }}"),
    in_file("chart-release-whole", "in parts", NOTES, "{{ .Release.Name }}", '{{ printf "{{ .Release.%s }}" "x" }}'),
    in_file(
        "chart-release-whole", "under a name", NOTES, "{{ .Release.Name }}", '{{ include "x" (dict "r" .Release) }}'
    ),
    in_file("chart-lookup", "called", NOTES, "{{ .Release.Name }}", '{{ (lookup "v1" "Secret" "a" "b").kind }}'),
    in_file("chart-lookup", "after a pipe", NOTES, "{{ .Release.Name }}", '{{ "b" | lookup "v1" "Secret" "a" }}'),
    in_file(
        "chart-hook", "written", ACCOUNT, "metadata:", 'metadata:\n  annotations:\n    "helm.sh/hook": test', "hook"
    ),
    in_file(
        "chart-hook",
        "as a string",
        HELPERS,
        "{{- end -}}\n{{- define",
        '{{ dict "helm.sh/hook" "test" }}\n{{- end -}}\n{{- define',
    ),
    in_file("chart-text-refused", "readme", "README.md", "# Shop", "# Shop has no helm.sh/hook"),
    in_file("chart-text-refused", "comment", HELPERS, "are named here", "and helm.sh/hook are named here", "helm.sh"),
    in_file("chart-text-refused", "value", NOTES, "{{ .Release.Name }}", "{{- .Values.lookup }}"),
    in_file(
        "chart-api-versions", "custom", NOTES, "{{ .Release.Name }}", '{{ .Capabilities.APIVersions.Has "x.io/v1" }}'
    ),
    in_file(
        "chart-api-versions",
        "of k8s.io",
        NOTES,
        "{{ .Release.Name }}",
        '{{ .Capabilities.APIVersions.Has "metrics.k8s.io/v1" }}',
    ),
    in_file(
        "chart-api-versions", "unseen", NOTES, "{{ .Release.Name }}", "{{ .Capabilities.APIVersions.Has .Values.x }}"
    ),
    in_file(
        "chart-api-versions", "all", NOTES, "{{ .Release.Name }}", "{{ range .Capabilities.APIVersions }}{{ end }}"
    ),
    in_file("chart-helm-function", "newer", NOTES, "{{ .Release.Name }}", "{{ toYamlPretty .Values }}"),
    in_file("chart-helm-function", "break", NOTES, "{{ .Release.Name }}", "{{ range .Values.x }}{{ break }}{{ end }}"),
    in_file(
        "chart-helm-function", "else with", NOTES, "{{ .Release.Name }}", "{{ with .a }}{{ else with .b }}{{ end }}"
    ),
    in_file(
        "chart-namespace", "fixed", ACCOUNT, "namespace: {{ .Release.Namespace | quote }}", "namespace: kube-system"
    ),
    in_file("chart-namespace", "quoted", ACCOUNT, "namespace: {{ .Release.Namespace | quote }}", 'namespace: "shop"'),
    Break(rule="chart-schema-missing", name="helm's", files={SCHEMA: None}, path=SCHEMA),
    Break(rule="chart-schema-missing", name="add-on's", files={CONFIGURATION: None}, path=CONFIGURATION),
    Break(rule="chart-schema-json", name="no JSON", files={CONFIGURATION: "{"}, path=CONFIGURATION, needle="{"),
    Break(rule="chart-schema-json", name="a list", files={SCHEMA: "[]"}, path=SCHEMA, needle="["),
    in_file("chart-schema-draft", "2020-12", CONFIGURATION, "draft-07", "draft/2020-12"),
    in_file("chart-schema-draft", "none", SCHEMA, '  "$schema": "http://json-schema.org/draft-07/schema#",\n', "", "{"),
    property_("chart-schema-camel-case", "snake", f'"log_format": {{{PROPERTY}}}'),
    property_("chart-schema-camel-case", "kebab", f'"log-format": {{{PROPERTY}}}'),
    property_(
        "chart-schema-camel-case",
        "in an object",
        f'"log": {{"description": "x", "properties": {{"a_b": {{{PROPERTY}}}}}}}',
    ),
    property_("chart-schema-description", "none", '"format": {"type": "string"}'),
    property_("chart-schema-description", "blank", '"format": {"type": "string", "description": " "}'),
    property_("chart-schema-secret", "password", f'"adminPassword": {{{PROPERTY}}}'),
    property_("chart-schema-secret", "key", f'"licenseKey": {{{PROPERTY}}}'),
    property_("chart-schema-offered", "by EKS", f'"clusterName": {{{PROPERTY}}}'),
    property_("chart-schema-offered", "image", f'"image": {{{PROPERTY}}}'),
    property_("chart-schema-default", "other", f'"replicas": {{{PROPERTY}, "default": 3}}'),
    in_file(
        "chart-schema-k8version",
        "closed",
        SCHEMA,
        '    "k8version": {"type": ["string", "number"]},\n',
        "",
        "additionalProperties",
    ),
    in_file("chart-values-secret", "password", VALUES, "replicas: 2", "adminPassword: hunter2"),
    in_file("chart-values-secret", "key", VALUES, "replicas: 2", "note: AKIAABCDEFGHIJKLMNOP"),
    in_file(
        SECRET, "in an environment", VALUES, "replicas: 2", "env:\n  - name: DB_PASSWORD\n    value: hunter2", "value"
    ),
    in_file(SECRET, "by a constant's name", VALUES, "replicas: 2", "env:\n  API_KEY: hunter2", "API_KEY"),
    in_file(SECRET, "in a URL", VALUES, "replicas: 2", "db: postgres://shop:hunter2@db/shop"),
    in_file(SECRET, "of OAuth", VALUES, "replicas: 2", "clientSecret: hunter2"),
    template(SECRET, "in a template", f"{MAP}data:\n  x: AKIAABCDEFGHIJKLMNOP", "AKIA"),
    Break(
        rule=SECRET,
        name="a key in a file",
        files={"files/key": "-----BEGIN PRIVATE KEY-----\nMIIEvQ==\n-----END PRIVATE KEY-----\n"},
        path="files/key",
        needle="BEGIN",
    ),
    Break(
        rule="chart-addon-parameters",
        name="empty",
        files={PARAMETERS: '{"permissions": {"isPodIdentityCompatible": true, "permissionsList": []}}'},
        path=PARAMETERS,
        needle="permissions",
    ),
    Break(rule="chart-readable", name="no YAML", files={VALUES: "a: [1\nb: 2\n"}, path=VALUES, needle="b: 2"),
    template("chart-readable", "no template", f"{MAP}{{{{ if .Values.x }}}}", "{{ if"),
    template("chart-readable", "an action without end", f"{MAP}{{{{ .Values.x", "{{ .Values.x"),
]

IMAGE = '"{{ .Values.image.registry }}/{{ .Values.image.repository }}:{{ .Values.image.tag }}"'
ROLE = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: x\nrules:\n"
CUSTOM = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: shelves.acme.example
spec:
  group: acme.example
  names: {kind: Shelf, plural: shelves}
  scope: Namespaced
  versions:
    - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
"""
SHELF = MAP.replace("apiVersion: v1\nkind: ConfigMap", "apiVersion: acme.example/v1\nkind: Shelf")
SPEC = "    spec:\n      serviceAccountName:"


def in_pod(rule: str, name: str, text: str, needle: str = "") -> Break:
    """Return a change of the deployment's pod: text before the name of its account."""
    return in_file(rule, name, DEPLOYMENT, SPEC, f"    spec:\n{text}      serviceAccountName:", needle or text.strip())


def no_workload() -> Files:
    """Return the chart with StatefulSets, which EKS does not follow."""
    return {
        path: GOOD[path].replace(old, "StatefulSet") for path, old in ((DEPLOYMENT, "Deployment"), (CACHE, "DaemonSet"))
    }


TERMS = """\
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms:
              - matchExpressions:
                  - {{key: kubernetes.io/arch, operator: {operator}, values: [{values}]}}
"""
WITH_HELM: list[Break] = [
    Break(rule="chart-helm-lint", name="warns", files=changed(CHART, "type:", "icon: nowhere\ntype:"), path=CHART),
    Break(
        rule="chart-helm-template",
        name="needs a value",
        files=changed(NOTES, "Next", '{{ required "who" .Values.who }}'),
        path=CHART,
    ),
    Break(
        rule="chart-helm-template",
        name="kubeVersion",
        files=changed(CHART, "type:", "kubeVersion: '>=1.99-0'\ntype:"),
        path=CHART,
    ),
    Break(rule="chart-workload", name="stateful", files=no_workload(), path=CHART),
    Break(
        rule="chart-custom-resource",
        name="both",
        files={"crds/shelf.yaml": CUSTOM, MORE: SHELF},
        path=MORE,
    ),
    in_pod("chart-architectures", "selector", "      nodeSelector: {kubernetes.io/arch: amd64}\n"),
    in_pod("chart-architectures", "affinity", TERMS.format(operator="In", values="arm64"), "kubernetes.io/arch"),
    in_pod("chart-architectures", "affinity not", TERMS.format(operator="NotIn", values="arm64"), "kubernetes.io/arch"),
    in_file("chart-namespace-said", "none", ACCOUNT, "  namespace: {{ .Release.Namespace | quote }}\n", "", "kind:"),
    template("chart-rbac-wildcard", "verbs", f"{ROLE}  - {{apiGroups: [''], resources: [pods], verbs: ['*']}}", "*"),
    template(
        "chart-rbac-wildcard", "resources", f"{ROLE}  - apiGroups: ['']\n    resources: ['*']\n    verbs: [get]", "*"
    ),
    in_file("chart-privileges", "root", DEPLOYMENT, "runAsNonRoot: true", "runAsUser: 0"),
    in_file("chart-privileges", "privileged", DEPLOYMENT, "runAsNonRoot: true", "privileged: true"),
    in_pod("chart-privileges", "network", "      hostNetwork: true\n"),
    in_file("chart-aws-credentials", "key", DEPLOYMENT, "name: LOG_LEVEL", "name: AWS_SECRET_ACCESS_KEY"),
    template(
        "chart-hook", "made", f'{MAP}  annotations:\n    {{{{ printf "helm.%s/hook" "sh" }}}}: test', "annotations:"
    ),
    in_file(
        "chart-namespace",
        "by a value",
        ACCOUNT,
        "{{ .Release.Namespace | quote }}",
        "{{ .Values.logLevel }}",
        "namespace:",
    ),
    in_file(
        "chart-image-in-values",
        "made",
        DEPLOYMENT,
        IMAGE,
        '{{ print .Values.image.registry "/acme/" "other" ":1" }}',
        "image:",
    ),
    in_file(
        "chart-image-registry",
        "before that of the values",
        DEPLOYMENT,
        IMAGE,
        '{{ printf "%s/%s:%s" "quay.io" .Values.image.repository .Values.image.tag }}',
        "image:",
    ),
    in_file(
        "chart-image-tag",
        "for that of the values",
        DEPLOYMENT,
        IMAGE,
        '{{ printf "%s/%s:latest" .Values.image.registry .Values.image.repository }}',
        "image:",
    ),
    Break(
        rule="chart-image-region",
        name="refused",
        files=changed(
            SCHEMA,
            '"image": {"type": "object"}',
            f'"image": {{"properties": {{"registry": {{"const": "{REGISTRY}"}}}}}}',
        ),
        path=VALUES,
    ),
    in_file(
        "chart-image-region",
        "a condition",
        DEPLOYMENT,
        IMAGE,
        IMAGE.replace("registry }}", 'registry | replace "eu-west-1" "us-east-1" }}'),
        "image:",
    ),
    template(SECRET, "a Secret", MAP.replace("ConfigMap", "Secret") + "stringData:\n  password: hunter2", "hunter2"),
    template(
        SECRET, "a Secret in base64", MAP.replace("ConfigMap", "Secret") + "data:\n  password: aHVudGVyMg==", "aHV"
    ),
    in_file(
        SECRET,
        "an environment",
        DEPLOYMENT,
        "              value: {{ .Values.logLevel | quote }}",
        "              value: info\n            - name: DB_PASSWORD\n              value: hunter2",
        "hunter2",
    ),
    in_file("chart-service-account", "off", VALUES, "create: true", "create: false"),
    Break(
        rule="chart-quick-launch",
        name="made all the same",
        files=changed(ACCOUNT, "if .Values.serviceAccount.create", "if true"),
        path=VALUES,
        needle='name: ""',
    ),
    Break(
        rule="chart-quick-launch",
        name="not used",
        files=changed(DEPLOYMENT, '{{ include "shop.account" . | quote }}', "{{ .Release.Name }}"),
        path=VALUES,
        needle='name: ""',
    ),
    Break(
        rule="chart-quick-launch",
        name="no value",
        files={
            VALUES: GOOD[VALUES].replace('serviceAccount:\n  create: true\n  name: ""\n', ""),
            ACCOUNT: GOOD[ACCOUNT].replace("{{- if .Values.serviceAccount.create }}", "{{- if true }}"),
            HELPERS: GOOD[HELPERS].replace(".Values.serviceAccount.name | default ", ""),
        },
        path=VALUES,
    ),
]


def admitted(path: str, old: str, new: str, *others: tuple[str, str]) -> Files:
    """Return a change of one file, and further ones of the same, that break nothing."""
    files = dict(changed(path, old, new))
    text = files[path]
    assert isinstance(text, str)
    for before, after in others:
        assert before in text
        text = text.replace(before, after)
    return {**files, path: text}


ADMITTED: Mapping[str, Files] = {
    "a digest for a tag": admitted(VALUES, 'tag: "1.4.0"', f"digest: sha256:{'0' * 64}"),
    "the whole name in the repository": admitted(
        VALUES, f"  registry: {REGISTRY}\n  repository: acme/shop\n", f"  repository: {REGISTRY}/acme/shop\n"
    ),
    "registry, repository and tag in one": admitted(
        VALUES,
        f'  registry: {REGISTRY}\n  repository: acme/shop\n  tag: "1.4.0"\n',
        f"  repository: {REGISTRY}/acme/shop:1.4.0\n",
    ),
    "an image that is switched off": admitted(VALUES, "replicas: 2", "toolsImage: ''"),
    "a repository of git": admitted(VALUES, "replicas: 2", "source:\n  repository: https://example.com/shop.git"),
    "a comment of YAML with an image": admitted(
        DEPLOYMENT, "      containers:", "      # was docker.io/x/y:1\n      containers:"
    ),
    "a file that names no container": {MORE: f"{MAP}data:\n  image:\n    title: cover\n"},
    "the release in words": admitted(NOTES, "Next", ".Release.Service is not used. Next"),
    "the release in a comment": admitted(NOTES, "Next", "{{- /* .Release.Service */ -}} Next"),
    "the release in a string": admitted(NOTES, "Next", '{{ "of .Release.Service" }} Next'),
    "a value called Release": admitted(
        NOTES, "Next", "{{ .Values.Release.Service }} {{ (index .Values.Release 0).Service }} Next"
    ),
    "a field called like one of the release": admitted(
        NOTES, "Next", "{{ with .Values.image }}{{ .Service }}{{ end }} Next"
    ),
    "the name in a with": admitted(NOTES, "Next", "{{ with .Release }}{{ .Name }}{{ .Namespace }}{{ end }} Next"),
    "the release handed on as Release": admitted(NOTES, "Next", '{{ include "x" (dict "Release" .Release) }} Next'),
    "a value called lookup": admitted(NOTES, "Next", "{{ .Values.lookup }} Next"),
    "a built-in API": admitted(NOTES, "Next", '{{ .Capabilities.APIVersions.Has "batch/v1/CronJob" }} Next'),
    "one of Kubernetes' own k8s.io": admitted(
        NOTES, "Next", '{{ .Capabilities.APIVersions.Has "networking.k8s.io/v1" }} Next'
    ),
    "kubeVersion of two comparisons": admitted(CHART, "type:", "kubeVersion: '>=1.25-0, <1.40-0 || >1.50'\ntype:"),
    "the release in a value that nothing renders": admitted(VALUES, "replicas: 2", "title: '{{ .Release.Service }}'"),
    "a value of another template language": {
        **admitted(VALUES, "replicas: 2", "title: '{{ $labels.pod }} {{ x'"),
        **admitted(NOTES, "Next", "{{ tpl .Values.title . }}"),
    },
    "names of Secrets": admitted(
        VALUES,
        "replicas: 2",
        "db:\n  existingSecret: shop-db\n  passwordKey: password\ntlsSecret: shop-tls\npasswordSecret: shop-db\n"
        "certificate: shop\nautomountServiceAccountToken: 'true'\ntokenPath: /var/run/token\nstopToken: </s>\n"
        "url: postgres://$(DB_USER):$(DB_PASSWORD)@db/shop",
    ),
    "a key that is made elsewhere": admitted("README.md", "# Shop", "# Shop\n-----BEGIN PRIVATE KEY-----\n…\n"),
    "the version of Kubernetes": admitted(NOTES, "Next", "{{ .Capabilities.KubeVersion.Version }} Next"),
    "functions of Helm 3.8.1": admitted(
        NOTES, "Next", "{{ toYaml .Values | fromYaml | mustToJson | fromJson | keys | len }} Next"
    ),
    "else if": admitted(NOTES, "Next", "{{ if .a }}{{ else if .b }}{{ else }}{{ end }} Next"),
    "a namespace in a selector": {MORE: f"{MAP}data:\n  namespaceSelector: all\n"},
    "another flag that begins with --set": admitted("README.md", "--values FILE", "--values FILE --settle"),
    "a property with another's name": property_("x", "x", f'"tokenSecretName": {{{PROPERTY}}}').files,
    "a number called like a secret": property_(
        "x", "x", '"tokens": {"type": "integer", "description": "How many."}'
    ).files,
    "the default that values have": property_("x", "x", f'"replicas": {{{PROPERTY}, "default": 2}}').files,
    "a schema that is open": admitted(SCHEMA, '"additionalProperties": false', '"additionalProperties": true'),
    "the name of a secret": admitted(
        VALUES, "replicas: 2", "passwordSecretName: shop\nsecret: shop\ntokenFile: /run/token"
    ),
    "an empty secret": admitted(VALUES, "replicas: 2", "adminPassword: ''"),
    "an alias": admitted(
        CHART, "  - name: cache\n", "  - name: cache\n    alias: store\n", ("cache.enabled", "store.enabled")
    )
    | admitted(VALUES, "cache:\n", "store:\n")
    | admitted(SCHEMA, '"cache"', '"store"'),
    "what .helmignore names": {".helmignore": "*.bak\n/docs/\n", "templates/x.yaml.bak": "{{ .Release.Service }}"},
    "a picture": {"docs/shop.png": b"\x89PNG\0\xff"},
}
"""What stands next to a rule and does not break it."""
ADMITTED_WITH_HELM: Mapping[str, Files] = {
    "both architectures": in_pod("x", "x", TERMS.format(operator="In", values="amd64, arm64"), "arch").files,
    "an operating system": in_pod("x", "x", "      nodeSelector: {kubernetes.io/os: linux}\n").files,
    "a set for each architecture": {
        CACHE: GOOD[CACHE].replace("    spec:\n", "    spec:\n      nodeSelector: {kubernetes.io/arch: amd64}\n"),
        "charts/cache/templates/arm.yaml": GOOD[CACHE]
        .replace("    spec:\n", "    spec:\n      nodeSelector: {kubernetes.io/arch: arm64}\n")
        .replace("-cache", "-cache-arm"),
    },
    "definitions alone": {"crds/shelf.yaml": CUSTOM},
    "a custom resource alone": {MORE: SHELF},
    "a namespace that is the release's": {
        MORE: "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {{ .Release.Namespace }}\n"
    },
    "a role with names": {MORE: f"{ROLE}  - {{apiGroups: [apps], resources: [daemonsets], verbs: [get, list]}}\n"},
    "a resource that may be cluster-wide": {
        MORE: "apiVersion: karpenter.sh/v1\nkind: NodePool\nmetadata:\n  name: x\n"
    },
    "one of several accounts": {
        VALUES: GOOD[VALUES].replace("serviceAccount:\n", "serviceAccounts:\n web:\n"),
        SCHEMA: GOOD[SCHEMA].replace('"serviceAccount"', '"serviceAccounts"'),
        ACCOUNT: GOOD[ACCOUNT].replace("serviceAccount.", "serviceAccounts.web."),
        HELPERS: GOOD[HELPERS].replace("serviceAccount.", "serviceAccounts.web."),
    },
    "a version with a suffix": changed(CHART, "type:", "kubeVersion: '>=1.29.0-0'\ntype:"),
    "a user that is not root": changed(DEPLOYMENT, "runAsNonRoot: true", "runAsUser: 10001"),
}
"""The same of what is rendered."""
