"""Define what a setting is: its name, meaning, parser and JSON Schema. The settings themselves: `table`."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

from sidecar.quick_dataclasses import dataclass
from sidecar.settings import dimensions, licenses

PREFIX: Final = "SIDECAR_"


class Kind(Enum):
    """The JSON type of a value in a file."""

    STRING = "string"
    INTEGER = "integer"
    DIMENSIONS = "dimensions"
    LICENSES = "licenses"
    SOURCES = "sources"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting an operator or a seller can give."""

    name: str
    meaning: str
    example: str
    parse: Callable[[object], object]
    default: str | None = None
    """As an operator would write it; None where there is none."""
    default_text: str = ""
    """The default as the documentation prints it, where the value alone is not clear."""
    kind: Kind = Kind.STRING
    choices: type[Enum] | None = None
    bounds: tuple[int, int] | None = None
    secret: bool = False
    """Shown as a fingerprint only."""

    @property
    def variable(self) -> str:
        """Return the environment variable."""
        return PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        """Return the command-line flag."""
        return "--" + self.name.replace("_", "-")

    def schema(self) -> dict[str, object]:
        """Return the JSON Schema of a value in a file."""
        shape: dict[str, object] = {"description": self.meaning}
        if self.kind is Kind.INTEGER and self.bounds:
            shape |= {"type": "integer", "minimum": self.bounds[0], "maximum": self.bounds[1]}
        elif self.kind is Kind.DIMENSIONS:
            shape |= dimensions.schema()
        elif self.kind is Kind.LICENSES:
            shape |= licenses.schema()
        elif self.kind is Kind.SOURCES:
            from sidecar.settings import pull_source_reader  # only where a schema is written

            shape |= pull_source_reader.schema()
        elif self.choices:
            shape |= {"type": "string", "enum": [str(member.value) for member in self.choices]}
        else:
            shape |= {"type": "string", "minLength": 1}
        return shape
