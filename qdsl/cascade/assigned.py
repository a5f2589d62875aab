"""What `allocate` gave, as rules of the recipe: a plan under them needs to know nothing of how they came about, and as
text they make the recipe explicit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from qdsl.cascade.carried import ALLOCATED, request_text
from qdsl.lang.recipe import Allocate, KeepRule, LayersRule, Recipe, Settings, TypeRequest
from qdsl.lang.selectors import Matching, NameGlob, Picks, TensorGlob
from qdsl.spec import DTYPES
from qdsl.spec.assigned import Assigned

_WILD = frozenset("*?")
TENSORS = "activations"  # of what `allocate` speaks where it gives types to tensors, not to nodes
KEPT = ("float32", "float16")
STORED = "storage_only"


def with_assigned(recipe: Recipe, given: Iterable[Assigned]) -> Recipe:
    """`recipe` with a rule for each choice in `given`, behind its own rules and before those of target blocks. Raises
    ValueError for a choice that the `allocate` statement does not have."""
    spec = recipe.allocate
    if spec is None:
        return recipe
    plain = tuple(rule for rule in recipe.rules if rule.level != ALLOCATED)
    return replace(recipe, rules=(*plain, *_rules(spec, given)))


def assigned_rules(recipe: Recipe) -> bool:
    """Whether the recipe has rules that `allocate` gave."""
    return any(rule.level == ALLOCATED for rule in recipe.rules)


def assigned_floats(recipe: Recipe) -> bool:
    """Whether `allocate` gave float types alone: then a plan that quantizes nothing is an answer, and no fault."""
    given = [rule for rule in recipe.rules if rule.level == ALLOCATED]
    return bool(given) and all(isinstance(rule, KeepRule) for rule in given)


def _rules(spec: Allocate, given: Iterable[Assigned]) -> Iterator[LayersRule | KeepRule]:
    for choice, names in _by_choice(given).items():
        parts = tuple(_part(spec, name) for name in names)
        picks = Picks(parts, None, spec.header)
        if choice in KEPT:
            yield KeepRule(picks, DTYPES[choice], spec.header, ALLOCATED)
        else:
            yield LayersRule(picks, _settings(spec, request_of(spec, choice)), spec.header, ALLOCATED)


def request_of(spec: Allocate, choice: str) -> TypeRequest:
    """What the words of a choice ask for: one of the statement's, or a type that a pin names, and the same with
    `storage_only`. Raises ValueError for any other."""
    pinned = (pin.request for pin in spec.pins)
    known = {request_text(each): each for each in (*spec.choices, *pinned)}
    stored = {f"{words} {STORED}": replace(each, storage_only=True) for words, each in known.items()}
    known = {**stored, **known}
    if choice not in known:
        raise ValueError(f"`{choice}` is none of {', '.join(request_text(each) for each in spec.choices)}")
    return replace(known[choice], span=spec.header, level=ALLOCATED)


def _settings(spec: Allocate, request: TypeRequest) -> Settings:
    return Settings(weights=request) if spec.what == "weights" else Settings(activations=request)


def _by_choice(given: Iterable[Assigned]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in sorted(given, key=lambda one: (one.choice, one.node)):
        found.setdefault(each.choice, []).append(each.node)
    return found


def nameable(name: str) -> bool:
    """Whether a selector of a tensor's name means it alone: no way is known to write one with a wildcard in it."""
    return _WILD.isdisjoint(name)


def _part(spec: Allocate, name: str) -> NameGlob | Matching | TensorGlob:
    if spec.what == TENSORS:
        return TensorGlob(((name, spec.header),), spec.header)
    if _WILD.isdisjoint(name):
        return NameGlob(((name, spec.header),), spec.header)
    return Matching(f"^{re.escape(name)}$", spec.header)
