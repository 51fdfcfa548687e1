"""Run one task definition with real containers, in the order and at the times the ECS agent would.

Supported: dependsOn, health checks (interval, timeout, retries, startPeriod), startTimeout, essential, restartPolicy,
stop order and stopTimeout, `awsvpc` (one network namespace for the task), `bridge` with links, the task
metadata endpoint v4, the credentials endpoint, the instance's metadata where asked for, the agent's variables, empty
volumes, user, read-only root, capabilities, exit codes and `stoppedReason`. The rules are in `agent_rules`.

Not supported: services, deployments and circuit breakers, capacity, image pulls, `host` networking, published
ports, log drivers, secrets, environment files, other kinds of volumes, resource limits, ECS Exec. A definition with
any other field is refused; FIELDS_IGNORED are accepted and have no effect.

Needs root, podman and iproute2: health commands run by `podman exec`, since podman's own timers need systemd.
`second` scales the definition's health, start and restart times; stop times are real.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.server
import json
import os
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Self
from urllib.parse import urlsplit

from tests.ecs.agent_rules import Container, Health, NeverResolves, Status, checked, may_start, may_stop, restarts

AGENT, INSTANCE = "169.254.170.2", "169.254.169.254"
REGION, ACCOUNT = "eu-central-1", "123456789012"
TICK_SECONDS = 0.2
CLONE_NEWNET = 0x40000000
REGION_SINCE = (1, 104, 0)
"""CHANGELOG of the agent: since then it sets AWS_REGION and AWS_DEFAULT_REGION, unless task or image set either (what
the image sets is ignored here)."""
TASK_FIELDS = {"family", "networkMode", "containerDefinitions", "volumes", "requiresCompatibilities", "taskRoleArn"}
TASK_FIELDS_IGNORED = {"executionRoleArn", "cpu", "memory", "runtimePlatform", "tags"}
FIELDS = {
    "name",
    "image",
    "essential",
    "restartPolicy",
    "entryPoint",
    "command",
    "environment",
    "mountPoints",
    "linuxParameters",
    "dependsOn",
    "startTimeout",
    "stopTimeout",
    "user",
    "workingDirectory",
    "readonlyRootFilesystem",
    "healthCheck",
    "links",
}
FIELDS_IGNORED = {"logConfiguration", "cpu", "memory", "memoryReservation"}


class Unsupported(Exception):
    """The definition has a field, or a value, that is not supported here."""


class LocalTask:
    """One task. As a context manager it is started on entry and removed on exit."""

    def __init__(
        self,
        definition: Mapping[str, Any],
        *,
        launch_type: str = "FARGATE",
        agent: tuple[int, int, int] = (1, 105, 1),
        second: float = 1.0,
        reach: Mapping[int, int] | None = None,
        env: Mapping[str, Mapping[str, str]] | None = None,
        instance_role: bool = False,
    ) -> None:
        """`reach`: port on the task's localhost → port on this machine's. `env`: container → variables, as an override
        of RunTask has them. `instance_role`: the instance's metadata answers (EC2 without ECS_AWSVPC_BLOCK_IMDS).
        """
        refuse_unsupported(definition, launch_type)
        self.id = uuid.uuid4().hex
        self.arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/local/{self.id}"
        self.access_key, self.instance_key = f"ASIATASK{self.id[:8].upper()}", f"ASIANODE{self.id[:8].upper()}"
        self.definition, self.launch_type, self.agent, self.second = definition, launch_type, agent, second
        self._reach, self._env, self._instance_role = dict(reach or {}), env or {}, instance_role
        defined = [{"dependsOn": [], **one} for one in definition["containerDefinitions"]]
        self.containers = {one["name"]: Container(definition=one) for one in defined}
        self.should_run = True
        """The task's desired status is RUNNING."""
        self.stopped_reason, self.stop_code = "", ""
        self.metadata_available = True
        self.events: list[str] = []
        """`app started`, `entitlement-sidecar stop requested`, … in order."""
        self._pids: dict[str, int] = {}
        self._addresses: dict[str, str] = {}
        self._stopping: set[str] = set()
        self._checking: set[str] = set()
        self._closing = threading.Event()
        self._done = threading.Event()
        self._servers: list[Callable[[], None]] = []
        self._fault: BaseException | None = None

    # -- from outside

    def __enter__(self) -> Self:
        try:
            self._prepare()
        except BaseException:
            self._clean()
            raise
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._done.wait(5)
        self._clean()

    def __getitem__(self, name: str) -> Container:
        return self.containers[name]

    @property
    def last_status(self) -> str:
        """PENDING until every container runs or has run: a gated task is (task.go: updateTaskKnownStatus)."""
        known = [one.status for one in self.containers.values()]
        if all(one is Status.STOPPED for one in known):
            return "STOPPED"
        return "PENDING" if Status.PENDING in known else "RUNNING"

    def stop(self, reason: str = "Task stopped by user") -> None:
        """Stop the task as StopTask does, or a service that scales in."""
        self._end("UserInitiated", reason)

    def until(self, what: Callable[[], object], seconds: float = 60.0) -> None:
        """Wait until `what` is true. Raises AssertionError with the logs after `seconds`."""
        deadline = time.monotonic() + seconds
        while not what():
            if self._fault is not None:
                raise self._fault
            if time.monotonic() > deadline:
                logs = "\n".join(f"-- {name}\n{self.logs(name)[-3000:]}" for name in self.containers)
                raise AssertionError(f"did not happen within {seconds} s; {self.events}\n{logs}")
            time.sleep(0.05)

    def until_stopped(self, seconds: float = 90.0) -> None:
        self.until(lambda: self.last_status == "STOPPED", seconds)

    def describe(self) -> dict[str, Any]:
        """Return what DescribeTasks would show of the task."""
        return {
            "taskArn": self.arn,
            "lastStatus": self.last_status,
            "desiredStatus": "RUNNING" if self.should_run else "STOPPED",
            "stopCode": self.stop_code,
            "stoppedReason": self.stopped_reason,
            "containers": [
                {
                    "name": one.name,
                    "lastStatus": one.status.value,
                    "healthStatus": one.health.value,
                    **({"exitCode": one.exit_code} if one.exit_code is not None else {}),
                    **({"reason": one.reason} if one.reason else {}),
                }
                for one in self.containers.values()
            ],
        }

    def exec(self, name: str, *words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return podman("exec", self._podman_name(name), *words, timeout=timeout, check=False)

    def signal(self, name: str, number: str) -> None:
        """Send a signal to a container, as a process on the instance or the kernel would."""
        podman("kill", "--signal", number, self._podman_name(name))

    def publish(self, port: int) -> int:
        """Return a port of this machine that is relayed to one of the task's, as its address on a subnet would be."""
        listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        pid = self._pids["pause"]
        self._relay(listening, lambda: inside(pid, lambda: socket.create_connection(("127.0.0.1", port))))
        return int(listening.getsockname()[1])

    def logs(self, name: str) -> str:
        both = podman("logs", self._podman_name(name), check=False)
        return both.stdout + both.stderr

    def logged(self, name: str, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.logs(name).splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == event]

    # -- the agent's loop

    def _run(self) -> None:
        try:
            while not self._closing.wait(TICK_SECONDS):
                self._watch()
                if self.should_run:
                    self._start_ready()
                else:
                    self._stop_ready()
                if self.last_status == "STOPPED":
                    break
        except BaseException as exc:  # raised in the thread that waits
            self._fault = exc
        finally:
            self._done.set()

    def _watch(self) -> None:
        """Find the containers that have ended."""
        running = [one for one in self.containers.values() if one.status is Status.RUNNING]
        if not running:
            return
        names = [self._podman_name(one.name) for one in running]
        for one, found in zip(running, json.loads(podman("container", "inspect", *names).stdout), strict=True):
            if found["State"]["Status"] in ("exited", "stopped"):
                self._ended(one, int(found["State"]["ExitCode"]))

    def _ended(self, one: Container, code: int) -> None:
        now = time.monotonic()
        if restarts(one, code, now, self.should_run, self.second):
            self.events.append(f"{one.name} restarted")
            one.restarts, one.restarted_at, one.health, one.failures = one.restarts + 1, now, Health.UNKNOWN, 0
            podman("start", self._podman_name(one.name))
            return
        one.status, one.exit_code, one.stopped_at = Status.STOPPED, code, now
        self.events.append(f"{one.name} exited {code}")
        if one.essential:
            self._end("EssentialContainerExited", "Essential container in task exited")

    def _end(self, code: str, reason: str) -> None:
        if self.should_run:
            self.stop_code, self.stopped_reason, self.should_run = code, reason, False

    def _start_ready(self) -> None:
        for one in self.containers.values():
            if one.status is not Status.PENDING or not self.should_run:
                continue
            try:
                if may_start(one, self.containers, time.monotonic(), self.second):
                    self._start(one)
            except NeverResolves as exc:
                one.reason = str(exc)
                self._end("TaskFailedToStart", f"{one.name}: {exc}")

    def _stop_ready(self) -> None:
        for one in self.containers.values():
            if one.status is Status.PENDING:
                one.status = Status.STOPPED  # never started: no exit code
            elif one.status is Status.RUNNING and one.name not in self._stopping and may_stop(one, self.containers):
                self._stopping.add(one.name)
                self.events.append(f"{one.name} stop requested")
                args = ("stop", "-t", str(one.stop_seconds), self._podman_name(one.name))
                threading.Thread(target=podman, args=args, kwargs={"timeout": 200, "check": False}, daemon=True).start()

    def _check_health(self, one: Container) -> None:
        """Check at Docker's times: one interval after the start, then one interval after each check."""
        check = one.definition["healthCheck"]
        kind, *words = check["command"]
        words = words if kind == "CMD" else ["/bin/sh", "-c", *words]
        while not self._closing.wait(check.get("interval", 30) * self.second) and one.status is Status.RUNNING:
            life = one.restarts
            try:
                check_run = self.exec(one.name, *words, timeout=check.get("timeout", 5))
                passed, one.output = check_run.returncode == 0, check_run.stdout + check_run.stderr
            except subprocess.TimeoutExpired:
                passed, one.output = False, "timed out"
            if one.status is Status.RUNNING and life == one.restarts and one.name not in self._stopping:
                before = one.health
                checked(one, passed, time.monotonic(), self.second)
                if one.health is not before:
                    self.events.append(f"{one.name} {one.health.value}")

    # -- containers

    def _podman_name(self, name: str) -> str:
        return f"ecs-{self.id[:12]}-{name}"

    def _space(self, name: str) -> str:
        """Return who holds a container's network namespace: one holder a task, in bridge mode one a container."""
        return "pause" if self.definition["networkMode"] == "awsvpc" else f"pause-{name}"

    def _prepare(self) -> None:
        """Create the network namespaces, the endpoints in them, and the volumes."""
        for volume in self.definition.get("volumes", []):
            podman("volume", "create", self._podman_name(volume["name"]))
        for one in sorted(self.containers.values(), key=lambda one: len(one.definition.get("links", []))):
            space = self._space(one.name)
            if space not in self._pids:
                self._make_space(space, [link.partition(":")[::2] for link in one.definition.get("links", [])])

    def _make_space(self, space: str, links: Sequence[tuple[str, str]]) -> None:
        bridge = space != "pause"
        words = ["--network", "podman"] if bridge else ["--network", "none"]
        for name, alias in links:  # Docker writes them when the container starts
            words += ["--add-host", f"{alias or name}:{self._addresses[self._space(name)]}"]
        image = self.definition["containerDefinitions"][0]["image"]
        podman("run", "-d", "--name", self._podman_name(space), *words, "--entrypoint", '["sleep"]', image, "infinity")
        found = json.loads(podman("container", "inspect", self._podman_name(space)).stdout)[0]
        pid = self._pids[space] = int(found["State"]["Pid"])
        self._addresses[space] = found["NetworkSettings"]["Networks"]["podman"]["IPAddress"] if bridge else "127.0.0.1"
        for address in [AGENT, INSTANCE] if self._instance_role else [AGENT]:
            words = ["nsenter", "-t", str(pid), "-n", "ip", "addr", "add", f"{address}/32", "dev", "lo"]
            subprocess.run(words, check=True, capture_output=True)
            self._serve(inside(pid, partial(socket.create_server, (address, 80), backlog=64)))
        for here, there in self._reach.items():
            listening = inside(pid, partial(socket.create_server, ("127.0.0.1", here), backlog=64))
            self._relay(listening, partial(socket.create_connection, ("127.0.0.1", there)))

    def _start(self, one: Container) -> None:
        words = [
            "run",
            "-d",
            "--name",
            self._podman_name(one.name),
            "--network",
            f"container:{self._podman_name(self._space(one.name))}",
        ]
        for name, value in self._variables(one).items():
            words += ["--env", f"{name}={value}"]
        for mount in one.definition.get("mountPoints", []):
            kind = ":ro" if mount.get("readOnly") else ""
            words += ["--volume", f"{self._podman_name(mount['sourceVolume'])}:{mount['containerPath']}{kind}"]
        if one.definition.get("readonlyRootFilesystem"):
            words += ["--read-only", "--read-only-tmpfs=false"]  # Docker adds no writable /tmp
        for name, flag in (("user", "--user"), ("workingDirectory", "--workdir")):
            if name in one.definition:
                words += [flag, one.definition[name]]
        linux = one.definition.get("linuxParameters", {})
        for capability in linux.get("capabilities", {}).get("drop", []):
            words += ["--cap-drop", capability]
        if linux.get("initProcessEnabled"):
            words.append("--init")
        if "entryPoint" in one.definition:
            words += ["--entrypoint", json.dumps(one.definition["entryPoint"])]
        podman(*words, "--no-healthcheck", one.definition["image"], *one.definition.get("command", []))
        one.started_at, one.status = time.monotonic(), Status.RUNNING
        self.events.append(f"{one.name} started")
        if "healthCheck" in one.definition and one.name not in self._checking:
            self._checking.add(one.name)
            threading.Thread(target=self._check_health, args=(one,), daemon=True).start()

    def _variables(self, one: Container) -> dict[str, str]:
        base = f"http://{AGENT}"
        found = {
            "ECS_CONTAINER_METADATA_URI": f"{base}/v3/{one.name}",
            "ECS_CONTAINER_METADATA_URI_V4": f"{base}/v4/{one.name}",
            "ECS_AGENT_URI": f"{base}/api/{one.name}",
            "AWS_EXECUTION_ENV": f"AWS_ECS_{self.launch_type}",
        }
        if self.definition.get("taskRoleArn"):
            found["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = f"/v2/credentials/{self.id}"
        given = {entry["name"]: entry["value"] for entry in one.definition.get("environment", [])}
        given |= self._env.get(one.name, {})
        if self.agent >= REGION_SINCE and not {"AWS_REGION", "AWS_DEFAULT_REGION"} & given.keys():
            found |= {"AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
        return found | given

    def _clean(self) -> None:
        for close in self._servers:
            close()
        for names in (list(self.containers), list(self._pids)):  # whose network the others are in
            podman("rm", "-f", "-t", "0", "-v", "--ignore", *map(self._podman_name, names), check=False)
        for volume in self.definition.get("volumes", []):
            podman("volume", "rm", "-f", self._podman_name(volume["name"]), check=False)

    # -- endpoints

    def answer(self, host: str, method: str, path: str) -> object | None:
        """Return what the agent, or the instance, answers to a GET or PUT; None is 404."""
        if host.startswith(INSTANCE):
            return self._instance(method, path)
        if path == f"/v2/credentials/{self.id}":
            return self._credentials(self.access_key) | {"RoleArn": self.definition["taskRoleArn"]}
        words = path.strip("/").split("/")
        if words[0] not in ("v3", "v4") or len(words) < 2 or words[1] not in self.containers:
            return None
        if not self.metadata_available:
            return None
        return self._task() if words[2:] == ["task"] else self._container(self[words[1]]) if len(words) == 2 else None

    def _task(self) -> dict[str, Any]:
        return {
            "Cluster": "local",
            "TaskARN": self.arn,
            "Family": self.definition["family"],
            "Revision": "1",
            "DesiredStatus": "RUNNING" if self.should_run else "STOPPED",
            "KnownStatus": self.last_status,
            "LaunchType": self.launch_type,
            "AvailabilityZone": f"{REGION}a",
            "Containers": [self._container(one) for one in self.containers.values()],
        }

    def _container(self, one: Container) -> dict[str, Any]:
        found = {
            "DockerId": one.name,
            "Name": one.name,
            "Image": one.definition["image"],
            "Labels": {"com.amazonaws.ecs.task-arn": self.arn, "com.amazonaws.ecs.container-name": one.name},
            "DesiredStatus": "RUNNING" if self.should_run else "STOPPED",
            "KnownStatus": one.status.value,
            "Type": "NORMAL",
        }
        if "healthCheck" in one.definition:
            found["Health"] = {"status": one.health.value, "output": one.output}
        return found

    def _instance(self, method: str, path: str) -> object | None:
        role = "/latest/meta-data/iam/security-credentials/"
        answers: dict[tuple[str, str], object] = {
            ("PUT", "/latest/api/token"): "token",
            ("GET", "/latest/meta-data/placement/region"): REGION,
            ("GET", role): "node",
            ("GET", f"{role}node"): self._credentials(self.instance_key) | {"Code": "Success", "Type": "AWS-HMAC"},
        }
        return answers.get((method, path))

    def _credentials(self, access_key: str) -> dict[str, str]:
        expires = (datetime.now(UTC) + timedelta(hours=6)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "AccessKeyId": access_key,
            "SecretAccessKey": "unchecked",
            "Token": "session",
            "Expiration": expires,
            "LastUpdated": "2026-01-01T00:00:00Z",
        }

    def _serve(self, listening: socket.socket) -> None:
        task = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = task.answer(self.connection.getsockname()[0], self.command, urlsplit(self.path).path)
                body = (found if isinstance(found, str) else json.dumps(found)).encode()
                self.send_response(404 if found is None else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_PUT = do_GET

            def log_message(self, *_: object) -> None:
                """Write no log."""

        server = http.server.ThreadingHTTPServer(("", 0), Handler, bind_and_activate=False)
        server.socket.close()
        server.socket = listening
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self._servers += [server.shutdown, server.server_close]

    def _relay(self, listening: socket.socket, onward: Callable[[], socket.socket]) -> None:
        """Relay connections from one network namespace to another."""

        def pump(source: socket.socket, sink: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while data := source.recv(65536):
                    sink.sendall(data)
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)

        def connect(client: socket.socket) -> None:
            with client, contextlib.suppress(OSError), onward() as server:
                back = threading.Thread(target=pump, args=(server, client), daemon=True)
                back.start()
                pump(client, server)
                back.join()

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=connect, args=(listening.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        self._servers.append(listening.close)


def refuse_unsupported(definition: Mapping[str, Any], launch_type: str) -> None:
    """Raise Unsupported where the definition has an unsupported field, or one that Fargate refuses."""
    faults = sorted(definition.keys() - TASK_FIELDS - TASK_FIELDS_IGNORED)
    if definition.get("networkMode") not in ("awsvpc", "bridge"):
        faults.append(f"networkMode {definition.get('networkMode')!r}")
    for volume in definition.get("volumes", []):
        faults += [f"volume {volume['name']}"] if volume.get("host") or volume.keys() - {"name", "host"} else []
    for one in definition["containerDefinitions"]:
        faults += sorted(f"{one['name']}.{key}" for key in one.keys() - FIELDS - FIELDS_IGNORED)
        for key in ("startTimeout", "stopTimeout"):
            if launch_type == "FARGATE" and not 2 <= one.get(key, 30) <= 120:
                faults.append(f"{one['name']}.{key} {one[key]}")
    if faults:
        raise Unsupported(", ".join(faults))


def podman(*words: str, timeout: float = 120, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a podman command. Raises RuntimeError with its output."""
    done = subprocess.run(["podman", *words], capture_output=True, text=True, timeout=timeout, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(f"podman {' '.join(words[:3])}: {done.stdout}{done.stderr}")
    return done


def inside(pid: int, make: Callable[[], socket.socket]) -> socket.socket:
    """Return a socket made in the network namespace of a process; it stays in that namespace."""
    made: list[socket.socket | BaseException] = []

    def there() -> None:
        try:
            descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            finally:
                os.close(descriptor)
            made.append(make())
        except BaseException as exc:  # raised in the caller's thread
            made.append(exc)

    thread = threading.Thread(target=there)  # ends in that namespace; the process stays in its own
    thread.start()
    thread.join()
    found = made[0]
    if isinstance(found, BaseException):
        raise found
    return found


def missing() -> Sequence[str]:
    """Return what this machine lacks to run a task."""
    found = []
    if os.geteuid() != 0:
        found.append("root")
    for command in ("podman", "nsenter", "ip"):
        if subprocess.run(["which", command], capture_output=True, check=False).returncode != 0:
            found.append(command)
    return found
