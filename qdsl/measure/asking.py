"""What a recipe asks to be profiled, and what shapes say against that; no runtime is loaded."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from qdsl.diag import Diagnostic, QdslError, Span
from qdsl.harness.measurements import COSTS
from qdsl.harness.profile import Wish
from qdsl.lang.recipe import Profile as Statement
from qdsl.lang.recipe import Recipe, Target
from qdsl.work.prepared import Prepared, takes

Asked = tuple[Wish, Span]  # how to profile, and the line that says so


def wanted(recipe: Recipe, target: Target) -> Asked | None:
    """How `target` is to be profiled, and the line that says so; None where nothing asks for it. A `profile` in the
    target block stands before one in `evaluate`; a budget on what only profiling measures asks for it, too."""
    statements = [target.profile, *(spec.profile for spec in recipe.evaluates)]
    found: Statement | None = next((each for each in statements if each is not None), None)
    bounded = (*target.requires, *(r for spec in recipe.evaluates for r in spec.requires))
    asking = [r.span for r in bounded if r.metric.name in COSTS]
    if found is None and not asking:
        return None
    settings = {name: int(value) for name, value in (found.settings if found is not None else ())}
    wish = Wish(**({"threads": target.threads or 0} | settings))
    return wish, found.span if found is not None else asking[0]


def all_wanted(recipe: Recipe, targets: Collection[str]) -> dict[str, Asked]:
    """How each of `targets` is to be profiled, without those that nothing asks for."""
    found = {block.name: wanted(recipe, block) for block in recipe.targets if block.name in targets}
    return {name: asked for name, asked in found.items() if asked is not None}


def forced(recipe: Recipe, targets: Collection[str], settings: Mapping[str, int]) -> dict[str, Asked]:
    """How each of `targets` is profiled whether the recipe asks for it or not; `settings` stand before the recipe's."""
    found = {}
    for block in recipe.targets:
        if block.name in targets:
            wish, span = wanted(recipe, block) or (Wish(threads=block.threads or 0), block.span)
            found[block.name] = (replace(wish, **settings), span)
    return found


def require_batch(prepared: Prepared, asked: Iterable[Asked]) -> None:
    """Raises QdslError profile-batch where the model is fixed to another batch than is to be profiled."""
    wanted = takes(prepared)
    for wish, span in asked:
        for name, each in wanted.items():
            first = each.shape[0] if each.shape else None
            if isinstance(first, int) and first != wish.batch:
                headline = f"input {name} takes a batch of {first}, and `profile` asks for {wish.batch}"
                help = (f"write `batch {first}`, or export the model with a free first dimension",)
                raise QdslError([Diagnostic("profile-batch", headline, span, help=help)])
