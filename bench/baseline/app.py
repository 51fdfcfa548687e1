"""The naive sidecar that every ratio in `bench/` is measured against: frozen, do not improve it.

It is what a seller writes by hand in an afternoon, with good libraries and no thought for
start-up or memory:

    gunicorn -k gthread --threads 4 -w 1 app:app

Everything is imported eagerly, RegisterUsage is asked while the module is imported, and each
`POST /usage` is one transaction. A ratio published today must mean the same next year, so this
file changes only when a dependency breaks it, and then by the smallest edit that lets it run.
"""

import os
import secrets
import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path

import boto3
import jwt
import structlog
from flask import Flask, Response, jsonify, request
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, generate_latest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

PRODUCT_CODE = os.environ["PRODUCT_CODE"]
PUBLIC_KEY_VERSION = int(os.environ.get("PUBLIC_KEY_VERSION", "1"))
PUBLIC_KEY = Path(os.environ["PUBLIC_KEY_FILE"]).read_text()
LEDGER = os.environ.get("LEDGER", "ledger.db")

structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.JSONRenderer(),
    ]
)
log = structlog.get_logger()

EVENTS = Counter("usage_events_total", "Usage events accepted", ["dimension"])
ENTITLED = Gauge("entitled", "1 while the customer is entitled")


class UsageEvent(BaseModel):
    id: str = Field(min_length=1, max_length=128)
    dimension: str = Field(min_length=1, max_length=255)
    quantity: int = Field(ge=0, le=2**31 - 1)
    at: datetime | None = None
    tags: dict[str, str] = Field(default_factory=dict)


USAGE = TypeAdapter(UsageEvent | list[UsageEvent])

app = Flask(__name__)
local = threading.local()


def database() -> sqlite3.Connection:
    if not hasattr(local, "connection"):
        connection = sqlite3.connect(LEDGER, timeout=30, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS usage (id TEXT PRIMARY KEY, hour TEXT NOT NULL,"
            " dimension TEXT NOT NULL, quantity INTEGER NOT NULL, tags TEXT NOT NULL)"
        )
        local.connection = connection
    return local.connection


def register() -> bool:
    client = boto3.client(
        "meteringmarketplace",
        region_name=os.environ["AWS_REGION"],
        endpoint_url=os.environ.get("AWS_ENDPOINT"),
    )
    nonce = secrets.token_urlsafe(32)
    answer = client.register_usage(ProductCode=PRODUCT_CODE, PublicKeyVersion=PUBLIC_KEY_VERSION, Nonce=nonce)
    claims = jwt.decode(answer["Signature"], PUBLIC_KEY, algorithms=["PS256"], leeway=300)
    ok = (
        claims["nonce"] == nonce
        and claims["productCode"] == PRODUCT_CODE
        and int(claims["publicKeyVersion"]) == PUBLIC_KEY_VERSION
    )
    log.info("registered", entitled=ok)
    return ok


@app.get("/entitled")
def entitled():
    return jsonify(entitled=is_entitled), 200 if is_entitled else 403


@app.get("/healthz")
def healthz():
    return jsonify(status="ok")


@app.get("/metrics")
def metrics():
    return Response(generate_latest(), content_type=CONTENT_TYPE_LATEST)


@app.post("/usage")
def usage():
    try:
        parsed = USAGE.validate_json(request.get_data())
    except ValidationError as error:
        return jsonify(error=error.errors(include_url=False, include_context=False)), 400
    events = parsed if isinstance(parsed, list) else [parsed]
    hour = datetime.now(UTC).strftime("%Y-%m-%dT%H:00:00Z")
    rows = [
        (e.id, hour, e.dimension, e.quantity, ",".join(f"{k}={v}" for k, v in sorted(e.tags.items()))) for e in events
    ]
    db = database()
    db.execute("BEGIN IMMEDIATE")
    try:
        before = db.total_changes
        db.executemany("INSERT OR IGNORE INTO usage VALUES (?, ?, ?, ?, ?)", rows)
        accepted = db.total_changes - before
        db.execute("COMMIT")
    except sqlite3.Error:
        db.execute("ROLLBACK")
        raise
    for event in events:
        EVENTS.labels(event.dimension).inc()
    return jsonify(accepted=accepted, duplicates=len(events) - accepted)


database()
is_entitled = register()
ENTITLED.set(is_entitled)
