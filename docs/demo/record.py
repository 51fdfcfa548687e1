"""Record `entitlement-sidecar demo` into `docs/images/demo.svg`.

    .venv/bin/python docs/demo/record.py            # writes the picture
    .venv/bin/python docs/demo/record.py --check    # 1, and the difference, where the demo prints something else

Invariants:
- The demo runs as a user runs it, on a terminal of a fixed size; rich renders what it printed.
- Two recordings of the same demo are the same file: ids, ports, hours and times are replaced by fixed ones.
- The picture fetches nothing. Where animations are off, it shows everything at once.

Needs `rich`, which the dependency group `docs` has.
"""

from __future__ import annotations

import argparse
import difflib
import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

PICTURE: Final = Path(__file__).resolve().parent.parent / "images" / "demo.svg"
COMMAND: Final = "entitlement-sidecar demo"
COLUMNS, ROWS = 100, 40
READ_BYTES: Final = 65_536
PROMPT_SECONDS: Final = 0.5
"""For the command line alone, before the first line of output."""

FIXED: Final = {
    r"(?<=127\.0\.0\.1:)\d+": "8486",
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}": "5f0c1f6e-3a52-4c1b-9d7e-2b8a64f0c913",
    r"\d{4}-\d\d-\d\dT\d\d:00:00Z": "2030-01-01T10:00:00Z",
}
"""What differs between two runs → what the picture shows."""

PACE: Final = {
    "the emulator listens": 1.0,
    "pending (throttled)": 0.5,
    "entitled (registered)": 5.0,
    "exec starts the product": 0.5,
    "entitlement-sidecar report": 0.3,
    "AWS's bill": 2.8,
    "entitlement-sidecar usage": 0.6,
    "denied (customer_not_entitled)": 0.7,
    "exit code 77": 0.2,
}
"""Text of a line → typical seconds since the line before it, on a machine of two idle cores."""

STAMP: Final = re.compile(r"(?<![\d.]) *\d+\.\ds")
THEME: Final = TerminalTheme(
    (13, 17, 23),
    (215, 222, 230),
    [
        *((72, 79, 88), (255, 123, 114), (86, 211, 100), (227, 179, 65)),
        *((121, 192, 255), (210, 168, 255), (86, 212, 221), (215, 222, 230)),
    ],
)
"""A dark window with a border of its own, readable on a light page and on a dark one."""

SVG: Final = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height:.0f}"
viewBox="0 0 {width} {height:.0f}" role="img">
<title>What entitlement-sidecar demo prints</title>
<style>
.{unique_id}-matrix {{ font: {char_height}px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace }}
.{unique_id}-title {{ font: bold 18px sans-serif }}
{styles}
@media (prefers-reduced-motion: no-preference) {{
.{unique_id}-matrix text {{ animation: {unique_id}-appear 0.2s backwards }}
@keyframes {unique_id}-appear {{ from {{ opacity: 0.35 }} }}
}}
</style>
{chrome}
<g class="{unique_id}-matrix" transform="translate({terminal_x}, {terminal_y})">{backgrounds}{matrix}
</g>
</svg>
"""
IN_LINE: Final = re.compile(
    r'<text (?P<attributes>[^>]*) clip-path="url\(#demo-line-(?P<line>\d+)\)">(?P<words>[^<]*)</text>'
)


def recorded() -> list[str]:
    """Run the demo on a terminal and return the lines it leaves there, with their colours."""
    terminal, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    name, *arguments = COMMAND.split()
    kept = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "LINES")}
    demo = subprocess.Popen(
        [Path(sys.executable).with_name(name), *arguments],
        env=kept | {"TERM": "xterm-256color"}, stdin=inner, stdout=inner, stderr=inner,
    )  # fmt: skip
    os.close(inner)
    output = b""
    try:
        while chunk := os.read(terminal, READ_BYTES):
            output += chunk
    except OSError:  # how Linux says that the last process has closed its end
        pass
    os.close(terminal)
    text = output.decode()
    if demo.wait() != 0:
        raise SystemExit(f"the demo ended with {demo.returncode}:\n{text}")
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    return [line.rpartition("\r")[2].replace("\033[K", "") for line in lines]  # what was overwritten is gone


def normalised(lines: list[str]) -> tuple[list[str], list[float]]:
    """Return the lines with nothing of this run in them, and the second at which each appears."""
    output = "\n".join(map(plain, lines))
    if unknown := [text for text in PACE if text not in output]:
        raise SystemExit(f"PACE has text that the demo does not print: {unknown}")
    shown, at, now = [], [], 0.0
    for line in lines:
        for pattern, value in FIXED.items():
            line = re.sub(pattern, value, line)
        if STAMP.search(line):
            now += next((seconds for text, seconds in PACE.items() if text in plain(line)), 0.0)
            line = STAMP.sub(f"{now:5.1f}s", line, count=1)
        shown.append(line)
        at.append(PROMPT_SECONDS + now)
    return shown, at


def plain(line: str) -> str:
    """Return a line without its colours."""
    return Text.from_ansi(line).plain


def drawn(lines: list[str], at: list[float]) -> str:
    """Return the picture: a window in which each line appears at its second."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), legacy_windows=False)
    for line in lines:
        console.print(Text.from_ansi(line), soft_wrap=True)
    svg = console.export_svg(title=COMMAND, theme=THEME, code_format=SVG, font_aspect_ratio=0.6, unique_id="demo")

    def timed(found: re.Match[str]) -> str:
        style = f"animation-delay: {at[int(found['line'])]:.1f}s"
        return (
            f'\n<text {found["attributes"]} style="{style}">{found["words"]}</text>' if found["words"].strip() else ""
        )

    return "\n".join(line.strip() for line in IN_LINE.sub(timed, svg).splitlines()) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where the picture is out of date")
    options = parser.parse_args()
    shown, at = normalised(recorded())
    picture = drawn([f"\033[1m$ {COMMAND}\033[0m", *shown], [0.0, *at])
    if not options.check:
        PICTURE.parent.mkdir(exist_ok=True)
        PICTURE.write_text(picture)
        return 0
    before = PICTURE.read_text() if PICTURE.exists() else ""
    sys.stdout.writelines(difflib.unified_diff(before.splitlines(True), picture.splitlines(True), "picture", "demo"))
    return int(before != picture)


if __name__ == "__main__":
    raise SystemExit(main())
