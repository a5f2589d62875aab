"""The plan as JSON and back: versioned, with sorted keys, the same bytes for the same plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, NoReturn, get_args, get_origin, get_type_hints

from qdsl.diag import Diagnostic, QdslError
from qdsl.spec import DTYPES, DType
from qdsl.spec.plan import PLAN_VERSION, Plan

_LARGEST = 1 << 28


def to_json(plan: Plan) -> str:
    """The plan as text, one line per value, ending in a newline."""
    return json.dumps(to_data(plan), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def plans_json(plans: Sequence[Plan]) -> str:
    """One plan per target, by the target's name."""
    inner = [f'"{plan.target}": {to_json(plan).rstrip()}' for plan in plans]
    return "{\n" + ",\n".join(inner) + "\n}\n"


def plan_hash(plan: Plan) -> str:
    """SHA-256 of the plan, as 64 hexadecimal digits. It does not depend on how the JSON is laid out."""
    canonical = json.dumps(to_data(plan), sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def from_json(text: str) -> Plan:
    """The plan that `to_json` wrote. Raises QdslError (plan-file) when the text is no plan or of another version."""
    if len(text) > _LARGEST:
        _refuse(f"it is larger than {_LARGEST >> 20} MiB")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        _refuse(f"it is not JSON: {error}")
    if not isinstance(data, dict) or "version" not in data:
        _refuse("it has no version")
    if data["version"] != PLAN_VERSION:
        _refuse(f"it is of version {data['version']!r}, this program reads version {PLAN_VERSION}")
    plan = _decoder(Plan)(data, "plan")
    assert isinstance(plan, Plan)
    return plan


def to_data(value: Any) -> Any:
    """A plan or a part of it as what JSON knows: mappings, lists, text, numbers."""
    if isinstance(value, DType):
        return value.name
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {name: to_data(getattr(value, name)) for name in _names(type(value))}
    if isinstance(value, tuple):
        return [to_data(item) for item in value]
    return value


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


Decode = Callable[[Any, str], Any]


@cache
def _decoder(kind: Any) -> Decode:
    """A function that reads a value of `kind`, checking it; the second argument says where in the plan it stands."""
    if kind is DType:
        return _dtype
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        return _dataclass(kind)
    if get_origin(kind) is tuple:
        return _tuple(get_args(kind))
    if isinstance(kind, UnionType):
        return _optional(next(arg for arg in get_args(kind) if arg is not NoneType))
    return _scalar(kind)


def _dtype(value: Any, where: str) -> DType:
    if not isinstance(value, str) or value not in DTYPES:
        _refuse(f"{where}: no type is called {value!r}")
    return DTYPES[value]


def _enum(kind: type[Enum]) -> Decode:
    by_value = {member.value: member for member in kind}

    def read(value: Any, where: str) -> Enum:
        if not isinstance(value, str) or value not in by_value:
            _refuse(f"{where}: {value!r} is none of {', '.join(by_value)}")
        return by_value[value]

    return read


def _dataclass(kind: type) -> Decode:
    hints = get_type_hints(kind)
    parts = {name: _decoder(hints[name]) for name in _names(kind)}

    def read(value: Any, where: str) -> Any:
        if not isinstance(value, dict) or set(value) != set(parts):
            _refuse(f"{where}: expected the keys {', '.join(sorted(parts))}")
        return kind(**{name: part(value[name], f"{where}.{name}") for name, part in parts.items()})

    return read


def _tuple(kinds: tuple[Any, ...]) -> Decode:
    endless = len(kinds) == 2 and kinds[1] is Ellipsis
    parts = [_decoder(kind) for kind in kinds if kind is not Ellipsis]

    def read(value: Any, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list) or not (endless or len(value) == len(parts)):
            _refuse(f"{where}: expected a list")
        readers = parts * len(value) if endless else parts
        return tuple(part(item, f"{where}[{i}]") for i, (part, item) in enumerate(zip(readers, value, strict=True)))

    return read


def _optional(kind: Any) -> Decode:
    inner = _decoder(kind)

    def read(value: Any, where: str) -> Any:
        return None if value is None else inner(value, where)

    return read


def _scalar(kind: Any) -> Decode:
    def read(value: Any, where: str) -> Any:
        whole = kind is float and isinstance(value, int) and not isinstance(value, bool)
        if not whole and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
            _refuse(f"{where}: expected {kind.__name__}, found {value!r}"[:200])
        return float(value) if whole else value

    return read


def _refuse(why: str) -> NoReturn:
    raise QdslError(
        [Diagnostic("plan-file", "this file is not a plan that can be read", None, why, ("make it anew: `qdsl plan`",))]
    )
