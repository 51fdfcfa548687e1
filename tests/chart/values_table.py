"""Make the table of values in a chart's README from the comments in its values.yaml.

python -m tests.chart.values_table --write [CHART…]
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from tests.chart.values_file import TABLE, Value, chosen, read, values

BLOCK = re.compile(rf"{TABLE}\n.*?<!-- /values -->", re.DOTALL)
WORDS = {bool: "bool", int: "int", float: "float", str: "string", list: "list", dict: "object"}
"""Type of a default → word of helm-docs."""


def table(chart: Path) -> str:
    """Return the rows that helm-docs makes, in the order of the file, each key as code."""
    rows = [_row(one) for one in values(read(chart))]
    return "\n".join(
        [TABLE, "| Key | Type | Default | Description |", "| --- | --- | --- | --- |", *rows, "<!-- /values -->"]
    )


def _row(value: Value) -> str:
    default = "nil" if value.default is None else json.dumps(value.default, separators=(",", ":"), sort_keys=True)
    words = value.description.replace("|", "\\|")
    return f"| `{value.path}` | {value.type or WORDS[type(value.default)]} | `{default}` | {words} |"


def rewritten(chart: Path, text: str) -> str:
    return BLOCK.sub(lambda _: table(chart), text)


if __name__ == "__main__":
    for one in chosen(sys.argv[1:], __doc__):
        readme = one / "README.md"
        readme.write_text(rewritten(one, readme.read_text()))
