"""Where it runs and how it reaches AWS: an ECS task, a proxy, a private CA; played by real servers here."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sidecar.emulator import Emulator
from tests.acceptance.support import Sidecar
from tests.fakes.tls import Relay, tls_context

TASK = "arn:aws:ecs:eu-central-1:123456789012:task/cluster/0123456789abcdef"


@contextmanager
def ecs_agent(task: str = TASK) -> Iterator[str]:
    """The two endpoints of an ECS agent: task metadata and credentials."""
    answers = {
        "/v4/me/task": {"TaskARN": task, "Cluster": "cluster", "LaunchType": "FARGATE", "DesiredStatus": "RUNNING"},
        "/credentials": {
            "AccessKeyId": "ASIATASK",
            "SecretAccessKey": "secret-of-the-task",
            "Token": "session-of-the-task",
            "Expiration": (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "RoleArn": "arn:aws:iam::123456789012:role/task",
        },
    }

    class Agent(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answers.get(self.path, {})).encode()
            self.send_response(200 if self.path in answers else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Agent)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def in_a_task(aws: Emulator, directory: Path, agent: str, **settings: str | None) -> Sidecar:
    sidecar = Sidecar(aws, directory, AWS_ROLE_ARN=None, AWS_WEB_IDENTITY_TOKEN_FILE=None, AWS_REGION=None)
    del sidecar.env["POD_UID"]
    sidecar.env |= {
        "ECS_CONTAINER_METADATA_URI_V4": f"{agent}/v4/me",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{agent}/credentials",
    }
    sidecar.env |= {name: value for name, value in settings.items() if value is not None}
    return sidecar


def test_an_ecs_task_is_metered_by_its_arn_in_the_arns_region(aws: Emulator, tmp_path: Path) -> None:
    """An agent older than 1.104.0 sets no region variables; the ARN has it."""
    aws.behave(region="eu-central-1")
    with ecs_agent() as agent, in_a_task(aws, tmp_path, agent) as sidecar:
        sidecar.shows("entitled")
        status = sidecar.api("GET /v1/status")[1]
        assert (status["workload"]["id"], status["workload"]["kind"]) == (TASK, "task")
        assert (status["aws"]["region"], status["aws"]["region_source"]) == ("eu-central-1", "the task ARN")
        assert status["aws"]["credential_source"] == "the ECS task role"
        assert list(tmp_path.glob("answer-*.json"))


@pytest.mark.slow
def test_a_region_variable_that_contradicts_the_task_is_not_used(aws: Emulator, tmp_path: Path) -> None:
    aws.behave(region="eu-central-1")
    with ecs_agent() as agent, in_a_task(aws, tmp_path, agent, AWS_REGION="us-east-1") as sidecar:
        sidecar.shows("entitled")
        assert "AWS_REGION says us-east-1" in sidecar.logged("region.disagreed")["disagreement"]


def test_a_pod_and_a_task_at_once_are_a_contradiction(aws: Emulator, tmp_path: Path) -> None:
    with ecs_agent() as agent, in_a_task(aws, tmp_path, agent, POD_UID="some-pod") as sidecar:
        assert sidecar.ended() == 78
        assert TASK in sidecar.note.read_text()
        assert "some-pod" in sidecar.note.read_text()


@pytest.mark.slow
def test_a_task_whose_metadata_does_not_answer_is_held_not_guessed(aws: Emulator, tmp_path: Path) -> None:
    with in_a_task(aws, tmp_path, "http://127.0.0.1:9") as sidecar:
        assert sidecar.logged("registration.held")["reason"] == "task_metadata_unreadable"
        assert sidecar.probe()[0] == 503
    assert [call for call in aws.calls() if call.operation == "RegisterUsage"] == []


@pytest.mark.slow
def test_a_private_ca_is_trusted_where_aws_ca_bundle_names_it_and_not_otherwise(aws: Emulator, tmp_path: Path) -> None:
    context, bundle = tls_context(tmp_path)
    with Relay(aws.port, context) as front:
        url = f"https://127.0.0.1:{front.port}"
        with Sidecar(aws, tmp_path, SIDECAR_ENDPOINT_URL=url, AWS_CA_BUNDLE=str(bundle)) as trusting:
            trusting.shows("entitled")
        with Sidecar(aws, tmp_path, SIDECAR_ENDPOINT_URL=url) as doubting:
            shown = doubting.shows("misconfigured")
            assert shown["reason"] == "tls_failed"
            assert f"127.0.0.1:{front.port}" in shown["hint"]


@pytest.mark.slow
def test_https_proxy_is_used_for_aws_and_never_for_link_local_addresses(aws: Emulator, tmp_path: Path) -> None:
    context, bundle = tls_context(tmp_path)
    with Relay(aws.port, context) as front, Relay(front.port, proxy=True) as proxy, ecs_agent() as agent:
        aws.behave(region="eu-central-1")
        proxied = f"http://127.0.0.1:{proxy.port}"
        sidecar = in_a_task(
            aws,
            tmp_path,
            agent,
            SIDECAR_ENDPOINT_URL=f"https://127.0.0.1:{front.port}",
            AWS_CA_BUNDLE=str(bundle),
            HTTPS_PROXY=proxied,
            HTTP_PROXY=proxied,
            NO_PROXY="somewhere.else",
        )
        with sidecar:
            sidecar.shows("entitled")
        asked = {head.split()[1] for head in proxy.heads if head.startswith(b"CONNECT")}
        assert asked == {f"127.0.0.1:{front.port}".encode()}
        assert not [head for head in proxy.heads if b"/v4/me" in head], "metadata went through the proxy"
