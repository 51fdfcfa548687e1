"""What a child's libraries import and no job uses is loaded by its first use, and is then what it would have been."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec

import pytest

from sidecar.child.late_imports import DOCUMENTATION, MODULES, NAMES

IMPORTS = """
import sys
from sidecar.child.late_imports import LateModule, put_off
late = lambda name: isinstance(sys.modules[name], LateModule)
"""
BEFORE = f"{IMPORTS}put_off()\n"


def run(code: str, before: str = BEFORE) -> str:
    """What a process prints in which everything is put off."""
    line = [sys.executable, "-c", before + code]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", [*MODULES, *NAMES, *DOCUMENTATION])
def test_each_module_is_there_to_be_loaded(name: str) -> None:
    assert find_spec(name) is not None


def test_what_is_loaded_already_stays() -> None:
    code = "import configparser as before; put_off(); import configparser, mimetypes; print(late('configparser'),"
    assert run(f"{code} late('mimetypes'), before is configparser)", before=IMPORTS) == "False True True"


def test_to_import_a_module_loads_it_not_and_to_use_it_does() -> None:
    code = """
from cryptography import x509
import jmespath
print(late("cryptography.x509"), late("jmespath"), "cryptography.x509.name" in sys.modules)
print(jmespath.search("a.b", {"a": {"b": 1}}), isinstance(x509.Certificate, type), x509.oid.NameOID.__name__)
print(late("cryptography.x509"), late("jmespath"), "cryptography.x509.name" in sys.modules)
"""
    assert run(code).split("\n") == ["True True False", "1 True NameOID", "False False True"]


def test_a_class_that_is_imported_by_its_name_is_that_class() -> None:
    code = """
from configparser import Error
from cryptography.x509 import Certificate, load_pem_x509_certificate
print(issubclass(Error, Exception), isinstance(Certificate, type), late("cryptography.x509"))
"""
    assert run(code) == "True True False"


def test_a_module_below_one_that_is_put_off_is_found() -> None:
    code = """
import cryptography.x509.name, importlib.metadata._text
from jmespath.exceptions import ParseError
print(cryptography.x509.name.Name is cryptography.x509.Name, issubclass(ParseError, ValueError))
import jmespath
print(jmespath.search("a.b", {"a": {"b": 1}}))
"""
    assert run(code).split("\n") == ["True True", "1"]


def test_a_module_below_one_that_has_none_is_not_found() -> None:
    code = """
try:
    import configparser.nothing
except ModuleNotFoundError as exc:
    print(exc)
"""
    assert "'configparser' is not a package" in run(code)


def test_a_function_that_is_imported_by_its_name_loads_its_module_when_it_is_called() -> None:
    code = """
from importlib.metadata import version
print(late("importlib.metadata"))
import botocore
print(version("botocore") == botocore.__version__, late("importlib.metadata"))
"""
    assert run(code).split("\n") == ["True", "True False"]


SSH = "cryptography.hazmat.primitives.serialization.ssh"


def test_names_of_a_module_are_imported_without_it_and_load_it_when_they_are_used() -> None:
    code = f"""
from cryptography.hazmat.primitives import serialization
print(late("{SSH}"))
try:
    serialization.load_ssh_public_key(b"ssh-rsa AAAA")
except ValueError:
    print(late("{SSH}"))
"""
    assert run(code).split("\n") == ["True", "False"]


@pytest.mark.parametrize(
    "use",
    [
        "isinstance(1, SSHCertificate) is False",
        "issubclass(int, SSHCertificate) is False",
        "SSHCertificate.__name__ == 'SSHCertificate'",
        "SSHCertificateType.USER.value == 1",
        "issubclass(type(SSHCertificateBuilder()), SSHCertificateBuilder)",
        "issubclass(Mine, SSHCertificateBuilder) and issubclass(Mine, sys.modules[SSH].SSHCertificateBuilder)",
    ],
)
def test_a_class_that_is_imported_without_its_module_can_be_used_as_a_class(use: str) -> None:
    code = f"""
from cryptography.hazmat.primitives.serialization import SSHCertificate, SSHCertificateBuilder, SSHCertificateType
SSH = "{SSH}"
print(late(SSH))
if "Mine" in "{use}":
    class Mine(SSHCertificateBuilder):
        pass
print({use}, late(SSH))
"""
    assert run(code).split("\n") == ["True", "True False"]


@pytest.mark.parametrize(("module", "name"), [(module, name) for module in NAMES for name in NAMES[module]])
def test_no_name_is_that_of_an_exception(module: str, name: str) -> None:
    found = getattr(import_module(module), name)
    assert not (isinstance(found, type) and issubclass(found, BaseException))


def test_anything_else_that_is_imported_from_its_module_is_what_it_would_have_been() -> None:
    code = """
from importlib.metadata import PackageNotFoundError, version
try:
    version("no such package")
except PackageNotFoundError as exc:
    print(type(exc).__name__, late("importlib.metadata"))
"""
    assert run(code) == "PackageNotFoundError False"


@pytest.mark.skipif(find_spec("_elementtree").origin is None, reason="built into the interpreter here")  # type: ignore[union-attr]
def test_a_module_of_c_code_is_not_put_off() -> None:
    code = """
from sidecar.child import late_imports
late_imports.KINDS = {"_elementtree": LateModule}
import _elementtree
print(late("_elementtree"), callable(_elementtree.XMLParser))
"""
    assert run(code) == "False True"


def test_the_verifier_refuses_a_certificate_as_a_key_as_it_does_without() -> None:
    code = """
import jwt
print(late("cryptography.x509"))
for key in (b"-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----", b"ssh-rsa AAAA"):
    try:
        jwt.get_algorithm_by_name("HS256").prepare_key(key)
    except jwt.InvalidKeyError:
        print("refused")
"""
    assert run(code).split("\n") == ["True", "refused", "refused"]


def test_the_sdk_works_without_the_documentation_of_itself() -> None:
    code = """
import botocore.session
client = botocore.session.Session().create_client("meteringmarketplace", region_name="us-east-1")
print(client.meta.service_model.service_name, callable(client.register_usage), late("botocore.docs"))
print(client.can_paginate("register_usage"), client.waiter_names, late("botocore.waiter"))
import botocore.docs.params
print(botocore.docs.params.__name__)
"""
    assert run(code).split("\n") == ["meteringmarketplace True True", "False [] True", "botocore.docs.params"]
