"""The plan as JSON and back: versioned, with sorted keys, the same bytes for the same plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any

from qdsl.diag import Diagnostic, QdslError
from qdsl.spec import DType
from qdsl.spec.bounds import UnfitError
from qdsl.spec.decode import decode, json_data, require_version
from qdsl.spec.plan import PLAN_VERSION, Plan


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
    try:
        return from_data(json_data(text))
    except UnfitError as error:
        raise _refused(error) from None


def from_data(data: Any) -> Plan:
    """The same from what `to_data` made of it."""
    try:
        require_version(data, "version", PLAN_VERSION)
        return decode(Plan, data, "plan")
    except UnfitError as error:
        raise _refused(error) from None


def _refused(error: UnfitError) -> QdslError:
    headline = "this file is not a plan that can be read"
    return QdslError([Diagnostic("plan-file", headline, None, str(error)[:300], ("make it anew: `qdsl plan`",))])


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
