"""Run checks where the link-local addresses of EC2 and ECS answer. Started in a network namespace of its own.

Prints, for each case of `CASES`, one JSON line: the case, the id of the check, its status, what was seen, and the fix.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from sidecar.doctor.context import Context
from sidecar.doctor.table import CHECKS

ADDRESSES: Final = ("169.254.169.254", "169.254.170.2")
SECRET: Final = "a-secret-that-nobody-may-see"
ISSUED: Final = {
    "Code": "Success",
    "AccessKeyId": "ASIALINKLOCAL",
    "SecretAccessKey": SECRET,
    "Token": SECRET,
    "Expiration": "2099-01-01T00:00:00Z",
}
TASK: Final = {"TaskARN": "arn:aws:ecs:us-east-1:123456789012:task/shop/0123456789abcdef"}
ROLES: Final = "/latest/meta-data/iam/security-credentials/"
ANSWERS: Final = {
    "/latest/api/token": "t",
    ROLES: "node-role",
    f"{ROLES}node-role": json.dumps(ISSUED),
    "/latest/meta-data/placement/region": "us-east-1",
    "/v2/credentials/x": json.dumps(ISSUED),
    "/v4/x/task": json.dumps(TASK),
}
ECS: Final = {"ECS_CONTAINER_METADATA_URI_V4": "http://169.254.170.2/v4/x"}
CASES: Final = {
    "task role": ({**ECS, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/x"}, "credentials"),
    "task without a role": ({**ECS, "AWS_EC2_METADATA_DISABLED": "false"}, "credentials"),
    "instance": ({}, "credentials"),
    "instance's region": ({}, "region"),
}


class Handler(BaseHTTPRequestHandler):
    """Answers as the instance metadata service and the ECS agent do."""

    def do_GET(self) -> None:
        body = ANSWERS.get(self.path, "").encode()
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-aws-ec2-metadata-token-ttl-seconds", "60")
        self.end_headers()
        self.wfile.write(body)

    do_PUT = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    for words in (("link", "set", "lo", "up"), *(("addr", "add", f"{one}/32", "dev", "lo") for one in ADDRESSES)):
        subprocess.run(["ip", *words], check=True)
    server = ThreadingHTTPServer(("0.0.0.0", 80), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings = {"SIDECAR_PRODUCT_CODE": "prod1", "SIDECAR_PUBLIC_KEY": os.environ["KEY"], "SIDECAR_STATE_DIR": "/tmp"}
    for case, (env, id_) in CASES.items():
        (check,) = [one for one in CHECKS if one.id == id_]
        found = check.run(Context(env=settings | env, manifest_path=Path("/nonexistent"), tokens=()))
        sys.stdout.write(json.dumps([case, id_, found.status.value, found.seen, found.fix]) + "\n")


if __name__ == "__main__":
    main()
