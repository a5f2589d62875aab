"""What a recipe says that calibration depends on, statement by statement, as hashes.

Comments, spacing, parentheses, the order of statements that have none, the names of selections and what they `expect`
do not count; neither do `evaluate`, `require`, `measure`, `profile` and `allow`, nor datasets that only those read:
changing them changes no range.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

from qdsl.diag import Span
from qdsl.lang.recipe import (
    Calibrate,
    DataSpec,
    Edge,
    KeepRule,
    LayersRule,
    ModelRef,
    PlaceRule,
    Recipe,
    Settings,
    Target,
    UsePass,
)
from qdsl.lang.selectors import Group, Named, Picks
from qdsl.spec import DType

# Fields that say nothing of their own: where a piece stands, paths as resolved on this machine, what only measures.
_SILENT: dict[type, frozenset[str]] = {
    ModelRef: frozenset({"location"}),
    Calibrate: frozenset({"cache_path"}),
    DataSpec: frozenset({"paths", "name", "places", "outside", "outside_paths"}),
    UsePass: frozenset({"path"}),
    Target: frozenset({"requires", "profile", "allows", "name", "places", "high_precision"}),
    Picks: frozenset({"expect", "expect_span"}),
    Edge: frozenset({"expect"}),
}
_WORDS: dict[type, str] = {LayersRule: "layers", KeepRule: "keep", PlaceRule: "place"}


@dataclass(frozen=True, slots=True)
class Part:
    """One statement: `key` names it ("calibrate of quantize"), `span` is where it stands now."""

    key: str
    sha256: str
    span: Span


def meaning(recipe: Recipe) -> tuple[Part, ...]:
    """The parts of a recipe, sorted by key."""
    return tuple(sorted(_parts(recipe), key=lambda part: part.key))


def _parts(recipe: Recipe) -> Iterator[Part]:
    if recipe.model is not None:
        yield _part("model", recipe.model, recipe.model.span)
    for spec in recipe.inputs:
        yield _part(f"input {spec.name}" if spec.name is not None else "input", spec, spec.span)
    used = frozenset(_datasets((recipe.mode, recipe.rules, recipe.targets, recipe.allocate, recipe.train, recipe.tune)))
    for data in recipe.data:
        if data.name in used:
            yield _part(f"data {data.name}", data, data.span)
    if recipe.mode is not None:
        yield _part("quantize", recipe.mode.kind, recipe.mode.span)
        yield from _settings(recipe.mode.settings)
    for number, rule in enumerate(recipe.rules, start=1):
        yield _part(f"rule {number:04} {_WORDS[type(rule)]}", rule, rule.span)
    for number, use in enumerate(recipe.uses, start=1):
        yield _part(f"use {number:04}", use, use.span)
    for one in (recipe.allocate, recipe.improve, recipe.train, recipe.tune):
        if one is not None:
            yield _part(type(one).__name__.lower(), one, one.span)
    for target in recipe.targets:
        yield _part(f"target {target.name}", target, target.span)


def _settings(settings: Settings) -> Iterator[Part]:
    for name in ("weights", "activations", "calibrate", "range"):
        value = getattr(settings, name)
        if value is not None:
            yield _part(f"{name} of quantize", value, value.span)


def _part(key: str, value: Any, span: Span) -> Part:
    text = json.dumps(_plain(value), separators=(",", ":"), ensure_ascii=True)
    return Part(key, hashlib.sha256(text.encode()).hexdigest(), span)


def _plain(value: Any) -> Any:
    """A piece of a recipe without its places, as what JSON knows. 1 and 1.0 are one number."""
    if isinstance(value, DType):
        return value.name
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Named) and value.definition is not None:
        return _plain(value.definition)
    if isinstance(value, Group):
        return _plain(value.picks)
    if isinstance(value, Picks) and len(value.parts) == 1:
        return _plain(value.parts[0])
    if is_dataclass(value) and not isinstance(value, type):
        silent = _SILENT.get(type(value), frozenset()) | {"level"}
        named = ((f.name, getattr(value, f.name), f.default) for f in fields(value) if f.name not in silent)
        # What is not said is left out, so that a setting that the language learns later makes no lock stale.
        said = [[name, _plain(v)] for name, v, default in named if v != default and not isinstance(v, Span)]
        return [type(value).__name__, *said]
    if isinstance(value, tuple):
        return [_plain(item) for item in value if not isinstance(item, Span)]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def _datasets(value: Any) -> Iterator[str]:
    """The datasets that a piece of a recipe reads."""
    if isinstance(value, tuple):
        # `validate D` of a `train` block is ("validate", ("D",)): any word may be a name, and one too many is harmless.
        yield from (item for item in value if isinstance(item, str))
        for item in value:
            yield from _datasets(item)
    elif is_dataclass(value) and not isinstance(value, type):
        data = getattr(value, "data", None)
        if isinstance(data, str):
            yield data
        for field in fields(value):
            yield from _datasets(getattr(value, field.name))
