"""The way to AWS: names, connections, TLS, proxies and the clock, each broken by a real server on this machine."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from sidecar.doctor.checks import clock, dns, tcp, tls
from sidecar.doctor.finding import Finding, Status
from sidecar.doctor.network import Lookup, Network, Peer, is_private
from sidecar.doctor.route import routes
from sidecar.doctor.table import CHECKS
from tests.fakes.peer import Peer as Server
from tests.fakes.peer import http_answer
from tests.fakes.tls import Relay, tls_context
from tests.ports import free_port

from .support import Container, is_mended, text

NETWORK = ("dns", "tcp", "tls", "proxy", "clock")
PASSWORD = "s3cret-of-the-proxy"


def found(container: Container, *ids: str) -> dict[str, Finding]:
    """What the checks of the network find, with one context."""
    context = container.context()
    return {check.id: check.run(context) for check in CHECKS if check.id in (ids or NETWORK)}


def statuses(findings: dict[str, Finding]) -> str:
    assert all(map(is_mended, findings.values()))
    return " ".join(f"{id_}:{one.status.value}" for id_, one in findings.items())


def front(container: Container, tls: ssl.SSLContext) -> str:
    """The host and port of a TLS front before an emulator, which the settings then name."""
    relay = container.running.enter_context(Relay(container.aws().port, tls))
    container.set(SIDECAR_ENDPOINT_URL=f"https://127.0.0.1:{relay.port}")
    return f"127.0.0.1:{relay.port}"


# -- nothing is wrong


def test_an_endpoint_over_http_passes_and_has_no_certificate(container: Container) -> None:
    container.aws()
    seen = found(container)
    assert statuses(seen) == "dns:pass tcp:pass tls:skip proxy:skip clock:pass"
    assert "plain HTTP" in seen["tls"].seen
    assert "no proxy is set" in seen["proxy"].seen


def test_tls_passes_with_the_bundle_that_trusts_it_and_shows_the_issuer(container: Container) -> None:
    tls_, bundle = tls_context(container.directory)
    front(container, tls_)
    seen = found(container.set(AWS_CA_BUNDLE=str(bundle)))
    assert statuses(seen) == "dns:pass tcp:pass tls:pass proxy:skip clock:pass"
    assert "TLSv1.3, certificate of a private authority, issued by a private authority" in seen["tls"].seen
    assert "AWS_CA_BUNDLE" in seen["tls"].seen


def test_nothing_is_asked_that_could_register_or_bill(container: Container) -> None:
    aws = container.aws()
    found(container)
    assert aws.calls() == []


def test_without_a_region_no_host_is_known(container: Container) -> None:
    seen = found(container.set(AWS_REGION=None))
    assert statuses(seen) == "dns:skip tcp:skip tls:skip proxy:skip clock:skip"


def test_the_hosts_are_those_of_metering_and_of_sts_under_irsa(container: Container) -> None:
    assert [one.aws.host for one in routes(container.context())] == ["metering.marketplace.us-east-1.amazonaws.com"]
    hosts = [one.aws.host for one in routes(container.irsa().context())]
    assert hosts == ["metering.marketplace.us-east-1.amazonaws.com", "sts.us-east-1.amazonaws.com"]


# -- names


def test_a_name_that_does_not_exist_fails_and_the_rest_is_not_tried(container: Container) -> None:
    seen = found(container.set(SIDECAR_ENDPOINT_URL="https://nothing.invalid"))
    assert statuses(seen) == "dns:fail tcp:skip tls:skip proxy:skip clock:skip"
    assert "nothing.invalid" in seen["dns"].seen
    assert "getent hosts nothing.invalid" in seen["dns"].fix


def test_the_name_of_a_proxy_that_does_not_exist_fails_by_its_variable(container: Container) -> None:
    seen = found(container.set(HTTPS_PROXY="http://proxy.invalid:3128"))
    assert statuses(seen) == "dns:fail tcp:skip tls:skip proxy:skip clock:skip"
    assert "Correct HTTPS_PROXY: proxy.invalid does not exist" in seen["dns"].fix


def test_an_endpoint_that_aws_does_not_have_fails_by_the_variable_that_asks_for_it(container: Container) -> None:
    context = container.set(AWS_USE_FIPS_ENDPOINT="true").context()
    host = routes(context)[0].aws.host
    context.network.lookups[host] = Lookup(fault="Name or service not known")
    seen = dns.check(context)
    assert host == "metering.marketplace-fips.us-east-1.amazonaws.com"
    assert seen.status is Status.FAIL
    assert seen.fix.startswith("Remove AWS_USE_FIPS_ENDPOINT")


def test_an_address_that_a_vpc_endpoint_may_have_is_told_from_a_public_one() -> None:
    assert is_private("10.0.3.7")
    assert is_private("fd00::7")
    assert not is_private("54.239.28.85")
    assert not is_private("127.0.0.1")


NO_NETWORK = """
import sys
from pathlib import Path
from sidecar.doctor.context import Context
from sidecar.doctor.checks import dns
env = {"SIDECAR_PRODUCT_CODE": "x", "SIDECAR_ENTITLEMENT_CHECK": "meter_usage", "SIDECAR_DIMENSIONS": "requests",
       "AWS_REGION": "us-east-1", "POD_UID": "p"}
found = dns.check(Context(env=env, manifest_path=Path("/nowhere"), seal_path=Path("/nowhere")))
print(found.status.value, found.seen, found.fix, sep="|")
"""


def test_a_name_server_that_cannot_be_reached_fails_as_that(tmp_path: Path) -> None:
    if subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no network namespace is permitted here")
    resolver = (
        'printf "nameserver 192.0.2.1\\noptions timeout:1 attempts:1\\n" >"$0" && mount --bind "$0" /etc/resolv.conf'
    )
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        line = ["unshare", "--net", "--mount", "sh", "-c", f'{resolver} && exec "$@"', file.name]
        done = subprocess.run(
            [*line, sys.executable, "-c", NO_NETWORK], capture_output=True, text=True, timeout=60, check=False
        )
    if "mount:" in done.stderr:
        pytest.skip("no mount is permitted here")
    status, seen, fix = done.stdout.strip().split("|")
    assert status == "fail", done.stderr
    assert "metering.marketplace.us-east-1.amazonaws.com" in seen
    assert "port 53" in fix


# -- connections


def test_a_port_that_nothing_listens_on_fails(container: Container) -> None:
    port = free_port()
    seen = found(container.set(SIDECAR_ENDPOINT_URL=f"https://127.0.0.1:{port}"))
    assert statuses(seen) == "dns:pass tcp:fail tls:skip proxy:skip clock:skip"
    assert f"127.0.0.1:{port}: Connection refused" in seen["tcp"].seen
    assert f"TCP port {port}" in seen["tcp"].fix


def test_an_address_that_does_not_answer_fails_within_bounded_time() -> None:
    """A listener whose queue is full takes no further connection, as a firewall that drops everything."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        waiting = []
        for _ in range(3):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
            waiting.append(one)
        attempt = Network(seconds=0.2).attempt(Peer(host="127.0.0.1", port=port))
        for one in waiting:
            one.close()
    assert attempt.faults == (f"127.0.0.1:{port}: no answer within 0.2 s",)
    assert not attempt.refused


def test_a_first_address_that_does_not_answer_is_a_warning(container: Container) -> None:
    """The name has two addresses, and the server listens on the second alone."""
    with Server([http_answer(200, "")], host="127.0.0.2") as server:
        context = container.set(SIDECAR_ENDPOINT_URL=f"http://aws.example:{server.port}").context()
        context.network.lookups["aws.example"] = Lookup(addresses=("127.0.0.1", "127.0.0.2"))
        seen = tcp.check(context)
    assert seen.status is Status.WARN
    assert f"127.0.0.2:{server.port} in" in seen.seen
    assert f"after 127.0.0.1:{server.port}: Connection refused" in seen.seen


def test_what_did_not_answer_is_not_waited_for_again() -> None:
    network, peer = Network(), Peer(host="127.0.0.1", port=free_port())
    assert network.attempt(peer) is network.attempt(peer)
    with pytest.raises(OSError, match="was not reached"):
        network.open(peer)


# -- TLS


def test_a_certificate_of_an_unknown_issuer_fails_with_its_issuer(container: Container) -> None:
    tls_, _ = tls_context(container.directory)
    where = front(container, tls_)
    seen = found(container)
    assert statuses(seen) == "dns:pass tcp:pass tls:fail proxy:skip clock:pass"
    assert (
        "self-signed certificate; certificate of a private authority, issued by a private authority" in seen["tls"].seen
    )
    assert "AWS_CA_BUNDLE=/path/to/bundle.pem" in seen["tls"].fix
    assert where.partition(":")[0] in seen["tls"].seen


@pytest.mark.parametrize(
    ("made", "says", "fix"),
    [
        ({"days": (-3, -1)}, "certificate has expired", "Set this host's clock"),
        ({"days": (1, 3)}, "certificate is not yet valid", "Set this host's clock"),
        ({"address": "127.0.0.2"}, "IP address mismatch", "what answers is a private authority"),
    ],
    ids=["expired", "not yet valid", "another name"],
)
def test_a_certificate_that_is_not_good_here_fails(
    container: Container, made: dict[str, tuple[int, int] | str], says: str, fix: str
) -> None:
    tls_, bundle = tls_context(container.directory, **made)  # type: ignore[arg-type]
    front(container, tls_)
    seen = found(container.set(AWS_CA_BUNDLE=str(bundle)))
    assert seen["tls"].status is Status.FAIL
    assert says in seen["tls"].seen
    assert fix in seen["tls"].fix
    assert seen["clock"].status is Status.PASS, "a clock that is off must show although the certificate does not verify"


def test_a_server_without_tls_fails(container: Container) -> None:
    port = container.aws().port
    seen = found(container.set(SIDECAR_ENDPOINT_URL=f"https://127.0.0.1:{port}"))
    assert statuses(seen) == "dns:pass tcp:pass tls:fail proxy:skip clock:skip"
    assert "what answers does not speak TLS" in seen["tls"].seen
    assert "Let TLS to 127.0.0.1 through" in seen["tls"].fix


def test_a_server_that_takes_the_connection_and_is_silent_fails_within_bounded_time(container: Container) -> None:
    server = container.running.enter_context(Server([None]))
    context = container.set(SIDECAR_ENDPOINT_URL=f"https://127.0.0.1:{server.port}").context()
    context.network.seconds = 0.2
    seen = tls.check(context)
    assert seen.status is Status.FAIL
    assert "no answer within 0.2 s" in seen.seen
    assert clock.check(context).status is Status.SKIP


@pytest.mark.parametrize("content", [None, "no certificate\n"], ids=["missing", "not PEM"])
def test_a_bundle_that_cannot_be_used_fails(container: Container, content: str | None) -> None:
    tls_, _ = tls_context(container.directory)
    front(container, tls_)
    bundle = container.directory / "bundle.pem"
    if content:
        bundle.write_text(content)
    seen = found(container.set(AWS_CA_BUNDLE=str(bundle)), "tls")["tls"]
    assert seen.status is Status.FAIL
    assert f"AWS_CA_BUNDLE={bundle}" in seen.seen
    assert str(bundle) in seen.fix


# -- proxies


def test_a_proxy_that_opens_a_tunnel_passes_and_the_certificate_behind_it_is_seen(container: Container) -> None:
    tls_, bundle = tls_context(container.directory)
    where = front(container, tls_)
    proxy = container.running.enter_context(Relay(int(where.partition(":")[2]), proxy=True))
    container.set(AWS_CA_BUNDLE=str(bundle), HTTPS_PROXY=f"http://me:{PASSWORD}@127.0.0.1:{proxy.port}")
    seen = found(container)
    assert statuses(seen) == "dns:pass tcp:pass tls:pass proxy:pass clock:pass"
    assert f"http://127.0.0.1:{proxy.port} (HTTPS_PROXY): opens a tunnel to {where}" in seen["proxy"].seen
    heads = [head for head in proxy.heads if head]  # a mere connection sends none
    assert all(head.startswith(f"CONNECT {where} ".encode()) for head in heads)
    assert all(b"Proxy-Authorization: Basic " in head for head in heads)
    assert not any(PASSWORD in text(one) for one in seen.values())


def test_a_proxy_that_is_reached_over_tls_opens_a_tunnel_too(container: Container) -> None:
    tls_, bundle = tls_context(container.directory)
    where = front(container, tls_)
    proxy = container.running.enter_context(Relay(int(where.partition(":")[2]), tls_, proxy=True))
    url = f"https://127.0.0.1:{proxy.port}"
    seen = found(container.set(AWS_CA_BUNDLE=str(bundle), https_proxy=url, HTTPS_PROXY="http://proxy.invalid"))
    assert statuses(seen) == "dns:pass tcp:pass tls:pass proxy:pass clock:pass"
    assert f"{url} (https_proxy)" in seen["proxy"].seen, "in lower case it wins"


@pytest.mark.parametrize(
    ("status", "fix"),
    [(407, "credentials that the proxy takes"), (403, "NO_PROXY"), (502, "its own log")],
    ids=["credentials", "host", "other"],
)
def test_a_proxy_that_refuses_the_tunnel_fails(container: Container, status: int, fix: str) -> None:
    proxy = container.running.enter_context(Server([http_answer(status, "no")]))
    container.set(HTTPS_PROXY=f"http://me:{PASSWORD}@127.0.0.1:{proxy.port}")
    seen = found(container)
    assert statuses(seen) == "dns:pass tcp:pass tls:skip proxy:fail clock:skip"
    assert f"answers {status} to CONNECT metering.marketplace.us-east-1.amazonaws.com:443" in seen["proxy"].seen
    assert fix in seen["proxy"].fix
    assert not any(PASSWORD in text(one) for one in seen.values())


def test_what_is_no_proxy_at_all_fails(container: Container) -> None:
    proxy = container.running.enter_context(Server([b"SSH-2.0-OpenSSH_9.7\r\n\r\n"]))
    seen = found(container.set(HTTPS_PROXY=f"127.0.0.1:{proxy.port}"), "proxy")["proxy"]
    assert seen.status is Status.FAIL
    assert "does not speak HTTP" in seen.seen


def test_a_proxy_that_takes_no_connection_fails_as_a_connection(container: Container) -> None:
    port = free_port()
    seen = found(container.set(HTTPS_PROXY=f"http://127.0.0.1:{port}"))
    assert statuses(seen) == "dns:pass tcp:fail tls:skip proxy:skip clock:skip"
    assert "Correct HTTPS_PROXY" in seen["tcp"].fix


def test_a_proxy_that_is_no_url_fails_and_is_not_shown(container: Container) -> None:
    seen = found(container.set(HTTPS_PROXY=f"http://me:{PASSWORD}#x@127.0.0.1:3128"), "tls", "proxy", "clock")
    assert statuses(seen) == "tls:skip proxy:fail clock:skip"
    assert "HTTPS_PROXY=http://HOST:PORT" in seen["proxy"].fix
    assert not any(PASSWORD in text(one) for one in seen.values())


def test_a_host_that_no_proxy_excepts_is_asked_directly(container: Container) -> None:
    tls_, bundle = tls_context(container.directory)
    front(container, tls_)
    container.set(AWS_CA_BUNDLE=str(bundle), HTTPS_PROXY="http://proxy.invalid:3128", NO_PROXY="127.0.0.1")
    seen = found(container)
    assert statuses(seen) == "dns:pass tcp:pass tls:pass proxy:pass clock:pass"
    assert "asked directly, NO_PROXY excepts it from HTTPS_PROXY" in seen["proxy"].seen


def test_an_endpoint_over_http_goes_through_the_proxy_without_a_tunnel(container: Container) -> None:
    container.aws()
    now = format_datetime(datetime.now(UTC), usegmt=True)
    proxy = container.running.enter_context(Server([http_answer(200, "", Date=now)]))
    seen = found(container.set(HTTP_PROXY=f"http://me:{PASSWORD}@127.0.0.1:{proxy.port}"))
    assert statuses(seen) == "dns:pass tcp:pass tls:skip proxy:pass clock:pass"
    asked = [one for one in proxy.requests if one.method == "GET"]
    assert [one.target for one in asked] == [container.env["SIDECAR_ENDPOINT_URL"] + "/"]


# -- the clock


def dated(container: Container, off: timedelta) -> Finding:
    """What the clock check finds where the server's clock is `off` from this host's."""

    def answer(_: object) -> bytes:
        return http_answer(404, "", Date=format_datetime(datetime.now(UTC) + off, usegmt=True))

    server = container.running.enter_context(Server(answer))
    return found(container.set(SIDECAR_ENDPOINT_URL=server.url), "clock")["clock"]


@pytest.mark.parametrize(
    ("seconds", "status", "says"),
    [
        (0, Status.PASS, "within 5 s"),
        (-60, Status.WARN, "s ahead of"),
        (60, Status.WARN, "s behind"),
        (-400, Status.FAIL, "s ahead of"),
        (400, Status.FAIL, "s behind"),
    ],
)
def test_a_clock_warns_from_seconds_and_fails_where_signatures_do(
    container: Container, seconds: int, status: Status, says: str
) -> None:
    seen = dated(container, timedelta(seconds=seconds))
    assert seen.status is status
    assert says in seen.seen
    assert ("chronyc" in seen.fix) == (status is not Status.PASS)


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nDate: today\r\n\r\n"],
    ids=["closes", "no date", "bad"],
)
def test_an_answer_without_a_date_tells_nothing(container: Container, answer: bytes) -> None:
    server = container.running.enter_context(Server([answer]))
    assert found(container.set(SIDECAR_ENDPOINT_URL=server.url), "clock")["clock"].status is Status.SKIP


def test_the_clock_of_an_emulator_counts_where_the_settings_name_it(container: Container) -> None:
    aws = container.aws()
    seen = found(container.set(SIDECAR_CLOCK_URL=aws.url), "clock")["clock"]
    assert seen.status is Status.PASS
    assert f"SIDECAR_CLOCK_URL={aws.url} says" in seen.seen


def test_a_clock_url_that_does_not_answer_fails(container: Container) -> None:
    container.aws()
    url = f"http://127.0.0.1:{free_port()}"
    seen = found(container.set(SIDECAR_CLOCK_URL=url), "clock")["clock"]
    assert seen.status is Status.FAIL
    assert url in seen.fix
