"""A product that believes AWS alone: its own nonce, signed through a real sidecar, verified by its own code."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

import pytest

from sidecar import proof
from sidecar.emulator import Emulator
from tests.acceptance.support import PRODUCT, Sidecar
from tests.unit.entitlement.tokens import token as signed

pytestmark = pytest.mark.slow  # each starts processes


def url(sidecar: Sidecar) -> str:
    return f"http://127.0.0.1:{sidecar.api_port}"


def verify(aws: Emulator, token: str, nonce: str, product: str = PRODUCT) -> proof.Verified:
    return proof.verify(token, nonce, product_code=product, public_keys={1: aws.public_key()})


@contextmanager
def stub(kept: str = "") -> Iterator[str]:
    """What a customer may put in the sidecar's place: it answers 200 to everything, with the proof of another day."""

    class Yes(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = json.dumps({"entitled": True, "status": "entitled", "token": kept}).encode()
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Yes) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def test_a_products_own_nonce_comes_back_in_awss_signature(aws: Emulator, tmp_path: Path) -> None:
    with Sidecar(aws, tmp_path) as sidecar:
        sidecar.shows("entitled")
        nonce = proof.new_nonce()
        token = proof.ask(nonce, url(sidecar))
        assert verify(aws, token, nonce).public_key_version == 1
        assert proof.ask(nonce, url(sidecar)) == token, "the same nonce, and AWS is not asked again"
        assert [call.operation for call in aws.calls()].count("RegisterUsage") == 2  # the gate's and this one
        with pytest.raises(proof.NoProof) as soon:
            proof.ask(proof.new_nonce(), url(sidecar))
        assert (soon.value.status, soon.value.reason) == (429, "asked_just_now")
        assert soon.value.retry_after_seconds in range(1, 16)
        with pytest.raises(proof.ProofRejected, match="token_nonce"):
            verify(aws, token, proof.new_nonce())
        with pytest.raises(proof.ProofRejected, match="token_product_code"):
            verify(aws, token, nonce, "prod2")
        assert sidecar.logged("proof.signed")["aws_request_id"]
        with pytest.raises(proof.NoProof) as probe:
            proof.ask(proof.new_nonce(), f"http://127.0.0.1:{sidecar.probe_port}")
        assert (probe.value.status, probe.value.reason) == (404, "not_found")
    assert not [secret for secret in (nonce, token, token.split(".")[2]) if secret in sidecar.text()]


def test_a_stub_that_answers_200_to_everything_cannot_produce_a_proof(aws: Emulator) -> None:
    with stub() as place:
        done = subprocess.run(
            [sys.executable, "-m", "sidecar", "wait", "--timeout", "10", "--url", place],
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, "who believes a listener believes this one"
        nonce = proof.new_nonce()
        with pytest.raises(proof.ProofRejected, match="signature_missing"):
            verify(aws, proof.ask(nonce, place), nonce)


def test_a_token_of_another_day_is_refused_when_a_stub_replays_it(aws: Emulator) -> None:
    first, second = proof.new_nonce(), proof.new_nonce()
    kept = signed(aws.keys.private(1), {"productCode": PRODUCT, "publicKeyVersion": 1, "nonce": first})
    assert verify(aws, kept, first)
    with stub(kept) as place, pytest.raises(proof.ProofRejected, match="token_nonce"):
        verify(aws, proof.ask(second, place), second)


def test_before_the_gate_is_open_there_is_no_proof_and_no_question(aws: Emulator, tmp_path: Path) -> None:
    aws.unsubscribe()
    with Sidecar(aws, tmp_path) as sidecar:
        sidecar.shows("denied")
        asked = len(aws.calls())
        with pytest.raises(proof.NoProof) as refused:
            proof.ask(proof.new_nonce(), url(sidecar))
        assert (refused.value.status, refused.value.reason) == (403, "customer_not_entitled")
        assert len(aws.calls()) == asked
        assert sidecar.probe()[0] == 403


def test_a_forged_answer_is_never_handed_out_and_the_gate_stays_open(aws: Emulator, tmp_path: Path) -> None:
    with Sidecar(aws, tmp_path) as sidecar:
        sidecar.shows("entitled")
        aws.behave(wrong_key=True)
        with pytest.raises(proof.NoProof) as refused:
            proof.ask(proof.new_nonce(), url(sidecar))
        assert (refused.value.status, refused.value.reason) == (502, "token_signature")
        assert sidecar.probe()[0] == 200
        assert sidecar.logged("proof.refused")["reason"] == "token_signature"
        with urlopen(f"http://127.0.0.1:{sidecar.probe_port}/metrics", timeout=5) as reply:
            assert b'entitlement_sidecar_proofs_total{outcome="refused"} 1\n' in reply.read()
