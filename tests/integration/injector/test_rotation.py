"""Injectors keep one list of authorities in the cluster, have it trusted, and mend what others change."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from sidecar.injector import authority, certificate
from sidecar.injector.authority import SKEW, Times
from sidecar.injector.cluster import WEBHOOK, Cluster, ClusterError, Conflict
from sidecar.injector.rotation import Mounted, OwnAuthority, keep
from tests.integration.pod_status.cluster_api import TOKEN, Answer, ClusterApi

START = datetime.now(UTC).replace(microsecond=0) + SKEW * 0.75
"""Ahead of the real clock, which TLS goes by: a certificate is valid from `SKEW` before it was made, and here only for
minutes after; the tests may begin long after this file was imported."""
TIMES = Times(rotate=timedelta(seconds=60), settle=timedelta(seconds=12))
SECRET = "/api/v1/namespaces/gate/secrets/injector"
CONFIGURATION = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/webhook"


class InjectorApi(ClusterApi):
    """The API server with the injector's two objects."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.secret: dict[str, Any] = {"metadata": {"resourceVersion": "1"}}
        self.webhooks: list[dict[str, Any]] = [{"name": "other"}, {"name": WEBHOOK, "clientConfig": {"service": {}}}]

    def answer(self, request: BaseHTTPRequestHandler, body: Any) -> Answer:
        method, path = request.command, request.path
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, None
        if said := self.fault(method, path):
            return said
        if (method, path) == ("GET", SECRET):
            return 200, self.secret
        if (method, path) == ("PUT", SECRET):
            version = self.secret["metadata"]["resourceVersion"]
            if body["metadata"]["resourceVersion"] != version:
                return 409, None
            self.secret = {**body, "metadata": {"resourceVersion": f"{version}1"}}
            return 200, self.secret
        if (method, path) == ("GET", CONFIGURATION):
            return 200, {"webhooks": self.webhooks}
        if (method, path) == ("PATCH", CONFIGURATION):
            test, add = body
            *_, at, _, _ = add["path"].split("/")
            assert self.webhooks[int(at)]["name"] == test["value"]
            self.webhooks[int(at)]["clientConfig"]["caBundle"] = add["value"]
            return 200, {}
        return 404, None

    @property
    def trusted(self) -> str:
        return base64.b64decode(self.webhooks[1]["clientConfig"].get("caBundle", "")).decode()

    @property
    def writes(self) -> list[str]:
        return [method for method, _, _ in self.asked if method != "GET"]

    def cluster(self) -> Cluster:
        names = {"namespace": "gate", "secret": "injector", "webhook": "webhook"}
        return Cluster(host="127.0.0.1", port=self.port, mount=self.mount, **names)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[InjectorApi]:
    with InjectorApi(tmp_path) as found:
        yield found


def injector(api: InjectorApi) -> OwnAuthority:
    return OwnAuthority(api.cluster(), "injector.gate.svc", TIMES)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_the_first_pass_makes_an_authority_and_has_it_trusted(api: InjectorApi) -> None:
    one = injector(api)
    assert not one.ready(at(0))
    assert one.renew(at(0)) is not None
    assert one.ready(at(0))
    kept = json.loads(base64.b64decode(api.secret["data"]["authorities.json"]))
    assert api.trusted == kept[0]["certificate"]
    assert api.writes == ["PUT", "PATCH"]
    assert "caBundle" not in api.webhooks[0]


def test_another_injector_joins_without_writing(api: InjectorApi) -> None:
    injector(api).renew(at(0))
    other = injector(api)
    assert other.renew(at(1)) is not None
    assert other.ready(at(1))
    assert api.writes == ["PUT", "PATCH"]


def test_passes_that_find_all_well_change_nothing(api: InjectorApi) -> None:
    one = injector(api)
    one.renew(at(0))
    assert one.renew(at(3)) is None
    assert api.writes == ["PUT", "PATCH"]


def test_of_two_that_begin_at_once_one_gives_way(api: InjectorApi) -> None:
    first, second = api.cluster(), api.cluster()
    (one, _), (two, _) = first.kept(), second.kept()
    first.keep(one, b"[1]")
    with pytest.raises(Conflict):
        second.keep(two, b"[2]")
    assert second.kept()[1] == b"[1]"


def test_a_new_authority_is_trusted_before_it_signs(api: InjectorApi) -> None:
    one = injector(api)
    one.renew(at(0))
    before = api.trusted
    assert one.renew(at(60)) is None
    assert api.trusted.startswith(before)
    assert api.trusted.count("BEGIN CERTIFICATE") == 2
    assert one.renew(at(72)) is not None
    one.renew(at(84))
    assert before not in api.trusted


@pytest.mark.parametrize("found", ["", base64.b64encode(b"another's").decode()])
def test_a_configuration_that_somebody_changed_is_mended(found: str, api: InjectorApi) -> None:
    one = injector(api)
    one.renew(at(0))
    before = api.trusted
    api.webhooks[1]["clientConfig"]["caBundle"] = found
    one.renew(at(3))
    assert api.trusted == before


def test_a_secret_that_somebody_emptied_is_filled_again(api: InjectorApi) -> None:
    one = injector(api)
    one.renew(at(0))
    api.secret["data"] = {"authorities.json": "bm8="}
    assert one.renew(at(3)) is not None
    assert authority.read(api.cluster().kept()[1])[0].made_at == at(3)


@pytest.mark.parametrize("what", ["certificate", "key"])
def test_an_authority_that_somebody_spoilt_is_made_again(what: str, api: InjectorApi) -> None:
    one = injector(api)
    one.renew(at(0))
    (kept,) = json.loads(base64.b64decode(api.secret["data"]["authorities.json"]))
    other = certificate.make_authority(START, START + timedelta(days=1))
    for text in ("", "garbage", getattr(other, what)):
        api.secret["data"] = {
            "authorities.json": base64.b64encode(json.dumps([{**kept, what: text}]).encode()).decode()
        }
        before = api.trusted
        assert one.renew(at(3)) is not None
        assert api.trusted not in (before, text)


def test_without_an_api_it_is_ready_until_its_authority_may_be_replaced(api: InjectorApi) -> None:
    one, other = injector(api), injector(api)
    one.renew(at(0))
    before = api.trusted
    api.fault = lambda *_: (500, None)
    with pytest.raises(ClusterError, match="answered 500 to GET"):
        one.renew(at(3))
    assert one.ready(at(71))
    api.fault = lambda *_: None
    for seconds in range(0, 80, 3):
        other.renew(at(seconds))
        assert before in api.trusted
    assert not one.ready(at(72))


def test_one_that_read_the_next_authority_is_ready_while_that_settles(api: InjectorApi) -> None:
    one = injector(api)
    one.renew(at(0))
    one.renew(at(65))
    assert one.ready(at(76))
    assert not one.ready(at(77))


@pytest.mark.parametrize(
    ("status", "fix"),
    [(403, "the chart's Role and ClusterRole grant it"), (404, "helm upgrade renders it again"), (302, "asked again")],
)
def test_a_refusal_says_what_to_do_and_no_token(status: int, fix: str, api: InjectorApi) -> None:
    api.fault = lambda *_: (status, None)
    with pytest.raises(ClusterError) as refused:
        injector(api).renew(at(0))
    assert fix in str(refused.value)
    assert TOKEN not in str(refused.value)


def test_a_configuration_without_our_webhook_is_an_error(api: InjectorApi) -> None:
    api.webhooks.pop()
    with pytest.raises(ClusterError, match="install the chart again"):
        injector(api).renew(at(0))


def test_an_api_server_that_is_not_there_is_an_error(api: InjectorApi, tmp_path: Path) -> None:
    (tmp_path / "mount" / "token").unlink()
    with pytest.raises(ClusterError, match="does not answer"):
        injector(api).renew(at(0))


def test_a_mounted_certificate_is_read_again_when_it_changes(tmp_path: Path) -> None:
    def write() -> None:
        made = certificate.make_authority(START, START + timedelta(days=1))
        for name, text in zip(("tls.crt", "tls.key"), certificate.issue(made, "x"), strict=True):
            (tmp_path / name).write_text(text)

    mounted = Mounted(tmp_path)
    with pytest.raises(OSError, match=r"tls\.crt"):
        mounted.renew(START)
    assert not mounted.ready(START)
    write()
    assert mounted.renew(START) is not None
    assert mounted.renew(START) is None
    assert mounted.ready(START)
    write()
    assert mounted.renew(START) is not None


def test_passes_go_on_after_one_that_failed(api: InjectorApi) -> None:
    used: list[object] = []
    waits: list[float] = []
    answers = iter([(500, None), None])
    api.fault = lambda *_: next(answers, None)

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return len(waits) == 3

    keep(injector(api), used.append, lambda: at(0), wait)
    assert len(used) == 1
    assert waits == [1, 3, 3]


def test_two_injectors_at_once_agree(api: InjectorApi) -> None:
    both = [injector(api), injector(api)]
    rounds = [iter(range(20)), iter(range(20))]

    def run(one: OwnAuthority, left: Iterator[int]) -> None:
        keep(one, lambda _: None, lambda: at(0), lambda _: next(left, None) is None)

    threads = [threading.Thread(target=run, args=pair) for pair in zip(both, rounds, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(one.ready(at(0)) for one in both)
    assert len(authority.read(api.cluster().kept()[1])) == 1
    assert api.trusted == authority.bundle(authority.read(api.cluster().kept()[1]))
