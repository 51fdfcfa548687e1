"""Dataclasses that cost nothing until they are used: a method is written when it is first called.

The standard library's `dataclasses` compiles up to nine methods for each class while it is imported, and imports
`inspect`, `ast` and `dis`: half of what the imports of the sidecar's own modules took.

Invariants:
- Each name means what it means in `dataclasses`, and checkers see those. A test compares the two for every class here.
- What the product does not use is refused, or is not there: `init`, `InitVar`, `KW_ONLY`, `__match_args__`.

Source: the documentation of Python's `dataclasses`.
"""

from __future__ import annotations

TYPE_CHECKING = False  # of typing, which is another large import
if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, replace
    from typing import Any

__all__ = ["FrozenInstanceError", "asdict", "dataclass", "field", "fields", "replace"]

FIELDS = "__quick_fields__"
_MISSING = object()


class Field:
    """A field: its name, its default, and which methods look at it."""

    __slots__ = ("compare", "default", "factory", "kw_only", "name", "repr")

    def __init__(self, *, default: object = _MISSING, default_factory: Any = None, repr: bool, compare: bool) -> None:
        self.name = ""
        self.default = default
        self.factory = default_factory
        self.repr = repr
        self.compare = compare
        self.kw_only = False

    @property
    def optional(self) -> bool:
        """Whether a call may leave it out."""
        return self.default is not _MISSING or self.factory is not None


def _field(
    *, default: object = _MISSING, default_factory: Any = None, repr: bool = True, compare: bool = True
) -> Field:
    return Field(default=default, default_factory=default_factory, repr=repr, compare=compare)


def _dataclass(
    cls: type | None = None, /, *, frozen: bool = False, kw_only: bool = False, order: bool = False, slots: bool = False
) -> Any:
    def decorate(cls: type) -> type:
        return _decorated(cls, frozen, kw_only, order, slots)

    return decorate if cls is None else decorate(cls)


def _decorated(cls: type, frozen: bool, kw_only: bool, order: bool, slots: bool) -> type:
    own = _own_fields(cls, kw_only)
    found = {name: one for base in reversed(cls.__mro__[1:]) for name, one in getattr(base, FIELDS, {}).items()} | own
    _check_order(cls, [one for one in found.values() if not one.kw_only])
    if slots:
        cls = _with_slots(cls, own, frozen)
    given = set(cls.__dict__)
    methods: dict[str, Any] = {"__init__": _later(cls, "__init__", frozen), "__repr__": _repr}
    methods["__eq__"] = _later(cls, "__eq__")
    if frozen:
        methods |= {"__setattr__": _refuse_to_set, "__delattr__": _refuse_to_delete}
    if order:
        methods |= {name: _later(cls, name) for name in ORDERINGS}
    for name, method in methods.items():
        if name not in given:
            setattr(cls, name, method)
    if "__hash__" not in given or (cls.__dict__["__hash__"] is None and "__eq__" in given):
        cls.__hash__ = _later(cls, "__hash__") if frozen else None  # type: ignore[assignment]
    setattr(cls, FIELDS, found)
    return cls


def _own_fields(cls: type, kw_only: bool) -> dict[str, Field]:
    """Return the fields that the class itself declares; their defaults become attributes of the class, or leave it."""
    own = {}
    annotations = cls.__dict__.get("__annotations__", {})  # noqa: RUF063 (inspect is what is to be saved)
    for name, annotation in annotations.items():
        if "ClassVar" in str(annotation).partition("[")[0]:
            continue
        default = cls.__dict__.get(name, _MISSING)
        one = default if isinstance(default, Field) else Field(default=default, repr=True, compare=True)
        if one.default.__class__.__hash__ is None:
            raise ValueError(f"{cls.__qualname__}.{name}: a default that can change is shared; use default_factory")
        one.name, one.kw_only = name, kw_only
        own[name] = one
        if one.default is not _MISSING:
            setattr(cls, name, one.default)
        elif isinstance(default, Field):
            delattr(cls, name)
    return own


def _check_order(cls: type, positional: list[Field]) -> None:
    optional = [one.optional for one in positional]
    if optional != sorted(optional):
        raise TypeError(f"{cls.__qualname__}: a field without a default follows one that has a default")


def _with_slots(cls: type, own: dict[str, Field], frozen: bool) -> type:
    """Return the class again, with a slot for each field of its own."""
    inherited = {slot for base in cls.__mro__[1:] for slot in getattr(base, "__slots__", ())}
    body = {name: value for name, value in cls.__dict__.items() if name not in (*own, "__dict__", "__weakref__")}
    body["__slots__"] = tuple(name for name in own if name not in inherited)
    if frozen:
        body |= {"__getstate__": _state, "__setstate__": _set_state}
    made = type(cls)(cls.__name__, cls.__bases__, body)
    made.__qualname__ = cls.__qualname__
    return made


def _later(cls: type, name: str, *options: bool) -> Callable[..., Any]:
    """Return a method that writes the one it stands for, and is replaced by it."""

    def method(self: object, *args: object, **kwargs: object) -> object:
        written = _written(cls, name, *options)
        type.__setattr__(cls, name, written)
        return written(self, *args, **kwargs)

    method.__qualname__ = f"{cls.__qualname__}.{name}"
    return method


ORDERINGS = {"__lt__": "<", "__le__": "<=", "__gt__": ">", "__ge__": ">="}


def _written(cls: type, name: str, frozen: bool = False) -> Any:
    fields: dict[str, Field] = getattr(cls, FIELDS)
    scope: dict[str, Any] = {"_set": object.__setattr__, "_missing": _MISSING}
    if name == "__init__":
        parameters, lines = _initialiser(cls, fields, scope, frozen)
    else:
        compared = [one for one in fields if fields[one].compare]
        mine, theirs = (f"({''.join(f'{who}.{one},' for one in compared)})" for who in ("self", "other"))
        parameters = "self" if name == "__hash__" else "self, other"
        if name == "__hash__":
            lines = [f"return hash({mine})"]
        else:
            operator = ORDERINGS.get(name, "==")
            lines = ["if other.__class__ is self.__class__:", f" return {mine}{operator}{theirs}"]
            lines.append("return NotImplemented")
    source = f"def {name}({parameters}):\n" + "".join(f" {line}\n" for line in lines)
    exec(source, scope)  # noqa: S102 (names of fields alone, as the standard library does)
    method = scope[name]
    method.__qualname__ = f"{cls.__qualname__}.{name}"
    method.__module__ = cls.__module__
    return method


def _initialiser(cls: type, fields: dict[str, Field], scope: dict[str, Any], frozen: bool) -> tuple[str, list[str]]:
    """Return parameters and lines of `__init__`. What the lines need goes into `scope`."""
    parameters, named, lines = ["self"], list[str](), list[str]()
    for name, one in fields.items():
        value = name
        if one.factory:
            scope[f"_new_{name}"] = one.factory
            value = f"_new_{name}() if {name} is _missing else {name}"
            parameter = f"{name}=_missing"
        elif one.optional:
            scope[f"_default_{name}"] = one.default
            parameter = f"{name}=_default_{name}"
        else:
            parameter = name
        (named if one.kw_only else parameters).append(parameter)
        lines.append(f"_set(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    return ", ".join([*parameters, *(["*", *named] if named else [])]), lines or ["pass"]


def _repr(self: Any) -> str:
    shown = (f"{name}={getattr(self, name)!r}" for name, one in getattr(self, FIELDS).items() if one.repr)
    return f"{self.__class__.__qualname__}({', '.join(shown)})"


def _refuse_to_set(self: object, name: str, value: object) -> None:
    raise _FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(self: object, name: str) -> None:
    raise _FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: object) -> list[object]:
    return [getattr(self, name) for name in getattr(self, FIELDS)]


def _set_state(self: object, state: list[object]) -> None:
    for name, value in zip(getattr(self, FIELDS), state, strict=True):
        object.__setattr__(self, name, value)


def _replace(instance: Any, /, **changes: object) -> Any:
    values = {name: getattr(instance, name) for name in getattr(instance, FIELDS)}
    return instance.__class__(**{**values, **changes})


def _asdict(instance: object) -> dict[str, Any]:
    return {name: _plain(getattr(instance, name)) for name in getattr(instance, FIELDS)}


def _plain(value: Any) -> Any:
    if hasattr(value, FIELDS):
        return _asdict(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_plain, value))
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    if isinstance(value, dict):
        return {_plain(name): _plain(one) for name, one in value.items()}
    return value


def _fields(instance: object) -> tuple[Field, ...]:
    return tuple(getattr(instance, FIELDS).values())


class _FrozenInstanceError(AttributeError):
    """A field of an instance that is frozen was assigned to or deleted."""


if not TYPE_CHECKING:
    FrozenInstanceError = _FrozenInstanceError
    asdict, dataclass, field, fields, replace = _asdict, _dataclass, _field, _fields, _replace
