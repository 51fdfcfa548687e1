"""Put off what the libraries of a child import and no job here uses: a third of what a check imports, and 4 MiB.

Invariants:
- What is put off is loaded by its first use: a module of MODULES when anything of it is wanted, one of FUNCTIONS when a
  function imported from it is called. A library that begins to use it gets what it would have had.
- DOCUMENTATION is what the SDK says of its own methods, for `help`. In a child it says nothing.
- In the child alone, before its job is imported. What is loaded already stays.

`importlib.util.LazyLoader` would load a module as soon as another imports it too, or imports a name from it.
"""

from __future__ import annotations

import sys
from functools import partial
from importlib.machinery import ModuleSpec, PathFinder
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
FUNCTIONS: Final = (
    "importlib.metadata",  # urllib3: the version of a package for HTTP/2
    "cryptography.hazmat.primitives.serialization.ssh",
)
DOCUMENTATION: Final = ("botocore.docs", "botocore.docs.docstring", "botocore.docs.utils")


class LateModule(ModuleType):
    """A module until something of it is wanted: then it is loaded, in its place."""

    def __getattr__(self, name: str) -> Any:
        if name == "__path__":  # asked by each `from MODULE import NAME`; a package has it
            raise AttributeError(name)
        return self._wanted(name) if not name.startswith("__") else getattr(_loaded(self), name)

    def _wanted(self, name: str) -> Any:
        return getattr(_loaded(self), name)


class LateFunctions(LateModule):
    """A module until a function of it is called."""

    def _wanted(self, name: str) -> Any:
        return partial(_called, self, name)


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
    **dict.fromkeys(FUNCTIONS, LateFunctions),
    **dict.fromkeys(DOCUMENTATION, SilentModule),
}


class LateFinder:
    """Finds them before the other finders do."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return where a module is, with the loader that puts it off; None for any other."""
        if name not in KINDS:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec and spec.loader:
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
    """Have each of them loaded when it is used first, if ever."""
    sys.meta_path.insert(0, LateFinder)


def _loaded(module: ModuleType) -> ModuleType:
    """Return the module, and load it where that has not been done."""
    spec = module.__spec__
    if spec and isinstance(spec.loader, LateLoader):
        spec.loader = module.__loader__ = spec.loader.loader
        module.__class__ = ModuleType
        spec.loader.exec_module(module)
    return module


def _called(module: ModuleType, function: str, *given: Any, **named: Any) -> Any:
    return getattr(_loaded(module), function)(*given, **named)
