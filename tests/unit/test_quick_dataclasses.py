"""Hold `quick_dataclasses` against the standard library's, which it stands for."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Final

import pytest

from sidecar import quick_dataclasses

DUMP: Final = """
import importlib, inspect, json, pkgutil, sys

import sidecar.quick_dataclasses as quick

own = sys.argv[1] == "ours"
if not own:
    import dataclasses
    for name in ("FrozenInstanceError", "asdict", "dataclass", "field", "fields", "replace"):
        setattr(quick, name, getattr(dataclasses, name))
FIELDS = quick.FIELDS if own else "__dataclass_fields__"
import sidecar

found = {}
for module in pkgutil.walk_packages(sidecar.__path__, "sidecar."):
    if module.name.endswith("__main__") or ".migrations" in module.name:
        continue
    importlib.import_module(module.name)
for module in [one for name, one in sys.modules.items() if name.startswith("sidecar")]:
    if module.__name__ == "sidecar.proof" or module.__name__.startswith("sidecar.emulator"):
        continue  # these import nothing of the product
    for cls in vars(module).values():
        if not isinstance(cls, type) or cls.__module__ != module.__name__ or FIELDS not in vars(cls):
            continue
        if own:
            for name in ("__init__", "__eq__", "__hash__", "__lt__"):
                if vars(cls).get(name) and quick.__name__ == getattr(vars(cls)[name], "__module__", None):
                    type.__setattr__(cls, name, quick._written(cls, name))
        call = inspect.signature(cls.__init__)
        found[f"{cls.__module__}.{cls.__qualname__}"] = {
            "call": [[one.name, one.kind.name, one.default is not one.empty] for one in call.parameters.values()],
            "fields": [[one.name, one.repr, one.compare] for one in quick.fields(cls)],
            "hashed": cls.__hash__ is not None,
            "ordered": "__lt__" in vars(cls),
            "frozen": "__setattr__" in vars(cls),
            "slots": list(vars(cls)["__slots__"]) if "__slots__" in vars(cls) else None,
            "defaults": sorted(name for name in vars(cls) if any(name == one.name for one in quick.fields(cls))),
        }
print(json.dumps(found))
"""


def _dump(whose: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", DUMP, whose], capture_output=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_every_class_of_the_product_is_what_the_standard_library_makes_of_it() -> None:
    ours, theirs = _dump("ours"), _dump("theirs")
    assert len(ours) > 200
    assert ours == theirs


@pytest.fixture(params=[quick_dataclasses, dataclasses], ids=["ours", "standard"])
def made(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return a module with classes that use each thing the product uses, made by ours or by the standard library."""
    module = ModuleType("made")
    vars(module).update({name: getattr(request.param, name) for name in quick_dataclasses.__all__})
    monkeypatch.setitem(sys.modules, "made", module)  # where the standard library looks up what ClassVar is
    exec(CLASSES, vars(module))
    return module


CLASSES: Final = """
from __future__ import annotations
from typing import ClassVar, NamedTuple

class Pair(NamedTuple):
    left: object
    right: object

@dataclass(frozen=True, kw_only=True, order=True)
class Point:
    UNIT: ClassVar[str] = "cm"
    x: int
    y: int = 2
    note: str = field(default="", compare=False, repr=False)

@dataclass(frozen=True, slots=True)
class Slotted:
    name: str
    size: int = 0

@dataclass
class Bag:
    kept: list = field(default_factory=list)
    secret: str = field(default="s", repr=False)

    def __post_init__(self):
        self.total = len(self.kept)

@dataclass(kw_only=True)
class Deep(Bag):
    point: Point
    pair: Pair
    by_name: dict

@dataclass(frozen=True)
class Named:
    name: str

    def __repr__(self):
        return "own"

    def __eq__(self, other):
        return True

    def __hash__(self):
        return 7
"""


def test_equality_hash_and_repr_follow_the_fields(made: ModuleType) -> None:
    one, same, other = made.Point(x=1, note="a"), made.Point(x=1, note="b"), made.Point(x=2)
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != (1, 2)
    assert made.Slotted("a") != made.Named
    assert repr(one) == "Point(x=1, y=2)"
    assert repr(made.Bag([1])) == "Bag(kept=[1])"
    assert made.Slotted("a", 1) == made.Slotted(name="a", size=1) != made.Slotted("a", 2)


def test_what_is_not_frozen_has_no_hash(made: ModuleType) -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(made.Bag())


def test_a_subclass_is_not_equal_to_its_base(made: ModuleType) -> None:
    deep = made.Deep([1], point=made.Point(x=1), pair=made.Pair(1, 2), by_name={})
    assert deep.total == 1
    assert deep != made.Bag([1])
    assert made.Bag([1]) != deep


def test_order_follows_the_fields_of_one_class(made: ModuleType) -> None:
    small, great = made.Point(x=1, y=5), made.Point(x=2, y=1)
    assert small < great
    assert small <= great
    assert great > small
    assert great >= small
    assert small <= small
    assert not small < small
    assert max(small, great) is great
    with pytest.raises(TypeError, match="not supported"):
        _ = small < 3


@pytest.mark.parametrize("name", ["x", "unknown"])
def test_what_is_frozen_refuses_to_change(made: ModuleType, name: str) -> None:
    with pytest.raises(AttributeError, match=f"cannot assign to field '{name}'"):
        setattr(made.Point(x=1), name, 2)
    with pytest.raises(AttributeError, match=f"cannot delete field '{name}'"):
        delattr(made.Point(x=1), name)


def test_slots_leave_no_dictionary(made: ModuleType) -> None:
    assert not hasattr(made.Slotted("a"), "__dict__")
    assert made.Slotted.__slots__ == ("name", "size")


def test_a_default_that_is_made_is_made_for_each(made: ModuleType) -> None:
    one, other = made.Bag(), made.Bag()
    one.kept.append(1)
    assert other.kept == []


def test_a_class_variable_is_no_field(made: ModuleType) -> None:
    assert made.Point.UNIT == "cm"
    assert [one.name for one in made.fields(made.Point)] == ["x", "y", "note"]


def test_a_copy_with_changes_is_made_by_the_class(made: ModuleType) -> None:
    assert made.replace(made.Point(x=1, note="n"), y=3) == made.Point(x=1, y=3)
    assert made.replace(made.Bag([1]), kept=[1, 2]).total == 2
    with pytest.raises(TypeError, match="unknown"):
        made.replace(made.Point(x=1), unknown=3)


def test_plain_values_all_the_way_down(made: ModuleType) -> None:
    point = made.Point(x=1)
    deep = made.Deep([point, (point,)], point=point, pair=made.Pair(point, 1), by_name={"a": point})
    plain = {"x": 1, "y": 2, "note": ""}
    found = made.asdict(deep)
    assert found == {
        "kept": [plain, (plain,)], "secret": "s", "point": plain, "pair": (plain, 1), "by_name": {"a": plain},
    }  # fmt: skip
    assert isinstance(found["pair"], made.Pair)


@pytest.mark.parametrize(
    ("given", "fault"),
    [({}, "missing 1 required"), ({"x": 1, "z": 2}, "unexpected keyword"), ((1,), "positional")],
)
def test_a_wrong_call_is_refused(made: ModuleType, given: Mapping[str, int] | tuple[int], fault: str) -> None:
    with pytest.raises(TypeError, match=fault):
        made.Point(**given) if isinstance(given, dict) else made.Point(*given)


def test_methods_of_the_class_itself_stay(made: ModuleType) -> None:
    assert repr(made.Named("a")) == "own"
    assert made.Named("a") == made.Named("b")
    assert hash(made.Named("a")) == 7


@pytest.mark.parametrize("how", ["copy", "pickle"])
def test_what_is_frozen_and_has_slots_can_be_copied(made: ModuleType, how: str) -> None:
    import copy

    one = made.Slotted("a", 3)
    if how == "copy":
        assert copy.deepcopy(one) == one
        assert copy.copy(one) == one
    else:
        assert one.__reduce_ex__(2)[2] == ["a", 3]


@pytest.mark.parametrize("library", [quick_dataclasses, dataclasses], ids=["ours", "standard"])
def test_a_default_that_can_change_is_refused(library: Any) -> None:
    with pytest.raises(ValueError, match="default_factory"):
        library.dataclass(type("Bad", (), {"__annotations__": {"kept": "list"}, "kept": []}))


@pytest.mark.parametrize("library", [quick_dataclasses, dataclasses], ids=["ours", "standard"])
def test_a_field_without_default_after_one_with_is_refused(library: Any) -> None:
    body = {"__annotations__": {"a": "int", "b": "int"}, "a": 1}
    with pytest.raises(TypeError, match="default"):
        library.dataclass(type("Bad", (), dict(body)))
    assert library.dataclass(kw_only=True)(type("Good", (), dict(body)))(b=2).a == 1


@pytest.mark.parametrize("option", ["eq", "unsafe_hash", "init", "repr", "match_args", "weakref_slot"])
def test_what_is_not_there_is_refused(option: str) -> None:
    with pytest.raises(TypeError, match=option):
        quick_dataclasses.dataclass(**{option: True})  # type: ignore[call-overload]


def test_a_method_is_written_once() -> None:
    @quick_dataclasses.dataclass
    class One:
        a: int

    before = One.__init__
    One(1)
    written = One.__init__
    One(2)
    assert before is not written
    assert One.__init__ is written


def test_importing_it_imports_nothing_large() -> None:
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}; import sidecar.quick_dataclasses;"
        " print({'inspect', 'typing', 'ast', 're'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
