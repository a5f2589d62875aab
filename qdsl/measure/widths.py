"""What the widths of a plan decide of budgets: the bits of activations, and bit operations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from qdsl.diag import Diagnostic, Severity
from qdsl.lang.recipe import Recipe, Target
from qdsl.measure.budgets import Budget, Name, Reading, Readings, decide_budgets
from qdsl.plan import Decisions
from qdsl.plan.gate import EMITS_C, WIDTHS, find_target
from qdsl.predict.bits import FLOAT_BITS, Bits, bits
from qdsl.spec.words import in_unit, plain
from qdsl.work.prepared import Prepared

_WHY = (
    "nothing is quantized, or how many elements an activation has is not known",
    "how often a node multiplies is not known, or as what a file that stays as it is computes",
)


def readings(found: Bits, macs: int, source: str) -> dict[Name, Reading]:
    """The figures beside those of the float model, which has `macs` multiplications; `source` says who told them."""
    of = ((found.activation, FLOAT_BITS), (found.operations, macs * FLOAT_BITS**2))
    known = (
        Reading(math.nan, source=why) if value is None else Reading(float(value), float(floats), source=source)
        for (value, floats), why in zip(of, _WHY, strict=True)
    )
    return {(name, ()): reading for name, reading in zip(("activation_bits", "bops"), known, strict=True)}


def foreseen(prepared: Prepared, decided: Sequence[Decisions]) -> Iterator[Diagnostic]:
    """A warning for each budget on widths that a plan breaks, or that nothing will decide. While `allocate` has yet to
    choose types, and `tune` what stays in float, nothing is known."""
    recipe = prepared.recipe
    for each in decided:
        plan, block = each.plan, find_target(recipe, each.plan.target)
        chosen = bool(plan.assigned) or recipe.allocate is None
        if block is None or not chosen or (recipe.tune is not None and not plan.choices):
            continue
        found = bits(plan, each.context.view, each.context.folded)
        known = Readings(readings(found, plan.totals.macs, "by the plan"))
        for budget in decide_budgets(recipe, block, known):
            if budget.metric in WIDTHS and budget.verdict == "broken":
                yield _broken(recipe, block, budget)
            elif budget.metric in WIDTHS and budget.verdict == "undecided":
                headline = f"`require {plain(budget.text)}` is not decided on {plan.target}: {budget.source}"
                yield Diagnostic("undecided", headline, budget.span, severity=Severity.WARNING)


def _broken(recipe: Recipe, block: Target, budget: Budget) -> Diagnostic:
    assert budget.value is not None, "it is broken"
    headline = f"`{plain(budget.text)}` is broken on {block.name}: {in_unit(budget.value, budget.unit)}"
    help = cures(recipe, block, budget)
    return Diagnostic("budget-broken", headline, budget.span, help=help, severity=Severity.WARNING)


def cures(recipe: Recipe, block: Target, budget: Budget) -> tuple[str, ...]:
    """What helps against a budget on widths, where they can be chosen: emitted C has no emulated ones."""
    mode = block.mode or recipe.mode
    static = mode is not None and mode.kind == "static"
    open_ = recipe.allocate is None and block.name not in EMITS_C and budget.form in ("value", "ratio")
    if not static or not open_ or budget.comparison not in ("<", "<="):
        return ()
    line = f"allocate activations from [8 bit, 6 bit, 4 bit] {{ minimize loss under {plain(budget.text)} }}"
    return (f"let widths be chosen within it: `{line}`",)
