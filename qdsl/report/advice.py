"""The sentence a page opens with: what to do now that this is known."""

from __future__ import annotations

from collections.abc import Sequence

from qdsl.harness.measurements import BudgetFacts
from qdsl.report import words
from qdsl.report.data import Method
from qdsl.report.html import Html, tag

_ON_DEVICE = ("latency", "throughput", "energy", "power", "memory", "cpu")


def what_to_do(methods: Sequence[Method]) -> Html:
    """One sentence about one build, or about several side by side."""
    told = _of_several(methods) if len({id(method.build) for method in methods}) > 1 else _of_one(methods)
    return tag("p", told, class_="lead advice")


def _of_one(methods: Sequence[Method]) -> str:
    """What is broken comes before what is not known, and that before what holds."""
    all_budgets = [(method, budget) for method in methods for budget in method.facts.budgets]
    broken = [pair for pair in all_budgets if pair[1].verdict == "broken"]
    if broken:
        return _fix(broken)
    unsure = [method for method in methods if method.facts.mismatches]
    if unsure:
        count = words.count(sum(method.facts.mismatches or 0 for method in unsure), "node")
        return (
            f"Look at the layers first: {count} run otherwise than planned, so the figures below are not those meant."
        )
    undecided = [pair for pair in all_budgets if pair[1].verdict == "undecided"]
    if undecided:
        return _measure(undecided)
    if all_budgets:
        tightest = "" if len(all_budgets) == 1 else "the tightest "
        return f"Ship it: {_hold(len(all_budgets))}, {tightest}with {_margin([b for _, b in all_budgets])}."
    return "Decide what must hold: the recipe has no `require`, so nothing here says whether this build is good enough."


def _hold(count: int) -> str:
    return {1: "its budget holds", 2: "both budgets hold"}.get(count, f"all {count} budgets hold")


def _fix(broken: Sequence[tuple[Method, BudgetFacts]]) -> str:
    method, worst = min(broken, key=lambda pair: pair[1].margin if pair[1].margin is not None else 0.0)
    value = "" if worst.value is None else f" with {words.in_unit(worst.value, worst.unit)}"
    more = f", and {words.count(len(broken) - 1, 'more budget')}" if len(broken) > 1 else ""
    cure = "what `compile` tells to try beside `budget-broken` was tried already"
    return f"Do not ship it yet: `{worst.text}` is broken on {method.facts.target}{value}{more}; {cure}."


def _measure(undecided: Sequence[tuple[Method, BudgetFacts]]) -> str:
    method, budget = undecided[0]
    more = f" and {len(undecided) - 1} more" if len(undecided) > 1 else ""
    opening = f"Undecided: `{budget.text}`{more} still has to be measured"
    device = method.facts.device
    if device and budget.metric in _ON_DEVICE:
        return (
            f"{opening} on {device}: copy `{method.facts.target}/` there, run `python bench/bench.py`, and take the "
            "result in with `qdsl report DIR --add measurements.json`."
        )
    wants = "profile" if budget.metric in _ON_DEVICE else "evaluate"
    why = f" ({budget.source})" if budget.source else ""
    return f"{opening}{why}: `qdsl {wants} RECIPE`, with its data there."


def _margin(budgets: Sequence[BudgetFacts]) -> str:
    known = [budget.margin for budget in budgets if budget.margin is not None]
    return f"{100 * min(known):.0f} % to spare" if known else "nothing to compare"


def _of_several(methods: Sequence[Method]) -> str:
    """Which of several builds to take: the smallest of those whose budgets all hold."""
    holding = [m for m in methods if m.facts.budgets and all(b.verdict == "holds" for b in m.facts.budgets)]
    if holding:
        best = min(holding, key=lambda method: method.facts.bytes)
        size = words.size(best.facts.bytes)
        return (
            f"Take {best.label}: of {words.count(len(holding), 'build')} whose budgets all hold, the smallest, {size}."
        )
    if any(method.facts.budgets for method in methods):
        return f"None of {len(methods)} builds holds all of its budgets: see which are broken and which not measured."
    return "Compare by the figures: no recipe has a `require`, so nothing here says which build is good enough."
