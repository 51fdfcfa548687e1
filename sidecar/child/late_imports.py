"""Put off what the libraries of a child import and no job here uses: a third of what a check imports, and 4 MiB.

Invariants:
- A module of MODULES is loaded when anything of it is used, one of NAMES when one of the names there, once imported, is
  used, or anything else of it. So a library that begins to use it gets what it would have had; only no name may be that
  of an exception, since `except` does not ask.
- DOCUMENTATION, which the SDK writes for `help`, is left out: its modules are there, and write nothing.
- This is for the child alone, before its job is imported. What is loaded already stays.

`importlib.util.LazyLoader` would load a module as soon as another imports it too, or imports a name from it.
"""

from __future__ import annotations

import sys
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from importlib.abc import Loader

MODULES: Final = (
    "cryptography.x509",  # PyJWT: a certificate that is given as the key of an HMAC
    "jmespath",  # botocore: paginators and waiters
    "botocore.waiter",
    "botocore.monitoring",  # botocore: AWS_CSM_ENABLED
    "botocore.retryhandler",  # botocore: modes of retries that are not ours
    "botocore.retries.adaptive",
    "configparser",  # botocore: ~/.aws/config
    "locale",  # calendar, _strptime: names of months
    "mimetypes",  # urllib3: forms with files
    "bz2",  # shutil: archives
    "lzma",
)
NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "importlib.metadata": ("version",),  # urllib3: of the package that it would need for HTTP/2
    "cryptography.hazmat.primitives.serialization.ssh": (  # cryptography, PyJWT: keys in OpenSSH's format
        "SSHCertPrivateKeyTypes",
        "SSHCertPublicKeyTypes",
        "SSHCertificate",
        "SSHCertificateBuilder",
        "SSHCertificateType",
        "SSHPrivateKeyTypes",
        "SSHPublicKeyTypes",
        "load_ssh_private_key",
        "load_ssh_public_identity",
        "load_ssh_public_key",
        "ssh_key_fingerprint",
    ),
}
DOCUMENTATION: Final = ("botocore.docs", "botocore.docs.docstring", "botocore.docs.utils")


class LateModule(ModuleType):
    """A module until something of it is wanted: then it is loaded, in its place."""

    def __getattr__(self, name: str) -> Any:
        if name == "__path__":  # asked by each `from MODULE import NAME`; a package has it
            raise AttributeError(name)
        return self._wanted(name) if not name.startswith("__") else getattr(_loaded(self), name)

    def _wanted(self, name: str) -> Any:
        return getattr(_loaded(self), name)


class LateNames(LateModule):
    """A module some of whose names may be imported without it: it is loaded when they are used."""

    def _wanted(self, name: str) -> Any:
        return LateName(self, name) if name in NAMES[self.__name__] else super()._wanted(name)


class LateName:
    """A class or a function, until it is used."""

    def __init__(self, module: ModuleType, name: str) -> None:
        self._module, self._name = module, name

    def _real(self) -> Any:
        return getattr(_loaded(self._module), self._name)

    def __call__(self, *given: Any, **named: Any) -> Any:
        return self._real()(*given, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real(), name)

    def __instancecheck__(self, one: object) -> bool:
        return isinstance(one, self._real())

    def __subclasscheck__(self, one: type) -> bool:
        return issubclass(one, self._real())

    def __mro_entries__(self, _: tuple[object, ...]) -> tuple[Any, ...]:
        return (self._real(),)


class Silent:
    """Takes the place of whatever writes documentation, and writes none."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __getattr__(self, name: str) -> type[Silent]:
        return Silent


class SilentModule(LateModule):
    """A module of documentation. It is not loaded; one below it that is not put off is."""

    def _wanted(self, name: str) -> Any:
        return Silent


KINDS: Final[Mapping[str, type[LateModule]]] = {
    **dict.fromkeys(MODULES, LateModule),
    **dict.fromkeys(NAMES, LateNames),
    **dict.fromkeys(DOCUMENTATION, SilentModule),
}


class LateFinder:
    """Finds the modules that are put off, before any other finder does."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return where a module is, with the loader that puts it off; None for any other."""
        if name not in KINDS:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec and spec.loader and not isinstance(spec.loader, ExtensionFileLoader):  # C code is executed once
            spec.loader = LateLoader(spec.loader)  # type: ignore[assignment]
        return spec


class LateLoader:
    """Loads nothing yet."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        """The module's own."""

    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType | None:
        """Return None: any module will do."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Leave it to the first use."""
        module.__class__ = KINDS[module.__name__]


def put_off() -> None:
    """Put off whatever of MODULES, NAMES and DOCUMENTATION is imported from now on."""
    sys.meta_path.insert(0, LateFinder)


def _loaded(module: ModuleType) -> ModuleType:
    """Return the module, and load it where that has not been done."""
    spec = module.__spec__
    if spec and isinstance(spec.loader, LateLoader):
        spec.loader = module.__loader__ = spec.loader.loader
        module.__class__ = ModuleType
        spec.loader.exec_module(module)
    return module
