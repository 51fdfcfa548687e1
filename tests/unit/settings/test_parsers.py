"""Each parser accepts and refuses what it should; a fault names the value, except for keys."""

from __future__ import annotations

import base64
import json
import textwrap
from argparse import Namespace
from pathlib import Path

import pytest

from sidecar.cli.manifest import check
from sidecar.errors import SettingsError
from sidecar.settings import parsers
from sidecar.settings.addresses import Address, UnixSocket
from sidecar.settings.choices import (
    EntitlementCheck,
    LogLevel,
    OnDenied,
    OnDispute,
    OnFirstMeterDenied,
    OnLedgerUnusable,
    OnMeteringOverdue,
    OnSeatLost,
    Platform,
    QuantityField,
)
from sidecar.settings.dimensions import Dimension
from sidecar.settings.licenses import License, Take
from sidecar.settings.pull_sources import PullSource, SourceKind
from sidecar.settings.table import BY_NAME
from tests.fakes.keys import base64_of, body_of, elliptic_pem, pkcs1_pem, private_pem, public_pem
from tests.unit.settings.helpers import problem, problems

GOOD: list[tuple[str, object, object]] = [
    ("product_code", "  8f7k2m1q9w3e5r7t0y2u4i6o8 ", "8f7k2m1q9w3e5r7t0y2u4i6o8"),
    ("product_code", "a" * 255, "a" * 255),
    ("product_code", "-/=:_.@", "-/=:_.@"),
    ("public_key_file", "/etc/key.pem", Path("/etc/key.pem")),
    ("public_key_version", "1", 1),
    ("public_key_version", 2147483647, 2147483647),
    ("entitlement_check", "register_usage", EntitlementCheck.REGISTER_USAGE),
    ("state_dir", "/var/lib/x", Path("/var/lib/x")),
    ("entitlement_check", "meter_usage", EntitlementCheck.METER_USAGE),
    ("dimensions", "a, b", (Dimension(name="a"), Dimension(name="b"))),
    ("dimensions", [{"name": "a", "decimals": 2}], (Dimension(name="a", decimals=2),)),
    ("on_first_meter_denied", "alert", OnFirstMeterDenied.ALERT),
    ("on_metering_overdue", "not_ready", OnMeteringOverdue.NOT_READY),
    ("on_ledger_unusable", "alert", OnLedgerUnusable.ALERT),
    ("metering_overdue_seconds", 7200, 7200),
    ("on_dispute", "roll_forward", OnDispute.ROLL_FORWARD),
    ("quantity_field", "integer", QuantityField.INTEGER),
    ("clock_url", "http://127.0.0.1:8486", "http://127.0.0.1:8486"),
    ("on_denied", "exit", OnDenied.EXIT),
    ("on_denied", " HOLD ", OnDenied.HOLD),
    ("startup_retry_seconds", "0", 0),
    ("startup_retry_seconds", 604800, 604800),
    ("reask_seconds", "0", 0),
    ("flush_seconds", 1, 1),
    ("grace_seconds", "45", 45),
    ("log_level", "Debug", LogLevel.DEBUG),
    ("endpoint_url", "http://127.0.0.1:8486/", "http://127.0.0.1:8486"),
    ("endpoint_url", "https://[::1]:1", "https://[::1]:1"),
    ("workload_id", "arn:aws:ecs:us-east-1:1:task/c/1", "arn:aws:ecs:us-east-1:1:task/c/1"),
    ("workload_id", "x" * 512, "x" * 512),
    ("product_sku", " prod-4kq7example2x ", "prod-4kq7example2x"),
    ("licenses", "- {name: pro, take: check}", (License(name="pro", take=Take.CHECK),)),
    ("on_seat_lost", "Shut", OnSeatLost.SHUT),
    ("platform", "AgentCore", Platform.AGENTCORE),
    ("sources", [{"kind": "heartbeat", "dimension": "d"}], (PullSource(kind=SourceKind.HEARTBEAT, dimension="d"),)),
    ("termination_log", "/dev/termination-log", Path("/dev/termination-log")),
    ("probe_bind", ":8484", (Address(host="::", port=8484),)),
    ("probe_bind", "localhost:0", (Address(host="127.0.0.1", port=0),)),
    ("api_hosts", "Entitlement-Sidecar, gate.local.,gate.local", ("entitlement-sidecar", "gate.local")),
    ("api_hosts", "my_service,10.0.0.1,[2001:DB8::1],::2", ("my_service", "10.0.0.1", "2001:db8::1", "::2")),
    ("api_token_file", "/etc/token", Path("/etc/token")),
    ("api_bind", "unix:/run/a/api.sock", (UnixSocket(path=Path("/run/a/api.sock")),)),
    ("api_bind", "unix:/a, :1", (UnixSocket(path=Path("/a")), Address(host="::", port=1))),
    ("address_file", "/run/gate/addresses.json", Path("/run/gate/addresses.json")),
    ("api_socket_mode", "0660", 0o660),
    ("api_socket_mode", "666", 0o666),
    ("api_socket_group", "2000", "2000"),
    ("api_socket_group", 2000, "2000"),
    ("api_socket_group", "www-data", "www-data"),
    ("api_bind", "10.0.0.1:1, [fe80::1%2]:2", (Address(host="10.0.0.1", port=1), Address(host="fe80::1%2", port=2))),
]

BAD: list[tuple[str, object, str]] = [
    ("product_code", "", "is empty"),
    ("product_code", "   ", "is empty"),
    ("product_code", "a b", "'a b'"),
    ("product_code", "a" * 256, "is not a product code"),
    ("product_code", "prod-abcdefghijklm", "product ID"),
    ("product_code", 1234, "put it in quotes"),
    ("product_code", 12.5, "put it in quotes"),
    ("product_code", True, "put it in quotes"),
    ("product_code", None, "put it in quotes"),
    ("product_code", ["a"], "put it in quotes"),
    ("public_key_file", "key.pem", "'key.pem' is not an absolute path"),
    ("public_key_version", "0", "'0' is not a whole number from 1"),
    ("public_key_version", 0, "'0'"),
    ("public_key_version", 2147483648, "2147483647"),
    ("public_key_version", "1.0", "'1.0'"),
    ("public_key_version", "+1", "'+1'"),
    ("public_key_version", "1_0", "'1_0'"),
    ("public_key_version", "١", "is not a whole number"),
    ("public_key_version", True, "True"),
    ("public_key_version", 1.0, "1.0"),
    ("entitlement_check", "meter", "register_usage"),
    ("dimensions", "", "is empty"),
    ("dimensions", "a,,b", "1 to 255"),
    ("dimensions", [{"name": "a", "aggregation": "max"}], "scope is missing"),
    ("on_first_meter_denied", "exit", "alert, shut"),
    ("on_metering_overdue", "hold", "alert, not_ready, shut"),
    ("on_ledger_unusable", "hold", "shut, alert"),
    ("metering_overdue_seconds", 7199, "from 7200"),
    ("on_dispute", "bill", "hold, roll_forward"),
    ("product_sku", "8f7k2m1q9w3e5r7t0y2u4i6o8", "is not a product ID"),
    ("licenses", "pro", "is not a list of licenses"),
    ("on_seat_lost", "exit", "hold, shut"),
    ("platform", "eks", "found, agentcore"),
    ("sources", "requests", "is not JSON"),
    ("quantity_field", "float", "auto, decimal, integer"),
    ("clock_url", "emulator", "is not an http:// or https:// URL"),
    ("on_denied", "stop", "hold, exit"),
    ("on_denied", False, "False"),
    ("startup_retry_seconds", "-1", "'-1'"),
    ("startup_retry_seconds", "604801", "604800"),
    ("reask_seconds", "5m", "'5m' is not a whole number of seconds"),
    ("flush_seconds", "0", "from 1"),
    ("grace_seconds", "0", "from 1"),
    ("log_level", "verbose", "debug, info, warning, error"),
    ("endpoint_url", "127.0.0.1:8486", "is not an http:// or https:// URL"),
    ("endpoint_url", "ftp://host", "is not an http:// or https:// URL"),
    ("endpoint_url", "http://", "is not an http:// or https:// URL"),
    ("endpoint_url", "http://host:99999", "is not an http:// or https:// URL"),
    ("endpoint_url", "http://[::1", "is not an http:// or https:// URL"),
    ("endpoint_url", "http://host/?a=b", "scheme, host and port only"),
    ("endpoint_url", "http://host/#a", "scheme, host and port only"),
    ("workload_id", "a b", "'a b'"),
    ("workload_id", "x" * 513, "512"),
    ("workload_id", "é", "printable"),
    ("state_dir", "~/state", "is not an absolute path"),
    ("termination_log", "log", "is not an absolute path"),
    ("probe_bind", "8484", "'8484' is not HOST:PORT"),
    ("probe_bind", ":http", "':http'"),
    ("probe_bind", ":65536", "65535"),
    ("probe_bind", "::1:8484", "'::1:8484'"),
    ("probe_bind", ":8484,", "''"),
    ("probe_bind", ":8484,[::]:8484", "twice"),
    ("api_bind", "http://127.0.0.1:1", "is not HOST:PORT"),
    ("api_bind", "a b:1", "'a b:1'"),
    ("api_bind", "unix:api.sock", "'unix:api.sock' is not unix: and the absolute path"),
    ("api_bind", "unix://run/api.sock", "is not unix: and the absolute path"),
    ("api_bind", "unix:/run/", "is not unix: and the absolute path"),
    ("api_bind", "unix:@abstract", "is not unix: and the absolute path"),
    ("api_bind", "unix:/a,unix:/a", "twice"),
    ("api_bind", "unix:/" + "ä" * 54, "109 bytes"),
    ("probe_bind", "unix:/run/a.sock", "unix:/run/a.sock is a Unix socket; kubelet"),
    ("address_file", "addresses.json", "is not an absolute path"),
    ("api_socket_mode", 432, 'put the octal mode in quotes: "0660"'),
    ("api_socket_mode", "0o660", "'0o660' is not an octal mode"),
    ("api_socket_mode", "1666", "'1666' is not an octal mode"),
    ("api_socket_mode", "0680", "'0680' is not an octal mode"),
    ("api_socket_mode", "0060", "keeps the sidecar's own user out"),
    ("api_socket_group", "-1", "'-1' is not a group"),
    ("api_socket_group", "4294967295", "is not a group"),
    ("api_socket_group", True, "True is not text"),
    ("api_hosts", "gate:8485", "'gate:8485'"),
    ("api_hosts", "http://gate", "'http://gate'"),
    ("api_hosts", "*.example", "wildcard"),
    ("api_hosts", "gate,", "''"),
    ("api_hosts", "[gate]", "'[gate]'"),
    ("api_hosts", "a b", "'a b'"),
    ("api_token_file", "token", "is not an absolute path"),
]


@pytest.mark.parametrize(("name", "given", "value"), GOOD)
def test_a_good_value_is_read(name: str, given: object, value: object) -> None:
    assert BY_NAME[name].parse(given) == value


@pytest.mark.parametrize(("name", "given", "fault"), BAD)
def test_a_bad_value_is_refused_with_the_fault(name: str, given: object, fault: str) -> None:
    with pytest.raises(ValueError) as caught:
        BY_NAME[name].parse(given)
    assert fault in str(caught.value)
    assert str(caught.value).endswith(".")


def test_every_setting_is_tried_both_ways() -> None:
    tried = {name for name, _, _ in GOOD} & {name for name, _, _ in BAD}
    assert tried == set(BY_NAME) - {"public_key"}, "public_key has its tests below"


@pytest.mark.parametrize("name", [name for name in BY_NAME if name != "public_key"])
def test_the_example_and_the_default_of_a_setting_are_good(name: str) -> None:
    setting = BY_NAME[name]
    setting.parse(setting.example)
    if setting.default is not None:
        setting.parse(setting.default)


def test_true_and_false_are_those_of_yaml_only() -> None:
    assert parsers.boolean(True) is True
    assert parsers.boolean(False) is False
    for other in ("true", "false", 0, 1, None, ""):
        with pytest.raises(ValueError):
            parsers.boolean(other)


@pytest.mark.parametrize(
    "value",
    ["http://user:secret@host", "http://:secret@host:1", "http://host/?key=secret", "http://host/#secret"],
)
def test_the_forbidden_parts_of_a_url_are_not_repeated(value: str) -> None:
    with pytest.raises(ValueError) as caught:
        parsers.url(value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", ["ftp://user:secret@host", "http://user:secret@host:99999"])
def test_a_url_refused_for_another_fault_does_not_show_its_password(value: str) -> None:
    with pytest.raises(ValueError) as caught:
        parsers.url(value)
    assert "secret" not in str(caught.value)


# -- keys


def wrapped(text: str, width: int = 64) -> str:
    return "\n".join(textwrap.wrap(text, width)) + "\n"


def forms() -> dict[str, str]:
    pem = public_pem()
    return {
        "PEM": pem,
        "PEM without last newline": pem.strip(),
        "PEM with blanks around": f"\n  {pem}  \n",
        "PEM with CRLF": pem.replace("\n", "\r\n"),
        "PKCS#1": pkcs1_pem(),
        "base64 of PEM": base64_of(pem),
        "wrapped base64": wrapped(base64_of(pem)),
        "wrapped base64 with CRLF": wrapped(base64_of(pem), 76).replace("\n", "\r\n"),
        "base64 of CRLF PEM": base64_of(pem.replace("\n", "\r\n")),
    }


@pytest.mark.parametrize("form", forms())
def test_a_key_is_read_in_every_form(form: str) -> None:
    from sidecar.entitlement import token

    read = parsers.public_key(forms()[form])
    assert read.startswith("-----BEGIN")
    assert token.public_key(read).public_numbers() == token.public_key(public_pem()).public_numbers()


def bad_keys() -> dict[str, tuple[str, str]]:
    pem = public_pem()
    inside = base64.b64decode("".join(pem.splitlines()[1:-1]))
    certificate = pem.replace("PUBLIC KEY", "CERTIFICATE")
    return {
        "a private key": (private_pem(), "private key"),
        "base64 of a private key": (base64_of(private_pem()), "private key"),
        "a private key behind the public one": (pem + private_pem(), "private key"),
        "two keys": (pem + pem, "not a PEM public key"),
        "a certificate": (certificate, "not a PEM public key"),
        "half a key": (pem[:200], "not a PEM public key"),
        "words before it": ("key: " + pem, "not a PEM public key"),
        "another kind of key": (elliptic_pem(), "not an RSA key"),
        "bare DER in base64": (base64.b64encode(inside).decode(), "not a PEM public key"),
        "neither": ("hunter2 hunter2", "not a PEM public key"),
        "broken inside": (pem.replace(body_of(pem), body_of(pem)[:-1]), "inside is not base64"),
        "nothing inside": ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "not an RSA key"),
        "empty": (" ", "empty"),
        "1023 bits": (rsa_pem((1 << 1022) + 1), "1023 bits; at least 1024"),
        "512 bits": (rsa_pem((1 << 511) + 1), "512 bits; at least 1024"),
        "a negative modulus": (rsa_pem(-(1 << 1100) + 1), "not an RSA key"),
        "an even modulus": (rsa_pem(1 << 2047), "even modulus"),
        "exponent 1": (rsa_pem(GOOD_MODULUS, 1), "exponent 1;"),
        "exponent 0": (rsa_pem(GOOD_MODULUS, 0), "exponent 0;"),
        "an even exponent": (rsa_pem(GOOD_MODULUS, 65536), "exponent 65536;"),
        "a negative exponent": (rsa_pem(GOOD_MODULUS, -3), "exponent -3;"),
        "weak, as PKCS#1": (rsa_pem((1 << 511) + 1, pkcs1=True), "512 bits"),
        "more behind the key": (as_pem(inside + b"\x00"), "not an RSA key"),
        "cut off": (as_pem(inside[:-9]), "not an RSA key"),
        "a length that is too long": (as_pem(inside[:1] + b"\x84\xff\xff\xff\xff" + inside[4:]), "not an RSA key"),
        "a length without end": (as_pem(inside[:1] + b"\x80" + inside[4:]), "not an RSA key"),
    }


GOOD_MODULUS = (1 << 2047) + 1


def der(tag: int, content: bytes) -> bytes:
    size = len(content)
    length = size.to_bytes(4, "big").lstrip(b"\0") or b"\0"
    return bytes([tag, *([size] if size < 128 else [0x80 | len(length), *length])]) + content


def integer(value: int) -> bytes:
    return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def as_pem(data: bytes, kind: str = "PUBLIC KEY") -> str:
    return f"-----BEGIN {kind}-----\n{wrapped(base64.b64encode(data).decode())}-----END {kind}-----\n"


def rsa_pem(modulus: int, exponent: int = 65537, pkcs1: bool = False) -> str:
    """A key of any numbers, such as no library makes."""
    key = der(0x30, integer(modulus) + integer(exponent))
    algorithm = der(0x30, bytes.fromhex("06092a864886f70d0101010500"))
    return as_pem(key, "RSA PUBLIC KEY") if pkcs1 else as_pem(der(0x30, algorithm + der(3, b"\0" + key)))


@pytest.mark.parametrize("pkcs1", [True, False])
@pytest.mark.parametrize(("modulus", "exponent"), [((1 << 1023) + 1, 3), (GOOD_MODULUS, 65537), ((1 << 4095) + 1, 17)])
def test_a_key_just_strong_enough_is_read(modulus: int, exponent: int, pkcs1: bool) -> None:
    assert parsers.public_key(rsa_pem(modulus, exponent, pkcs1)).startswith("-----BEGIN PUBLIC KEY")


@pytest.mark.parametrize("bits", [1024, 2048, 3072, 4096])
def test_a_key_of_the_library_is_read_back_as_it_was(bits: int) -> None:
    assert parsers.public_key(public_pem("sizes", bits)) == public_pem("sizes", bits)


def test_a_weak_key_is_refused_at_the_start_and_at_the_build(tmp_path: Path) -> None:
    weak = rsa_pem((1 << 511) + 1)
    file = tmp_path / "key.pem"
    file.write_text(weak)
    sealed = tmp_path / "product.yaml"
    sealed.write_text(json.dumps({"products": [{"code": "x", "public_keys": [{"version": 1, "key": weak}]}]}))
    for found in (
        problem({"SIDECAR_PRODUCT_CODE": "x", "SIDECAR_PUBLIC_KEY": weak}),
        problem({"SIDECAR_PRODUCT_CODE": "x", "SIDECAR_PUBLIC_KEY_FILE": str(file)}),
        problems({}, manifest=sealed)[0],
    ):
        assert "512 bits; at least 1024" in str(found)
    with pytest.raises(SettingsError, match="512 bits"):
        check(Namespace(schema=False, file=str(sealed)))


@pytest.mark.parametrize("kind", bad_keys())
def test_a_bad_key_is_refused_and_never_quoted(kind: str) -> None:
    given, fault = bad_keys()[kind]
    with pytest.raises(ValueError) as caught:
        parsers.public_key(given)
    assert fault in str(caught.value)
    pieces = [line for line in given.split() if len(line) > 6 and line not in ("CERTIFICATE-----", "-----BEGIN")]
    assert not [piece for piece in pieces if piece in str(caught.value)]


@pytest.mark.parametrize("wrap", [lambda pem: [pem], lambda pem: {"pem": pem}, lambda pem: pem.encode()])
def test_a_key_that_is_not_text_is_not_quoted(wrap: object) -> None:
    with pytest.raises(ValueError) as caught:
        parsers.public_key(wrap(private_pem()))  # type: ignore[operator]
    assert body_of(private_pem()) not in str(caught.value)


def test_a_key_given_as_a_file_name_is_not_quoted() -> None:
    with pytest.raises(ValueError) as caught:
        BY_NAME["public_key_file"].parse(private_pem())
    assert body_of(private_pem()) not in str(caught.value)
