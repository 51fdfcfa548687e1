"""Describe a chart as Helm sees it: its metadata, values and templates, and the charts in it.

Invariants:
- Nothing is read here: a chart is made from the contents of its files.
- A file that is no text, or no YAML, is named as a trouble and left out.

Sources: Helm, "Charts" (the chart file structure; aliases of dependencies).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Final

from sidecar.listing.chart.files import ARCHIVE, Files, Trouble
from sidecar.listing.chart.template_tokens import Part, TemplateFault, split
from sidecar.listing.chart.template_uses import Use, uses
from sidecar.listing.chart.yaml_text import EMPTY, Document, YamlFault, read
from sidecar.quick_dataclasses import dataclass

TEXT_BYTES_MAX: Final = 1 << 20
"""Of one file that is parsed. A template is a page."""
METADATA: Final = "Chart.yaml"
VALUES: Final = "values.yaml"
TEMPLATES: Final = "templates/"
NOTES: Final = "templates/NOTES.txt"
PARSED: Final = (METADATA, VALUES, "values.schema.json", "aws_mp_configuration_schema.json")


@dataclass(frozen=True, kw_only=True)
class Template:
    """A file below `templates/` that Go parses."""

    path: str
    """Relative to the outermost chart, as every path here."""
    parts: tuple[Part, ...]
    uses: tuple[Use, ...]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart, and the charts in its `charts/`."""

    directory: str
    """With `/` at its end; empty for the outermost."""
    metadata: Document
    values: Document
    texts: Mapping[str, str]
    """Path → text of its own files, those of charts in it left out."""
    templates: Sequence[Template]
    charts: Sequence[Chart]

    @property
    def fields(self) -> Mapping[object, object]:
        """Return what Chart.yaml says."""
        return self.metadata.value if isinstance(self.metadata.value, dict) else {}

    @property
    def name(self) -> str:
        """Return its name; without one, the name of its directory."""
        return str(self.fields.get("name") or self.directory.rstrip("/").rpartition("/")[2] or "chart")

    @cached_property
    def dependencies(self) -> Sequence[tuple[int, Mapping[object, object]]]:
        """Return index and fields of each dependency that Chart.yaml names."""
        found = self.fields.get("dependencies")
        return [(at, one) for at, one in enumerate(found if isinstance(found, list) else []) if isinstance(one, dict)]

    def keys_of(self, inner: Chart) -> Sequence[str]:
        """Return the keys of values under which a chart in this one stands: its aliases, or its name."""
        named = [one for _, one in self.dependencies if one.get("name") == inner.name]
        return [str(one.get("alias") or inner.name) for one in named] or [inner.name]

    def all(self) -> Iterator[Chart]:
        """Yield this chart and every chart in it."""
        yield self
        for one in self.charts:
            yield from one.all()


def charts_of(files: Files) -> tuple[Chart, Sequence[Trouble]]:
    """Return the outermost chart, and what of it could not be read."""
    reader = _Reader(files)
    return reader.chart(""), [*files.troubles, *reader.troubles]


class _Reader:
    def __init__(self, files: Files) -> None:
        self._contents = files.contents
        self.troubles: list[Trouble] = []

    def chart(self, directory: str) -> Chart:
        inner = self._inner(directory)
        below = tuple(f"{directory}charts/{name}/" for name in inner)
        paths = [one for one in self._contents if one.startswith(directory) and not one.startswith(below)]
        texts = {path: text for path in paths if (text := self._text(path, directory)) is not None}
        return Chart(
            directory=directory,
            metadata=self._yaml(texts, f"{directory}{METADATA}"),
            values=self._yaml(texts, f"{directory}{VALUES}"),
            texts=texts,
            templates=[made for path, text in texts.items() if (made := self._template(path, text, directory))],
            charts=[self.chart(one) for one in below],
        )

    def _inner(self, directory: str) -> list[str]:
        """Return the names of the charts in `charts/`. Helm passes over those that begin with `_` or `.`."""
        begin = f"{directory}charts/"
        names = {path.removeprefix(begin).split("/")[0] for path in self._contents if path.startswith(begin)}
        return sorted(name for name in names if name[:1] not in "_." and f"{begin}{name}/{METADATA}" in self._contents)

    def _text(self, path: str, directory: str) -> str | None:
        content = self._contents[path]
        inside = path.removeprefix(directory)
        matters = inside in PARSED or inside.startswith((TEMPLATES, "crds/"))
        fault = None
        if path.endswith(ARCHIVE):
            return None
        if len(content) > TEXT_BYTES_MAX:
            fault = f"is larger than {TEXT_BYTES_MAX} bytes and was not checked"
        elif b"\0" not in content:
            try:
                return content.decode("utf-8-sig")
            except UnicodeDecodeError as exc:
                fault = f"is not UTF-8 at byte {exc.start}"
        else:
            fault = "is binary, where Helm reads text"
        if matters:
            self.troubles.append(Trouble(path=path, fault=fault))
        return None

    def _yaml(self, texts: Mapping[str, str], path: str) -> Document:
        if path not in texts:
            return EMPTY
        try:
            document = read(texts[path])
        except YamlFault as exc:
            self.troubles.append(Trouble(path=path, fault=f"is no YAML: {exc.fault}", line=exc.line))
            return EMPTY
        if document.value is not None and not isinstance(document.value, dict):
            self.troubles.append(Trouble(path=path, fault="holds no mapping of names to values", line=1))
            return EMPTY
        return document

    def _template(self, path: str, text: str, directory: str) -> Template | None:
        if not path.removeprefix(directory).startswith(TEMPLATES):
            return None
        try:
            parts = split(text)
            return Template(path=path, parts=parts, uses=uses(parts))
        except TemplateFault as exc:
            self.troubles.append(Trouble(path=path, fault=f"is no template: {exc.fault}", line=exc.line))
            return None
