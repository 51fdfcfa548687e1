"""`injector` says what it cannot start with, before it serves anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.__main__ import main
from tests.unit.injector.test_pod import document

NAMES = ("injector", "--namespace", "gate", "--service", "injector")


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("--certificate", "."), "pieces.json: cannot be read"),
        ((), "--secret: or --webhook is missing. Give both, or --certificate."),
        (("--secret", "s", "--webhook", "w"), "KUBERNETES_SERVICE_HOST: is not set"),
        (("--certificate", ".", "--settle-seconds", "0"), "--settle-seconds: is 0. Give 1 to 315360000."),
        (("--certificate", ".", "--rotate-seconds", "599"), "--settle-seconds: is more than --rotate-seconds"),
        (("--certificate", ".", "--rotate-seconds", "nan"), "--rotate-seconds: is nan"),
        (("--certificate", ".", "--drain-seconds", "1e30"), "--drain-seconds: is 1e+30"),
    ],
)
def test_what_it_cannot_start_with_is_said(
    words: tuple[str, ...],
    fault: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    if "pieces.json" not in fault:
        document(tmp_path)
    assert main([*NAMES, "--pieces", str(tmp_path / "pieces.json"), *words]) == 78
    assert fault in capsys.readouterr().err
