"""Check one ECS task definition, named by its path: by the rules of `ecs render`, and by those of AWS Marketplace.

Invariants:
- What breaks gate or metering is decided by `taskdef` alone; there are no such rules here.
- A container whose ENTRYPOINT alone runs `exec` looks as if nothing held it back: no image is read here.
- A task without a sidecar of its own may wait for another workload's: a container runs `wait`, and the product starts
  on its SUCCESS.

Sources: AWS Marketplace seller guide, "Container-based product requirements"; Amazon ECS API Reference,
ContainerDefinition, ContainerDependency.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from sidecar.errors import Problem
from sidecar.listing.finding import Checked, Finding
from sidecar.listing.registry import MARKETPLACE, in_marketplace, moving_tag
from sidecar.listing.rule import Rule
from sidecar.listing.secret_values import in_command, secret_kind
from sidecar.listing.task_definition import rules
from sidecar.settings import yaml_file
from sidecar.taskdef import document, schema
from sidecar.taskdef.container import NAME
from sidecar.taskdef.proxy import proxy_name
from sidecar.taskdef.render import CannotRender, RenderOptions, difference, render
from sidecar.taskdef.schema import Json

SIZE_MAX: Final = 1 << 20
"""Bytes. ECS takes 64 KiB."""
WAIT: Final = "wait"
SUCCESS: Final = "SUCCESS"
HEALTHY: Final = "HEALTHY"
LINES_MAX: Final = 128 << 10
"""Bytes of a text in which fields are looked for; of a larger one no line is named."""
PLACEHOLDER: Final = re.compile(r"<[^>]*>|\$\{[^}]*\}|\{\{.*\}\}")
KEYS_OF_AWS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
ROOT: Final = re.compile(r"root|0+")


def check(name: str) -> Checked:
    """Return what the definition in the file `name` breaks."""
    try:
        content = _content(name)
        given = document.parse(content, name)
        definition = schema.without_nulls(schema.registrable(given))
        if problems := schema.type_problems(definition, NAME):
            raise CannotRender(problems)
        task = _Task(name, definition, _lines(content))
        return Checked(findings=list(task.findings()))
    except CannotRender as exc:
        return Checked(findings=[_unreadable(one, name) for one in exc.problems], complete=False)
    except RecursionError:
        problem = document.too_deep(name).problems[0]
        return Checked(findings=[_unreadable(problem, name)], complete=False)


def _content(name: str) -> bytes:
    try:
        with Path(name).open("rb") as file:
            found = file.read(SIZE_MAX + 1)
    except OSError as exc:
        raise CannotRender([Problem(setting=name, fault=f"cannot be read: {exc.strerror}.")]) from exc
    if len(found) > SIZE_MAX:
        raise CannotRender([Problem(setting=name, fault=f"has more than {SIZE_MAX} bytes; ECS takes 64 KiB.")])
    return found


def _lines(content: bytes) -> Mapping[str, int]:
    """Return the line of each field: JSON is YAML, but for tabs."""
    return yaml_file.key_lines(content.replace(b"\t", b" ")) if len(content) <= LINES_MAX else {}


def _unreadable(problem: Problem, name: str) -> Finding:
    place = "" if problem.setting == name else problem.setting
    return Finding(rule=rules.READABLE, file=name, place=place, message=problem.text)


class _Task:
    """One definition, with the lines of its fields."""

    def __init__(self, name: str, definition: Json, lines: Mapping[str, int]) -> None:
        self._name = name
        self._definition = definition
        self._lines = lines
        self._root = "taskDefinition." if "taskDefinition.containerDefinitions" in lines else ""
        containers: list[Json] = definition["containerDefinitions"]
        self._containers = containers
        self._at = {one["name"]: at for at, one in enumerate(containers)}

    def findings(self) -> Iterator[Finding]:
        """Yield every finding."""
        yield from self._gate()
        for one in self._containers:
            yield from self._image(one)
            yield from self._privileges(one)
            yield from self._secrets(one)

    def _finding(self, rule: Rule, place: str, message: str, seen: str = "") -> Finding:
        line = yaml_file.nearest_line(f"{self._root}{place}", self._lines)
        return Finding(rule=rule, file=self._name, line=line, place=place, message=message, seen=seen)

    def _place(self, container: str, field: str = "") -> str:
        return f"containerDefinitions[{self._at[container]}]" + (f".{field}" if field else "")

    def _gate(self) -> Iterator[Finding]:
        if NAME not in self._at:
            yield from self._waiting()
            return
        others = [one for one in self._containers if one["name"] != NAME]
        waiting = [one["name"] for one in others if _waits_for(one, NAME, HEALTHY)]
        gated = waiting or [one["name"] for one in others if _runs_exec(one)]
        if not gated:
            message = f"No container has dependsOn {NAME} with {HEALTHY}, and none runs `entitlement-sidecar exec`."
            yield self._finding(rules.GATED, "containerDefinitions", message)
        yield from self._ungated({NAME, *gated, *(one["name"] for one in others if _runs_exec(one))})
        if others:
            yield from self._rendered(gated or [others[0]["name"]])

    def _waiting(self) -> Iterator[Finding]:
        """Yield what is wrong where another workload's sidecar is waited for, or none is."""
        waiting = [one["name"] for one in self._containers if _runs_wait(one)]
        gated = {one["name"] for one in self._containers for gate in waiting if _waits_for(one, gate, SUCCESS)}
        if not waiting:
            message = f"No container is named {NAME!r}, and none runs `entitlement-sidecar wait`."
            yield self._finding(rules.SIDECAR, "containerDefinitions", message)
        elif not gated:
            message = f"No container has dependsOn {waiting[0]!r} with the condition {SUCCESS}."
            yield self._finding(rules.GATED, "containerDefinitions", message)
        else:
            yield from self._ungated({*waiting, *gated})

    def _ungated(self, known: set[str]) -> Iterator[Finding]:
        known = known | {proxy_name(self._definition) or ""}
        for name in self._at.keys() - known:
            message = f"The container {name!r} starts without waiting."
            yield self._finding(rules.UNGATED, self._place(name), message, name)

    def _rendered(self, gated: list[str]) -> Iterator[Finding]:
        """Yield what `ecs render` refuses, notes and would change."""
        try:
            made, notes = render(self._definition, RenderOptions(gate=gated))
        except CannotRender as exc:
            for problem in exc.problems:
                yield self._finding(rules.VALID, self._field(problem.setting), problem.text)
            return
        for note in notes:
            yield self._finding(rules.ADVICE, "", note)
        changes = difference(self._definition, made, self._name).splitlines()[2:]
        changed = sum(line.startswith(("+", "-")) for line in changes)
        if changed:
            yield self._finding(rules.ADVICE, self._place(NAME), f"It would change {changed} lines.")

    def _field(self, setting: str) -> str:
        """Return the path of a field that `taskdef` names by its container: `entitlement-sidecar.user`."""
        container, dot, rest = setting.partition(".")
        return self._place(container, rest) if dot and container in self._at else setting

    def _image(self, container: Json) -> Iterator[Finding]:
        name = str(container.get("image", ""))
        place = self._place(container["name"], "image")
        if PLACEHOLDER.search(name):
            yield self._finding(rules.REGISTRY, place, f"The image {name!r} is a placeholder: fill it in.", name)
            return
        if not in_marketplace(name):
            message = f"The image {name!r} is not in AWS Marketplace's registry, {MARKETPLACE}/SELLER/REPOSITORY."
            yield self._finding(rules.REGISTRY, place, message, name)
        if moving := moving_tag(name):
            yield self._finding(rules.TAG, place, f"The image {name!r} has {moving}.", name)

    def _privileges(self, container: Json) -> Iterator[Finding]:
        name = container["name"]
        if name == NAME:  # `taskdef` has these rules for it
            return
        if container.get("privileged"):
            message = f"The container {name!r} is privileged."
            yield self._finding(rules.PRIVILEGES, self._place(name, "privileged"), message)
        user = str(container.get("user", ""))
        if ROOT.fullmatch(user.partition(":")[0]):
            message = f"The container {name!r} runs as {user!r}, which is root."
            yield self._finding(rules.PRIVILEGES, self._place(name, "user"), message, user)

    def _secrets(self, container: Json) -> Iterator[Finding]:
        for at, one in enumerate(container.get("environment", [])):
            variable, value = str(one.get("name", "")), str(one.get("value", ""))
            if kind := secret_kind(variable, value):
                place = self._place(container["name"], f"environment[{at}]")
                yield self._finding(rules.SECRETS, place, f"The variable {variable} has {kind}.", variable)
        for field in ("entryPoint", "command"):
            words = container.get(field)
            for kind in in_command(" ".join(map(str, words)) if isinstance(words, list) else "", {}):
                message = f"What the container runs has {kind}."
                yield self._finding(rules.SECRETS, self._place(container["name"], field), message)
        labels = container.get("dockerLabels")
        for label, value in labels.items() if isinstance(labels, dict) else ():
            if kind := secret_kind(label, str(value)):
                place = self._place(container["name"], "dockerLabels")
                yield self._finding(rules.SECRETS, place, f"The label {label} has {kind}.", label)
        for at, one in enumerate(container.get("secrets", [])):
            if (variable := str(one.get("name", ""))) in KEYS_OF_AWS:
                place = self._place(container["name"], f"secrets[{at}]")
                message = f"The container is given {variable}; its access to AWS is the role of the task."
                yield self._finding(rules.SECRETS, place, message, variable)


def _runs_wait(container: Json) -> bool:
    words = _words(container)
    return words[:1] == [WAIT] or words[:2] == [NAME, WAIT]


def _runs_exec(container: Json) -> bool:
    return _words(container)[:2] == [NAME, "exec"]


def _words(container: Json) -> list[str]:
    """Return what a container runs, the program by its name alone."""
    lists = (container.get(field) for field in ("entryPoint", "command"))
    words = [str(word) for one in lists if isinstance(one, list) for word in one]
    return [PurePosixPath(word).name for word in words[:1]] + words[1:]


def _waits_for(container: Json, name: str, condition: str) -> bool:
    wanted = {"containerName": name, "condition": condition}
    return any({key: one.get(key) for key in wanted} == wanted for one in container.get("dependsOn", []))
