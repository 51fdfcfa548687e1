"""A namespace of a real cluster: helm, kubectl, waiting with a limit, and what to print when a test fails.

Nothing here knows which cluster it is: KUBECONFIG says it. Images are those of SIDECAR_IMAGE and
SIDECAR_EMULATOR_IMAGE; the nodes must have them or be able to pull them.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

T = TypeVar("T")

PATIENCE_SECONDS = 90.0
HERE = Path(__file__).parent
MARKETPLACE = HERE.parent.parent / "docs" / "examples" / "local-cluster" / "marketplace.yaml"
EMULATOR_IMAGE = "entitlement-sidecar-emulator:0.1.0"
"""As that file names it."""
ROLE = "arn:aws:iam::123456789012:role/product"
TOKEN_DIRECTORY = "/var/run/secrets/eks.amazonaws.com/serviceaccount"
PRODUCT = "demo-product"


class Failed(AssertionError):
    """A command failed; its words are the message."""


def run(*command: str, stdin: str | None = None, seconds: float = 120, check: bool = True) -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=seconds, check=False)
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout if check else done.stdout + done.stderr


def eventually(what: Callable[[], T], seconds: float = PATIENCE_SECONDS, saying: str = "") -> T:
    """The first true value of `what`; where it does not come, the last one seen."""
    deadline = time.monotonic() + seconds
    while True:
        found: T | None = None
        words: object
        try:
            found = words = what()
        except (Failed, KeyError, IndexError) as exc:
            words = exc
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{saying or 'it'} did not happen within {seconds:g} s; last seen: {words}")
        time.sleep(0.5)


class Namespace:
    """One namespace with an emulator in it."""

    def __init__(self, name: str, sidecar_image: str, emulator_image: str) -> None:
        self.name, self.sidecar_image, self.emulator_image = name, sidecar_image, emulator_image

    def kubectl(self, *words: str, stdin: str | None = None, seconds: float = 120, check: bool = True) -> str:
        return run("kubectl", "--namespace", self.name, *words, stdin=stdin, seconds=seconds, check=check)

    def get(self, *words: str) -> Any:
        return json.loads(self.kubectl("get", *words, "--output", "json"))

    # ---- the emulated marketplace, through the API server's proxy --------------------------------------

    def start_marketplace(self, *dimensions: str) -> None:
        """`dimensions`: what its products have beside `requests`."""
        line = "            - --dimension={}\n"
        more = "".join(line.format(name) for name in ("requests", *dimensions))
        text = MARKETPLACE.read_text().replace(line.format("requests"), more)
        self.kubectl("apply", "-f", "-", stdin=text.replace(EMULATOR_IMAGE, self.emulator_image))
        self.kubectl("rollout", "status", "deployment/marketplace", "--timeout=90s")
        eventually(lambda: self.marketplace("clock"), 30, "an answer of the emulator")

    def _path(self, verb: str) -> str:
        return f"/api/v1/namespaces/{self.name}/services/marketplace:http/proxy/_emulator/{verb}"

    def marketplace(self, verb: str) -> Any:
        return json.loads(run("kubectl", "get", "--raw", self._path(verb)))

    def order(self, verb: str, **body: object) -> None:
        self.ordered(verb, **body)

    def ordered(self, verb: str, **body: object) -> str:
        """Tell the emulator something; its answer."""
        return run("kubectl", "create", "--raw", self._path(verb), "-f", "-", stdin=json.dumps(body))

    def subscribe(self) -> None:
        self.order("subscribe")

    def public_key(self) -> str:
        return str(self.marketplace("public-keys")[-1]["key"])

    def calls(self, operation: str = "RegisterUsage") -> list[dict[str, Any]]:
        return [one for one in self.marketplace("calls") if one["operation"] == operation]

    # ---- helm --------------------------------------------------------------------------------------------

    def gate_values(self, **more: object) -> dict[str, Any]:
        """The subchart's values for this namespace: the image under test, and what IRSA's webhook would inject."""
        registry, repository, tag = image_parts(self.sidecar_image)
        env = {
            "SIDECAR_PRODUCT_CODE": PRODUCT,
            "SIDECAR_PUBLIC_KEY": self.public_key(),
            "SIDECAR_ENDPOINT_URL": f"http://marketplace.{self.name}.svc:8486",
            "SIDECAR_REASK_SECONDS": "3",
            "AWS_ROLE_ARN": ROLE,
            "AWS_WEB_IDENTITY_TOKEN_FILE": f"{TOKEN_DIRECTORY}/token",
            "AWS_REGION": "us-east-1",
            **dict(more.pop("env", {})),  # type: ignore[call-overload]
        }
        token = {"serviceAccountToken": {"audience": "sts.amazonaws.com", "path": "token", "expirationSeconds": 3600}}
        return {
            "image": {"registry": registry, "repository": repository, "tag": tag},
            "extraEnv": [{"name": name, "value": value} for name, value in env.items()],
            "extraVolumes": [{"name": "aws-iam-token", "projected": {"sources": [token]}}],
            "extraVolumeMounts": [{"name": "aws-iam-token", "mountPath": TOKEN_DIRECTORY, "readOnly": True}],
            "probes": {"startup": {"periodSeconds": 1}, "readiness": {"periodSeconds": 1}},
            **more,
        }

    def helm(
        self,
        verb: str,
        release: str,
        chart: Path | None = None,
        values: Mapping[str, object] | None = None,
        *flags: str,
    ) -> str:
        command = ["helm", verb, release, *([str(chart)] if chart else []), "--namespace", self.name, *flags]
        if values is None:
            return run(*command)
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(dict(values), file)
            file.flush()
            return run(*command, "--values", file.name)

    # ---- looking -----------------------------------------------------------------------------------------

    def pods(self, selector: str) -> list[dict[str, Any]]:
        """Those that are not on their way out, oldest first."""
        found = self.get("pods", "--selector", selector)["items"]
        alive = [one for one in found if "deletionTimestamp" not in one["metadata"]]
        return sorted(alive, key=lambda one: str(one["metadata"]["creationTimestamp"]))

    def pod(self, selector: str) -> dict[str, Any]:
        return eventually(lambda: self.pods(selector)[0], 30, f"a pod {selector}")

    def describe(self, pod: str) -> str:
        return self.kubectl("describe", "pod", pod)

    def describes(self, selector: str, *words: str, seconds: float = PATIENCE_SECONDS) -> str:
        """Waits until `kubectl describe` of the pod says every word."""

        def said() -> str:
            text = self.describe(str(self.pod(selector)["metadata"]["name"]))
            missing = [word for word in words if word not in text]
            if missing:
                raise Failed(f"describe does not say {missing}:\n{text[-2500:]}")
            return text

        return eventually(said, seconds, f"kubectl describe saying {words}")

    def endpoints(self, service: str) -> int:
        """How many addresses the Service sends traffic to."""
        slices = self.get("endpointslices", "--selector", f"kubernetes.io/service-name={service}")["items"]
        return sum(1 for one in slices for end in one.get("endpoints") or [] if end.get("conditions", {}).get("ready"))

    def status(self, selector: str, container: str) -> dict[str, Any]:
        found = self.pod(selector)["status"]
        every = [*found.get("initContainerStatuses", []), *found.get("containerStatuses", [])]
        return next((one for one in every if one["name"] == container), {})

    def ready(self, selector: str) -> bool:
        conditions = self.pod(selector)["status"].get("conditions", [])
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def everything(self) -> str:
        """What a person would look at first."""
        text = [self.kubectl("get", "pods,jobs,events", "--output", "wide", check=False)]
        for pod in self.get("pods")["items"]:
            name = pod["metadata"]["name"]
            text += [f"\n### {name}", self.kubectl("describe", "pod", name, check=False)]
            text.append(self.kubectl("logs", name, "--all-containers", "--prefix", "--tail=40", check=False))
        return "\n".join(text)


def image_parts(image: str) -> tuple[str, str, str]:
    """Registry, repository and tag, as the chart wants them."""
    name, _, tag = image.rpartition(":")
    if "/" in tag or not name:
        name, tag = image, "latest"
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first, rest, tag
    return "", name, tag


def why_not() -> str:
    """Why these tests cannot run here; empty where they can."""
    from shutil import which

    for variable in ("KUBECONFIG", "SIDECAR_IMAGE", "SIDECAR_EMULATOR_IMAGE"):
        if not os.environ.get(variable):
            return f"{variable} is not set; it names the cluster or the images under test"
    for program in ("helm", "kubectl"):
        if which(program) is None:
            return f"{program} is not on PATH"
    done = subprocess.run(["kubectl", "version"], capture_output=True, text=True, timeout=30, check=False)
    return "" if done.returncode == 0 else f"no cluster answers: {done.stderr.strip()[-200:]}"
