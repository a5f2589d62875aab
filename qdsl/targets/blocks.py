"""What is wrong with the `target` blocks of a recipe, without its model."""

from __future__ import annotations

from collections.abc import Container

from qdsl.diag import Diagnostic, Diagnostics
from qdsl.lang.recipe import Recipe
from qdsl.targets import TARGETS, target_of


def block_problems(recipe: Recipe, names: Container[str] = TARGETS) -> tuple[Diagnostic, ...]:
    """Errors and warnings of the targets called `names` that there are, in source order. Light: no model and no array
    is loaded."""
    found = Diagnostics()
    for block in recipe.targets:
        if block.name in TARGETS and block.name in names:
            found.extend(target_of(block.name).problems(block))
    return found.sorted()
