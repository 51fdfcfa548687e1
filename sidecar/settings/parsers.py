"""Parse the value of one setting: text or YAML in, checked value out.

Which settings exist: `table`. Which source wins: `sources`. Addresses: `addresses`.

Invariants:
- A parser raises `ValueError` with a fault that a person can act on; it names the value, except for keys.
- Text (environment, flags) and YAML scalars are read alike.
- No heavy import: the resident process calls this. So the two numbers of a key are read from its DER here.
- A key that can be broken proves nothing: it is refused while the image is built and at the start.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

PRODUCT_CODE = re.compile(r"[-a-zA-Z0-9/=:_.@]{1,255}")
"""Shape `ProductCode` of meteringmarketplace 2016-01-14, but never empty."""

WORKLOAD_ID = re.compile(r"[\x21-\x7e]{1,512}")
"""Printable, no spaces: a pod UID, a task ARN, or a name that the operator chose."""

KEY_BYTES_MAX = 65_536
"""Of a file with a public key: one of 8192 bits, in base64 of PEM, has 2 000."""
PEM = re.compile(r"\A-----BEGIN (RSA )?PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+?)\s*-----END (RSA )?PUBLIC KEY-----\s*\Z")
RSA_OID = bytes.fromhex("06092a864886f70d010101")
"""DER of 1.2.840.113549.1.1.1, rsaEncryption: PS256 needs an RSA key."""

RSA_ALGORITHM = bytes.fromhex("300d") + RSA_OID + bytes.fromhex("0500")
"""DER of the AlgorithmIdentifier that stands before an RSA key in a "PUBLIC KEY" (RFC 3279 §2.3.1)."""

KEY_BITS_MIN = 1024
"""AWS's own sample key has so many. NIST SP 800-131A calls fewer than 2048 legacy: that is a warning, elsewhere."""
KEY_EXPONENT_MIN = 3
"""RFC 8017 §3.1. With 1 every text is its own signature."""
NOT_RSA = "is not an RSA key; AWS Marketplace signs with RSA (PS256)."
COPY = "Copy the public key that AWS Marketplace shows for the product."

SECONDS_MAX = 7 * 24 * 3600

E = TypeVar("E", bound=Enum)


def text(value: object) -> str:
    """Return a non-empty string without surrounding blanks. YAML numbers are refused: 0123 would lose its zero."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text; put it in quotes.")
    stripped = value.strip()
    if not stripped:
        raise ValueError("is empty.")
    return stripped


def product_code(value: object) -> str:
    """Return a product code."""
    code = text(value)
    if not PRODUCT_CODE.fullmatch(code):
        raise ValueError(f"{code!r} is not a product code: letters, digits and -/=:_.@ only.")
    if code.startswith("prod-"):
        raise ValueError(f"{code!r} is a product ID; the metering API wants the product code beside it.")
    return code


def workload_id(value: object) -> str:
    """Return a workload id."""
    name = text(value)
    if not WORKLOAD_ID.fullmatch(name):
        raise ValueError(f"{name!r} is not a workload id: up to 512 printable characters, no spaces.")
    return name


def whole(low: int, high: int, unit: str = "") -> Callable[[object], int]:
    """Return a parser for a whole number from `low` to `high`."""

    def parse(value: object) -> int:
        written = str(value) if isinstance(value, int) and not isinstance(value, bool) else text(value)
        if not re.fullmatch(r"[0-9]{1,12}", written) or not low <= int(written) <= high:
            raise ValueError(f"{written!r} is not a whole number{unit} from {low} to {high}.")
        return int(written)

    return parse


def seconds(low: int = 0) -> Callable[[object], int]:
    """Return a parser for a span in whole seconds."""
    return whole(low, SECONDS_MAX, " of seconds")


def choice(kind: type[E]) -> Callable[[object], E]:
    """Return a parser for one of an enum's values."""
    allowed = ", ".join(str(member.value) for member in kind)

    def parse(value: object) -> E:
        written = text(value)
        try:
            return kind(written.lower())
        except ValueError:
            raise ValueError(f"{written!r} is not one of: {allowed}.") from None

    return parse


def boolean(value: object) -> bool:
    """Return YAML's true or false; nothing else is one, so that a quoted "false" is not true."""
    if isinstance(value, bool):
        return value
    raise ValueError(f"{value!r} is not true or false.")


def absolute_path(value: object) -> Path:
    """Return an absolute path. Raises where the value is the content of a file."""
    path = Path(text(value))
    if "-----BEGIN" in str(path) or "\n" in str(path):
        raise ValueError("is not a path; it looks like the content of a file.")
    if not path.is_absolute():
        raise ValueError(f"{str(path)!r} is not an absolute path.")
    return path


def url(value: object) -> str:
    """Return an http or https URL of scheme, host and port, without a trailing slash."""
    address = text(value)
    try:
        parts = urlsplit(address)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine:
        shown = "what is given" if "@" in address else repr(address)  # a password may stand before the @
        raise ValueError(f"{shown} is not an http:// or https:// URL.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must be scheme, host and port only: no user, password, query or fragment.")
    return address.rstrip("/")


def key_text(file: Path) -> str:
    """Return what a file with a public key holds. Raises OSError, and ValueError for what is no text or too large."""
    with file.open("rb") as opened:
        content = opened.read(KEY_BYTES_MAX + 1)
    if len(content) > KEY_BYTES_MAX:
        raise ValueError(f"is larger than {KEY_BYTES_MAX} bytes; a public key is one page.")
    return content.decode("ascii")


def public_key_in(file: Path, read: Callable[[Path], str] = key_text) -> str:
    """Return the public key in a file. Raises ValueError with the fault."""
    try:
        return public_key(read(file))
    except OSError as exc:
        fault = f"names {file}, which cannot be read: {exc.strerror}."
    except UnicodeDecodeError:
        fault = f"names {file}, which is not text; PEM is."
    except ValueError as exc:
        fault = f"names {file}, which {exc}"
    raise ValueError(fault)


def public_key(value: object) -> str:
    """Return a public key as PEM text, from PEM or from base64 of PEM, always in the same form.

    Raises ValueError without quoting the value.
    """
    if not isinstance(value, str):
        raise ValueError("is not text; put it in quotes.")
    written = text(value)
    if "-----BEGIN" not in written:
        written = _from_base64(written)
    if "PRIVATE KEY" in written:
        raise ValueError("holds a private key; give the public key that AWS Marketplace shows.")
    match = PEM.match(written.strip() + "\n")
    if not match:
        raise ValueError("is not a PEM public key, nor base64 of one.")
    try:
        der = base64.b64decode(re.sub(r"\s", "", match[2]), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is PEM whose inside is not base64.") from None
    pkcs1 = der if match[1] else _inside(der)
    _refuse_weak(*_rsa_numbers(pkcs1))
    return _pem(_tagged(0x30, RSA_ALGORITHM + _tagged(0x03, b"\x00" + der)) if match[1] else der)


def _inside(der: bytes) -> bytes:
    """Return the RSAPublicKey in a SubjectPublicKeyInfo (RFC 3279 §2.3.1). Raises ValueError."""
    outer, end = _read_der(0x30, der)
    algorithm, bits = _read_der(0x30, outer)
    key, rest = _read_der(0x03, bits)
    if end or rest or not algorithm.startswith(RSA_OID) or key[:1] != b"\x00":
        raise ValueError(NOT_RSA)
    return key[1:]


def _rsa_numbers(der: bytes) -> tuple[int, int]:
    """Return modulus and exponent of an RSAPublicKey (RFC 8017 §A.1.1). Raises ValueError."""
    both, end = _read_der(0x30, der)
    modulus, exponent = _read_der(0x02, both)
    exponent, rest = _read_der(0x02, exponent)
    if end or rest:
        raise ValueError(NOT_RSA)
    return int.from_bytes(modulus, "big", signed=True), int.from_bytes(exponent, "big", signed=True)


def _refuse_weak(modulus: int, exponent: int) -> None:
    """Raise ValueError for a key that can be broken, or never was one."""
    if modulus < 0:
        raise ValueError(NOT_RSA)
    if modulus.bit_length() < KEY_BITS_MIN:
        raise ValueError(f"is an RSA key of {modulus.bit_length()} bits; at least {KEY_BITS_MIN} are needed. {COPY}")
    if modulus % 2 == 0:
        raise ValueError(f"is an RSA key with an even modulus, which is easily factored. {COPY}")
    if exponent < KEY_EXPONENT_MIN or exponent % 2 == 0:
        raise ValueError(
            f"is an RSA key with exponent {exponent}; it must be odd and at least {KEY_EXPONENT_MIN}. {COPY}"
        )


def _read_der(tag: int, data: bytes) -> tuple[bytes, bytes]:
    """Return the content of the first element, and what follows it (X.690 §8.1). Raises ValueError."""
    if len(data) < 2 or data[0] != tag or data[1] == 0x80:  # a length that only an end mark gives is BER
        raise ValueError(NOT_RSA)
    extra = data[1] & 0x7F if data[1] & 0x80 else 0
    size = int.from_bytes(data[2 : 2 + extra], "big") if extra else data[1]
    start = 2 + extra
    if len(data) < start + size or size == 0:
        raise ValueError(NOT_RSA)
    return data[start : start + size], data[start + size :]


def _pem(der: bytes) -> str:
    body = base64.b64encode(der).decode("ascii")
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    return "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""])


def _tagged(tag: int, content: bytes) -> bytes:
    """Return DER: tag, length, content (X.690 §8.1.3)."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _from_base64(written: str) -> str:
    try:
        return base64.b64decode(re.sub(r"\s", "", written), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise ValueError("is not a PEM public key, nor base64 of one.") from None
