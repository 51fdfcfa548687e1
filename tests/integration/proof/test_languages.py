"""The examples in other languages give the verdict of each vector, as the sidecar and `sidecar.proof` do."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar import proof
from tests.fakes.keys import private_key, public_pem
from tests.fakes.peer import Peer
from tests.unit.entitlement.tokens import token as signed
from tests.vectors.make import PATH

HERE: Final = Path(__file__).parent
EXAMPLES: Final = HERE.parents[2] / "docs" / "examples" / "proof"
FILE: Final = json.loads(PATH.read_text())
VECTORS: Final = [{**FILE, **one} for one in FILE["vectors"]]
EXPECTED: Final = {one["name"]: one["reason"] or "verified" for one in VECTORS}


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def line(vector: dict[str, Any]) -> str:
    """Return a vector as the programs beside this file read it."""
    now = int(datetime.fromisoformat(vector["now"]).timestamp())
    keys = ",".join(f"{version}:{b64(pem)}" for version, pem in vector["public_keys"].items())
    texts = [b64(vector[name]) for name in ("name", "token", "nonce", "product_code")]
    return "\t".join([*texts, str(now), keys])


def verdicts(program: Sequence[str], place: Path) -> dict[str, str]:
    said = run(program, place, "\n".join(map(line, VECTORS)) + "\n")
    rows = [row.split("\t") for row in said.splitlines()]
    return {base64.b64decode(name).decode(): verdict for name, verdict in rows}


def run(command: Sequence[str], place: Path, given: str = "") -> str:
    done = subprocess.run(command, cwd=place, input=given, capture_output=True, text=True, timeout=240, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def proven(program: Sequence[str], place: Path) -> str:
    """Return what a program prints that asks a sidecar for a proof and verifies it. The sidecar is a stand-in."""
    nonce, pem = proof.new_nonce(), public_pem()
    token = signed(private_key(), {"productCode": "prod1", "publicKeyVersion": 1, "nonce": nonce})
    body = json.dumps({"token": token})
    with Peer([f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()]) as peer:
        said = run([*program, peer.url, nonce, "prod1", pem], place)
    (asked,) = peer.requests
    assert (asked.method, asked.target, json.loads(asked.body)) == ("POST", "/v1/proof", {"nonce": nonce})
    return said


def copied(place: Path, *files: Path) -> Path:
    for file in files:
        shutil.copy(file, place / file.name)
    return place


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [one for one in programs if shutil.which(one) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} is not on this machine")


@needs("node")
def test_node_gives_the_verdict_of_each_vector(tmp_path: Path) -> None:
    place = copied(tmp_path, EXAMPLES / "proof.mjs", HERE / "vectors.mjs")
    assert verdicts(["node", "vectors.mjs"], place) == EXPECTED
    assert proven(["node", "vectors.mjs"], place) == "1\n"


@needs("go")
@pytest.mark.slow
def test_go_gives_the_verdict_of_each_vector(tmp_path: Path) -> None:
    place = copied(tmp_path, HERE / "vectors.go")
    (tmp_path / "proof").mkdir()
    copied(tmp_path / "proof", EXAMPLES / "proof.go")
    (tmp_path / "go.mod").write_text("module example\n\ngo 1.22\n")
    subprocess.run(["go", "build", "-o", "vectors", "."], cwd=place, check=True)
    assert verdicts(["./vectors"], place) == EXPECTED
    assert proven(["./vectors"], place) == "1\n"


@needs("java", "javac")
@pytest.mark.slow
def test_java_gives_the_verdict_of_each_vector(tmp_path: Path) -> None:
    place = copied(tmp_path, EXAMPLES / "Proof.java", HERE / "Vectors.java")
    subprocess.run(["javac", "-Xlint:all", "-Werror", "Proof.java", "Vectors.java"], cwd=place, check=True)
    assert verdicts(["java", "-cp", ".", "Vectors"], place) == EXPECTED
    assert proven(["java", "-cp", ".", "Vectors"], place) == "1\n"
