"""Variables that Kubernetes injects for Services are ignored; those that only resemble them are errors."""

from __future__ import annotations

import pytest

from sidecar.settings.service_variables import is_injected
from tests.unit.settings.helpers import load, needed, problem


def service(
    name: str, host: str = "10.0.0.7", port: int = 8484, protocol: str = "tcp", port_name: str = ""
) -> dict[str, str]:
    """Return what the kubelet sets for one Service, as Docker links did."""
    upper = name.upper().replace("-", "_")
    at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    one = f"{upper}_PORT_{port}_{protocol.upper()}"
    found = {
        f"{upper}_SERVICE_HOST": host,
        f"{upper}_SERVICE_PORT": str(port),
        f"{upper}_PORT": f"{protocol}://{at}",
        one: f"{protocol}://{at}",
        f"{one}_PROTO": protocol,
        f"{one}_PORT": str(port),
        f"{one}_ADDR": host,
    }
    return found | ({f"{upper}_SERVICE_PORT_{port_name}": str(port)} if port_name else {})


SERVICES = [
    service("sidecar"),
    service("sidecar", port_name="HTTP"),
    service("sidecar-api", port=8485, port_name="HTTP_API"),
    service("sidecar-api", host="fd00::7"),
    service("sidecar-dns", protocol="udp", port=53),
    service("sidecar-x", protocol="sctp"),
    service("sidecar-config"),
    service("sidecar-on-denied"),
]


@pytest.mark.parametrize("variables", SERVICES)
def test_the_variables_of_a_service_are_ignored(variables: dict[str, str]) -> None:
    assert all(is_injected(name, value) for name, value in variables.items())
    assert load(needed() | variables) == load(needed())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SIDECAR_PORT", "8484"),
        ("SIDECAR_PORT", "http://10.0.0.7:8484"),
        ("SIDECAR_PORT", ""),
        ("SIDECAR_API_PORT", "8485"),
        ("SIDECAR_SERVICE_HOST", "product.example"),
        ("SIDECAR_SERVICE_PORT", "any"),
        ("SIDECAR_PORT_8484_TCP_PROTO", "http"),
        ("SIDECAR_PORT_8484_TCP_ADDR", "tcp://10.0.0.7"),
        ("SIDECAR_PORT_8484_ICMP", "tcp://10.0.0.7:8484"),
        ("SIDECAR_HOST", "10.0.0.7"),
    ],
)
def test_a_variable_that_only_resembles_a_services_is_an_error(name: str, value: str) -> None:
    assert not is_injected(name, value)
    found = problem(needed() | {name: value})
    assert found.setting == name
    assert "is not a setting" in found.fault
