"""Recipe lines that cure a finding. Each is tried before it is told: added to the recipe, planned, and looked at again
with the ranges that are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qdsl.diag import Diagnostics, QdslError, Span
from qdsl.lang import loads
from qdsl.lang.recipe import Recipe
from qdsl.plan import Decisions
from qdsl.work.deciding import decide_all
from qdsl.work.prepared import Prepared


@dataclass(frozen=True, slots=True)
class Cure:
    """What to write: `add` at the end of the recipe, and `by` at the place `instead` (nothing: take that out, which is
    a statement that begins with `what`)."""

    add: str = ""
    instead: Span | None = None
    by: str = ""
    what: str = "share scale"

    @property
    def told(self) -> str:
        """The lines alone where they only have to be added."""
        if self.instead is None:
            return self.add
        where = f"on line {self.instead.line}"
        first = f"{where} write `{self.by}`" if self.by else f"take `{self.what}` {where} out"
        return f"{first}, and add `{self.add}`" if self.add else first


Cured = Callable[[Decisions], bool]


def first_cure(
    candidates: Sequence[Cure], prepared: Prepared, sets: Mapping[str, str], target: str, cured: Cured
) -> Cure | None:
    """The first of `candidates` with which the recipe still plans and `cured` holds; None when none does."""
    return next((cure for cure in candidates if _works(cure, prepared, sets, target, cured)), None)


def changed(cure: Cure, prepared: Prepared, sets: Mapping[str, str]) -> Recipe | None:
    """The recipe with a cure; None where its place is in another file, or it does not fit what stands there."""
    recipe = prepared.recipe
    text = _with(recipe.sources[recipe.path], cure, recipe.path)
    if text is None:
        return None
    try:
        return loads(text, name=recipe.path, directory=Path(recipe.path).parent, sets=sets).recipe
    except QdslError:
        return None


def _works(cure: Cure, prepared: Prepared, sets: Mapping[str, str], target: str, cured: Cured) -> bool:
    recipe = changed(cure, prepared, sets)
    if recipe is None:
        return False
    try:
        return all(cured(one) for one in decide_all(replace(prepared, recipe=recipe), target, Diagnostics()))
    except QdslError:
        return False


def _with(text: str, cure: Cure, path: str) -> str | None:
    """The recipe's text with the cure; None when its place is in another file."""
    if cure.instead is not None:
        span = cure.instead
        if span.file != path:
            return None
        lines = text.split("\n")
        before = "\n".join([*lines[: span.line - 1], lines[span.line - 1][: span.column - 1]])
        after = "\n".join([lines[span.end_line - 1][span.end_column - 1 :], *lines[span.end_line :]])
        text = before + cure.by + after
    return f"{text.rstrip()}\n{cure.add}\n"
