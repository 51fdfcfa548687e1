"""The AWS that both sides of a benchmark ask: RegisterUsage and MeterUsage on loopback, and nothing else.

A tiny HTTP/1.1 server in its own process, speaking AWS JSON 1.1. It signs a real PS256 token
(RSA-2048) that repeats nonce, product code and key version, so that both sides pay for a real
verification. MeterUsage, which is asked when a run crosses an hour or ends, is taken unseen. It shares
no code with the sidecar. The key pair is made once and kept in `--key-dir`; `--latency-ms` delays
every answer.

Actions and token: AWS Marketplace Metering Service API reference, RegisterUsage and MeterUsage.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

TARGET = "AWSMPMeteringService.RegisterUsage"
METER_TARGET = "AWSMPMeteringService.MeterUsage"
CONTENT_TYPE = "application/x-amz-json-1.1"
BODY_BYTES_MAX = 65_536
KEY_BITS = 2048


def signing_key(directory: Path) -> rsa.RSAPrivateKey:
    """The cached key; made on first use, with `public.pem` beside it."""
    private, public = directory / "private.pem", directory / "public.pem"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not private.exists():
        made = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
        pem = made.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        partial = directory / f"private.{os.getpid()}"
        partial.write_bytes(pem)
        partial.replace(private)  # whole or absent, also when two benchmarks start at once
    key = serialization.load_pem_private_key(private.read_bytes(), None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SystemExit(f"{private} is no RSA key; delete it")
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, spki))
    return key


class Handler(BaseHTTPRequestHandler):
    """POST / with one of the two targets; anything else is an unknown operation."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one segment: no wait for a delayed ACK
    disable_nagle_algorithm = True
    timeout = 30
    key: rsa.RSAPrivateKey
    latency_seconds: float

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > BODY_BYTES_MAX:
            self.close_connection = True
            return self.answer(400, {"__type": "ValidationException", "message": "too big"})
        body = self.rfile.read(length)
        time.sleep(self.latency_seconds)
        if self.path == "/" and self.headers.get("X-Amz-Target") == METER_TARGET:
            return self.answer(200, {"MeteringRecordId": str(uuid.uuid4())})
        if self.path != "/" or self.headers.get("X-Amz-Target") != TARGET:
            return self.answer(
                400, {"__type": "UnknownOperationException", "message": "RegisterUsage and MeterUsage only"}
            )
        asked = json.loads(body)
        claims = {
            "productCode": asked["ProductCode"],
            "publicKeyVersion": asked["PublicKeyVersion"],
            "nonce": asked.get("Nonce"),
            "iat": int(time.time()),
        }
        return self.answer(200, {"Signature": jwt.encode(claims, self.key, algorithm="PS256")})

    def answer(self, status: int, body: dict[str, str]) -> None:
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(payload)))
        self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: a terminal write per request would be measured too."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key-dir", type=Path, required=True)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    options = parser.parse_args()
    Handler.key = signing_key(options.key_dir)
    Handler.latency_seconds = options.latency_ms / 1000
    ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
