"""`check` and `fmt`: the recipe's text alone, no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qdsl.diag import Diagnostic, QdslError, Severity
from qdsl.lang import format_text, load
from qdsl.lang.recipe import Recipe
from qdsl.select.precheck import selector_problems
from qdsl.targets.blocks import block_problems


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What `check` found. `recipe` is None when there are errors; `diagnostics` holds errors and warnings in order."""

    recipe: Recipe | None
    diagnostics: tuple[Diagnostic, ...]

    @property
    def ok(self) -> bool:
        return self.recipe is not None


def check(path: str | Path, *, sets: Mapping[str, str] | None = None, locked: bool = False) -> CheckResult:
    """Read a recipe with its bases and say everything that is wrong with it. `sets` gives values to its `param`s;
    `locked` holds the lock beside it, where there is one, against the recipe and its model file, too.

    Never raises for what stands in the recipe.
    """
    try:
        loaded = load(path, sets=sets or {})
    except QdslError as found:
        return CheckResult(None, found.diagnostics)
    told = (*loaded.diagnostics, *selector_problems(loaded.recipe), *block_problems(loaded.recipe))
    if locked:
        from qdsl.ranges.staleness import lock_problems  # it comes with numpy

        told += lock_problems(loaded.recipe)
    wrong = any(found.severity is Severity.ERROR for found in told)
    return CheckResult(None if wrong else loaded.recipe, told)


def fmt(text: str, *, name: str = "<text>") -> str:
    """A recipe's text in the canonical form, comments kept; raises QdslError when it does not parse."""
    return format_text(text, name)
