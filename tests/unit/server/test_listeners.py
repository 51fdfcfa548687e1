"""Which sockets listen, and the error where one cannot."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sidecar.errors import SettingsError
from sidecar.server.listeners import NO_FAMILY, Listening, listen
from tests.fakes.config import settings
from tests.ports import free_port, needs_ipv6


@contextmanager
def listening(**given: str) -> Iterator[tuple[Listening, ...]]:
    found = listen(settings(**{"probe_bind": "127.0.0.1:0", "api_bind": "127.0.0.1:0"} | given))
    try:
        yield found
    finally:
        for one in found:
            one.sock.close()


def reached(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), 2):
            return True
    except OSError:
        return False


def test_probes_listen_first_and_then_the_product() -> None:
    with listening() as found:
        assert [one.name for one in found] == ["probe", "api"]
        assert all(reached(one.address.host, one.address.port) for one in found)
        assert len({one.address.port for one in found}) == 2


@needs_ipv6
def test_every_address_is_ipv6_and_ipv4_on_one_socket() -> None:
    with listening(probe_bind=":0") as found:
        (probe,) = [one for one in found if one.name == "probe"]
        assert reached("127.0.0.1", probe.address.port)
        assert reached("::1", probe.address.port)


@needs_ipv6
def test_one_ipv6_address_is_not_an_ipv4_one() -> None:
    with listening(probe_bind="[::1]:0") as found:
        assert not reached("127.0.0.1", found[0].address.port)


def test_one_ipv4_address_is_no_other() -> None:
    with listening() as found:
        assert not reached("127.0.0.2", found[0].address.port)


def test_a_listener_may_have_several_addresses() -> None:
    with listening(probe_bind="127.0.0.1:0,127.0.0.2:0") as found:
        assert [one.address.host for one in found if one.name == "probe"] == ["127.0.0.1", "127.0.0.2"]


@pytest.mark.parametrize(("name", "variable"), [("probe_bind", "SIDECAR_PROBE_BIND"), ("api_bind", "SIDECAR_API_BIND")])
def test_a_port_that_is_taken_is_a_settings_error_and_nothing_is_left_listening(name: str, variable: str) -> None:
    other = "api_bind" if name == "probe_bind" else "probe_bind"
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        given = {name: f"127.0.0.1:{taken.getsockname()[1]}", other: f"127.0.0.1:{port}"}
        with pytest.raises(SettingsError) as caught, listening(**given):
            pass
        (found,) = caught.value.problems
        assert found.setting == variable
        assert given[name] in found.fault
        assert "Address already in use" in found.fault
        assert not reached("127.0.0.1", port)


def test_both_listeners_on_one_address_are_told_at_once_with_others() -> None:
    port = free_port()
    with (
        pytest.raises(SettingsError) as caught,
        listening(probe_bind=f"127.0.0.1:{port},192.0.2.1:1", api_bind=f"127.0.0.1:{port}"),
    ):
        pass
    assert [one.setting for one in caught.value.problems] == ["SIDECAR_PROBE_BIND", "SIDECAR_API_BIND"]


def test_an_address_somebody_wrote_and_this_machine_lacks_is_an_error() -> None:
    with pytest.raises(SettingsError) as caught, listening(api_bind="192.0.2.1:0"):
        pass
    (found,) = caught.value.problems
    assert found.setting == "SIDECAR_API_BIND"
    assert errno.EADDRNOTAVAIL in NO_FAMILY


def test_a_name_nobody_knows_is_an_error() -> None:
    with pytest.raises(SettingsError) as caught, listening(probe_bind="no-such-host.invalid:0"):
        pass
    assert "no-such-host.invalid:0" in caught.value.problems[0].fault


@pytest.mark.parametrize("host", ["a" * 64, "a..b"])
def test_a_name_that_cannot_be_one_is_an_error_too(host: str) -> None:
    with pytest.raises(SettingsError), listening(probe_bind=f"{host}:0"):
        pass


def test_sockets_are_not_handed_to_what_is_executed() -> None:
    with listening() as found:
        assert not any(one.sock.get_inheritable() for one in found)


def test_bound_without_a_backlog_keeps_no_other_process_from_listening() -> None:
    where = {"probe_bind": f"127.0.0.1:{free_port()}", "api_bind": f"127.0.0.1:{free_port()}"}
    looking = listen(settings(**where), backlog=None)
    try:
        assert not any(reached(one.address.host, one.address.port) for one in looking)
        with listening(**where) as found:
            assert all(reached(one.address.host, one.address.port) for one in found)
            with pytest.raises(SettingsError):
                listen(settings(**where), backlog=None)
    finally:
        for one in looking:
            one.sock.close()
